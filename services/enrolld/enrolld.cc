#include "services/enrolld/enrolld.h"

#include <utility>

#include "grpcpp/server_builder.h"
#include "lib/base/error.h"
#include "lib/base/timer_queue.h"
#include "lib/rpc/live_streams.h"
#include "services/enrolld/invitations/outbox.h"
#include "services/enrolld/service/exchange_service.h"
#include "services/enrolld/service/invitation_service.h"

namespace parley::enrolld {

class Enrolld::Impl {
 public:
  explicit Impl(Config config)
      : config_(std::move(config)),
        store_(config_.store),
        keys_(config_.keyring, config_.organisation, config_.public_address),
        timers_(std::make_unique<TimerQueue>(config_.clock)),
        workers_(std::make_unique<rpc::WorkerPool>(config_.workers)),
        outbox_(config_.mailer == nullptr
                    ? nullptr
                    : std::make_unique<Outbox>(Outbox::Parts{&store_, &sessions_, &keys_, config_.mailer, config_.clock,
                                                             timers_.get(), config_.audit, config_.organisation})) {}

  ~Impl() {
    figure_ = nullptr;
    invitations_.ended().Stop();
    // First what begins work, then what does it: nothing is called that is gone.
    Drain();
    if (outbox_ != nullptr) outbox_->Stop();
    timers_->Stop();
    workers_.reset();
  }

  absl::Status Start() {
    RETURN_IF_ERROR(sessions_.Start());
    if (config_.metrics != nullptr) {
      figure_ = config_.metrics->Add(
          "parley_invitations_open", "Invitations that can still be claimed.", rpc::Metrics::Kind::kGauge, [this] {
            return std::vector<rpc::Metrics::Sample>{{{}, static_cast<double>(sessions_.open())}};
          });
    }
    return outbox_ == nullptr ? absl::OkStatus() : outbox_->Start();
  }

  void Register(grpc::ServerBuilder* builder) {
    builder->RegisterService(&invitation_service_);
    builder->RegisterService(&exchange_service_);
  }

  keyd_client::EndedCredentials& ended_credentials() { return invitations_.ended(); }

  void Drain() { streams_.Close(rpc::ServerStopping()); }

 private:
  const Config config_;
  InvitationStore store_;
  const InviteeKeys keys_;
  std::unique_ptr<TimerQueue> timers_;
  std::unique_ptr<rpc::WorkerPool> workers_;
  const ExchangeSession::Parts room_parts_{
      &store_,        config_.clock,  timers_.get(),
      workers_.get(), config_.audit,  config_.organisation,
      config_.leases, config_.revoke, [this](const std::string& id) { sessions_.Leave(id); }};
  ExchangeSessions sessions_{&room_parts_};
  rpc::LiveStreams streams_;
  const std::unique_ptr<Outbox> outbox_;
  const rpc::Gate gate_{config_.find_peer, config_.audit, workers_.get(), config_.metrics};
  Invitations invitations_{{&store_, &sessions_, &keys_, outbox_.get(), config_.clock, config_.audit}};
  const ExchangeStream::Parts stream_parts_{&sessions_, &streams_, config_.audit, workers_.get()};
  rpc::Metrics::Source figure_;
  InvitationServiceAdapter invitation_service_{&gate_, &invitations_};
  ExchangeServiceAdapter exchange_service_{&gate_, &stream_parts_};
};

Enrolld::Enrolld(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Enrolld::~Enrolld() = default;

absl::StatusOr<std::unique_ptr<Enrolld>> Enrolld::Create(Config config) {
  auto impl = std::make_unique<Impl>(std::move(config));
  RETURN_IF_ERROR(impl->Start());
  return std::unique_ptr<Enrolld>(new Enrolld(std::move(impl)));
}

void Enrolld::Register(grpc::ServerBuilder* builder) { impl_->Register(builder); }

keyd_client::EndedCredentials& Enrolld::ended_credentials() { return impl_->ended_credentials(); }

void Enrolld::Drain() { impl_->Drain(); }

}  // namespace parley::enrolld
