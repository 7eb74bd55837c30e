#include "services/taskd/tasks/upkeep.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "lib/audit/audit_log.h"
#include "lib/base/error.h"
#include "lib/base/log.h"
#include "lib/base/proto_time.h"
#include "services/taskd/domain/names.h"
#include "services/taskd/store/keys.h"
#include "services/taskd/tasks/removal.h"

namespace parley::taskd {
namespace {

constexpr absl::Duration kEvery = absl::Hours(1);
// Without a removal only uploads that nobody named are to be found.
constexpr absl::Duration kSweepEvery = absl::Hours(24);
constexpr absl::Duration kRetryAfter = absl::Seconds(5);
constexpr size_t kTasksPerPage = 1000;

}  // namespace

Upkeep::Upkeep(const TaskdParts* parts, ClockJumps* jumps, absl::Duration retention)
    : parts_(parts),
      jumps_(jumps),
      retention_(retention),
      next_sweep_(parts->clock->Now() + kEvery),
      deleted_(
          parts->store->store(), RemovalRange(),
          [this]() -> absl::StatusOr<int64_t> {
            ASSIGN_OR_RETURN(const store::Page page, parts_->store->store()->List(RemovalRange()));
            if (!page.entries.empty()) Wake();
            return page.revision;
          },
          [this](const std::vector<store::Change>& changes) {
            for (const store::Change& change : changes) {
              if (change.value.has_value()) return Wake();
            }
          },
          parts->clock, parts->timers) {}

absl::Status Upkeep::Start() {
  RETURN_IF_ERROR(deleted_.Start());
  WakeLater(absl::ZeroDuration());
  return absl::OkStatus();
}

void Upkeep::Stop() {
  {
    MutexLock lock(&mutex_);
    stopped_ = true;
  }
  deleted_.Stop();
}

bool Upkeep::Goes() const {
  if (parts_->leader != nullptr && !parts_->leader->leads()) return false;
  MutexLock lock(&mutex_);
  return !stopped_;
}

void Upkeep::Wake() {
  if (!Goes()) return;
  MutexLock lock(&mutex_);
  again_ = true;
  if (std::exchange(working_, true)) return;
  parts_->workers->Run([this] { Work(); });
}

void Upkeep::WakeLater(absl::Duration after) {
  MutexLock lock(&mutex_);
  if (stopped_) return;
  parts_->timers->Schedule(parts_->clock->Now() + after, [this, after] {
    Wake();
    if (after != kRetryAfter) WakeLater(kEvery);
  });
}

void Upkeep::Work() {
  while (true) {
    {
      MutexLock lock(&mutex_);
      working_ = std::exchange(again_, false) && !stopped_;
      if (!working_) return;
    }
    const absl::Status status = LookOnce();
    if (status.ok()) continue;
    LogError("what is deleted could not be removed", {{"error", std::string(status.message())}});
    WakeLater(kRetryAfter);
  }
}

absl::Status Upkeep::LookOnce() {
  RETURN_IF_ERROR(DeleteOld());
  RETURN_IF_ERROR(FinishRemovals());
  const absl::StatusOr<store::Entry> due = parts_->store->store()->Get(kSweepDueKey);
  if (!absl::IsNotFound(due.status())) RETURN_IF_ERROR(due.status());
  if (!due.ok() && parts_->clock->Now() < next_sweep_) return absl::OkStatus();
  RETURN_IF_ERROR(SweepChunks());
  next_sweep_ = parts_->clock->Now() + kSweepEvery;
  if (!due.ok() || !Goes()) return absl::OkStatus();
  const auto swept = parts_->store->store()->Commit(store::Transaction().IfUnchanged(*due).Delete(due->key));
  // Another task has been removed meanwhile.
  return absl::IsAborted(swept.status()) ? absl::OkStatus() : swept.status();
}

absl::Status Upkeep::DeleteOld() {
  if (retention_ == absl::InfiniteDuration()) return absl::OkStatus();
  // The newest come first, and what was made since then has not ended before it.
  store::KeyRange range = CreatedRange();
  range.begin = CreatedKey(parts_->clock->Now() - retention_, "");
  for (bool more = true; more && Goes();) {
    ASSIGN_OR_RETURN(const store::Page page, parts_->store->store()->List(range, kTasksPerPage));
    for (const store::Entry& entry : page.entries) {
      range.begin = entry.key + '\0';
      RETURN_IF_ERROR(DeleteIfOld(LastPart(entry.key)));
    }
    more = page.more;
  }
  return absl::OkStatus();
}

absl::Status Upkeep::DeleteIfOld(const std::string& id) {
  const auto task = parts_->store->GetTask(id);
  if (absl::IsNotFound(task.status())) return absl::OkStatus();
  RETURN_IF_ERROR(task.status());
  if (!task->value.settled()) return absl::OkStatus();
  const absl::Time ended = ToTime(task->value.end_time());
  if (ended + retention_ > jumps_->Now(ended)) return absl::OkStatus();
  ASSIGN_OR_RETURN(store::Transaction removal, BeginRemoval(*parts_->store, *task));
  const absl::Status begun = parts_->store->store()->Commit(std::move(removal)).status();
  // Somebody else has deleted it.
  if (absl::IsAborted(begun)) return absl::OkStatus();
  RETURN_IF_ERROR(begun);
  RecordAction(parts_->audit, "service/taskd", "task.deleted", TaskName(id),
               absl::StrCat("it ended over ", absl::FormatDuration(retention_), " ago"));
  return absl::OkStatus();
}

absl::Status Upkeep::FinishRemovals() {
  ASSIGN_OR_RETURN(const store::Page page, parts_->store->store()->List(RemovalRange()));
  for (const store::Entry& entry : page.entries) {
    if (entry.key == kSweepDueKey) continue;
    if (!Goes()) break;
    const absl::Status finished = Removal(parts_, LastPart(entry.key)).Finish();
    // A process that led before was at it still.
    if (absl::IsAborted(finished)) continue;
    RETURN_IF_ERROR(finished);
    ++tasks_;
  }
  return absl::OkStatus();
}

// The first pass dooms what nobody names, the second one removes it, and takes back what was named meanwhile.
absl::Status Upkeep::SweepChunks() {
  while (Goes()) {
    ASSIGN_OR_RETURN(
        const chunks::ChunkStore::Swept swept,
        parts_->chunks->Sweep(jumps_->Now(absl::InfinitePast()), [this] { return parts_->store->ListNamedChunks(); }));
    chunks_ += swept.removed;
    if (swept.removed + swept.files > 0) {
      LogInfo("payload content that nothing names was removed",
              {{"chunks", absl::StrCat(swept.removed)}, {"files", absl::StrCat(swept.files)}});
    }
    if (swept.doomed == 0) return absl::OkStatus();
  }
  return absl::OkStatus();
}

}  // namespace parley::taskd
