#include "clients/cli/watch_view.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "clients/cli/format.h"
#include "clients/cli/task_name.h"
#include "clients/cli/task_text.h"
#include "clients/cli/terminal.h"
#include "lib/base/proto_time.h"
#include "lib/task/states.h"

namespace parley::cli {
namespace {

using task::v1::Participant;
using task::v1::Task;

// Below the title and the count.
constexpr int kBarLine = 2;
constexpr size_t kMostBarCells = 60;
constexpr size_t kMostNameColumns = 28;
constexpr absl::string_view kMargin = "  ";

std::string Mark(const Participant& client) {
  if (client.state() == Participant::STATE_LOST) return Red("✘");
  switch (ClientStatusOf(client)) {
    case ClientStatus::kDone:
      return Green("✔");
    case ClientStatus::kFailed:
      return Red("✘");
    default:
      return "·";
  }
}

std::string Line(const Participant& client) {
  return absl::StrCat("  ", Mark(client), " ", ClientOf(client), "  r", client.revision(), " ",
                      StateAndReasonText(client));
}

// What makes a line of its own: a detail that is put in other words is no news.
bool IsNews(const Participant& now, const Participant* before) {
  if (ClientStatusOf(now) == ClientStatus::kOnItsWay) return false;
  return before == nullptr || before->state() != now.state() || before->hindered() != now.hindered() ||
         before->drifted() != now.drifted() || before->revision() != now.revision() ||
         before->attempt() != now.attempt() || before->reason() != now.reason();
}

bool IsInTrouble(const Participant& client) {
  const ClientStatus standing = ClientStatusOf(client);
  return standing == ClientStatus::kFailed || standing == ClientStatus::kHindered || client.has_duplicate_time();
}

// Parts with a comma between them, on as many lines as they need.
std::vector<std::string> Wrap(const std::string& text, size_t columns) {
  std::vector<std::string> lines = {""};
  for (const absl::string_view part : absl::StrSplit(text, ", ")) {
    const size_t needed = ColumnsOf(lines.back()) + ColumnsOf(part) + 3;
    if (!lines.back().empty() && needed > columns) {
      lines.back().push_back(',');
      lines.emplace_back();
    }
    absl::StrAppend(&lines.back(), lines.back().empty() ? "" : ", ", part);
  }
  return lines;
}

std::string Bar(int done, int all, size_t columns) {
  const size_t cells = std::min(kMostBarCells, columns > 8 ? columns - 8 : 0);
  return absl::StrCat(BarText(done, all, cells), " ", all == 0 ? 0 : int64_t{100} * done / all, " %");
}

}  // namespace

std::vector<std::string> WatchView::Update(const task::v1::WatchTaskResponse& event, bool every_change) {
  std::vector<std::string> lines;
  for (const Participant& client : event.participants()) {
    const auto before = clients_.find(client.name());
    if (every_change || IsNews(client, before == clients_.end() ? nullptr : &before->second)) {
      lines.push_back(Line(client));
    }
    clients_[client.name()] = client;
  }
  if (event.has_task()) task_ = event.task();
  away_.clear();
  return lines;
}

std::string WatchView::Summary() const {
  return absl::StrCat("  ", TaskId(task_.name()), " r", task_.revision(), " ", StateText(task_.state()), ": ",
                      CountsText(task_.counts()));
}

std::vector<std::string> WatchView::Heading(size_t columns) const {
  const task::v1::Counts& counts = task_.counts();
  const int done = counts.confirmed() + counts.up_to_date();
  const int all = std::max(counts.joined(), task_.expected_clients());
  const std::string until =
      task::HasEnded(task_.state()) ? "" : absl::StrCat(" until ", TimeText(ToTime(task_.expire_time())));
  std::vector<std::string> lines;
  lines.push_back(FitColumns(
      absl::StrCat(TaskId(task_.name()), " r", task_.revision(), "  ", StateText(task_.state()), until), columns));
  lines.push_back(FitColumns(absl::StrCat(done, " of ", all, " confirmed"), columns));
  lines.push_back(FitColumns(Bar(done, all, columns), columns));
  for (const std::string& line : Wrap(CountsText(counts), columns)) lines.push_back(FitColumns(line, columns));
  return lines;
}

std::vector<std::string> WatchView::Troubles(size_t columns, absl::Time now) const {
  std::vector<const Participant*> in_trouble;
  size_t name_columns = 0, stand_columns = 0;
  for (const auto& [name, client] : clients_) {
    if (!IsInTrouble(client)) continue;
    in_trouble.push_back(&client);
    name_columns = std::max(name_columns, std::min(kMostNameColumns, ClientOf(client).size()));
    stand_columns = std::max(stand_columns, ParticipantStateText(client).size());
  }
  // Failures first; among equals by name, as the map has them.
  std::stable_sort(in_trouble.begin(), in_trouble.end(), [](const Participant* a, const Participant* b) {
    return ClientStatusOf(*a) == ClientStatus::kFailed && ClientStatusOf(*b) != ClientStatus::kFailed;
  });
  std::vector<std::string> lines;
  for (const Participant* const client : in_trouble) {
    const std::string name = PadColumns(FitColumns(ClientOf(*client), name_columns), name_columns);
    const std::string text =
        absl::StrCat(name, "  ", PadColumns(ParticipantStateText(*client), stand_columns), "  ", WhyText(*client, now));
    lines.push_back(absl::StrCat(Mark(*client), " ", FitColumns(text, columns - 2)));
  }
  return lines;
}

std::vector<std::string> WatchView::Screen(int rows, int columns, absl::Time now) const {
  const auto height = static_cast<size_t>(std::max(rows, 1));
  const size_t width = static_cast<size_t>(std::max(columns, 8)) - kMargin.size() - 1;
  std::vector<std::string> lines = Heading(width);
  std::vector<std::string> troubles = Troubles(width, now);
  const size_t last = away_.empty() ? 0 : 1;
  // In a low window the bar makes room for a name.
  if (!troubles.empty() && lines.size() + last >= height && lines.size() > size_t{kBarLine}) {
    lines.erase(lines.begin() + kBarLine);
  }
  if (!troubles.empty() && lines.size() + 3 + last < height) lines.emplace_back();
  const size_t room = height > lines.size() + last ? height - lines.size() - last : 0;
  if (troubles.size() > room && room > 0) {
    const size_t more = troubles.size() - (room - 1);
    troubles.resize(room - 1);
    troubles.push_back(FitColumns(absl::StrCat("… and ", more, " more"), width));
  }
  troubles.resize(std::min(troubles.size(), room));
  lines.insert(lines.end(), troubles.begin(), troubles.end());
  lines.resize(std::min(lines.size(), height - last));
  if (last > 0) {
    lines.push_back(FitColumns(absl::StrCat("waiting for the server: ", Printable(away_)), width));
  }
  for (std::string& line : lines) {
    if (!line.empty()) line = absl::StrCat(kMargin, line);
  }
  return lines;
}

}  // namespace parley::cli
