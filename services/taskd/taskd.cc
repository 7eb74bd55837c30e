#include "services/taskd/taskd.h"

#include <utility>
#include <vector>

#include "grpcpp/server_builder.h"
#include "lib/base/error.h"
#include "lib/base/timer_queue.h"
#include "services/taskd/domain/names.h"
#include "services/taskd/participants/fan_out.h"
#include "services/taskd/service/artifact_service.h"
#include "services/taskd/service/metrics.h"
#include "services/taskd/service/participation_service.h"
#include "services/taskd/service/task_service.h"
#include "services/taskd/tasks/lifecycle.h"

namespace parley::taskd {
namespace {

constexpr size_t kManifestCacheBytes = 32 << 20;

}  // namespace

class Taskd::Impl {
 public:
  Impl(Config config, TaskKeys keys)
      : config_(std::move(config)),
        keys_(std::move(keys)),
        store_(config_.store),
        chunks_(config_.store, config_.chunk_cache_bytes),
        manifests_(&store_, kManifestCacheBytes),
        timers_(std::make_unique<TimerQueue>(config_.clock)),
        workers_(std::make_unique<rpc::WorkerPool>(config_.workers)),
        jumps_(config_.clock, config_.steady),
        task_index_(&store_, config_.clock, timers_.get()),
        revoked_(&store_, config_.revoke, config_.clock, timers_.get()) {}

  ~Impl() {
    figures_.clear();
    config_.labels->StopObserving();
    dependents_.ended().Stop();
    // First what begins work, then what does it: nothing is called that is gone.
    lifecycle_.Stop();
    revoked_.Stop();
    task_index_.Stop();
    workers_.reset();
    timers_.reset();
  }

  absl::Status Start() {
    RETURN_IF_ERROR(revoked_.Start());
    TaskIndex::Observer observer;
    observer.task_changed = [this](const TaskSnapshot& task) { OnTaskChanged(task); };
    observer.task_due = [this](const std::string& task) { lifecycle_.Reevaluate(task); };
    observer.participant_changed = [this](const std::string& task, const std::string& client, int64_t version) {
      if (const auto session = sessions_.Find(task, client)) session->Notify(version);
    };
    observer.participant_due = [this](const std::string& task, const std::string& client, TaskIndex::Due due,
                                      int64_t version) { OnParticipantDue(task, client, due, version); };
    RETURN_IF_ERROR(task_index_.Start(std::move(observer)));
    config_.labels->Observe([this](const std::string& device) { OnRelabelled(device); });
    if (config_.metrics != nullptr) {
      figures_ = TaskMetrics(&task_index_, config_.metrics);
      figures_.push_back(config_.metrics->Add(
          "parley_clock_ahead_seconds", "How far the clock was set forward since the start of the service.",
          rpc::Metrics::Kind::kGauge, [this]() -> std::vector<rpc::Metrics::Sample> {
            return {{{}, absl::ToDoubleSeconds(jumps_.ahead())}};
          }));
    }
    return absl::OkStatus();
  }

  void Register(grpc::ServerBuilder* builder) {
    builder->RegisterService(&task_service_);
    builder->RegisterService(&artifact_service_);
    builder->RegisterService(&participation_service_);
  }

  keyd_client::EndedCredentials& ended_credentials() { return dependents_.ended(); }

  void Drain() {
    sessions_.Close(rpc::ServerStopping());
    streams_.Close(rpc::ServerStopping());
  }

 private:
  // Labels of this device have changed; of any device, when the name is empty.
  void OnRelabelled(const std::string& device) {
    assignments_.Relabelled(device);
    for (const TaskSnapshot& task : task_index_.Tasks()) {
      const std::string id = *ParseTaskName(task->value.task().name());
      if (device.empty()) {
        fan_out_.Begin(id);
      } else if (const auto session = sessions_.Find(id, device)) {
        session->Notify(0);
      }
    }
  }

  void OnTaskChanged(const TaskSnapshot& task) {
    assignments_.Offer(task);
    fan_out_.Begin(*ParseTaskName(task->value.task().name()));
  }

  void OnParticipantDue(const std::string& task, const std::string& client, TaskIndex::Due due, int64_t version) {
    switch (due) {
      case TaskIndex::Due::kLease:
        return lifecycle_.OnLease(task, client, version);
      case TaskIndex::Due::kSession:
        // It may be back. When it comes in the very next moment, its session finds it lost, and takes it back.
        if (sessions_.Find(task, client) != nullptr) return;
        return lifecycle_.OnSessionLost(task, client, version);
      case TaskIndex::Due::kOffer:
        if (const auto session = sessions_.Find(task, client)) session->Notify(0);
        return;
    }
  }

  const Config config_;
  const TaskKeys keys_;
  const TaskStore store_;
  ChunkStore chunks_;
  ManifestCache manifests_;
  Sessions sessions_;
  rpc::LiveStreams streams_;
  std::unique_ptr<TimerQueue> timers_;
  std::unique_ptr<rpc::WorkerPool> workers_;
  ClockJumps jumps_;
  TaskIndex task_index_;
  RevokedKeys revoked_;
  const rpc::Gate gate_{config_.find_peer, config_.audit, workers_.get(), config_.metrics};
  const ParticipantUpdater updater_{&store_, &task_index_, config_.clock};
  const RequestLog request_log_{&store_};
  const CallerResolver callers_{&store_, &updater_, config_.audit};
  DeclarePace pace_{config_.clock};
  const TaskdParts parts_{&store_,        &chunks_,      &manifests_,   &task_index_,   &updater_,    &request_log_,
                          &callers_,      &keys_,        &revoked_,     &sessions_,     &pace_,       &streams_,
                          config_.labels, config_.clock, timers_.get(), workers_.get(), config_.audit};
  FanOut fan_out_{&parts_};
  Roster roster_{&parts_};
  Dependents dependents_{&parts_, &roster_};
  Tasks tasks_{&parts_, &roster_};
  Joining joining_{&parts_};
  Lifecycle lifecycle_{&parts_, &jumps_};
  Assignments assignments_{&parts_};
  TaskServiceAdapter task_service_{&gate_, &tasks_, &roster_, &dependents_, &parts_};
  ArtifactServiceAdapter artifact_service_{&gate_, &parts_};
  std::vector<rpc::Metrics::Source> figures_;
  ParticipationServiceAdapter participation_service_{&gate_, &joining_, &assignments_, &parts_};
};

Taskd::Taskd(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Taskd::~Taskd() = default;

absl::StatusOr<std::unique_ptr<Taskd>> Taskd::Create(Config config) {
  ASSIGN_OR_RETURN(TaskKeys keys, TaskKeys::Create(config.keyring, config.sealing_key, config.public_address));
  auto impl = std::make_unique<Impl>(std::move(config), std::move(keys));
  RETURN_IF_ERROR(impl->Start());
  return std::unique_ptr<Taskd>(new Taskd(std::move(impl)));
}

void Taskd::Register(grpc::ServerBuilder* builder) { impl_->Register(builder); }

keyd_client::EndedCredentials& Taskd::ended_credentials() { return impl_->ended_credentials(); }

void Taskd::Drain() { impl_->Drain(); }

}  // namespace parley::taskd
