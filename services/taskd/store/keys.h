// Where what is stored stands. Everything of a task that can be watched is below one prefix, so that one watch, and
// one cursor, covers the task and its clients.
//
//   t/{task}/task               TaskRecord              t/{task}/p/{client}    ParticipantRecord
//   g/{task}/{tag}              client, by member tag   k/{task}/{serial}      JoinKeyRecord
//   m/{task}/{revision}/{part}  SignedManifest, in parts of 1 MB
//   m/{task}//{revision}        RevisionRecord: who has published it, and when
//   s/{task}                    SealedSeed              l/{task}               the task is not settled
//   o/{inverted time}/{task}    newest first            q/{hash}               RequestRecord, for 24 hours
//   c/, d/, w/                  chunks (lib/chunks/keys.h)
//   r/{task}                    RemovalRecord: the task is deleted, and what is left of it is being removed
//   r//                         nothing: chunks that no task names may be there
//   x/{serial}                  RevocationRecord, until the key's end
//   h/{credential}/{key}        what is stored there depends on that credential of keyd's
//   e/{credential}              EndedRecord, until the credential's end
//   v/seal                      SealedSeed of nothing: shows which sealing key is the right one
//
// With several replicas of taskd on one store:
//
//   n/{task}/{client}           PresenceRecord          lead                   the replica that acts on time
//   t//{replica}                nothing: a replica puts it to find out that it has followed up to there
#ifndef PARLEY_SERVICES_TASKD_STORE_KEYS_H_
#define PARLEY_SERVICES_TASKD_STORE_KEYS_H_

#include <cstdint>
#include <limits>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "lib/base/encoding.h"
#include "lib/store/store.h"

namespace parley::taskd {

using store::KeyRange;

inline std::string TaskKey(absl::string_view task) { return absl::StrCat("t/", task, "/task"); }
inline std::string ParticipantKey(absl::string_view task, absl::string_view client) {
  return absl::StrCat("t/", task, "/p/", client);
}
// The ranges of all of a task that can be watched, of all its participants, and of all of all tasks.
inline KeyRange TaskRange(absl::string_view task) { return KeyRange::Prefix(absl::StrCat("t/", task, "/")); }
inline KeyRange ParticipantRange(absl::string_view task) { return KeyRange::Prefix(absl::StrCat("t/", task, "/p/")); }
inline KeyRange AllTasksRange() { return KeyRange::Prefix("t/"); }

// What a key of AllTasksRange stands for: a task if `client` is empty.
struct WatchedKey {
  absl::string_view task;
  absl::string_view client;
};
inline WatchedKey ParseWatchedKey(absl::string_view key) {
  key.remove_prefix(2);
  const size_t slash = key.find('/');
  const absl::string_view rest = key.substr(slash + 1);
  return {key.substr(0, slash), rest.substr(0, 2) == "p/" ? rest.substr(2) : absl::string_view()};
}

inline std::string TagKey(absl::string_view task, absl::string_view tag) { return absl::StrCat("g/", task, "/", tag); }
inline KeyRange TagRange(absl::string_view task) { return KeyRange::Prefix(absl::StrCat("g/", task, "/")); }
inline std::string JoinKeyKey(absl::string_view task, absl::string_view serial_hex) {
  return absl::StrCat("k/", task, "/", serial_hex);
}
inline KeyRange JoinKeyRange(absl::string_view task) { return KeyRange::Prefix(absl::StrCat("k/", task, "/")); }
inline std::string ManifestPartKey(absl::string_view task, int64_t revision, int part) {
  return absl::StrFormat("m/%s/%012d/%03d", std::string(task), revision, part);
}
// The manifests of a task and the records beside them, so that a version that knows no records removes them too.
inline KeyRange AllManifestsRange(absl::string_view task) { return KeyRange::Prefix(absl::StrCat("m/", task, "/")); }
inline KeyRange ManifestRange(absl::string_view task, int64_t revision) {
  return KeyRange::Prefix(absl::StrFormat("m/%s/%012d/", std::string(task), revision));
}
inline std::string RevisionKey(absl::string_view task, int64_t revision) {
  return absl::StrFormat("m/%s//%012d", std::string(task), revision);
}
inline KeyRange RevisionRange(absl::string_view task) { return KeyRange::Prefix(absl::StrCat("m/", task, "//")); }
inline std::string SeedKey(absl::string_view task) { return absl::StrCat("s/", task); }
inline std::string RemovalKey(absl::string_view task) { return absl::StrCat("r/", task); }
inline KeyRange RemovalRange() { return KeyRange::Prefix("r/"); }
inline KeyRange SeedRange() { return KeyRange::Prefix("s/"); }
inline constexpr absl::string_view kSealCheckKey = "v/seal";
inline std::string UnsettledKey(absl::string_view task) { return absl::StrCat("l/", task); }
inline KeyRange UnsettledRange() { return KeyRange::Prefix("l/"); }
inline std::string CreatedKey(absl::Time created, absl::string_view task) {
  const int64_t inverted = std::numeric_limits<int64_t>::max() - absl::ToUnixMicros(created);
  return absl::StrFormat("o/%016x/%s", inverted, std::string(task));
}
inline KeyRange CreatedRange() { return KeyRange::Prefix("o/"); }
inline std::string PresenceKey(absl::string_view task, absl::string_view client) {
  return absl::StrCat("n/", task, "/", client);
}
// Returns the task and the client of such a key.
inline std::pair<std::string, std::string> ParsePresenceKey(absl::string_view key) {
  key.remove_prefix(2);
  const size_t slash = key.find('/');
  return {std::string(key.substr(0, slash)), std::string(key.substr(slash + 1))};
}
inline KeyRange PresenceRange(absl::string_view task) { return KeyRange::Prefix(PresenceKey(task, "")); }
inline KeyRange AllPresenceRange() { return KeyRange::Prefix("n/"); }
inline constexpr absl::string_view kLeadKey = "lead";
// It is in AllTasksRange, where no task has an empty name.
inline std::string BarrierKey(absl::string_view replica) { return absl::StrCat("t//", replica); }
// Returns the part of a key after its last '/'.
inline std::string LastPart(absl::string_view key) { return std::string(key.substr(key.rfind('/') + 1)); }
inline std::string RequestKey(absl::string_view hash_hex) { return absl::StrCat("q/", hash_hex); }
inline std::string RevocationKey(absl::string_view serial_hex) { return absl::StrCat("x/", serial_hex); }
inline KeyRange RevocationRange() { return KeyRange::Prefix("x/"); }
// Credentials are serials in hex. What depends on one is named by the key that it is stored at.
inline std::string DependentKey(absl::string_view credential, absl::string_view key) {
  return absl::StrCat("h/", credential, "/", key);
}
inline KeyRange DependentRange(absl::string_view credential) { return KeyRange::Prefix(DependentKey(credential, "")); }
inline absl::string_view DependentOf(absl::string_view dependent_key) {
  return dependent_key.substr(dependent_key.find('/', 2) + 1);
}
inline std::string EndedKey(absl::string_view credential) { return absl::StrCat("e/", credential); }

}  // namespace parley::taskd

#endif  // PARLEY_SERVICES_TASKD_STORE_KEYS_H_
