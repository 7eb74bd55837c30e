#include "clients/cli/rollout_view.h"

#include <algorithm>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "clients/cli/format.h"
#include "clients/cli/rollout_text.h"
#include "clients/cli/task_name.h"
#include "clients/cli/task_text.h"
#include "clients/cli/terminal.h"
#include "lib/base/proto_time.h"
#include "lib/task/states.h"

namespace parley::cli {
namespace {

using task::v1::Participant;
using task::v1::RolloutStatus;
using task::v1::Task;
using task::v1::WaveStatus;

constexpr size_t kBarCells = 20;
constexpr size_t kMostWaveColumns = 28;

std::string OpenWaveText(const WaveStatus& wave, absl::Time now) {
  std::string text = absl::StrCat(BarText(wave.succeeded(), wave.clients(), kBarCells), "  ", wave.succeeded(), " of ",
                                  wave.clients(), " have it");
  if (wave.failed() > 0) absl::StrAppend(&text, ", ", wave.failed(), " failed");
  absl::StrAppend(&text, "  since ", ShortTime(ToTime(wave.open_time()), now));
  if (!wave.opener().empty()) absl::StrAppend(&text, ", opened by ", Printable(wave.opener()));
  return text;
}

std::string Mark(const WaveStatus& wave) {
  if (wave.failed() > 0) return Red("✘");
  return wave.clients() > 0 && wave.succeeded() == wave.clients() ? Green("✔") : "·";
}

std::vector<std::string> WavesPicture(const Task& task, size_t columns, absl::Time now) {
  const auto& open = task.rollout_status().open_waves();
  size_t width = 3;
  std::vector<std::string> names;
  for (const auto& wave : task.rollout().waves()) {
    names.push_back(FitColumns(Printable(WaveText(wave)), kMostWaveColumns));
    width = std::max(width, ColumnsOf(names.back()));
  }
  std::vector<std::string> lines;
  for (const std::string& name : names) {
    const auto i = static_cast<int>(lines.size());
    const bool is_open = i < open.size();
    const std::string text =
        absl::StrCat(PadColumns(name, width), "  ", is_open ? OpenWaveText(open[i], now) : "not open yet");
    lines.push_back(absl::StrCat(is_open ? Mark(open[i]) : "·", " ", FitColumns(text, columns - 2)));
  }
  return lines;
}

std::string NextText(const Task& task) {
  const RolloutStatus& status = task.rollout_status();
  std::string text = absl::StrCat("next: ", Printable(status.detail()));
  if (status.approvers_size() > 0) {
    absl::StrAppend(&text, "; approved by ", Printable(absl::StrJoin(status.approvers(), ", ")));
  }
  return text;
}

}  // namespace

std::vector<std::string> RolloutPicture(const Task& task, size_t columns, absl::Time now) {
  const std::string id = TaskId(task.name());
  const int open = task.rollout_status().open_waves_size();
  std::vector<std::string> lines;
  const auto add = [&](const std::string& line) { lines.push_back(FitColumns(line, columns)); };
  add(absl::StrCat(id, " r", task.revision(), "  ", StateText(task.state()),
                   task.has_rollout() && task.has_rollout_status()
                       ? absl::StrCat(", ", open, " of ", Count(task.rollout().waves_size(), "wave"), " open")
                       : ""));
  if (!task.state_reason().empty()) add(absl::StrCat("why: ", Printable(task.state_reason())));
  if (task.has_rollout() && task.has_rollout_status()) {
    for (std::string& line : WavesPicture(task, columns, now)) lines.push_back(std::move(line));
    if (open < task.rollout().waves_size()) add(NextText(task));
  } else {
    const int done = task.counts().confirmed() + task.counts().up_to_date();
    const int all = std::max(task.counts().joined(), task.expected_clients());
    add(absl::StrCat(BarText(done, all, kBarCells), "  ", done, " of ", all, " have it"));
  }
  add(absl::StrCat(Count(task.counts().joined(), "client"), ": ", CountsText(task.counts())));
  return lines;
}

std::vector<std::string> CausesText(const std::vector<Participant>& clients, size_t columns, absl::Time now) {
  std::map<std::string, std::vector<const Participant*>> by_cause;
  for (const Participant& client : clients) {
    const ClientStatus status = ClientStatusOf(client);
    if (status == ClientStatus::kDone || status == ClientStatus::kOnItsWay) continue;
    const std::string reason = client.reason().empty() ? "" : absl::StrCat(" (", client.reason(), ")");
    by_cause[absl::StrCat(ParticipantStateText(client), Printable(reason))].push_back(&client);
  }
  std::vector<std::pair<std::string, std::vector<const Participant*>>> causes(by_cause.begin(), by_cause.end());
  std::stable_sort(causes.begin(), causes.end(),
                   [](const auto& a, const auto& b) { return a.second.size() > b.second.size(); });
  std::vector<std::string> lines;
  for (const auto& [cause, of_it] : causes) {
    lines.push_back(FitColumns(absl::StrCat(of_it.size(), " ", cause, ", for example ", ClientOf(*of_it.front()), ": ",
                                            WhyText(*of_it.front(), now)),
                               columns));
  }
  return lines;
}

}  // namespace parley::cli
