#include "services/taskd/participants/dependents.h"

#include <algorithm>
#include <utility>

#include "lib/base/error.h"
#include "services/taskd/domain/task.h"
#include "services/taskd/domain/validation.h"
#include "services/taskd/store/keys.h"

namespace parley::taskd {
namespace {

// Few enough for the limit that engines have for one commit.
constexpr int kPerPage = 100;

bool IsTaskKey(absl::string_view key) { return key == TaskKey(ParseWatchedKey(key).task); }

}  // namespace

Dependents::Dependents(const TaskdParts* parts, Roster* roster)
    : parts_(parts),
      roster_(roster),
      ended_(parts->clock, [this](const Credential& credential) { return End(credential); }) {}

absl::Status Dependents::Note(const Credential& credential, const Stored<EndedRecord>& ended,
                              store::Transaction transaction) const {
  const absl::Duration kept = std::min(credential.NoteLifetime(parts_->clock->Now()), kMaxTtl);
  ASSIGN_OR_RETURN(const store::LeaseId lease, parts_->store->store()->GrantLease(kept));
  transaction.conditions.push_back({EndedKey(credential.serial), ended.revision});
  transaction.Set(EndedKey(credential.serial), ended.value.SerializeAsString(), lease);
  return parts_->store->store()->Commit(std::move(transaction)).status();
}

absl::Status Dependents::End(const Credential& credential) const {
  // First, so that nothing is tied behind the list.
  ASSIGN_OR_RETURN(const Stored<EndedRecord> noted, parts_->store->FindEnded(credential.serial));
  if (noted.revision == 0) RETURN_IF_ERROR(Note(credential, noted, store::Transaction()));
  store::KeyRange range = DependentRange(credential.serial);
  while (true) {
    ASSIGN_OR_RETURN(const bool more, EndPage(credential, &range));
    if (!more) return absl::OkStatus();
  }
}

absl::StatusOr<bool> Dependents::EndPage(const Credential& credential, store::KeyRange* range) const {
  ASSIGN_OR_RETURN(const store::Page page, parts_->store->store()->List(*range, kPerPage));
  ASSIGN_OR_RETURN(Stored<EndedRecord> ended, parts_->store->FindEnded(credential.serial));
  store::Transaction over;
  for (const store::Entry& entry : page.entries) {
    range->begin = entry.key + '\0';
    const absl::string_view key = DependentOf(entry.key);
    if (IsTaskKey(key)) continue;
    over.Delete(entry.key);
    // What is not found was deleted with its task, whose removal ends its key.
    const WatchedKey place = ParseWatchedKey(key);
    if (!place.client.empty()) {
      const absl::StatusOr<bool> had = roster_->EndMember(place.task, place.client, credential.serial);
      if (!absl::IsNotFound(had.status())) RETURN_IF_ERROR(had.status());
      ended.value.set_member_keys(ended.value.member_keys() + had.value_or(false));
    } else {
      const absl::StatusOr<bool> had = roster_->EndJoinKey(place.task, LastPart(key), credential.serial);
      if (!absl::IsNotFound(had.status())) RETURN_IF_ERROR(had.status());
      ended.value.set_join_keys(ended.value.join_keys() + had.value_or(false));
    }
  }
  if (over.deletes.empty()) return page.more;
  // Before they are forgotten, so that another try waits for it too.
  RETURN_IF_ERROR(parts_->revoked->AwaitAll());
  // Together, so that each is counted once, whatever happens in between.
  RETURN_IF_ERROR(Note(credential, ended, std::move(over)));
  return page.more;
}

absl::Status Dependents::AwaitEndedKeys(const task::v1::AwaitEndedKeysRequest& request,
                                        task::v1::AwaitEndedKeysResponse* response) {
  ASSIGN_OR_RETURN(const std::vector<std::string> serials, ended_.Await(request.credentials()));
  for (const std::string& serial : serials) RETURN_IF_ERROR(AddTo(serial, response));
  return absl::OkStatus();
}

absl::Status Dependents::AddTo(const std::string& serial, task::v1::AwaitEndedKeysResponse* response) const {
  ASSIGN_OR_RETURN(const Stored<EndedRecord> ended, parts_->store->FindEnded(serial));
  response->set_member_keys(response->member_keys() + ended.value.member_keys());
  response->set_join_keys(response->join_keys() + ended.value.join_keys());
  ASSIGN_OR_RETURN(const store::Page page, parts_->store->store()->List(DependentRange(serial)));
  for (const store::Entry& entry : page.entries) {
    const absl::string_view key = DependentOf(entry.key);
    if (!IsTaskKey(key)) continue;
    const auto task = parts_->store->GetTask(ParseWatchedKey(key).task);
    // It was deleted, and what is left of it is being removed.
    if (absl::IsNotFound(task.status())) continue;
    RETURN_IF_ERROR(task.status());
    if (CheckNotEnded(task->value).ok()) response->add_open_tasks(task->value.task().name());
  }
  return absl::OkStatus();
}

}  // namespace parley::taskd
