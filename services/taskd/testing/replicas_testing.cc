#include "services/taskd/testing/replicas_testing.h"

#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "grpcpp/server_builder.h"
#include "lib/base/encoding.h"
#include "lib/store/sqlite_store.h"
#include "lib/transport/testing/loopback.h"

namespace parley::taskd {

ReplicasTest::ReplicasTest() {
  Stop();
  auto store = store::OpenSqliteStore({.path = folder_ + "/shared.db"});
  EXPECT_TRUE(store.ok()) << store.status();
  shared_ = *std::move(store);
}

ReplicasTest::~ReplicasTest() {
  Stop();
  for (size_t i = 0; i < replicas_.size(); ++i) StopReplica(i);
}

size_t ReplicasTest::StartReplica(absl::Duration ttl) {
  const absl::Status started = TryStartReplica(sealing_key(), ttl);
  EXPECT_TRUE(started.ok()) << started;
  return replicas_.size() - 1;
}

absl::Status ReplicasTest::TryStartReplica(const Secret& sealing_key, absl::Duration ttl) {
  auto owned = std::make_unique<Replica>();
  Replica* const replica = owned.get();
  replica->store = std::make_unique<store::SharedStore>(shared_.get());
  store::Replicas::Options joining;
  joining.store = replica->store.get();
  joining.service = "taskd";
  joining.ttl = ttl;
  joining.read_anew = [replica] {
    MutexLock lock(&replica->mutex);
    return replica->running == nullptr ? absl::OkStatus() : replica->running->ReadAnew();
  };
  joining.on_change = [replica](bool held) {
    MutexLock lock(&replica->mutex);
    if (replica->running != nullptr) replica->running->OnLease(held);
  };
  ASSIGN_OR_RETURN(replica->replicas, store::Replicas::Join(std::move(joining)));
  replica->key_source = std::make_unique<keys::AudienceKeySource>(keyring(), &clock_,
                                                                  [replica] { return replica->replicas->CheckHeld(); });
  transport::Listener::Options listener;
  listener.address = transport::OwnLoopback();
  listener.clock = &clock_;
  ASSIGN_OR_RETURN(replica->door, transport::GrpcDoor::Create(std::move(listener), replica->key_source.get()));
  replica->address = replica->door->listener().address();
  replica->labels = std::make_unique<keyd_client::DeviceLabels>();
  replica->labels->Replace({});
  Taskd::Config config;
  config.store = replica->store.get();
  config.replicas = replica->replicas.get();
  config.keyring = keyring();
  config.sealing_key = sealing_key.Clone();
  config.public_address = replica->address;
  config.labels = replica->labels.get();
  config.audit = &audit_;
  config.metrics = &replica->metrics;
  config.clock = &clock_;
  config.steady = steady_;
  config.retention = retention_;
  config.chunks = chunks_;
  config.find_peer = [replica](const grpc::ServerContextBase& context) { return replica->door->PeerOf(context); };
  config.revoke = [replica](const std::string& serial, absl::Time not_after) {
    replica->key_source->Revoke(serial, not_after);
    replica->door->listener().CloseKey(HexEncode(serial));
  };
  config.workers = 8;
  ASSIGN_OR_RETURN(replica->taskd, Taskd::Create(std::move(config)));
  {
    MutexLock lock(&replica->mutex);
    replica->running = replica->taskd.get();
  }
  grpc::ServerBuilder builder;
  replica->taskd->Register(&builder);
  RETURN_IF_ERROR(replica->door->Serve(&builder));
  replicas_.push_back(std::move(owned));
  if (replicas_.size() == 1) TalkToReplica(0);
  return absl::OkStatus();
}

void ReplicasTest::StopReplica(size_t replica) {
  Replica* const stopped = replicas_[replica].get();
  if (stopped->taskd == nullptr) return;
  stopped->taskd->Drain();
  stopped->door->Shutdown(absl::Now() + absl::Seconds(5));
  stopped->door->Wait();
  {
    MutexLock lock(&stopped->mutex);
    stopped->running = nullptr;
  }
  stopped->taskd = nullptr;
  stopped->door = nullptr;
  stopped->replicas = nullptr;
}

std::unique_ptr<TaskdTestClient> ReplicasTest::ConnectTo(size_t replica, const keys::Keyring::Minted& key) {
  return std::make_unique<TaskdTestClient>(replicas_[replica]->address, key, &clock_);
}

bool ReplicasTest::Admits(size_t replica, const keys::Keyring::Minted& key) {
  return replicas_[replica]->key_source->Find(key.identity, transport::KeySource::Want::kPsk).ok();
}

double ReplicasTest::MetricOf(size_t replica, const std::string& name) {
  for (const absl::string_view line : absl::StrSplit(replicas_[replica]->metrics.Text(), '\n')) {
    const std::vector<absl::string_view> parts = absl::StrSplit(line, ' ');
    double value = 0;
    if (parts.size() == 2 && parts[0] == name && absl::SimpleAtod(parts[1], &value)) return value;
  }
  return -1;
}

size_t ReplicasTest::WaitForLeader() {
  while (true) {
    for (size_t i = 0; i < replicas_.size(); ++i) {
      if (replicas_[i]->taskd != nullptr && MetricOf(i, "parley_leads") == 1) return i;
    }
  }
}

void ReplicasTest::WaitForPresence(size_t replica, const JoinedClient& client, bool connected) {
  TalkToReplica(replica);
  while (GetParticipant(client.task, client.client).connected() != connected && !HasFailure()) {
  }
}

}  // namespace parley::taskd
