// Several replicas of taskd in this process, on one store and each behind its own door.
#ifndef PARLEY_SERVICES_TASKD_TESTING_REPLICAS_TESTING_H_
#define PARLEY_SERVICES_TASKD_TESTING_REPLICAS_TESTING_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "lib/base/mutex.h"
#include "lib/keyd_client/device_labels.h"
#include "lib/keys/key_source.h"
#include "lib/rpc/metrics.h"
#include "lib/store/replicas.h"
#include "lib/store/shared_store_testing.h"
#include "lib/transport/grpc_door.h"
#include "services/taskd/testing/taskd_testing.h"

namespace parley::taskd {

class ReplicasTest : public TaskdTest {
 protected:
  struct Replica {
    std::unique_ptr<store::SharedStore> store;
    std::unique_ptr<store::Replicas> replicas;
    std::unique_ptr<keys::AudienceKeySource> key_source;
    std::unique_ptr<transport::GrpcDoor> door;
    std::unique_ptr<keyd_client::DeviceLabels> labels;
    rpc::Metrics metrics;
    std::unique_ptr<Taskd> taskd;
    std::string address;
    // What Replicas calls; null while there is no taskd.
    Mutex mutex;
    Taskd* running ABSL_GUARDED_BY(mutex) = nullptr;
  };

  // Without any replica. Leases of the store go by the real clock, everything else by the test's.
  ReplicasTest();
  ~ReplicasTest() override;

  // Starts a replica whose lease has this length. Returns its number.
  size_t StartReplica(absl::Duration ttl = absl::Seconds(30));
  absl::Status TryStartReplica(const Secret& sealing_key, absl::Duration ttl);
  // Stops it in order.
  void StopReplica(size_t replica);
  Replica& replica(size_t replica) { return *replicas_[replica]; }
  // Makes what follows talk to the replica.
  void TalkToReplica(size_t replica) { TalkTo(replicas_[replica]->address); }
  std::unique_ptr<TaskdTestClient> ConnectTo(size_t replica, const keys::Keyring::Minted& key);
  // Returns whether the replica's door lets the key in.
  bool Admits(size_t replica, const keys::Keyring::Minted& key);
  // Returns what a metric's line says, e.g. of "parley_task_looks_total"; -1 without it.
  double MetricOf(size_t replica, const std::string& name);
  // Returns the number of the replica that leads. Waits until one does.
  size_t WaitForLeader();
  // Waits until the replica shows the client as connected, or as not connected.
  void WaitForPresence(size_t replica, const JoinedClient& client, bool connected);

  std::unique_ptr<store::Store> shared_;
  std::vector<std::unique_ptr<Replica>> replicas_;
};

}  // namespace parley::taskd

#endif  // PARLEY_SERVICES_TASKD_TESTING_REPLICAS_TESTING_H_
