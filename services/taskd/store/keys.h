// Where what is stored stands. Everything of a task that can be watched is below one prefix, so that one watch, and
// one cursor, covers the task and its clients.
//
//   t/{task}/task               TaskRecord              t/{task}/p/{client}    ParticipantRecord
//   g/{task}/{tag}              client, by member tag   k/{task}/{serial}      JoinKeyRecord
//   m/{task}/{revision}/{part}  SignedManifest, in parts of 1 MB
//   s/{task}                    SealedSeed              l/{task}               the task is not settled
//   o/{inverted time}/{task}    newest first            q/{hash}               RequestRecord, for 24 hours
//   c/{digest}                  a zstd frame            d/{digest}             ChunkInfo
//   x/{serial}                  RevocationRecord, until the key's end
//   h/{credential}/{key}        what is stored there hangs on that credential of keyd's
//   e/{credential}              EndedRecord, until the credential's end
#ifndef PARLEY_SERVICES_TASKD_STORE_KEYS_H_
#define PARLEY_SERVICES_TASKD_STORE_KEYS_H_

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "lib/store/store.h"

namespace parley::taskd {

std::string TaskKey(absl::string_view task);
std::string ParticipantKey(absl::string_view task, absl::string_view client);
// The ranges of all of a task that can be watched, of all its participants, and of all of all tasks.
store::KeyRange TaskRange(absl::string_view task);
store::KeyRange ParticipantRange(absl::string_view task);
store::KeyRange AllTasksRange();

// What a key of AllTasksRange stands for: a task if `client` is empty.
struct WatchedKey {
  absl::string_view task;
  absl::string_view client;
};
WatchedKey ParseWatchedKey(absl::string_view key);

std::string TagKey(absl::string_view task, absl::string_view tag);
std::string JoinKeyKey(absl::string_view task, absl::string_view serial_hex);
store::KeyRange JoinKeyRange(absl::string_view task);
std::string ManifestPartKey(absl::string_view task, int64_t revision, int part);
store::KeyRange ManifestRange(absl::string_view task, int64_t revision);
std::string SeedKey(absl::string_view task);
std::string UnsettledKey(absl::string_view task);
store::KeyRange UnsettledRange();
std::string CreatedKey(absl::Time created, absl::string_view task);
store::KeyRange CreatedRange();
// Returns the part of a key after its last '/'.
std::string LastPart(absl::string_view key);
std::string RequestKey(absl::string_view hash_hex);
std::string ChunkKey(absl::string_view digest);
std::string ChunkInfoKey(absl::string_view digest);
std::string RevocationKey(absl::string_view serial_hex);
store::KeyRange RevocationRange();
// Credentials are serials in hex. What depends on one is named by the key that it is stored at.
std::string DependentKey(absl::string_view credential, absl::string_view key);
store::KeyRange DependentRange(absl::string_view credential);
absl::string_view DependentOf(absl::string_view dependent_key);
std::string EndedKey(absl::string_view credential);

}  // namespace parley::taskd

#endif  // PARLEY_SERVICES_TASKD_STORE_KEYS_H_
