#include "clients/cli/task_text.h"

#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "clients/cli/terminal.h"

namespace parley::cli {
namespace {

// "STATE_ROLLED_BACK" -> "rolled back".
std::string Words(const std::string& constant) {
  const absl::string_view name = absl::StripPrefix(constant, "STATE_");
  return absl::AsciiStrToLower(absl::StrReplaceAll(name, {{"_", " "}}));
}

// What a hook said, and how it ended: the agent adds that as the last line. Of the output the line two above the end is
// shown, because that is where programs such as `nginx -t` say what is wrong before they say that something is.
std::string Gist(absl::string_view text) {
  const std::vector<absl::string_view> lines = absl::StrSplit(text, '\n', absl::SkipWhitespace());
  if (lines.empty()) return "";
  const absl::string_view said = lines[lines.size() > 3 ? lines.size() - 3 : 0];
  return lines.size() == 1 ? std::string(said) : absl::StrCat(said, "; ", lines.back());
}

}  // namespace

std::string StateText(task::v1::Task::State state) { return Words(task::v1::Task::State_Name(state)); }
std::string StateText(task::v1::Participant::State state) { return Words(task::v1::Participant::State_Name(state)); }

bool HasEnded(task::v1::Task::State state) {
  using task::v1::Task;
  return state != Task::STATE_SCHEDULED && state != Task::STATE_OPEN && state != Task::STATE_PAUSED &&
         state != Task::STATE_UNSPECIFIED;
}

bool HasEnded(task::v1::Participant::State state) {
  using task::v1::Participant;
  switch (state) {
    case Participant::STATE_UP_TO_DATE:
    case Participant::STATE_INELIGIBLE:
    case Participant::STATE_DECLINED:
    case Participant::STATE_CONFIRMED:
    case Participant::STATE_ROLLED_BACK:
    case Participant::STATE_ROLLBACK_FAILED:
    case Participant::STATE_CANCELED:
    case Participant::STATE_TIMED_OUT:
      return true;
    default:
      return false;
  }
}

std::string CountsText(const task::v1::Counts& counts) {
  const std::pair<int, const char*> parts[] = {
      {counts.confirmed(), "confirmed"},   {counts.up_to_date(), "up to date"},
      {counts.working(), "working"},       {counts.waiting(), "waiting"},
      {counts.deferred(), "deferred"},     {counts.declined(), "declined"},
      {counts.ineligible(), "ineligible"}, {counts.rolled_back(), "rolled back"},
      {counts.timed_out(), "timed out"},   {counts.rollback_failed(), "rollback failed"},
      {counts.canceled(), "canceled"},     {counts.lost(), "lost"},
  };
  std::string text;
  for (const auto& [count, name] : parts) {
    if (count > 0) absl::StrAppend(&text, text.empty() ? "" : ", ", count, " ", name);
  }
  return text.empty() ? "nobody yet" : text;
}

std::string ClientOf(const task::v1::Participant& participant) {
  return participant.name().substr(participant.name().rfind('/') + 1);
}

std::string StandingText(const task::v1::Participant& participant) {
  const std::string why = participant.detail().empty() ? participant.reason() : Gist(participant.detail());
  return absl::StrCat(StateText(participant.state()), why.empty() ? "" : absl::StrCat(" (", Printable(why), ")"));
}

}  // namespace parley::cli
