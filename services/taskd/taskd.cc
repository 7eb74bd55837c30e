#include "services/taskd/taskd.h"

#include <functional>
#include <utility>

#include "lib/base/error.h"
#include "services/taskd/domain/names.h"
#include "services/taskd/service/metrics.h"
#include "services/taskd/store/keys.h"

namespace parley::taskd {
namespace {

constexpr size_t kManifestCacheBytes = 32 << 20;

}  // namespace

Taskd::Taskd(Config config, KeyMaker keys)
    : config_(std::move(config)),
      keys_(std::move(keys)),
      store_(config_.store),
      chunks_(ChunkOptions(config_)),
      manifests_(&store_, kManifestCacheBytes),
      timers_(std::make_unique<TimerQueue>(config_.clock)),
      workers_(std::make_unique<rpc::WorkerPool>(config_.workers)),
      jumps_(config_.clock, config_.steady),
      presence_(config_.replicas == nullptr ? nullptr
                                            : std::make_unique<ClientPresence>(&store_, config_.replicas, config_.clock,
                                                                               timers_.get(), workers_.get())),
      barrier_(config_.replicas == nullptr ? nullptr : std::make_unique<Barrier>(config_.store, config_.replicas)),
      leader_(config_.replicas == nullptr ? nullptr : std::make_unique<store::Leader>(LeaderOptions())),
      task_index_(&store_, presence_.get(), barrier_.get(), config_.clock, timers_.get()),
      revoked_(&store_, config_.replicas, config_.revoke, config_.clock, timers_.get()) {}

Taskd::~Taskd() {
  metric_sources_.clear();
  config_.labels->StopObserving();
  dependents_.ended().Stop();
  // First what begins work, then what does it: nothing is called that is gone.
  lifecycle_.Stop();
  upkeep_.Stop();
  if (leader_ != nullptr) leader_->Stop();
  if (presence_ != nullptr) presence_->Stop();
  revoked_.Stop();
  task_index_.Stop();
  workers_.reset();
  timers_.reset();
}

absl::StatusOr<std::unique_ptr<Taskd>> Taskd::Create(Config config) {
  ASSIGN_OR_RETURN(KeyMaker keys, KeyMaker::Create(config.keyring, config.sealing_key, config.public_address));
  std::unique_ptr<Taskd> taskd(new Taskd(std::move(config), std::move(keys)));
  RETURN_IF_ERROR(taskd->Start());
  return taskd;
}

absl::Status Taskd::Start() {
  RETURN_IF_ERROR(keys_.CheckSealingKey(store_));
  RETURN_IF_ERROR(chunks_.Start());
  RETURN_IF_ERROR(revoked_.Start());
  if (presence_ != nullptr) {
    ClientPresence::Observer connections;
    connections.changed = std::bind_front(&TaskIndex::PresenceChanged, &task_index_);
    connections.replaced = [this](const std::string& task, const std::string& client) {
      if (const auto session = sessions_.Find(task, client)) session->End(StreamReplaced());
    };
    connections.is_open = [this](const std::string& task) { return task_index_.Find(task) != nullptr; };
    RETURN_IF_ERROR(presence_->Start(std::move(connections)));
  }
  TaskIndex::Observer observer;
  observer.task_changed = std::bind_front(&Taskd::OnTaskChanged, this);
  observer.task_due = [this](const std::string& task) { lifecycle_.Reevaluate(task); };
  observer.participant_changed = std::bind_front(&Taskd::Notify, this);
  observer.participant_due = std::bind_front(&Taskd::OnParticipantDue, this);
  RETURN_IF_ERROR(task_index_.Start(std::move(observer)));
  if (leader_ != nullptr) RETURN_IF_ERROR(leader_->Start());
  RETURN_IF_ERROR(upkeep_.Start());
  config_.labels->Observe(std::bind_front(&Taskd::OnRelabelled, this));
  if (config_.metrics != nullptr) {
    metric_sources_ = TaskMetrics(&task_index_, config_.metrics);
    const auto add = [this](const std::string& name, const std::string& help, rpc::Metrics::Kind kind,
                            std::function<double()> read) {
      metric_sources_.push_back(
          config_.metrics->Add(name, help, kind, [read = std::move(read)]() -> std::vector<rpc::Metrics::Sample> {
            return {{{}, read()}};
          }));
    };
    add("parley_leads", "Whether this process looks after tasks, and not another one on the same store.",
        rpc::Metrics::Kind::kGauge, [this] { return lifecycle_.Leads() ? 1.0 : 0.0; });
    add("parley_task_looks_total", "How often this process has looked whether anything is due for a task.",
        rpc::Metrics::Kind::kCounter, [this] { return static_cast<double>(lifecycle_.looks()); });
    add("parley_client_ends_total", "Leases and sessions of clients that this process has ended.",
        rpc::Metrics::Kind::kCounter, [this] { return static_cast<double>(lifecycle_.ends()); });
    add("parley_deleted_tasks_total", "Deleted tasks whose records this process has removed.",
        rpc::Metrics::Kind::kCounter, [this] { return static_cast<double>(upkeep_.tasks()); });
    add("parley_swept_chunks_total", "Payload chunks that this process has removed because no revision names them.",
        rpc::Metrics::Kind::kCounter, [this] { return static_cast<double>(upkeep_.chunks()); });
    add("parley_clock_ahead_seconds", "How far the clock was set forward since the start of the service.",
        rpc::Metrics::Kind::kGauge, [this] { return absl::ToDoubleSeconds(jumps_.ahead()); });
  }
  return absl::OkStatus();
}

void Taskd::Register(grpc::ServerBuilder* builder) {
  builder->RegisterService(&task_service_);
  builder->RegisterService(&artifact_service_);
  builder->RegisterService(&participation_service_);
}

chunks::ChunkStore::Options Taskd::ChunkOptions(const Config& config) {
  chunks::ChunkStore::Options options = config.chunks;
  options.store = config.store;
  options.clock = config.clock;
  return options;
}

store::Leader::Options Taskd::LeaderOptions() {
  store::Leader::Options options;
  options.store = config_.store;
  options.replicas = config_.replicas;
  options.clock = config_.clock;
  options.timers = timers_.get();
  options.key = std::string(kLeadKey);
  options.run = [this](std::function<void()> work) { workers_->Run(std::move(work)); };
  options.on_change = [this](bool leads) {
    task_index_.OnLead(leads);
    presence_->OnLead(leads);
    if (leads) upkeep_.Wake();
  };
  return options;
}

absl::Status Taskd::ReadAnew() {
  RETURN_IF_ERROR(revoked_.ReadAnew());
  RETURN_IF_ERROR(presence_->ReadAnew());
  RETURN_IF_ERROR(task_index_.ReadAnew());
  RETURN_IF_ERROR(upkeep_.ReadAnew());
  return leader_->ReadAnew();
}

void Taskd::OnLease(bool held) {
  {
    MutexLock lock(&lease_mutex_);
    const absl::Status status = held ? absl::OkStatus() : config_.replicas->CheckHeld();
    if (!drained_) sessions_.Close(status);
    if (!drained_) streams_.Close(status);
  }
  presence_->OnLease(held);
  leader_->OnLease(held);
}

void Taskd::Drain() {
  MutexLock lock(&lease_mutex_);
  drained_ = true;
  if (presence_ != nullptr) presence_->Leave();
  sessions_.Close(rpc::ServerStopping());
  streams_.Close(rpc::ServerStopping());
}

void Taskd::OnRelabelled(const std::string& device) {
  assignments_.Relabelled(device);
  for (const TaskSnapshot& task : task_index_.Tasks()) {
    const std::string id = *ParseTaskName(task->value.task().name());
    if (device.empty()) {
      fan_out_.Begin(id);
    } else {
      Notify(id, device, 0);
    }
  }
}

void Taskd::OnTaskChanged(const TaskSnapshot& task, bool waves_only) {
  assignments_.Offer(task);
  fan_out_.Begin(*ParseTaskName(task->value.task().name()), waves_only);
}

void Taskd::Notify(const std::string& task, const std::string& client, int64_t version) {
  if (const auto session = sessions_.Find(task, client)) session->Notify(version);
}

void Taskd::OnParticipantDue(const std::string& task, const std::string& client, TaskIndex::Due due, int64_t version) {
  switch (due) {
    case TaskIndex::Due::kLease:
      return lifecycle_.ApplyEvent(task, client, Event::Kind::kLeaseRanOut, version);
    case TaskIndex::Due::kSession:
      // It may be back. When it comes in the very next moment, its session finds it lost, and takes it back.
      if (sessions_.Find(task, client) != nullptr) return;
      return lifecycle_.ApplyEvent(task, client, Event::Kind::kSessionLost, version);
    case TaskIndex::Due::kOffer:
      return Notify(task, client, 0);
  }
}

}  // namespace parley::taskd
