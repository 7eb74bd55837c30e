// parley task status, advance, explain.
#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "clients/cli/command.h"
#include "clients/cli/connection.h"
#include "clients/cli/output.h"
#include "clients/cli/rollout_text.h"
#include "clients/cli/rollout_view.h"
#include "clients/cli/task_name.h"
#include "clients/cli/terminal.h"
#include "clients/operator/revisions.h"
#include "lib/base/error.h"
#include "lib/keys/identity.h"
#include "parley/task/v1/task_service.grpc.pb.h"

namespace parley::cli {
namespace {

using task::v1::Participant;
using task::v1::Task;
using task::v1::TaskService;

// On a line that is not a terminal's nothing is cut.
constexpr size_t kAnyColumns = 4096;

struct StatusFlags {
  std::string task;
};

struct ExplainFlags {
  std::string task, client;
};

struct AdvanceFlags {
  std::string task;
  bool now = false;
};

absl::StatusOr<ExitCode> Status(const Globals& globals, const StatusFlags& flags) {
  ASSIGN_OR_RETURN(const std::string name, FullTaskName(flags.task));
  ASSIGN_OR_RETURN(const std::unique_ptr<ops::Connection> server, Connect(globals, keys::kTaskd));
  ASSIGN_OR_RETURN(const Task task, ops::GetTask(*server, name));
  if (globals.json()) return PrintJson(task);
  const size_t columns =
      StdoutIsTerminal() ? static_cast<size_t>(std::max(GetTerminalSize().columns, 16)) - 3 : kAnyColumns;
  const absl::Time now = absl::Now();
  for (const std::string& line : RolloutPicture(task, columns, now)) PrintLine("  ", line);
  task::v1::ListParticipantsRequest request;
  request.set_parent(task.name());
  // Those that stand where they should not; each may be there for a cause of its own.
  for (const Participant::State state :
       {Participant::STATE_INELIGIBLE, Participant::STATE_DECLINED, Participant::STATE_ROLLED_BACK,
        Participant::STATE_ROLLBACK_FAILED, Participant::STATE_TIMED_OUT, Participant::STATE_LOST}) {
    request.add_states(state);
  }
  ASSIGN_OR_RETURN(const task::v1::ListParticipantsResponse troubled,
                   server->CallAll<TaskService>(&TaskService::Stub::ListParticipants, request));
  const std::vector<Participant> clients(troubled.participants().begin(), troubled.participants().end());
  for (const std::string& line : CausesText(clients, columns, now)) PrintLine("  ", line);
  return kSuccess;
}

absl::StatusOr<ExitCode> Advance(const Globals& globals, const AdvanceFlags& flags) {
  ASSIGN_OR_RETURN(const std::string name, FullTaskName(flags.task));
  ASSIGN_OR_RETURN(const std::unique_ptr<ops::Connection> server, Connect(globals, keys::kTaskd));
  ASSIGN_OR_RETURN(const Task before, ops::GetTask(*server, name));
  const int next = before.rollout_status().open_waves_size() + 1;
  task::v1::AdvanceTaskRequest request;
  request.set_name(before.name());
  request.set_now(flags.now);
  // So that the wave that was seen is meant, and no other.
  if (next <= before.rollout().waves_size()) request.set_wave(next);
  ASSIGN_OR_RETURN(const Task after, server->Call<TaskService>(&TaskService::Stub::AdvanceTask, request));
  if (globals.json()) return PrintJson(after);
  const std::string wave = absl::StrCat("wave ", next, " of ", after.rollout().waves_size(), " (",
                                        Printable(WaveText(after.rollout().waves(next - 1))), ")");
  if (after.rollout().gate().approvals() == 0) return PrintDone(wave, " opens");
  return PrintDone(wave, " has your approval: ", Printable(after.rollout_status().detail()));
}

absl::StatusOr<ExitCode> Explain(const Globals& globals, const ExplainFlags& flags) {
  task::v1::ExplainParticipantRequest request;
  ASSIGN_OR_RETURN(const std::string task, FullTaskName(flags.task));
  request.set_name(absl::StrCat(task, "/participants/", flags.client));
  ASSIGN_OR_RETURN(const task::v1::ExplainParticipantResponse response,
                   Call<TaskService>(globals, keys::kTaskd, &TaskService::Stub::ExplainParticipant, request));
  if (globals.json()) return PrintJson(response);
  for (const std::string& sentence : response.sentences()) PrintLine("  ", Printable(sentence));
  return kSuccess;
}

}  // namespace

void AddTaskRollout(Command task, Globals* globals) {
  auto status = std::make_shared<StatusFlags>();
  Command show =
      AddCommand(task, globals, "status", "Show how far a revision is out: its waves, and what keeps clients from it",
                 kCallerOptions, status, &Status);
  show.AddOption("task", status->task, "The task's name").Required();
  show.Footer(
      "A wave is shown with those before it, as it holds their clients too. A failure is told with an example of its\n"
      "cause.\n"
      "Example:\n"
      "  parley task status nginx-tls-7k3q");
  auto explained = std::make_shared<ExplainFlags>();
  Command explain =
      AddCommand(task, globals, "explain", "Say where a client stands, what it waits for, and what can be done",
                 kCallerOptions, explained, &Explain);
  explain.AddOption("task", explained->task, "The task's name").Required();
  explain.AddOption("client", explained->client, "The client's name, as in `parley task members`").Required();
  explain.Footer("Example:\n  parley task explain nginx-tls-7k3q web-17");
  auto flags = std::make_shared<AdvanceFlags>();
  Command advance = AddCommand(task, globals, "advance", "Approve the next wave of a roll-out, or open it at once",
                               kCallerOptions, flags, &Advance);
  advance.AddOption("task", flags->task, "The task's name").Required();
  advance.AddFlag("--now", flags->now, "With approvals: do not wait for the share and the time that the gate asks for");
  advance.Footer(
      "Where the gate asks for approvals (--approve, --approve-by), this is yours. Otherwise the next wave opens,\n"
      "whatever share of the open ones has the revision. While more have failed than the gate bears, nothing opens:\n"
      "the task is halted or paused then, and `parley task resume` bears those failures.\n"
      "Example:\n"
      "  parley task advance nginx-tls-7k3q");
}

}  // namespace parley::cli
