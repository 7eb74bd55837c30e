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

absl::StatusOr<std::optional<store::Entry>> Dependents::FindNote(absl::string_view serial) const {
  absl::StatusOr<store::Entry> note = parts_->store->store()->Get(EndedKey(serial));
  if (absl::IsNotFound(note.status())) return std::nullopt;
  RETURN_IF_ERROR(note.status());
  return std::optional<store::Entry>(*std::move(note));
}

absl::Status Dependents::Note(const Credential& credential, const EndedRecord& ended,
                              const std::optional<store::Entry>& before, store::Transaction transaction) const {
  const absl::Duration kept = std::min(credential.NoteLifetime(parts_->clock->Now()), kMaxTtl);
  ASSIGN_OR_RETURN(const store::LeaseId lease, parts_->store->store()->GrantLease(kept));
  const std::string key = EndedKey(credential.serial);
  before.has_value() ? transaction.IfUnchanged(*before) : transaction.IfAbsent(key);
  transaction.Set(key, ended.SerializeAsString(), lease);
  return parts_->store->store()->Commit(std::move(transaction)).status();
}

absl::Status Dependents::End(const Credential& credential) const {
  // First, so that nothing is tied behind the list.
  ASSIGN_OR_RETURN(const auto note, FindNote(credential.serial));
  if (!note.has_value()) RETURN_IF_ERROR(Note(credential, EndedRecord(), note, store::Transaction()));
  store::KeyRange range = DependentRange(credential.serial);
  while (true) {
    ASSIGN_OR_RETURN(const bool more, EndPage(credential, &range));
    if (!more) return absl::OkStatus();
  }
}

absl::StatusOr<bool> Dependents::EndPage(const Credential& credential, store::KeyRange* range) const {
  ASSIGN_OR_RETURN(const store::Page page, parts_->store->store()->List(*range, kPerPage));
  ASSIGN_OR_RETURN(const auto note, FindNote(credential.serial));
  EndedRecord ended;
  if (note.has_value()) RETURN_IF_ERROR(ParseRecord(note->key, note->value, &ended));
  store::Transaction over;
  for (const store::Entry& entry : page.entries) {
    range->begin = entry.key + '\0';
    const absl::string_view key = DependentOf(entry.key);
    if (IsTaskKey(key)) continue;
    over.Delete(entry.key);
    const WatchedKey place = ParseWatchedKey(key);
    if (!place.client.empty()) {
      ASSIGN_OR_RETURN(const bool had, roster_->EndMember(place.task, place.client, credential.serial));
      ended.set_member_keys(ended.member_keys() + had);
    } else {
      ASSIGN_OR_RETURN(const bool had, roster_->EndJoinKey(place.task, LastPart(key), credential.serial));
      ended.set_join_keys(ended.join_keys() + had);
    }
  }
  // Together, so that each is counted once, whatever happens in between.
  if (!over.deletes.empty()) RETURN_IF_ERROR(Note(credential, ended, note, std::move(over)));
  return page.more;
}

absl::Status Dependents::AwaitEndedKeys(const task::v1::AwaitEndedKeysRequest& request,
                                        task::v1::AwaitEndedKeysResponse* response) {
  ASSIGN_OR_RETURN(const std::vector<std::string> serials, ended_.Await(request.credentials()));
  for (const std::string& serial : serials) RETURN_IF_ERROR(AddTo(serial, response));
  return absl::OkStatus();
}

absl::Status Dependents::AddTo(const std::string& serial, task::v1::AwaitEndedKeysResponse* response) const {
  ASSIGN_OR_RETURN(const auto note, FindNote(serial));
  EndedRecord ended;
  if (note.has_value()) RETURN_IF_ERROR(ParseRecord(note->key, note->value, &ended));
  response->set_member_keys(response->member_keys() + ended.member_keys());
  response->set_join_keys(response->join_keys() + ended.join_keys());
  ASSIGN_OR_RETURN(const store::Page page, parts_->store->store()->List(DependentRange(serial)));
  for (const store::Entry& entry : page.entries) {
    const absl::string_view key = DependentOf(entry.key);
    if (!IsTaskKey(key)) continue;
    ASSIGN_OR_RETURN(const auto task, parts_->store->GetTask(ParseWatchedKey(key).task));
    if (CheckNotEnded(task.value).ok()) response->add_open_tasks(task.value.task().name());
  }
  return absl::OkStatus();
}

}  // namespace parley::taskd
