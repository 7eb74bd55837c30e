// The key store of an organisation, put together from its host and what it is given: a clock, metrics, a door.
//
//   ASSIGN_OR_RETURN(auto keyd, Keyd::Create(std::move(config)));
//   RETURN_IF_ERROR(keyd->Certify(&listener));
//   ASSIGN_OR_RETURN(door, GrpcDoor::Create(std::move(listener), keyd->key_source()));
//   RETURN_IF_ERROR(keyd->WriteCredentials(door->listener().address()));
//   keyd->Register(&builder);
//   RETURN_IF_ERROR(door->Serve(&builder));
//   …
//   keyd->Drain();  door->Shutdown(deadline);  door->Wait();  keyd.reset();
//
// Threads: workers and timers of its own; all methods may be called from any thread.
#ifndef PARLEY_SERVICES_KEYD_KEYD_H_
#define PARLEY_SERVICES_KEYD_KEYD_H_

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "lib/base/clock.h"
#include "lib/base/mutex.h"
#include "lib/base/timer_queue.h"
#include "lib/keys/key_source.h"
#include "lib/rpc/metrics.h"
#include "lib/store/follower.h"
#include "lib/store/replicas.h"
#include "lib/transport/listener.h"
#include "services/keyd/host.h"
#include "services/keyd/keys/credential_files.h"
#include "services/keyd/service/key_service.h"
#include "services/keyd/service/trust_service.h"

namespace parley::keyd {

class Keyd {
 public:
  // Everything pointed to must outlive keyd.
  struct Config {
    Host::Options options;
    // Counts calls and credentials; may be null.
    rpc::Metrics* metrics = nullptr;
    Clock* clock = Clock::System();
    // The store that other processes have open as well. Null: the host has one of its own.
    std::shared_ptr<store::Store> shared_store;
    // For how long a process that has gone silent may hold up a revocation.
    absl::Duration lease = absl::Seconds(10);
    // Is told when keyd stops admitting callers, because it may not know what was revoked, and when it admits them
    // again. May be null.
    std::function<void(bool admits)> on_admitting;
    // GrpcDoor::PeerOf and GrpcDoor::listener. The door is made after keyd, and must be there before the first call.
    rpc::Gate::FindPeer find_peer;
    std::function<transport::Listener&()> listener;
  };

  // Opens the host and loads the organisation, founding it first when the store has none. FAILED_PRECONDITION
  // (KEK_WRONG); INVALID_ARGUMENT (ORGANISATION); the errors of Host::Open and of the store.
  static absl::StatusOr<std::unique_ptr<Keyd>> Create(Config config);
  // Writes what waits for the audit log. No RPC may be under way.
  ~Keyd();

  // Gives the listener a new certificate of the organisation's CA, which is renewed in time.
  absl::Status Certify(transport::Listener::Options* listener);
  // Who passes the door: those whose keys keyd has issued and not revoked.
  transport::KeySource* key_source() { return key_source_.get(); }
  // Brings the credentials for this host up to date, now and then every hour, and makes another admin.credential if
  // that is an option. `listening` is host:port. The errors of files.
  absl::Status WriteCredentials(const std::string& listening);

  // Both services.
  void Register(grpc::ServerBuilder* builder);
  // Ends the streams, so that a server that stops does not wait for them.
  void Drain();

 private:
  Keyd(Config config, std::shared_ptr<store::Store> database);
  absl::Status OpenKeys(const Secret& kek);
  void MakeServices();
  // Begins to follow what others change, and takes its place among them.
  absl::Status Join();
  absl::StatusOr<int64_t> LoadGoodKeys();
  void UseGoodKeys(const std::vector<store::Change>& changes);
  void UseRevocation(absl::string_view key, const std::string& value);
  void UseRoots(absl::string_view key, const std::string& value, int64_t revision);
  // Closes the connections under a key, unless its holder is being answered.
  void CloseKey(const std::string& serial);
  std::shared_ptr<void> Answering(const rpc::Caller& caller);
  absl::Status AwaitRevoked(const std::vector<std::string>& credentials);
  void OnRotated(bool retired);
  void RecheckDoor();
  absl::Status CheckAdmits() const { return replicas_ == nullptr ? absl::OkStatus() : replicas_->CheckHeld(); }
  absl::Status RenewCertificate();
  void Upkeep();

  const Config config_;
  const std::shared_ptr<store::Store> database_;
  std::unique_ptr<rpc::WorkerPool> workers_;
  KeydParts parts_;
  std::unique_ptr<CredentialFiles> files_;
  std::unique_ptr<keys::AudienceKeySource> key_source_;
  KeyServiceAdapter key_service_{&parts_};
  TrustServiceAdapter trust_service_{&parts_};
  rpc::Metrics::Source metrics_;
  absl::Time certificate_expires_;
  Mutex door_mutex_;
  // From then on there is a door, with connections to be closed.
  bool serving_ ABSL_GUARDED_BY(door_mutex_) = false;
  // Those who are being answered to what may revoke their own keys, by key id, and in how many calls.
  std::map<std::string, int> answering_ ABSL_GUARDED_BY(door_mutex_);
  // By the system's clock: connections close in real time.
  TimerQueue closing_{Clock::System()};
  TimerQueue upkeep_{config_.clock};
  store::Follower good_keys_;
  // Null when nobody else has the store.
  std::unique_ptr<store::Replicas> replicas_;
};

}  // namespace parley::keyd

#endif  // PARLEY_SERVICES_KEYD_KEYD_H_
