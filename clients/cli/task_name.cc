#include "clients/cli/task_name.h"

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "clients/cli/command.h"
#include "clients/cli/terminal.h"

namespace parley::cli {
namespace {

// The nearest name; empty when there is nothing to keep.
std::string Proposal(absl::string_view text) {
  std::string name;
  for (const char c : text.substr(0, 200)) {
    const char lower = absl::ascii_tolower(c);
    if (name.empty() && !absl::ascii_islower(lower)) continue;
    if (absl::ascii_islower(lower) || absl::ascii_isdigit(lower)) {
      name.push_back(lower);
    } else if (name.back() != '-') {
      name.push_back('-');
    }
    if (name.size() == ops::kMaxTaskNameBytes) break;
  }
  return std::string(absl::StripSuffix(name, "-"));
}

}  // namespace

absl::StatusOr<std::string> FullTaskName(absl::string_view id_or_name) {
  const absl::string_view id = absl::StripPrefix(id_or_name, "tasks/");
  if (!ops::IsTaskId(id)) {
    return UsageError("\"", Printable(id.substr(0, 40)),
                      "\" is not a task's name, which looks like nginx-tls-7k3q; `parley task list` shows "
                      "those that there are");
  }
  return absl::StrCat("tasks/", id);
}

absl::StatusOr<std::string> NewTaskId(absl::string_view name) {
  if (!ops::IsTaskName(name)) {
    const std::string shown = name.size() > 40 ? absl::StrCat(name.substr(0, 40), "…") : std::string(name);
    const std::string proposal = Proposal(name);
    return UsageError("the name \"", Printable(shown), "\"",
                      name.size() > ops::kMaxTaskNameBytes ? absl::StrCat(" of ", name.size(), " letters") : "",
                      " will not do; use 1 to ", ops::kMaxTaskNameBytes,
                      " lower-case letters, digits and '-', a letter first",
                      proposal.empty() ? "" : absl::StrCat(", e.g. ", proposal));
  }
  return ops::NewTaskId(name);
}

}  // namespace parley::cli
