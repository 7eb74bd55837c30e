// The task coordinator, put together from what it is given: a store, a keyring, a clock, an audit log.
//
//   ASSIGN_OR_RETURN(auto taskd, Taskd::Create(std::move(config)));
//   taskd->Register(&builder);
//   RETURN_IF_ERROR(door->Serve(&builder));
//   …
//   taskd->Drain();  door->Shutdown(deadline);  door->Wait();  taskd.reset();
//
// Threads: workers and timers of its own; all methods may be called from any thread.
#ifndef PARLEY_SERVICES_TASKD_TASKD_H_
#define PARLEY_SERVICES_TASKD_TASKD_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lib/audit/audit_log.h"
#include "lib/base/clock.h"
#include "lib/base/secret.h"
#include "lib/keyd_client/device_labels.h"
#include "lib/keyd_client/ended_credentials.h"
#include "lib/keys/identity.h"
#include "lib/rpc/gate.h"
#include "lib/rpc/metrics.h"
#include "lib/store/store.h"
#include "services/taskd/participants/revoked_keys.h"
#include "services/taskd/tasks/clock_jumps.h"

namespace grpc {
class ServerBuilder;
}  // namespace grpc

namespace parley::taskd {

class Taskd {
 public:
  // Everything that is pointed to must outlive the coordinator.
  struct Config {
    store::Store* store = nullptr;
    // The keyring of the audience taskd, from which join and member keys are minted.
    const keys::Keyring* keyring = nullptr;
    // 32 bytes, which seal the signing keys of tasks that are created without one.
    Secret sealing_key;
    // The "host:port" that goes into join keys.
    std::string public_address;
    // What keyd tells of devices. It is asked, and observed as long as the coordinator lives.
    keyd_client::DeviceLabels* labels = nullptr;
    audit::AuditLog* audit = nullptr;
    // Counts calls, tasks and clients; may be null.
    rpc::Metrics* metrics = nullptr;
    Clock* clock = Clock::System();
    // Shows that the clock was set forward. Without it that is not noticed.
    ClockJumps::Steady steady;
    // Finds the peer of a call: GrpcDoor::PeerOf.
    rpc::Gate::FindPeer find_peer;
    // Refuses a key and closes its connections.
    RevokedKeys::Revoke revoke;
    // Handlers block on the store, whose commits are shared by those that wait: more threads make larger groups.
    int workers = 32;
    // The bytes of chunks that are kept in memory.
    size_t chunk_cache_bytes = 64 << 20;
  };

  // Reads what is stored, and takes up what time did meanwhile. Returns the errors of the store.
  static absl::StatusOr<std::unique_ptr<Taskd>> Create(Config config);
  // No RPC may be under way.
  ~Taskd();

  // Registers the three services.
  void Register(grpc::ServerBuilder* builder);
  // Returns what must be told of the credentials that keyd has revoked; what depends on them then ends.
  keyd_client::EndedCredentials& ended_credentials();
  // Ends the streams that last, so that a server that stops does not wait for them.
  void Drain();

 private:
  class Impl;
  explicit Taskd(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace parley::taskd

#endif  // PARLEY_SERVICES_TASKD_TASKD_H_
