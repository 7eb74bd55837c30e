#include "services/taskd/store/task_store.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "lib/payload/fileset.h"
#include "services/taskd/domain/names.h"
#include "services/taskd/store/keys.h"

namespace parley::taskd {
namespace {

constexpr size_t kManifestPartBytes = 1'000'000;
// With what its signatures add.
constexpr int kMaxManifestParts = (payload::kMaxManifestBytes + 100'000) / kManifestPartBytes + 1;

}  // namespace

absl::Status ParseRecord(absl::string_view key, absl::string_view value, google::protobuf::MessageLite* record) {
  if (record->ParseFromArray(value.data(), static_cast<int>(value.size()))) return absl::OkStatus();
  return Error(absl::StatusCode::kDataLoss, "RECORD_DAMAGED",
               absl::StrCat("the stored record ", key, " can not be read; restore the data folder from a backup"));
}

absl::Status ParseRecord(absl::string_view key, absl::string_view value, TaskRecord* record) {
  RETURN_IF_ERROR(ParseRecord(key, value, static_cast<google::protobuf::MessageLite*>(record)));
  task::v1::Task& task = *record->mutable_task();
  if (task.state() == task::v1::Task::STATE_HALTED && record->has_end_time()) {
    task.set_state(task::v1::Task::STATE_ABORTED);
  }
  return absl::OkStatus();
}

void Replace(const std::string& key, int64_t revision, const google::protobuf::MessageLite& record,
             store::Transaction* transaction) {
  transaction->conditions.push_back({key, revision});
  transaction->Set(key, record.SerializeAsString());
}

int64_t NewestOf(const std::vector<store::Entry>& entries) {
  int64_t newest = 0;
  for (const store::Entry& entry : entries) newest = std::max(newest, entry.mod_revision);
  return newest;
}

template <typename Record>
absl::StatusOr<std::optional<Stored<Record>>> TaskStore::Find(const std::string& key, int64_t revision) const {
  const absl::StatusOr<store::Entry> entry = store_->Get(key, revision);
  if (absl::IsNotFound(entry.status())) return std::optional<Stored<Record>>();
  RETURN_IF_ERROR(entry.status());
  Stored<Record> stored;
  stored.revision = entry->mod_revision;
  RETURN_IF_ERROR(ParseRecord(key, entry->value, &stored.value));
  return std::optional<Stored<Record>>(std::move(stored));
}

absl::StatusOr<Stored<TaskRecord>> TaskStore::GetTask(absl::string_view task, int64_t revision) const {
  ASSIGN_OR_RETURN(auto found, Find<TaskRecord>(TaskKey(task), revision));
  if (found.has_value()) return *std::move(found);
  return NotFound("TASK_NOT_FOUND",
                  absl::StrCat("there is no task ", TaskName(task), "; list them with: parley task list"));
}

absl::StatusOr<std::optional<Stored<ParticipantRecord>>> TaskStore::FindParticipant(absl::string_view task,
                                                                                    absl::string_view client) const {
  return Find<ParticipantRecord>(ParticipantKey(task, client));
}

absl::StatusOr<Stored<ParticipantRecord>> TaskStore::GetParticipant(absl::string_view task,
                                                                    absl::string_view client) const {
  ASSIGN_OR_RETURN(auto found, FindParticipant(task, client));
  if (found.has_value()) return *std::move(found);
  return NotFound("PARTICIPANT_NOT_FOUND", absl::StrCat(TaskName(task), " has no client \"", client,
                                                        "\"; list them with: parley task members ", task));
}

absl::StatusOr<Stored<JoinKeyRecord>> TaskStore::GetJoinKey(absl::string_view task,
                                                            absl::string_view serial_hex) const {
  ASSIGN_OR_RETURN(auto found, Find<JoinKeyRecord>(JoinKeyKey(task, serial_hex)));
  if (found.has_value()) return *std::move(found);
  return NotFound("JOIN_KEY_NOT_FOUND", absl::StrCat("there is no join key ", JoinKeyName(task, serial_hex)));
}

absl::StatusOr<std::optional<Stored<RequestRecord>>> TaskStore::FindRequest(absl::string_view hash_hex) const {
  return Find<RequestRecord>(RequestKey(hash_hex));
}

absl::StatusOr<std::optional<Stored<RemovalRecord>>> TaskStore::FindRemoval(absl::string_view task) const {
  return Find<RemovalRecord>(RemovalKey(task));
}

absl::StatusOr<std::optional<Stored<RevisionRecord>>> TaskStore::FindRevisionRecord(absl::string_view task,
                                                                                    int64_t revision) const {
  return Find<RevisionRecord>(RevisionKey(task, revision));
}

absl::StatusOr<std::string> TaskStore::ClientOfTag(absl::string_view task, absl::string_view tag) const {
  absl::StatusOr<store::Entry> entry = store_->Get(TagKey(task, tag));
  if (absl::IsNotFound(entry.status())) {
    return NotFound("PARTICIPANT_NOT_FOUND", absl::StrCat("this key's client has not joined ", TaskName(task)));
  }
  RETURN_IF_ERROR(entry.status());
  return std::move(entry->value);
}

absl::StatusOr<SealedSeed> TaskStore::GetSeed(absl::string_view task) const {
  ASSIGN_OR_RETURN(auto found, Find<SealedSeed>(SeedKey(task)));
  if (found.has_value()) return std::move(found->value);
  return Error(absl::StatusCode::kFailedPrecondition, "NOT_SERVER_SIGNED",
               absl::StrCat(TaskName(task), " is signed by its creator's own key; give a signed_manifest"));
}

absl::StatusOr<std::optional<SealedSeed>> TaskStore::FindSealCheck() const {
  ASSIGN_OR_RETURN(auto found, Find<SealedSeed>(std::string(kSealCheckKey)));
  if (!found.has_value()) return std::optional<SealedSeed>();
  return std::optional<SealedSeed>(std::move(found->value));
}

absl::StatusOr<std::optional<std::pair<std::string, SealedSeed>>> TaskStore::FindAnySeed() const {
  std::optional<std::pair<std::string, SealedSeed>> found;
  ASSIGN_OR_RETURN(const store::Page page, store_->List(SeedRange(), 1));
  if (page.entries.empty()) return found;
  found.emplace(LastPart(page.entries[0].key), SealedSeed());
  RETURN_IF_ERROR(ParseRecord(page.entries[0].key, page.entries[0].value, &found->second));
  return found;
}

void TaskStore::Tie(absl::string_view credential, absl::string_view key, store::Transaction* transaction) {
  transaction->IfAbsent(EndedKey(credential)).Set(DependentKey(credential, key), "");
}

absl::StatusOr<Stored<EndedRecord>> TaskStore::FindEnded(absl::string_view credential) const {
  ASSIGN_OR_RETURN(auto found, Find<EndedRecord>(EndedKey(credential)));
  return std::move(found).value_or(Stored<EndedRecord>());
}

absl::Status TaskStore::CheckNotRevoked(absl::string_view credential) const {
  ASSIGN_OR_RETURN(const Stored<EndedRecord> ended, FindEnded(credential));
  if (ended.revision == 0) return absl::OkStatus();
  return Error(absl::StatusCode::kUnauthenticated, "KEY_REVOKED",
               "the key of this connection was revoked; ask an admin for another");
}

absl::Status TaskStore::PutManifest(absl::string_view task, int64_t revision, const task::v1::SignedManifest& manifest,
                                    const store::Transaction::Condition& unmoved, bool again,
                                    store::Transaction* transaction) const {
  const std::string bytes = manifest.SerializeAsString();
  const int parts = static_cast<int>((bytes.size() + kManifestPartBytes - 1) / kManifestPartBytes);
  if (parts > kMaxManifestParts) {
    return InvalidArgument("MANIFEST_TOO_LARGE", "the signed manifest has ", bytes.size(), " bytes");
  }
  std::vector<int64_t> stored(kMaxManifestParts, 0);
  for (int part = 0; part < kMaxManifestParts; ++part) {
    const std::string key = ManifestPartKey(task, revision, part);
    const std::string value = part < parts ? bytes.substr(part * kManifestPartBytes, kManifestPartBytes) : "";
    if (parts == 1 && part == 0) {
      transaction->Set(key, value);
      continue;
    }
    if (parts > 1 || again) {
      store::Transaction alone;
      alone.conditions.push_back(unmoved);
      part < parts ? alone.Set(key, value) : alone.Delete(key);
      const absl::StatusOr<int64_t> put = store_->Commit(std::move(alone));
      // If the task has moved, the commit that publishes fails too, and its caller decides anew.
      if (!put.ok() && !absl::IsAborted(put.status())) return put.status();
      if (part < parts) stored[part] = put.value_or(0);
    }
    transaction->conditions.push_back({key, stored[part]});
  }
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<const Revision>> TaskStore::GetRevision(absl::string_view task, int64_t revision) const {
  ASSIGN_OR_RETURN(const store::Page page, store_->List(ManifestRange(task, revision)));
  std::string bytes;
  for (const store::Entry& entry : page.entries) bytes += entry.value;
  if (bytes.empty()) {
    return NotFound("REVISION_NOT_FOUND", absl::StrCat(TaskName(task), " has no revision ", revision));
  }
  auto result = std::make_shared<Revision>();
  RETURN_IF_ERROR(ParseRecord(page.entries[0].key, bytes, &result->signed_manifest));
  task::v1::Manifest manifest;
  RETURN_IF_ERROR(ParseRecord(page.entries[0].key, result->signed_manifest.manifest(), &manifest));
  for (const auto& file : manifest.files()) {
    result->chunks.insert(result->chunks.end(), file.chunks().begin(), file.chunks().end());
  }
  std::sort(result->chunks.begin(), result->chunks.end());
  result->chunks.erase(std::unique(result->chunks.begin(), result->chunks.end()), result->chunks.end());
  return std::shared_ptr<const Revision>(std::move(result));
}

absl::Status TaskStore::AddChunks(absl::string_view task, std::unordered_set<std::string>* named) const {
  ASSIGN_OR_RETURN(const Stored<TaskRecord> stored, GetTask(task));
  for (int64_t revision = 1; revision <= stored.value.task().revision(); ++revision) {
    ASSIGN_OR_RETURN(const auto read, GetRevision(task, revision));
    named->insert(read->chunks.begin(), read->chunks.end());
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unordered_set<std::string>> TaskStore::ListNamedChunks() const {
  constexpr size_t kTasksPerPage = 1000;
  std::unordered_set<std::string> named;
  store::KeyRange range = CreatedRange();
  for (bool more = true; more;) {
    ASSIGN_OR_RETURN(const store::Page page, store_->List(range, kTasksPerPage));
    for (const store::Entry& entry : page.entries) {
      range.begin = entry.key + '\0';
      const std::string task = LastPart(entry.key);
      const absl::Status added = AddChunks(task, &named);
      if (added.ok()) continue;
      // A task that was deleted meanwhile names nothing.
      if (!absl::IsNotFound(added) || !absl::IsNotFound(GetTask(task).status())) return added;
    }
    more = page.more;
  }
  return named;
}

}  // namespace parley::taskd
