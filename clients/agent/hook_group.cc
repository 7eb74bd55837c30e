#include "clients/agent/hook_group.h"

#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/time.h"
#include "clients/agent/boot_clock.h"
#include "clients/agent/tree.h"
#include "lib/base/error.h"
#include "lib/base/fd.h"
#include "lib/base/file.h"

namespace parley::agent {
namespace {

constexpr absl::Duration kGrace = absl::Seconds(2);
constexpr absl::Duration kPatience = absl::Seconds(8);
// For those that start others faster than they are found.
constexpr int kMostLooks = 100;

struct Process {
  pid_t id = 0;
  std::string name;
  char state = 0;
  int group = 0;
  int session = 0;
  uint64_t start_ticks = 0;
};

std::optional<Process> ReadProcess(absl::string_view number) {
  Process process;
  const absl::StatusOr<std::string> text = ReadFile(absl::StrCat("/proc/", number, "/stat"), 4096);
  if (!text.ok() || !absl::SimpleAtoi(number, &process.id)) return std::nullopt;
  // "12 (name) S parent group session …"; a name may hold anything.
  const size_t open = text->find('('), close = text->rfind(')');
  if (open == std::string::npos || close == std::string::npos || close + 2 >= text->size()) return std::nullopt;
  process.name = text->substr(open + 1, close - open - 1);
  const std::vector<std::string> fields = absl::StrSplit(text->substr(close + 2), ' ');
  if (fields.size() < 20 || !absl::SimpleAtoi(fields[2], &process.group) ||
      !absl::SimpleAtoi(fields[3], &process.session) || !absl::SimpleAtoi(fields[19], &process.start_ticks)) {
    return std::nullopt;
  }
  process.state = fields[0].empty() ? 0 : fields[0][0];
  return process;
}

// The leader of a session has its number, and so all that it starts can be told by that, whatever groups they make. An
// older version made a group only, in the session of its own.
bool IsMember(const Process& process, const Journal::HookGroup& group) {
  if (process.session != group.session()) return false;
  return group.session() == group.process() || process.group == group.process();
}

// Those that run. The number of a group or session is not given to another one while any of them does.
std::vector<Process> MembersOf(const Journal::HookGroup& group) {
  std::vector<Process> members;
  for (const std::string& name : FolderNames("/proc")) {
    if (!absl::ascii_isdigit(static_cast<unsigned char>(name[0]))) continue;
    std::optional<Process> process = ReadProcess(name);
    if (!process.has_value() || !IsMember(*process, group)) continue;
    // Another leader: the group that was left has ended, and its number was given away.
    if (process->id == group.process() && process->start_ticks != group.start_ticks()) return {};
    if (process->state != 'Z' && process->state != 'X') members.push_back(*std::move(process));
  }
  return members;
}

// By a descriptor, as the number may be another process's by now.
void Signal(const Process& member, int number) {
  const Fd process(static_cast<int>(syscall(SYS_pidfd_open, member.id, 0)));
  const std::optional<Process> now = ReadProcess(absl::StrCat(member.id));
  if (!process.ok() || !now.has_value() || now->start_ticks != member.start_ticks) return;
  syscall(SYS_pidfd_send_signal, process.get(), number, nullptr, 0);
}

// Waits until all of them have ended, or until then.
void AwaitEnd(const std::vector<Process>& members, absl::Duration until) {
  for (const Process& member : members) {
    const Fd process(static_cast<int>(syscall(SYS_pidfd_open, member.id, 0)));
    const absl::Duration left = until - SteadyTime();
    if (!process.ok() || left <= absl::ZeroDuration()) continue;
    pollfd ended = {process.get(), POLLIN, 0};
    poll(&ended, 1, static_cast<int>(absl::ToInt64Milliseconds(left)) + 1);
  }
}

}  // namespace

Journal::HookGroup DescribeGroup(pid_t group, const std::string& boot_id) {
  Journal::HookGroup described;
  described.set_process(group);
  described.set_boot_id(boot_id);
  if (const std::optional<Process> leader = ReadProcess(absl::StrCat(group)); leader.has_value()) {
    described.set_start_ticks(leader->start_ticks);
    described.set_session(leader->session);
  }
  return described;
}

void SignalSession(pid_t session, int number) {
  kill(-session, number);
  Journal::HookGroup all = DescribeGroup(session, "");
  if (all.session() != session) return;
  std::set<pid_t> reached;
  // What is killed while it starts another process may have started it.
  bool more = true;
  for (int looks = 0; looks < kMostLooks && std::exchange(more, false); ++looks) {
    for (const Process& member : MembersOf(all)) {
      if (!reached.insert(member.id).second) continue;
      more = true;
      Signal(member, number);
    }
  }
}

absl::Status EndGroup(const Journal::HookGroup& group, const std::string& boot_id) {
  if (group.process() <= 1 || group.boot_id() != boot_id || group.process() == getpgrp()) return absl::OkStatus();
  int number = SIGTERM;
  const absl::Duration start = SteadyTime();
  while (SteadyTime() - start < kGrace + kPatience) {
    const std::vector<Process> members = MembersOf(group);
    if (members.empty()) return absl::OkStatus();
    for (const Process& member : members) Signal(member, number);
    AwaitEnd(members, number == SIGTERM ? start + kGrace : start + kGrace + kPatience);
    number = SIGKILL;
  }
  const std::vector<Process> members = MembersOf(group);
  if (members.empty()) return absl::OkStatus();
  return Error(absl::StatusCode::kUnavailable, "TARGET_BUSY",
               absl::StrCat("a command of an update that was cut off still runs: ", members[0].name, " (process ",
                            members[0].id, "); end it"));
}

}  // namespace parley::agent
