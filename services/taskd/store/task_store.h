// Typed access to what taskd stores.
//
// Reads say NOT_FOUND in the words of the API, and otherwise return the errors of lib/store. Writes are made by the
// callers as store::Transaction, with the keys of keys.h, because a change spans several records and is conditional on
// others.
//
// Threads: all methods may be called from any thread; they block on the store.
#ifndef PARLEY_SERVICES_TASKD_STORE_TASK_STORE_H_
#define PARLEY_SERVICES_TASKD_STORE_TASK_STORE_H_

#include <memory>
#include <optional>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "lib/base/error.h"
#include "lib/store/store.h"
#include "parley/task/v1/manifest.pb.h"
#include "services/taskd/domain/record.pb.h"
#include "services/taskd/store/records.pb.h"

namespace parley::taskd {

// A record and the revision that put it, for a condition.
template <typename Record>
struct Stored {
  Record value;
  int64_t revision = 0;
};

// A revision's manifest and what follows from it.
struct Revision {
  task::v1::SignedManifest signed_manifest;
  // The digests of its chunks, sorted, each once.
  std::vector<std::string> chunks;
};

// Records of one commit have no more bytes than this together, which leaves room for keys: engines take 1.5 MB.
inline constexpr size_t kMaxCommitBytes = 1'200'000;

// Returns DATA_LOSS (RECORD_DAMAGED) if the value is no such record.
absl::Status ParseRecord(absl::string_view key, absl::string_view value, google::protobuf::MessageLite* record);
// A task that an earlier version ended by halting it becomes one that was aborted, because it does not go on.
absl::Status ParseRecord(absl::string_view key, absl::string_view value, TaskRecord* record);

class TaskStore {
 public:
  // `store` must outlive this.
  explicit TaskStore(store::Store* store) : store_(store) {}

  store::Store* store() const { return store_; }

  // Return NOT_FOUND: TASK_NOT_FOUND, PARTICIPANT_NOT_FOUND, JOIN_KEY_NOT_FOUND.
  absl::StatusOr<Stored<TaskRecord>> GetTask(absl::string_view task, int64_t revision = 0) const;
  absl::StatusOr<Stored<ParticipantRecord>> GetParticipant(absl::string_view task, absl::string_view client) const;
  absl::StatusOr<Stored<JoinKeyRecord>> GetJoinKey(absl::string_view task, absl::string_view serial_hex) const;
  // Return no value if there is none.
  absl::StatusOr<std::optional<Stored<RequestRecord>>> FindRequest(absl::string_view hash_hex) const;
  absl::StatusOr<std::optional<Stored<ParticipantRecord>>> FindParticipant(absl::string_view task,
                                                                           absl::string_view client) const;
  absl::StatusOr<std::optional<Stored<RemovalRecord>>> FindRemoval(absl::string_view task) const;
  absl::StatusOr<std::optional<Stored<RevisionRecord>>> FindRevisionRecord(absl::string_view task,
                                                                           int64_t revision) const;
  // Returns the client that a member key's tag stands for.
  absl::StatusOr<std::string> ClientOfTag(absl::string_view task, absl::string_view tag) const;
  absl::StatusOr<SealedSeed> GetSeed(absl::string_view task) const;
  // Return no value if there is none. The second one returns the seed of any task, by the task's name.
  absl::StatusOr<std::optional<SealedSeed>> FindSealCheck() const;
  absl::StatusOr<std::optional<std::pair<std::string, SealedSeed>>> FindAnySeed() const;

  // Adds to a commit that what it stores at `key` depends on a credential of keyd's, whose serial is in hex. The
  // commit is ABORTED if that credential has been revoked meanwhile.
  static void Tie(absl::string_view credential, absl::string_view key, store::Transaction* transaction);
  // Returns what has ended with a credential; of revision 0 if keyd has not revoked it.
  absl::StatusOr<Stored<EndedRecord>> FindEnded(absl::string_view credential) const;
  // Returns UNAUTHENTICATED (KEY_REVOKED) if nothing can depend on the credential any more.
  absl::Status CheckNotRevoked(absl::string_view credential) const;

  // Stores a manifest for the commit that publishes it, on the condition that the task has not moved (`unmoved`). It
  // goes in parts, because a value is smaller than a manifest can be. One part goes into the commit itself; several are
  // stored before it, each on that condition, and the commit is made conditional on them. So nothing of another
  // manifest is among them, even one that was given up half-way. `again` says that the commit has failed before.
  // Returns INVALID_ARGUMENT (MANIFEST_TOO_LARGE); the errors of the store.
  absl::Status PutManifest(absl::string_view task, int64_t revision, const task::v1::SignedManifest& manifest,
                           const store::Transaction::Condition& unmoved, bool again,
                           store::Transaction* transaction) const;
  absl::StatusOr<std::shared_ptr<const Revision>> GetRevision(absl::string_view task, int64_t revision) const;
  // Returns the digests of the chunks of every revision of every task that was there before the call.
  absl::StatusOr<std::unordered_set<std::string>> ListNamedChunks() const;

 private:
  absl::Status AddChunks(absl::string_view task, std::unordered_set<std::string>* named) const;
  template <typename Record>
  absl::StatusOr<std::optional<Stored<Record>>> Find(const std::string& key, int64_t revision = 0) const;

  store::Store* const store_;
};

// Adds to a commit that it puts the record in the place of the one of `revision`, and fails if another has taken it.
void Replace(const std::string& key, int64_t revision, const google::protobuf::MessageLite& record,
             store::Transaction* transaction);

// Returns the revision that the newest of the entries was put in; 0 without one.
int64_t NewestOf(const std::vector<store::Entry>& entries);

// Returns all entries of a range as records, in the order of their keys.
template <typename Record>
absl::StatusOr<std::vector<Record>> ParseEntries(const std::vector<store::Entry>& entries) {
  std::vector<Record> records;
  records.reserve(entries.size());
  for (const store::Entry& entry : entries) {
    RETURN_IF_ERROR(ParseRecord(entry.key, entry.value, &records.emplace_back()));
  }
  return records;
}

}  // namespace parley::taskd

#endif  // PARLEY_SERVICES_TASKD_STORE_TASK_STORE_H_
