#include "lib/service/following_server.h"

#include <grpcpp/server_builder.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/crypto/certificate.h"
#include "lib/crypto/hash.h"
#include "lib/keys/identity.h"
#include "lib/keys/key_source.h"
#include "lib/service/addresses.h"
#include "lib/service/health.h"
#include "lib/service/service_flags.h"
#include "lib/service/service_store.h"

namespace parley::service {
namespace {

constexpr char kPublicAddress[] = "--public-address";
constexpr char kKeydCredential[] = "--keyd-credential";
constexpr char kKeydAddress[] = "--keyd-address";
constexpr char kKeydAwayLimit[] = "--keyd-away-limit";

absl::StatusOr<absl::Duration> ParseAwayLimit(const std::string& text) {
  absl::Duration limit;
  if (text == "unlimited") return absl::InfiniteDuration();
  if (absl::ParseDuration(text, &limit) && limit >= absl::Seconds(1) && limit <= absl::Hours(24)) {
    return limit;
  }
  return InvalidArgument("KEYD_AWAY_LIMIT", kKeydAwayLimit, " is '", text, "'; give 1s to 24h, or unlimited");
}

// What a probe sees of how the service hears from keyd.
void ShowContact(Health* health, keyd_client::Contact::State state) {
  health->SetPart(std::string(keys::kKeyd), state == keyd_client::Contact::State::kFollowing);
  health->SetAdmitting(std::string(keys::kKeyd), state != keyd_client::Contact::State::kAwayTooLong);
}

}  // namespace

void FollowingServer::AddFlags(ServerOptions* options, const std::string& where, ServiceFlags* flags) {
  flags->Add(kPublicAddress, options->public_address, "host:port that goes into " + where + " (default: --listen)");
  flags
      ->Add(kKeydCredential, options->keyd_credential,
            options->process.name + ".credential, as keyd made it at its first start")
      ->required();
  flags->Add(kKeydAddress, options->keyd_address, "host:port of keyd (default: the one in the credential)");
  flags->Add(
      kKeydAwayLimit, options->keyd_away_limit,
      "how long to go on without hearing from keyd before nobody is admitted, and how long a revocation waits for "
      "this service then; or unlimited");
}

void FollowingServer::Check(const ServerOptions& options, ConfigCheck* check) {
  check->Dialled(kPublicAddress, options.public_address);
  check->Found("--listen", PublicAddress(kPublicAddress, options.public_address, options.listen).status());
  check->Found(kKeydCredential, keyd_client::KeyFollower::CheckCredential(options.keyd_credential));
  check->Dialled(kKeydAddress, options.keyd_address);
  check->Found(kKeydAwayLimit, ParseAwayLimit(options.keyd_away_limit).status());
}

absl::StatusOr<std::unique_ptr<FollowingServer>> FollowingServer::Open(const ServerOptions& options,
                                                                       rest::Server::Options rest, Process* process) {
  // Before minutes may pass in waiting for keyd.
  RETURN_IF_ERROR(PublicAddress(kPublicAddress, options.public_address, options.listen).status());
  std::unique_ptr<FollowingServer> server(new FollowingServer);
  server->process_ = process;
  const bool shares_store = SharesStore(options);
  if (!shares_store) {
    ASSIGN_OR_RETURN(server->store_, OpenServiceStore(options, /*organisation=*/"", process));
  }
  keyd_client::KeyFollower::Options follower;
  follower.credential_path = options.keyd_credential;
  follower.keyd_address = options.keyd_address;
  follower.names = NamesOrDefault(options.names);
  follower.follow_labels = options.follow_labels;
  ASSIGN_OR_RETURN(follower.away_limit, ParseAwayLimit(options.keyd_away_limit));
  follower.admits = [server = server.get()] {
    return server->replicas_ == nullptr ? absl::OkStatus() : server->replicas_->CheckHeld();
  };
  follower.on_contact = [process](keyd_client::Contact::State state) { ShowContact(process->health(), state); };
  ASSIGN_OR_RETURN(server->follower_, keyd_client::KeyFollower::Create(std::move(follower)));
  if (const absl::Status ready = server->follower_->WaitUntilReady(process->stop_fd()); !ready.ok()) {
    // The signal is there, and is logged like one that ends a service that serves.
    process->WaitForStop();
    return ready;
  }
  keyd_client::KeyFollower::Certificate certificate = server->follower_->certificate();
  ASSIGN_OR_RETURN(server->organisation_, crypto::OrganisationOfCa(certificate.ca_pem));
  transport::Listener::Options listener;
  listener.address = options.listen;
  listener.certificate_pem = std::move(certificate.certificate_pem);
  listener.private_key_pem = std::move(certificate.private_key_pem);
  listener.accept_rest = true;
  ASSIGN_OR_RETURN(server->door_, transport::GrpcDoor::Create(std::move(listener), server->follower_->key_source()));
  ASSIGN_OR_RETURN(server->rest_, rest::Server::Attach(server->door_.get(), std::move(rest)));
  ASSIGN_OR_RETURN(server->public_address_,
                   PublicAddress(kPublicAddress, options.public_address, server->door_->listener().address()));
  if (shares_store) {
    // Organisations may have the same name.
    const std::string organisation =
        absl::StrCat(server->organisation_, " ", HexEncode(crypto::Sha256(server->follower_->certificate().ca_pem)));
    ASSIGN_OR_RETURN(server->store_, OpenServiceStore(options, organisation, process));
    server->ShareStore(options.process.name);
  }
  return server;
}

void FollowingServer::ShareStore(const std::string& service) {
  store::Replicas::Options options;
  options.store = store_.get();
  options.service = service;
  options.read_anew = [this] {
    MutexLock lock(&telling_);
    return read_anew_ ? read_anew_() : absl::OkStatus();
  };
  options.on_change = [this](bool held) {
    // The source refuses everybody by now.
    if (!held) door_->listener().Recheck();
    process_->health()->SetAdmitting("store", held);
    MutexLock lock(&telling_);
    if (on_change_) on_change_(held);
  };
  replicas_ = std::make_unique<store::Replicas>(std::move(options));
}

std::shared_ptr<void> FollowingServer::FollowReplicas(std::function<absl::Status()> read_anew,
                                                      std::function<void(bool)> on_change) {
  const auto set = [this](std::function<absl::Status()> read, std::function<void(bool)> change) {
    MutexLock lock(&telling_);
    read_anew_ = std::move(read);
    on_change_ = std::move(change);
  };
  set(std::move(read_anew), std::move(on_change));
  return std::shared_ptr<void>(nullptr, [set](void*) { set(nullptr, nullptr); });
}

rpc::Gate::FindPeer FollowingServer::FindPeer() const {
  // While nobody is admitted, connections are closed: one that is not yet is as good as closed.
  return [&door = *door_, follower = follower_.get()](const grpc::ServerContextBase& context) {
    return follower->CheckAdmits().ok() ? door.PeerOf(context) : nullptr;
  };
}

std::function<void(const std::string& serial, absl::Time not_after)> FollowingServer::Revoke() const {
  return [keys = follower_->key_source(), &door = *door_](const std::string& serial, absl::Time not_after) {
    keys->Revoke(serial, not_after);
    door.listener().CloseKey(HexEncode(serial));
  };
}

absl::StatusOr<std::shared_ptr<void>> FollowingServer::FollowRevocations(keyd_client::EndedCredentials* ended) {
  std::shared_ptr<void> following(nullptr, [follower = follower_.get()](void*) { follower->StopObserving(); });
  follower_->Observe([ended](const std::string& serial, absl::Time not_after) { ended->OnRevoked(serial, not_after); });
  RETURN_IF_ERROR(ended->CatchUp());
  return following;
}

absl::Status FollowingServer::Run(const std::function<void(grpc::ServerBuilder*)>& add_services,
                                  const std::function<void()>& drain) {
  grpc::ServerBuilder builder;
  add_services(&builder);
  process_->Prepare(&builder);
  RETURN_IF_ERROR(door_->Serve(&builder));
  follower_->Attach(&door_->listener());
  const rpc::Metrics::Source at_door = process_->CountDoor(&door_->listener());
  const rpc::Metrics::Source credential = follower_->Count(process_->metrics());
  const absl::Status announced = process_->Serving(door_->listener().address());
  if (announced.ok()) process_->WaitForStop();

  // What is revoked meanwhile still closes its connections: the follower lets go last.
  door_->listener().StopAccepting();
  drain();
  door_->Shutdown(absl::Now() + kShutdownGrace);
  door_->Wait();
  follower_->Detach();
  return announced;
}

}  // namespace parley::service
