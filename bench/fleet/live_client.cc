#include "bench/fleet/live_client.h"

#include <stdlib.h>

#include <iostream>
#include <random>
#include <utility>

#include "bench/fleet/connection.h"
#include "lib/keys/identity.h"

namespace parley::bench {
namespace {

// Keeps gRPC's threads for callbacks. They end with the last channel that has used them, and crash when that channel is
// freed by one of them, as it is here when all streams end at once.
void KeepCallbackThreads(const std::shared_ptr<grpc::Channel>& channel) {
  [[maybe_unused]] static const auto* const kept = new std::shared_ptr<grpc::Channel>(channel);
}

}  // namespace

LiveClient::LiveClient(Fleet* fleet, int number, std::string identity, const Secret& secret)
    : fleet_(fleet),
      number_(number),
      key_{std::move(identity), keys::DerivePsk(secret)},
      retry_(agent::Options(), /*patient=*/true) {}

void LiveClient::Connect() {
  fleet_->loop.Post([this] {
    begun_ = Moment();
    Try();
  });
}

void LiveClient::ForgetFailures() {
  fleet_->loop.Post([this] { retry_.Progress(); });
}

void LiveClient::Try() {
  static thread_local std::minstd_rand random{std::random_device()()};
  retry_.Begin();
  opened_ = false;
  const size_t servers = fleet_->servers.size();
  TryServer(std::uniform_int_distribution<size_t>(0, servers - 1)(random), servers - 1);
}

void LiveClient::TryServer(size_t server, size_t others) {
  server_ = server;
  in_addr source;
  source.s_addr = htonl(INADDR_LOOPBACK + static_cast<uint32_t>(number_ % fleet_->sources));
  Connection::Open(&fleet_->loop, fleet_->servers[server], source, &key_,
                   [this, server, others](absl::StatusOr<std::shared_ptr<grpc::Channel>> channel) {
                     if (!channel.ok() && others > 0) {
                       return TryServer((server + 1) % fleet_->servers.size(), others - 1);
                     }
                     if (!channel.ok()) return TryLater(channel.status());
                     KeepCallbackThreads(*channel);
                     OpenStream(*std::move(channel));
                   });
}

void LiveClient::Opened() {
  if (opened_.exchange(true)) return;
  if (connect_seconds_ == 0) connect_seconds_ = Moment() - begun_;
  fleet_->open.Note(number_);
  fleet_->loop.Post([this] { retry_.Reached(); });
  if (fleet_->on_open) fleet_->on_open();
}

void LiveClient::Ended(const absl::Status& status) {
  fleet_->loop.Post([this, status] { TryLater(status); });
}

void LiveClient::TryLater(const absl::Status& status) {
  ++fleet_->failures;
  absl::Duration wait;
  if (const absl::Status hopeless = retry_.Next(status, &wait); !hopeless.ok()) {
    std::cerr << "a client gives up: " << hopeless << std::endl;
    exit(1);
  }
  fleet_->loop.PostAfter(wait, [this] { Try(); });
}

}  // namespace parley::bench
