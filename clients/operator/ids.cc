#include "clients/operator/ids.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "lib/crypto/kdf.h"

namespace parley::ops {
namespace {

constexpr size_t kMaxIdBytes = 32;

bool IsName(absl::string_view name, size_t least, size_t most) {
  return name.size() >= least && name.size() <= most && absl::ascii_islower(name.front()) && name.back() != '-' &&
         std::all_of(name.begin(), name.end(),
                     [](char c) { return absl::ascii_islower(c) || absl::ascii_isdigit(c) || c == '-'; });
}

}  // namespace

bool IsTaskName(absl::string_view name) { return IsName(name, 1, kMaxTaskNameBytes); }
bool IsTaskId(absl::string_view id) { return IsName(id, 3, kMaxIdBytes); }

std::string TaskId(absl::string_view name) { return std::string(absl::StripPrefix(name, "tasks/")); }

std::string NewTaskId(absl::string_view name) {
  constexpr char kLetters[] = "abcdefghijklmnopqrstuvwxyz234567";
  std::string id = absl::StrCat(name, "-");
  for (const char byte : crypto::RandomBytes(4)) id.push_back(kLetters[byte & 31]);
  return id;
}

}  // namespace parley::ops
