// The task coordinator, put together from what it is given: a store, a keyring, a clock, an audit log.
//
//   ASSIGN_OR_RETURN(auto taskd, Taskd::Create(std::move(config)));
//   taskd->Register(&builder);
//   RETURN_IF_ERROR(door->Serve(&builder));
//   …
//   taskd->Drain();  door->Shutdown(deadline);  door->Wait();  taskd.reset();
//
// Several processes may serve from one store. Each serves the clients that are connected to it, and one of them, which
// leads, does what time demands of tasks and of clients that are connected to none
// (docs/adr/0020-replicas-of-taskd.md).
//
// Threads: workers and timers of its own; all methods may be called from any thread.
#ifndef PARLEY_SERVICES_TASKD_TASKD_H_
#define PARLEY_SERVICES_TASKD_TASKD_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "grpcpp/server_builder.h"
#include "lib/chunks/chunk_store.h"
#include "lib/keys/identity.h"
#include "lib/rpc/metrics.h"
#include "lib/store/leader.h"
#include "lib/store/replicas.h"
#include "services/taskd/participants/fan_out.h"
#include "services/taskd/service/artifact_service.h"
#include "services/taskd/service/participation_service.h"
#include "services/taskd/service/task_service.h"
#include "services/taskd/tasks/lifecycle.h"
#include "services/taskd/tasks/revisions.h"
#include "services/taskd/tasks/tasks.h"
#include "services/taskd/tasks/upkeep.h"

namespace parley::taskd {

class Taskd {
 public:
  // Everything that is pointed to must outlive the coordinator.
  struct Config {
    store::Store* store = nullptr;
    // The processes that share the store; null if this one is alone, which costs nothing more than it must then. It is
    // to call ReadAnew and OnLease.
    store::Replicas* replicas = nullptr;
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
    // How long after its end a task is kept; InfiniteDuration for ever.
    absl::Duration retention = absl::Hours(30 * 24);
    // Where payload content goes, with `store` and `clock` as above.
    chunks::ChunkStore::Options chunks;
  };

  // Reads what is stored, and takes up what time did meanwhile. Returns the errors of the store.
  static absl::StatusOr<std::unique_ptr<Taskd>> Create(Config config);
  // No RPC may be under way.
  ~Taskd();

  // Registers the three services.
  void Register(grpc::ServerBuilder* builder);
  // Returns what must be told of the credentials that keyd has revoked; what depends on them then ends.
  keyd_client::EndedCredentials& ended_credentials() { return dependents_.ended(); }
  // Ends the streams that last, so that a server that stops does not wait for them.
  void Drain();
  // Reads everything as it is stored now, for Replicas::Options::read_anew. Blocks. Returns the errors of the store.
  absl::Status ReadAnew();
  // Says what Replicas::Options::on_change says. Without the lease every stream ends, and none begins.
  void OnLease(bool held);

 private:
  Taskd(Config config, KeyMaker keys);
  absl::Status Start();
  static chunks::ChunkStore::Options ChunkOptions(const Config& config);
  store::Leader::Options LeaderOptions();
  // Labels of this device have changed; of any device, when the name is empty.
  void OnRelabelled(const std::string& device);
  void OnTaskChanged(const TaskSnapshot& task, bool waves_only);
  // Tells the session of the client, if it is connected.
  void Notify(const std::string& task, const std::string& client, int64_t version);
  void OnParticipantDue(const std::string& task, const std::string& client, TaskIndex::Due due, int64_t version);

  const Config config_;
  const KeyMaker keys_;
  const TaskStore store_;
  chunks::ChunkStore chunks_;
  ManifestCache manifests_;
  Sessions sessions_;
  rpc::LiveStreams streams_;
  std::unique_ptr<TimerQueue> timers_;
  std::unique_ptr<rpc::WorkerPool> workers_;
  ClockJumps jumps_;
  // These three are null in a process that is alone.
  std::unique_ptr<ClientPresence> presence_;
  std::unique_ptr<Barrier> barrier_;
  std::unique_ptr<store::Leader> leader_;
  TaskIndex task_index_;
  RevokedKeys revoked_;
  const rpc::Gate gate_{config_.find_peer, config_.audit, workers_.get(), config_.metrics};
  const ParticipantUpdater updater_{&store_, &task_index_, config_.clock};
  const RequestLog request_log_{&store_};
  const CallerResolver callers_{&store_, &updater_, config_.audit};
  DeclarePace pace_{config_.clock};
  const TaskdParts parts_{&store_,       &chunks_,      &manifests_,    &task_index_,    &updater_,
                          &request_log_, &callers_,     &keys_,         &revoked_,       &sessions_,
                          &pace_,        &streams_,     leader_.get(),  presence_.get(), config_.labels,
                          config_.clock, timers_.get(), workers_.get(), config_.audit};
  FanOut fan_out_{&parts_};
  Roster roster_{&parts_};
  Dependents dependents_{&parts_, &roster_};
  Lifecycle lifecycle_{&parts_, &jumps_};
  Tasks tasks_{&parts_, &roster_, &lifecycle_};
  const Revisions revisions_{&parts_};
  Joining joining_{&parts_};
  Upkeep upkeep_{&parts_, &jumps_, config_.retention};
  Assignments assignments_{&parts_};
  TaskServiceAdapter task_service_{&gate_, &tasks_, &revisions_, &roster_, &dependents_, &parts_};
  ArtifactServiceAdapter artifact_service_{&gate_, &parts_};
  std::vector<rpc::Metrics::Source> metric_sources_;
  ParticipationServiceAdapter participation_service_{&gate_, &joining_, &assignments_, &parts_};
  Mutex lease_mutex_;
  bool drained_ ABSL_GUARDED_BY(lease_mutex_) = false;
};

}  // namespace parley::taskd

#endif  // PARLEY_SERVICES_TASKD_TASKD_H_
