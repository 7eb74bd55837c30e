#include "services/taskd/tasks/removal.h"

#include <set>
#include <utility>
#include <vector>

#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/base/log.h"
#include "lib/base/proto_time.h"
#include "services/taskd/domain/names.h"
#include "services/taskd/store/keys.h"

namespace parley::taskd {
namespace {

// Few enough for the limits that engines have for one commit, with five changes for each client.
constexpr size_t kClientsPerCommit = 24;
constexpr size_t kJoinKeysPerCommit = 24;
constexpr size_t kKeysPerCommit = 120;

// Finds the entry in the order of creation, whose time is not quite the task's own in records of earlier versions.
absl::StatusOr<std::string> FindCreatedKey(store::Store* store, const std::string& task, absl::Time created) {
  std::string key = CreatedKey(created, task);
  const absl::Status exact = store->Get(key).status();
  if (exact.ok()) return key;
  if (!absl::IsNotFound(exact)) return exact;
  store::KeyRange range = CreatedRange();
  for (bool more = true; more;) {
    ASSIGN_OR_RETURN(const store::Page page, store->List(range, 1000));
    for (const store::Entry& entry : page.entries) {
      if (LastPart(entry.key) == task) return entry.key;
      range.begin = entry.key + '\0';
    }
    more = page.more;
  }
  return key;
}

}  // namespace

absl::StatusOr<store::Transaction> BeginRemoval(const TaskStore& store, const Stored<TaskRecord>& task) {
  const task::v1::Task& shown = task.value.task();
  ASSIGN_OR_RETURN(const std::string id, ParseTaskName(shown.name()));
  ASSIGN_OR_RETURN(const std::string created, FindCreatedKey(store.store(), id, ToTime(shown.create_time())));
  RemovalRecord record;
  record.set_revisions(shown.revision());
  store::Transaction transaction;
  transaction.conditions.push_back({TaskKey(id), task.revision});
  transaction.Delete(TaskKey(id)).Delete(created).Set(RemovalKey(id), record.SerializeAsString());
  return transaction;
}

absl::Status Removal::Commit(store::Transaction transaction) const {
  transaction.conditions.push_back({RemovalKey(task_), revision_});
  return parts_->store->store()->Commit(std::move(transaction)).status();
}

absl::Status Removal::Finish() {
  ASSIGN_OR_RETURN(const auto record, parts_->store->FindRemoval(task_));
  if (!record.has_value()) return absl::OkStatus();
  revision_ = record->revision;
  RETURN_IF_ERROR(RemoveRevisions(record->value.revisions()));
  RETURN_IF_ERROR(RemoveClients());
  RETURN_IF_ERROR(RemoveJoinKeys());
  for (const store::KeyRange& rest :
       {AllManifestsRange(task_), TaskRange(task_), TagRange(task_), PresenceRange(task_)}) {
    RETURN_IF_ERROR(RemoveAll(rest));
  }
  store::Transaction last;
  last.Delete(SeedKey(task_)).Delete(UnsettledKey(task_)).Delete(RemovalKey(task_));
  return Commit(std::move(last.Set(std::string(kSweepDueKey), "")));
}

// Chunks are let go while they are still named: what is cut off here is done again.
absl::Status Removal::RemoveRevisions(int64_t revisions) const {
  for (int64_t revision = 1; revision <= revisions; ++revision) {
    const auto read = parts_->store->GetRevision(task_, revision);
    if (absl::IsNotFound(read.status())) continue;
    if (!absl::IsDataLoss(read.status())) RETURN_IF_ERROR(read.status());
    if (read.ok()) {
      const std::vector<absl::string_view> chunks((*read)->chunks.begin(), (*read)->chunks.end());
      RETURN_IF_ERROR(parts_->chunks->Release(chunks));
    } else {
      LogWarning("a manifest that can not be read is removed", {{"error", std::string(read.status().message())}});
    }
    RETURN_IF_ERROR(RemoveAll(ManifestRange(task_, revision)));
  }
  return absl::OkStatus();
}

absl::Status Removal::EndKey(absl::string_view serial, absl::Time expire_time, bool revoked,
                             absl::string_view credential, absl::string_view key,
                             store::Transaction* transaction) const {
  transaction->Delete(std::string(key));
  if (!credential.empty()) transaction->Delete(DependentKey(HexEncode(credential), key));
  if (revoked || parts_->clock->Now() >= expire_time) return absl::OkStatus();
  return parts_->revoked->Add(serial, expire_time, transaction);
}

absl::Status Removal::RemoveClients() const {
  while (true) {
    ASSIGN_OR_RETURN(const store::Page page, parts_->store->store()->List(ParticipantRange(task_), kClientsPerCommit));
    if (page.entries.empty()) return absl::OkStatus();
    store::Transaction transaction;
    for (const store::Entry& entry : page.entries) {
      const std::string client = LastPart(entry.key);
      transaction.Delete(TagKey(task_, ClientTag(task_, client))).Delete(PresenceKey(task_, client));
      ParticipantRecord record;
      RETURN_IF_ERROR(ParseRecord(entry.key, entry.value, &record));
      RETURN_IF_ERROR(EndKey(record.serial(), ToTime(record.key_expire_time()), record.participant().has_revoke_time(),
                             record.own_credential() ? record.credential() : "", entry.key, &transaction));
    }
    RETURN_IF_ERROR(Commit(std::move(transaction)));
  }
}

absl::Status Removal::RemoveJoinKeys() const {
  while (true) {
    ASSIGN_OR_RETURN(const store::Page page, parts_->store->store()->List(JoinKeyRange(task_), kJoinKeysPerCommit));
    if (page.entries.empty()) return absl::OkStatus();
    store::Transaction transaction;
    std::set<std::string> creators;
    for (const store::Entry& entry : page.entries) {
      JoinKeyRecord record;
      RETURN_IF_ERROR(ParseRecord(entry.key, entry.value, &record));
      RETURN_IF_ERROR(EndKey(record.serial(), ToTime(record.join_key().expire_time()),
                             record.join_key().has_revoke_time(), record.credential(), entry.key, &transaction));
      // The first join key was made with the credential that the task was made with.
      if (!record.credential().empty()) creators.insert(DependentKey(HexEncode(record.credential()), TaskKey(task_)));
    }
    for (const std::string& tie : creators) transaction.Delete(tie);
    RETURN_IF_ERROR(Commit(std::move(transaction)));
  }
}

absl::Status Removal::RemoveAll(store::KeyRange range) const {
  while (true) {
    ASSIGN_OR_RETURN(const store::Page page, parts_->store->store()->List(range, kKeysPerCommit));
    if (page.entries.empty()) return absl::OkStatus();
    store::Transaction transaction;
    for (const store::Entry& entry : page.entries) transaction.Delete(entry.key);
    RETURN_IF_ERROR(Commit(std::move(transaction)));
  }
}

}  // namespace parley::taskd
