// parley task watch: a task as it goes, over reconnects.
#include <chrono>
#include <memory>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "clients/cli/command.h"
#include "clients/cli/format.h"
#include "clients/cli/output.h"
#include "clients/cli/server.h"
#include "clients/cli/task_name.h"
#include "clients/cli/task_text.h"
#include "clients/cli/terminal.h"
#include "lib/base/error.h"
#include "lib/keys/identity.h"
#include "parley/task/v1/task_service.grpc.pb.h"

namespace parley::cli {
namespace {

using task::v1::Participant;
using task::v1::Task;
using task::v1::TaskService;

std::string Mark(Participant::State state) {
  switch (state) {
    case Participant::STATE_CONFIRMED:
    case Participant::STATE_UP_TO_DATE:
      return Green("✔");
    case Participant::STATE_ROLLED_BACK:
    case Participant::STATE_ROLLBACK_FAILED:
    case Participant::STATE_TIMED_OUT:
    case Participant::STATE_LOST:
      return Red("✘");
    default:
      return "·";
  }
}

// A line for each client that changes, and on a terminal one more, always the last, for the whole task.
class WatchPrinter {
 public:
  explicit WatchPrinter(bool json) : json_(json), live_(!json && StdoutIsTerminal()) {}

  void Print(const task::v1::WatchTaskResponse& event) {
    if (json_) {
      PrintJson(event);
    } else {
      if (live_) RedrawLine("");
      for (const Participant& client : event.participants()) {
        PrintLine(absl::StrCat("  ", Mark(client.state()), " ", ClientOf(client), "  r", client.revision(), " ",
                               StandingText(client)));
      }
    }
    if (event.has_task()) task_ = event.task();
    if (json_) return;
    if (live_) {
      RedrawLine(Summary());
    } else if (event.has_task() && Summary() != printed_) {
      PrintLine(printed_ = Summary());
    }
  }

  void Away(const absl::Status& why) {
    if (live_) RedrawLine("");
    if (!json_) PrintLine(Dim(absl::StrCat("  waiting for the server: ", why.message())));
  }

  void End() {
    if (live_) PrintLine("");
  }

  const Task& task() const { return task_; }

 private:
  std::string Summary() const {
    return absl::StrCat("  ", TaskId(task_.name()), " r", task_.revision(), " ", StateText(task_.state()), ": ",
                        CountsText(task_.counts()));
  }

  const bool json_;
  const bool live_;
  Task task_;
  std::string printed_;
};

// From the server's restart to its being reachable: wait for the channel, not for a time.
void WaitForConnection(const Server& server) {
  server.channel()->WaitForConnected(std::chrono::system_clock::now() + std::chrono::seconds(30));
}

absl::StatusOr<ExitCode> Watch(const Globals& globals, const std::string& typed) {
  task::v1::WatchTaskRequest request;
  ASSIGN_OR_RETURN(*request.mutable_name(), FullTaskName(typed));
  ASSIGN_OR_RETURN(const std::unique_ptr<Server> server, Server::Connect(globals, keys::kTaskd));
  const std::unique_ptr<TaskService::Stub> tasks = TaskService::NewStub(server->channel());
  WatchPrinter printer(globals.json());
  bool seen = false;
  while (true) {
    grpc::ClientContext context;
    const auto events = tasks->WatchTask(&context, request);
    task::v1::WatchTaskResponse event;
    while (events->Read(&event)) {
      seen = true;
      request.set_cursor(event.cursor());
      printer.Print(event);
    }
    const grpc::Status status = events->Finish();
    if (status.ok()) break;
    const absl::Status why = server->Explain(status);
    // Only what was once there, and may be there again, is waited for.
    const bool dead_key = Reason(why) == "KEY_REFUSED" || Reason(why) == "KEY_EXPIRED";
    if (status.error_code() != grpc::StatusCode::UNAVAILABLE || !seen || dead_key) return why;
    printer.Away(why);
    WaitForConnection(*server);
  }
  printer.End();
  return printer.task().state() == Task::STATE_COMPLETED ? kSuccess : kFailure;
}

}  // namespace

void AddTaskWatch(CLI::App* task, Globals* globals) {
  auto typed = std::make_shared<std::string>();
  CLI::App* command = task->add_subcommand("watch", "Follow a task until it has ended");
  command->fallthrough();
  command->add_option("task", *typed, "The task's name")->required();
  command->footer(
      "Goes on over a restart of the server without missing a change. Ends with 0 when the task\n"
      "completed without errors, with 1 when it ended in another way.");
  command->callback([globals, typed] { globals->run = [globals, typed] { return Watch(*globals, *typed); }; });
}

}  // namespace parley::cli
