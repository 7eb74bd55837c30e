#include "services/taskd/store/participant_updater.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "lib/store/update.h"
#include "services/taskd/store/keys.h"

namespace parley::taskd {

absl::StatusOr<TaskSnapshot> ParticipantUpdater::FindTask(absl::string_view task) const {
  if (TaskSnapshot snapshot = task_index_->Find(task)) return snapshot;
  ASSIGN_OR_RETURN(Stored<TaskRecord> stored, store_->GetTask(task));
  return std::make_shared<const Stored<TaskRecord>>(std::move(stored));
}

absl::StatusOr<ParticipantSnapshot> ParticipantUpdater::Load(absl::string_view task, absl::string_view client) const {
  ParticipantSnapshot snapshot;
  ASSIGN_OR_RETURN(snapshot.task, FindTask(task));
  ASSIGN_OR_RETURN(snapshot.client, store_->GetParticipant(task, client));
  return snapshot;
}

absl::StatusOr<ParticipantSnapshot> ParticipantUpdater::LoadRecent(absl::string_view task, absl::string_view client,
                                                                   const Check& check) const {
  TaskSnapshot of_task = task_index_->Find(task);
  if (const auto found = of_task == nullptr ? nullptr : recent_.Find(task, client)) {
    ParticipantSnapshot snapshot{.client = *found, .task = std::move(of_task), .recent = true};
    if (check(snapshot).ok()) return snapshot;
  }
  ASSIGN_OR_RETURN(ParticipantSnapshot snapshot, Load(task, client));
  RETURN_IF_ERROR(check(snapshot));
  return snapshot;
}

absl::StatusOr<bool> ParticipantUpdater::Update(absl::string_view task, absl::string_view client,
                                                ParticipantSnapshot* snapshot, const Decide& decide,
                                                const Extra& extra) const {
  std::optional<ParticipantRecord> next;
  // From the store itself: what is in memory may be behind it.
  const auto read_anew = [&]() -> absl::Status {
    ASSIGN_OR_RETURN(Stored<TaskRecord> fresh, store_->GetTask(task));
    snapshot->task = std::make_shared<const Stored<TaskRecord>>(std::move(fresh));
    ASSIGN_OR_RETURN(snapshot->client, store_->GetParticipant(task, client));
    snapshot->recent = false;
    return absl::OkStatus();
  };
  const auto commit = [&](int conflicts) -> absl::StatusOr<std::optional<store::Transaction>> {
    if (conflicts > 0) RETURN_IF_ERROR(read_anew());
    auto decided = decide(snapshot->client.value, snapshot->task->value);
    if (snapshot->recent && (!decided.ok() || !decided->has_value())) {
      RETURN_IF_ERROR(read_anew());
      decided = decide(snapshot->client.value, snapshot->task->value);
    }
    ASSIGN_OR_RETURN(next, std::move(decided));
    if (!next.has_value()) return std::nullopt;
    store::Transaction transaction;
    Replace(ParticipantKey(task, client), snapshot->client.revision, *next, &transaction);
    transaction.conditions.push_back({TaskKey(task), snapshot->task->revision});
    if (extra != nullptr) extra(*next, &transaction);
    return transaction;
  };
  ASSIGN_OR_RETURN(const int64_t revision,
                   store::Update(store_->store(), absl::StrCat("client ", client, " of task ", task), commit));
  if (!next.has_value()) return false;
  snapshot->client.value = *std::move(next);
  snapshot->client.revision = revision;
  snapshot->recent = false;
  recent_.Put(task, client, snapshot->client.value, revision);
  task_index_->Committed(revision);
  return true;
}

absl::StatusOr<bool> ParticipantUpdater::Apply(absl::string_view task, absl::string_view client, const Event& event,
                                               ParticipantSnapshot* snapshot) const {
  return Update(task, client, snapshot, [&](const ParticipantRecord& record, const TaskRecord& of_task) {
    return Advance(record, event, of_task, clock_->Now());
  });
}

absl::StatusOr<bool> ParticipantUpdater::Apply(absl::string_view task, absl::string_view client,
                                               const Event& event) const {
  ASSIGN_OR_RETURN(ParticipantSnapshot snapshot, Load(task, client));
  return Apply(task, client, event, &snapshot);
}

absl::Status ParticipantUpdater::RenewTransfer(absl::string_view task, absl::string_view client,
                                               int64_t revision) const {
  ASSIGN_OR_RETURN(ParticipantSnapshot snapshot, Load(task, client));
  return Update(task, client, &snapshot,
                [&](const ParticipantRecord& record,
                    const TaskRecord& of_task) -> absl::StatusOr<std::optional<ParticipantRecord>> {
                  return taskd::RenewTransfer(record, revision, of_task, clock_->Now());
                })
      .status();
}

absl::StatusOr<ParticipantUpdater::Applied> ParticipantUpdater::TryApply(absl::string_view task,
                                                                         absl::Span<const std::string> clients,
                                                                         const EventOf& event_of,
                                                                         const Expect& expect) const {
  ASSIGN_OR_RETURN(const TaskSnapshot of_task, FindTask(task));
  store::Transaction transaction;
  transaction.conditions.push_back({TaskKey(task), of_task->revision});
  Applied applied;
  std::vector<size_t> changed;
  size_t bytes = 0;
  for (const std::string& name : clients) {
    ParticipantSnapshot& snapshot = applied.snapshots.emplace_back();
    snapshot.task = of_task;
    ASSIGN_OR_RETURN(snapshot.client, store_->GetParticipant(task, name));
    const Event event = event_of(applied.snapshots.size() - 1);
    ASSIGN_OR_RETURN(auto next, Advance(snapshot.client.value, event, of_task->value, clock_->Now()));
    if (!next.has_value()) continue;
    Replace(ParticipantKey(task, name), snapshot.client.revision, *next, &transaction);
    bytes += transaction.puts.back().value.size();
    if (bytes > kMaxCommitBytes) return absl::AbortedError("these clients are too large for one commit");
    snapshot.client.value = *std::move(next);
    changed.push_back(applied.snapshots.size() - 1);
    if (expect != nullptr) expect(changed.back(), snapshot.participant().version());
  }
  if (changed.empty()) return applied;
  ASSIGN_OR_RETURN(const int64_t revision, store_->store()->Commit(std::move(transaction)));
  for (const size_t client : changed) applied.snapshots[client].client.revision = revision;
  applied.changed = static_cast<int>(changed.size());
  task_index_->Committed(revision);
  return applied;
}

absl::StatusOr<int> ParticipantUpdater::ApplyToAll(absl::string_view task, const std::vector<std::string>& clients,
                                                   const Event& event) const {
  int changed = 0;
  for (size_t begin = 0; begin < clients.size(); begin += kClientsPerCommit) {
    const auto some = absl::MakeConstSpan(clients).subspan(begin, kClientsPerCommit);
    const absl::StatusOr<Applied> applied = TryApply(task, some, [&](size_t) { return event; });
    if (applied.ok()) changed += applied->changed;
    if (applied.ok()) continue;
    if (!absl::IsAborted(applied.status())) return applied.status();
    // One of them moved meanwhile: each by itself.
    for (const std::string& name : some) {
      ASSIGN_OR_RETURN(const bool one, Apply(task, name, event));
      changed += one ? 1 : 0;
    }
  }
  return changed;
}

}  // namespace parley::taskd
