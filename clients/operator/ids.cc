#include "clients/operator/ids.h"

#include <stdlib.h>
#include <sys/random.h>

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "lib/base/encoding.h"

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
  unsigned char random[4];
  if (getrandom(random, sizeof(random), 0) != sizeof(random)) abort();
  std::string id = absl::StrCat(name, "-");
  for (const unsigned char byte : random) id.push_back(kLetters[byte % 32]);
  return id;
}

std::string NewRequestId() {
  unsigned char bytes[16];
  if (getrandom(bytes, sizeof(bytes), 0) != sizeof(bytes)) abort();
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const std::string hex = HexEncode(absl::string_view(reinterpret_cast<const char*>(bytes), sizeof(bytes)));
  return absl::StrCat(hex.substr(0, 8), "-", hex.substr(8, 4), "-", hex.substr(12, 4), "-", hex.substr(16, 4), "-",
                      hex.substr(20));
}

}  // namespace parley::ops
