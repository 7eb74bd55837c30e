// The enrolment service, put together from what it is given: a store, a keyring, a clock, an audit log.
//
//   ASSIGN_OR_RETURN(auto enrolld, Enrolld::Create(std::move(config)));
//   enrolld->Register(&builder);
//   RETURN_IF_ERROR(door->Serve(&builder));
//   …
//   enrolld->Drain();  door->Shutdown(deadline);  door->Wait();  enrolld.reset();
//
// Several processes can serve from one store: greeter and claimer meet, whichever of them each is connected to.
//
// Threads: workers and timers of its own; all methods may be called from any thread.
#ifndef PARLEY_SERVICES_ENROLLD_ENROLLD_H_
#define PARLEY_SERVICES_ENROLLD_ENROLLD_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "grpcpp/server_builder.h"
#include "lib/keys/identity.h"
#include "lib/rpc/metrics.h"
#include "lib/store/follower.h"
#include "lib/store/replicas.h"
#include "services/enrolld/mail/mailer.h"
#include "services/enrolld/service/exchange_service.h"
#include "services/enrolld/service/invitation_service.h"

namespace parley::enrolld {

class Enrolld {
 public:
  // Everything that is pointed to must outlive the service.
  struct Config {
    store::Store* store = nullptr;
    // The keyring of the audience enrolld, from which invitees' keys are minted.
    const keys::Keyring* keyring = nullptr;
    // The organisation's name, which goes into links and into both sides' codes.
    std::string organisation;
    // The "host:port" that goes into links.
    std::string public_address;
    // Null means no e-mail.
    Mailer* mailer = nullptr;
    audit::AuditLog* audit = nullptr;
    // Counts calls and invitations; may be null.
    rpc::Metrics* metrics = nullptr;
    Clock* clock = Clock::System();
    // The processes that serve from the same store; null if this one has it alone. This one joins before it serves, at
    // the earliest when it has been created, and calls ReadAnew after each joining.
    store::Replicas* replicas = nullptr;
    Leases leases;
    // Finds the peer of a call: GrpcDoor::PeerOf.
    rpc::Gate::FindPeer find_peer;
    // Refuses a key (16 bytes of serial) and closes its connections. Must not block.
    std::function<void(const std::string& serial, absl::Time not_after)> revoke;
    // Handlers block on the store, whose commits are shared by those that wait: more threads make larger groups.
    int workers = 32;
  };

  // Reads what is stored, and takes up what time did meanwhile. Returns the errors of the store.
  static absl::StatusOr<std::unique_ptr<Enrolld>> Create(Config config);
  // No RPC may be under way.
  ~Enrolld();

  // Registers both services.
  void Register(grpc::ServerBuilder* builder);
  // Returns what must be told of the credentials that keyd has revoked; what depends on them then ends.
  keyd_client::EndedCredentials& ended_credentials() { return invitations_.ended(); }
  // Reads everything anew that is stored by now, as is needed after a lease was lost. Returns the errors of the store.
  absl::Status ReadAnew() { return follower_ == nullptr ? absl::OkStatus() : follower_->Start(); }
  // Ends the streams, so that a server that stops does not wait for them.
  void Drain() { streams_.Close(rpc::ServerStopping()); }

 private:
  explicit Enrolld(Config config);
  absl::Status Start();
  // Returns the revision up to which everything was read.
  absl::StatusOr<int64_t> Load();
  void Apply(const std::vector<store::Change>& changes);
  absl::Status CheckHeld() const {
    return config_.replicas == nullptr ? absl::OkStatus() : config_.replicas->CheckHeld();
  }

  const Config config_;
  InvitationStore store_;
  const InviteeKeys keys_{config_.keyring, config_.organisation, config_.public_address};
  std::unique_ptr<TimerQueue> timers_;
  std::unique_ptr<rpc::WorkerPool> workers_;
  rpc::LiveStreams streams_;
  const EnrolldParts parts_{&store_,
                            config_.clock,
                            timers_.get(),
                            workers_.get(),
                            &streams_,
                            config_.audit,
                            config_.organisation,
                            config_.leases,
                            config_.revoke,
                            [this](const std::string& id) { sessions_.Leave(id); },
                            config_.replicas};
  ExchangeSessions sessions_{&parts_};
  const std::unique_ptr<Outbox> outbox_;
  const rpc::Gate gate_{config_.find_peer, config_.audit, workers_.get(), config_.metrics,
                        [this] { return CheckHeld(); }};
  InvitationRegistry invitations_{&parts_, &sessions_, &keys_, outbox_.get()};
  // Null without replicas.
  std::unique_ptr<store::Follower> follower_;
  rpc::Metrics::Source open_invitations_;
  InvitationServiceAdapter invitation_service_{&gate_, &invitations_};
  ExchangeServiceAdapter exchange_service_{&gate_, &parts_, &sessions_};
};

}  // namespace parley::enrolld

#endif  // PARLEY_SERVICES_ENROLLD_ENROLLD_H_
