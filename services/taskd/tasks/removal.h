// How a task goes: at once for everybody who looks, and then piece by piece in commits that every engine takes.
//
// The first commit removes the task's own record, so that no view and no change finds it, and notes that a removal is
// under way. Every later one is conditional on that note, and the last one removes it. So the work may be cut off
// anywhere and taken up by another process, and what two do at a time is never done to a new task of the same name,
// which cannot be made before the note is gone.
//
// Threads: all functions may be called from any thread; they block on the store.
#ifndef PARLEY_SERVICES_TASKD_TASKS_REMOVAL_H_
#define PARLEY_SERVICES_TASKD_TASKS_REMOVAL_H_

#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lib/store/store.h"
#include "services/taskd/participants/parts.h"
#include "services/taskd/store/task_store.h"

namespace parley::taskd {

// Says that chunks are to be swept, because a task was removed. It is in RemovalRange, where no task has an empty name.
inline constexpr absl::string_view kSweepDueKey = "r//";

// Returns the first commit, which is conditional on the task being as it was read. Returns the errors of the store.
absl::StatusOr<store::Transaction> BeginRemoval(const TaskStore& store, const Stored<TaskRecord>& task);

// Removes what is left of one task.
class Removal {
 public:
  // `parts` must outlive this.
  Removal(const TaskdParts* parts, std::string task) : parts_(parts), task_(std::move(task)) {}

  // Does all of it that is still to be done, and lets the chunks go. The keys that the task's clients have end. Returns
  // the errors of the store; ABORTED (CONFLICT) if another process has ended it meanwhile.
  absl::Status Finish();

 private:
  // Commits what it is given if the removal is still under way.
  absl::Status Commit(store::Transaction transaction) const;
  absl::Status RemoveRevisions(int64_t revisions) const;
  absl::Status RemoveClients() const;
  absl::Status RemoveJoinKeys() const;
  absl::Status RemoveAll(store::KeyRange range) const;
  // Adds to a commit that a key works no more, and is not tied to its credential any more.
  absl::Status EndKey(absl::string_view serial, absl::Time expire_time, bool revoked, absl::string_view credential,
                      absl::string_view key, store::Transaction* transaction) const;

  const TaskdParts* const parts_;
  const std::string task_;
  // The revision of the note.
  int64_t revision_ = 0;
};

}  // namespace parley::taskd

#endif  // PARLEY_SERVICES_TASKD_TASKS_REMOVAL_H_
