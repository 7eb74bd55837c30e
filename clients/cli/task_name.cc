#include "clients/cli/task_name.h"

#include <stdlib.h>
#include <sys/random.h>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "clients/cli/command.h"
#include "clients/cli/terminal.h"

namespace parley::cli {
namespace {

constexpr size_t kMaxIdBytes = 32;
// Room for "-" and four letters.
constexpr size_t kMaxNameBytes = kMaxIdBytes - 5;

bool IsNameByte(char c) { return absl::ascii_islower(c) || absl::ascii_isdigit(c) || c == '-'; }

bool IsName(absl::string_view name, size_t least, size_t most) {
  if (name.size() < least || name.size() > most || !absl::ascii_islower(name.front()) || name.back() == '-') {
    return false;
  }
  for (const char c : name) {
    if (!IsNameByte(c)) return false;
  }
  return true;
}

// The nearest name; empty when there is nothing to keep.
std::string Proposal(absl::string_view text) {
  std::string name;
  for (const char c : text.substr(0, 200)) {
    const char lower = absl::ascii_tolower(c);
    if (name.empty() && !absl::ascii_islower(lower)) continue;
    if (IsNameByte(lower) && lower != '-') {
      name.push_back(lower);
    } else if (name.back() != '-') {
      name.push_back('-');
    }
    if (name.size() == kMaxNameBytes) break;
  }
  return std::string(absl::StripSuffix(name, "-"));
}

}  // namespace

absl::StatusOr<std::string> FullTaskName(absl::string_view id_or_name) {
  const absl::string_view id = absl::StripPrefix(id_or_name, "tasks/");
  if (!IsName(id, 3, kMaxIdBytes)) {
    return UsageError(absl::StrCat("\"", Printable(id.substr(0, 40)),
                                   "\" is not a task's name, which looks like nginx-tls-7k3q; `parley task list` shows "
                                   "those that there are"));
  }
  return absl::StrCat("tasks/", id);
}

std::string TaskId(absl::string_view name) { return std::string(absl::StripPrefix(name, "tasks/")); }

absl::StatusOr<std::string> NewTaskId(absl::string_view name) {
  if (!IsName(name, 1, kMaxNameBytes)) {
    const std::string shown = name.size() > 40 ? absl::StrCat(name.substr(0, 40), "…") : std::string(name);
    const std::string proposal = Proposal(name);
    return UsageError(absl::StrCat("the name \"", Printable(shown), "\"",
                                   name.size() > kMaxNameBytes ? absl::StrCat(" of ", name.size(), " letters") : "",
                                   " will not do; use 1 to ", kMaxNameBytes,
                                   " lower-case letters, digits and '-', a letter first",
                                   proposal.empty() ? "" : absl::StrCat(", e.g. ", proposal)));
  }
  constexpr char kLetters[] = "abcdefghijklmnopqrstuvwxyz234567";
  unsigned char random[4];
  if (getrandom(random, sizeof(random), 0) != sizeof(random)) abort();
  std::string id = absl::StrCat(name, "-");
  for (const unsigned char byte : random) id.push_back(kLetters[byte % 32]);
  return id;
}

}  // namespace parley::cli
