#include "services/taskd/store/keys.h"

#include <limits>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "lib/base/encoding.h"

namespace parley::taskd {

using store::KeyRange;

std::string TaskKey(absl::string_view task) { return absl::StrCat("t/", task, "/task"); }

std::string ParticipantKey(absl::string_view task, absl::string_view client) {
  return absl::StrCat("t/", task, "/p/", client);
}

KeyRange TaskRange(absl::string_view task) { return KeyRange::Prefix(absl::StrCat("t/", task, "/")); }

KeyRange ParticipantRange(absl::string_view task) { return KeyRange::Prefix(absl::StrCat("t/", task, "/p/")); }

KeyRange AllTasksRange() { return KeyRange::Prefix("t/"); }

WatchedKey ParseWatchedKey(absl::string_view key) {
  key.remove_prefix(2);
  const size_t slash = key.find('/');
  const absl::string_view rest = key.substr(slash + 1);
  return {key.substr(0, slash), rest.substr(0, 2) == "p/" ? rest.substr(2) : absl::string_view()};
}

std::string TagKey(absl::string_view task, absl::string_view tag) { return absl::StrCat("g/", task, "/", tag); }

std::string JoinKeyKey(absl::string_view task, absl::string_view serial_hex) {
  return absl::StrCat("k/", task, "/", serial_hex);
}

KeyRange JoinKeyRange(absl::string_view task) { return KeyRange::Prefix(absl::StrCat("k/", task, "/")); }

std::string ManifestPartKey(absl::string_view task, int64_t revision, int part) {
  return absl::StrFormat("m/%s/%012d/%03d", std::string(task), revision, part);
}

KeyRange ManifestRange(absl::string_view task, int64_t revision) {
  return KeyRange::Prefix(absl::StrFormat("m/%s/%012d/", std::string(task), revision));
}

std::string SeedKey(absl::string_view task) { return absl::StrCat("s/", task); }

std::string UnsettledKey(absl::string_view task) { return absl::StrCat("l/", task); }

KeyRange UnsettledRange() { return KeyRange::Prefix("l/"); }

std::string CreatedKey(absl::Time created, absl::string_view task) {
  const int64_t inverted = std::numeric_limits<int64_t>::max() - absl::ToUnixMicros(created);
  return absl::StrFormat("o/%016x/%s", inverted, std::string(task));
}

KeyRange CreatedRange() { return KeyRange::Prefix("o/"); }

std::string LastPart(absl::string_view key) { return std::string(key.substr(key.rfind('/') + 1)); }

std::string RequestKey(absl::string_view hash_hex) { return absl::StrCat("q/", hash_hex); }

std::string ChunkKey(absl::string_view digest) { return absl::StrCat("c/", HexEncode(digest)); }

std::string ChunkInfoKey(absl::string_view digest) { return absl::StrCat("d/", HexEncode(digest)); }

std::string RevocationKey(absl::string_view serial_hex) { return absl::StrCat("x/", serial_hex); }

KeyRange RevocationRange() { return KeyRange::Prefix("x/"); }

std::string DependentKey(absl::string_view credential, absl::string_view key) {
  return absl::StrCat("h/", credential, "/", key);
}

KeyRange DependentRange(absl::string_view credential) { return KeyRange::Prefix(DependentKey(credential, "")); }

absl::string_view DependentOf(absl::string_view dependent_key) {
  return dependent_key.substr(dependent_key.find('/', 2) + 1);
}

std::string EndedKey(absl::string_view credential) { return absl::StrCat("e/", credential); }

}  // namespace parley::taskd
