// Reads and changes where a client stands: optimistically, and again after a conflict.
//
// Every change is a commit on the condition that neither the client nor its task changed since the decision, so no
// offer is made after a pause was acknowledged, and two reports cannot both win.
//
// Threads: all methods may be called from any thread; they block on the store.
#ifndef PARLEY_SERVICES_TASKD_STORE_PARTICIPANT_UPDATER_H_
#define PARLEY_SERVICES_TASKD_STORE_PARTICIPANT_UPDATER_H_

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "lib/base/clock.h"
#include "services/taskd/domain/participant.h"
#include "services/taskd/store/recent_clients.h"
#include "services/taskd/store/task_index.h"
#include "services/taskd/store/task_store.h"

namespace parley::taskd {

struct ParticipantSnapshot {
  Stored<ParticipantRecord> client;
  TaskSnapshot task;
  // The client's record was in memory. If the watch has not caught up, it is of the past.
  bool recent = false;

  const task::v1::Participant& participant() const { return client.value.participant(); }
};

class ParticipantUpdater {
 public:
  // Returns the record to store in its place, or no value if it stays.
  using Decide = std::function<absl::StatusOr<std::optional<ParticipantRecord>>(const ParticipantRecord& record,
                                                                                const TaskRecord& task)>;
  // Returns why the client is refused, if it is.
  using Check = std::function<absl::Status(const ParticipantSnapshot& snapshot)>;
  // The number of clients that one commit changes: few enough for every engine's limit of operations.
  static constexpr size_t kClientsPerCommit = 32;
  // Adds what else is committed with the change.
  using Extra = std::function<void(const ParticipantRecord& record, store::Transaction* transaction)>;

  // All of these must outlive this.
  ParticipantUpdater(const TaskStore* store, TaskIndex* task_index, Clock* clock)
      : store_(store), task_index_(task_index), clock_(clock), recent_(task_index) {}

  // Returns the task, from memory if it is not settled, or NOT_FOUND.
  absl::StatusOr<TaskSnapshot> FindTask(absl::string_view task) const;
  // Returns NOT_FOUND: TASK_NOT_FOUND, PARTICIPANT_NOT_FOUND.
  absl::StatusOr<ParticipantSnapshot> Load(absl::string_view task, absl::string_view client) const;
  // Returns the same from memory, if this process has put what stands there as far as the watch has shown and `check`
  // has nothing against it; otherwise as it is stored. The errors of Load, and what `check` has against that.
  absl::StatusOr<ParticipantSnapshot> LoadRecent(absl::string_view task, absl::string_view client,
                                                 const Check& check) const;
  // Says that this process has committed the client's record in another way than by this class.
  void Committed(absl::string_view task, absl::string_view client, const ParticipantRecord& record,
                 int64_t revision) const {
    recent_.Put(task, client, record, revision);
  }

  // Decides over `snapshot` and commits. After a conflict it reads both records anew and decides again, and so it does
  // when a recent snapshot leads to an error or to no change. `snapshot` is what holds afterwards. Returns whether it
  // changed, the decision's error, or ABORTED if conflicts do not end.
  absl::StatusOr<bool> Update(absl::string_view task, absl::string_view client, ParticipantSnapshot* snapshot,
                              const Decide& decide, const Extra& extra = nullptr) const;
  // Applies one event to `snapshot`, or to what is stored. Return the errors of Update, of Load and of Advance.
  absl::StatusOr<bool> Apply(absl::string_view task, absl::string_view client, const Event& event,
                             ParticipantSnapshot* snapshot) const;
  absl::StatusOr<bool> Apply(absl::string_view task, absl::string_view client, const Event& event) const;
  // Applies one event to each of these clients, many in one commit. Returns how many it changed, or NOT_FOUND if one of
  // them is unknown; those before it may have changed then.
  absl::StatusOr<int> ApplyToAll(absl::string_view task, const std::vector<std::string>& clients,
                                 const Event& event) const;

  // Stores that the client fetches chunks of the revision. Returns the errors of Update and of Load.
  absl::Status RenewTransfer(absl::string_view task, absl::string_view client, int64_t revision) const;

  struct Applied {
    // One for each client, in their order.
    std::vector<ParticipantSnapshot> snapshots;
    int changed = 0;
  };
  // Returns the event of a client, by its place in the order. Asked once the client's record has been read, so that
  // what the event knows is no older than the record.
  using EventOf = std::function<Event(size_t client)>;
  // Is told before the commit which client, by its place in the order, comes to which version.
  using Expect = std::function<void(size_t client, int64_t version)>;
  // The event of each of at most kClientsPerCommit clients, in one commit. ABORTED when one of them, or the task, has
  // moved meanwhile, or when they are too large for one commit, and NOT_FOUND when one is unknown; nothing was changed
  // then.
  absl::StatusOr<Applied> TryApply(absl::string_view task, absl::Span<const std::string> clients,
                                   const EventOf& event_of, const Expect& expect = nullptr) const;

 private:
  const TaskStore* const store_;
  TaskIndex* const task_index_;
  Clock* const clock_;
  mutable RecentClients recent_;
};

}  // namespace parley::taskd

#endif  // PARLEY_SERVICES_TASKD_STORE_PARTICIPANT_UPDATER_H_
