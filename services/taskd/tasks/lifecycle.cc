#include "services/taskd/tasks/lifecycle.h"

#include <functional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "lib/base/log.h"
#include "lib/base/proto_time.h"
#include "lib/task/states.h"
#include "services/taskd/domain/names.h"
#include "services/taskd/domain/task.h"
#include "services/taskd/store/keys.h"

namespace parley::taskd {
namespace {

// After an error of the store, e.g. a full disk.
constexpr absl::Duration kRetryAfter = absl::Seconds(5);

}  // namespace

void Lifecycle::Reevaluate(const std::string& task) {
  if (!Leads()) return;
  MutexLock lock(&mutex_);
  if (stopped_) return;
  const auto [place, added] = looking_.emplace(task, false);
  if (!added) {
    place->second = true;
    return;
  }
  parts_->workers->Run([this, task] { Work(task); });
}

void Lifecycle::Stop() {
  MutexLock lock(&mutex_);
  stopped_ = true;
}

void Lifecycle::Work(const std::string& task) {
  while (true) {
    const absl::Status status = LookOnce(task);
    if (!status.ok()) {
      LogError("a task could not be moved on", {{"task", task}, {"error", std::string(status.message())}});
      RetryLater(kRetryAfter, [this, task] { Reevaluate(task); });
    }
    MutexLock lock(&mutex_);
    const auto place = looking_.find(task);
    if (!place->second || stopped_) {
      looking_.erase(place);
      return;
    }
    place->second = false;
  }
}

void Lifecycle::RetryLater(absl::Duration after, std::function<void()> work) {
  MutexLock lock(&mutex_);
  if (!stopped_) parts_->timers->Schedule(parts_->clock->Now() + after, std::move(work));
}

absl::Status Lifecycle::LookOnce(const std::string& task) {
  while (Leads()) {
    ++looks_;
    const TaskSnapshot snapshot = parts_->task_index->Find(task);
    if (snapshot == nullptr) return absl::OkStatus();
    if (task::HasEnded(snapshot->value.task().state())) return EndParticipants(snapshot);
    const absl::Time now = jumps_->Now(ToTime(snapshot->value.task().create_time()));
    const auto due = Due(snapshot->value, parts_->task_index->TallyOf(task).value_or(Tally()), now);
    if (!due.has_value() && snapshot->value.rollout().drawing() &&
        snapshot->value.task().state() == task::v1::Task::STATE_OPEN) {
      RETURN_IF_ERROR(OpenNextWave(task));
      continue;
    }
    if (!due.has_value()) {
      // The board's timer goes by the clock, and has come too early when that has jumped.
      const absl::Time next = NextDue(snapshot->value);
      if (next <= parts_->clock->Now()) RetryLater(next - now, [this, task] { Reevaluate(task); });
      return absl::OkStatus();
    }
    RETURN_IF_ERROR(Change(snapshot, *due));
  }
  return absl::OkStatus();
}

// Who joins from now on is marked as too late for the wave, so what has been committed before this is all that counts.
absl::Status Lifecycle::OpenNextWave(const std::string& task) {
  RETURN_IF_ERROR(parts_->task_index->CatchUpWithAll());
  const TaskSnapshot snapshot = parts_->task_index->Find(task);
  const auto tally = parts_->task_index->TallyOf(task);
  if (snapshot == nullptr || !tally.has_value() || !snapshot->value.rollout().drawing()) return absl::OkStatus();
  const absl::Time now = jumps_->Now(ToTime(snapshot->value.task().create_time()));
  // Something may have failed meanwhile, or an operator have stopped the task.
  if (Due(snapshot->value, *tally, now).has_value()) return absl::OkStatus();
  TaskRecord next = snapshot->value;
  parts_->task_index->OpenNextWave(&next);
  return Change(snapshot, next);
}

// On a conflict the board shows what won, and the task is looked at again.
absl::Status Lifecycle::Change(const TaskSnapshot& task, const TaskRecord& next) {
  const std::string id = *ParseTaskName(next.task().name());
  store::Transaction transaction;
  Replace(TaskKey(id), task->revision, next, &transaction);
  if (next.settled()) transaction.Delete(UnsettledKey(id));
  const absl::StatusOr<int64_t> revision = parts_->store->store()->Commit(std::move(transaction));
  if (!absl::IsAborted(revision.status())) RETURN_IF_ERROR(revision.status());
  if (revision.ok() && !next.settled()) {
    RecordChange(task->value, next);
  }
  // The store knows who was faster; this process may not yet.
  ASSIGN_OR_RETURN(const Stored<TaskRecord> now, parts_->store->GetTask(id));
  parts_->task_index->Committed(now.revision);
  RETURN_IF_ERROR(parts_->task_index->CatchUp());
  // Only now does it show as settled.
  if (now.value.settled() && parts_->presence != nullptr) parts_->presence->Forget(id);
  return absl::OkStatus();
}

void Lifecycle::RecordChange(const TaskRecord& former, const TaskRecord& next) const {
  const std::string& name = next.task().name();
  if (former.task().state() != next.task().state()) {
    RecordAction(parts_->audit, "service/taskd", "task.state_changed", name,
                 absl::StrCat(task::v1::Task::State_Name(next.task().state()).substr(sizeof("STATE_") - 1),
                              next.end_reason().empty() ? "" : ": ", next.end_reason()));
  }
  const int open = next.rollout().open_waves_size();
  if (open == former.rollout().open_waves_size()) return;
  const std::string& opener = next.rollout().open_waves(open - 1).opener();
  RecordAction(parts_->audit, "service/taskd", "task.wave_opened", name,
               absl::StrCat("wave ", open, " of ", next.task().rollout().waves_size(), " of r", next.task().revision(),
                            opener.empty() ? "" : ", by ", opener));
  LogInfo("a wave has opened", {{"task", name}, {"wave", absl::StrCat(open)}});
}

// Ends the clients that the task's end demands, many in one commit; when the last has ended, closes the books.
absl::Status Lifecycle::EndParticipants(const TaskSnapshot& task) {
  const std::string id = *ParseTaskName(task->value.task().name());
  const TaskIndex::Unended unended = parts_->task_index->FindUnended(id);
  RETURN_IF_ERROR(parts_->updater->ApplyToAll(id, unended.clients, Event{Event::Kind::kTaskEnded}).status());
  RETURN_IF_ERROR(parts_->task_index->CatchUp());
  if (!parts_->task_index->FindUnended(id).all_ended) return absl::OkStatus();
  TaskRecord settled = task->value;
  settled.set_settled(true);
  *settled.mutable_task()->mutable_counts() = parts_->task_index->TallyOf(id).value_or(Tally()).counts;
  return Change(task, settled);
}

absl::Status Lifecycle::Settle(const std::string& task) {
  RETURN_IF_ERROR(parts_->task_index->CatchUpWithAll());
  const TaskSnapshot snapshot = parts_->task_index->Find(task);
  if (snapshot == nullptr || !task::HasEnded(snapshot->value.task().state())) return absl::OkStatus();
  RETURN_IF_ERROR(EndParticipants(snapshot));
  // Another thread or process may have been faster at some, and not have said so yet.
  ASSIGN_OR_RETURN(const store::Page clients, parts_->store->store()->List(ParticipantRange(task)));
  parts_->task_index->Committed(NewestOf(clients.entries));
  RETURN_IF_ERROR(parts_->task_index->CatchUp());
  return parts_->task_index->Find(task) == nullptr ? absl::OkStatus() : EndParticipants(snapshot);
}

void Lifecycle::ApplyEvent(const std::string& task, const std::string& client, Event::Kind kind, int64_t version) {
  MutexLock lock(&mutex_);
  if (stopped_) return;
  parts_->workers->Run([=, this] {
    Event event{kind};
    event.version = version;
    const absl::StatusOr<bool> applied = parts_->updater->Apply(task, client, event);
    if (applied.ok()) ends_ += *applied ? 1 : 0;
    if (applied.ok()) return;
    LogError("a lease could not be ended", {{"task", task}, {"error", std::string(applied.status().message())}});
    RetryLater(kRetryAfter, [=, this] { ApplyEvent(task, client, kind, version); });
  });
}

}  // namespace parley::taskd
