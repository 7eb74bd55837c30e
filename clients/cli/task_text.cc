#include "clients/cli/task_text.h"

#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "clients/cli/format.h"
#include "clients/cli/task_name.h"
#include "clients/cli/terminal.h"
#include "lib/base/encoding.h"
#include "lib/base/proto_time.h"
#include "lib/task/states.h"

namespace parley::cli {
namespace {

constexpr ptrdiff_t kMostGistLines = 3;
constexpr size_t kMostGistColumns = 120;

// "STATE_ROLLED_BACK" -> "rolled back".
std::string Words(const std::string& constant) {
  const absl::string_view name = absl::StripPrefix(constant, "STATE_");
  return absl::AsciiStrToLower(absl::StrReplaceAll(name, {{"_", " "}}));
}

// What a hook said last, and how it ended: the agent adds that as the last line. Of the output the last two lines are
// shown, because programs such as `nginx -t` say what is wrong before they say that something is.
std::string Gist(absl::string_view text) {
  std::vector<absl::string_view> lines = absl::StrSplit(text, '\n', absl::SkipWhitespace());
  if (static_cast<ptrdiff_t>(lines.size()) > kMostGistLines) lines.erase(lines.begin(), lines.end() - kMostGistLines);
  std::vector<std::string> shown;
  for (const absl::string_view line : lines) shown.push_back(FitColumns(Printable(line), kMostGistColumns));
  return absl::StrJoin(shown, "; ");
}

}  // namespace

std::string StateText(task::v1::Task::State state) { return Words(task::v1::Task::State_Name(state)); }
std::string StateText(task::v1::Participant::State state) { return Words(task::v1::Participant::State_Name(state)); }

std::vector<std::string> WaysOn(const task::v1::Task& task) {
  const std::string id = TaskId(task.name());
  std::vector<std::string> ways = {
      absl::StrCat("    another revision:      parley task publish ", id, " --payload FOLDER"),
      absl::StrCat("    this one all the same: parley task resume ", id)};
  if (task.revision() > 1) ways.push_back(absl::StrCat("    the one before again:  parley task rollback ", id));
  return ways;
}

std::string DigestText(absl::string_view digest) { return absl::StrCat(HexEncode(digest).substr(0, 12), "…"); }

std::string CountsText(const task::v1::Counts& counts) {
  const std::pair<int, const char*> parts[] = {
      {counts.confirmed(), "confirmed"},
      {counts.up_to_date(), "up to date"},
      {counts.working(), "working"},
      {counts.waiting(), "waiting"},
      {counts.hindered(), "hindered"},
      {counts.deferred(), "deferred"},
      {counts.declined(), "declined"},
      {counts.ineligible(), "ineligible"},
      {counts.rolled_back(), "rolled back"},
      {counts.timed_out(), "timed out"},
      {counts.rollback_failed(), "rollback failed"},
      {counts.canceled(), "canceled"},
      {counts.lost(), "lost"},
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

std::string ParticipantStateText(const task::v1::Participant& participant) {
  return participant.hindered() ? "hindered" : StateText(participant.state());
}

std::string WhyText(const task::v1::Participant& participant, absl::Time now) {
  std::vector<std::string> parts;
  if (participant.has_revoke_time()) {
    parts.push_back(absl::StrCat("revoked ", ShortTime(ToTime(participant.revoke_time()), now)));
  }
  if (participant.has_duplicate_time()) {
    parts.push_back(
        absl::StrCat("two machines hold this name, seen ", ShortTime(ToTime(participant.duplicate_time()), now)));
  }
  const std::string said = participant.detail().empty() ? Words(participant.reason()) : Gist(participant.detail());
  if (!said.empty()) parts.push_back(said);
  if (participant.drifted() && participant.detail().empty()) {
    parts.push_back("what is installed is not what was confirmed");
  }
  return Printable(absl::StrJoin(parts, "; "));
}

std::string StateAndReasonText(const task::v1::Participant& participant) {
  const std::string why = participant.detail().empty() ? participant.reason() : Gist(participant.detail());
  return absl::StrCat(ParticipantStateText(participant), participant.drifted() ? ", drifted" : "",
                      why.empty() ? "" : absl::StrCat(" (", Printable(why), ")"));
}

ClientStatus ClientStatusOf(const task::v1::Participant& participant) {
  using task::v1::Participant;
  if (participant.hindered()) return ClientStatus::kHindered;
  const Participant::State state = participant.state();
  if (task::IsInstalled(state)) return participant.drifted() ? ClientStatus::kFailed : ClientStatus::kDone;
  if (state == Participant::STATE_ROLLED_BACK || state == Participant::STATE_ROLLBACK_FAILED ||
      state == Participant::STATE_TIMED_OUT) {
    return ClientStatus::kFailed;
  }
  return task::IsAtRest(state) ? ClientStatus::kOut : ClientStatus::kOnItsWay;
}

std::string InstalledText(const task::v1::Participant& participant) {
  int64_t revision = participant.installed_revision();
  // A server from before this field says what is installed by the state alone.
  if (revision == 0 && !participant.drifted() && ClientStatusOf(participant) == ClientStatus::kDone) {
    revision = participant.revision();
  } else if (revision == 0 && !participant.installed_digest().empty()) {
    revision = participant.confirmed_revision();
  }
  return absl::StrCat(revision == 0 ? "none" : absl::StrCat("r", revision), participant.drifted() ? " drifted" : "");
}

std::string ConnectedText(const task::v1::Participant& participant, absl::Time now) {
  if (participant.connected()) return "yes";
  // The server has not seen it.
  if (!participant.has_disconnect_time()) return "not since taskd's start";
  return absl::StrCat("not since ", ShortTime(ToTime(participant.disconnect_time()), now));
}

}  // namespace parley::cli
