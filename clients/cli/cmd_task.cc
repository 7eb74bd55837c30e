// parley task list, get, pause, resume, abort, retry, revoke-member.
#include <memory>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "clients/cli/command.h"
#include "clients/cli/connection.h"
#include "clients/cli/format.h"
#include "clients/cli/output.h"
#include "clients/cli/task_name.h"
#include "clients/cli/task_text.h"
#include "clients/cli/terminal.h"
#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/base/proto_time.h"
#include "lib/keys/identity.h"
#include "parley/task/v1/task_service.grpc.pb.h"

namespace parley::cli {
namespace {

using task::v1::TaskService;

// A connection and the stub over it.
struct Tasks {
  std::unique_ptr<Connection> server;
  std::unique_ptr<TaskService::Stub> stub;
};

absl::StatusOr<Tasks> ConnectTasks(const Globals& globals) {
  Tasks tasks;
  ASSIGN_OR_RETURN(tasks.server, Connect(globals, keys::kTaskd));
  tasks.stub = TaskService::NewStub(tasks.server->channel());
  return tasks;
}

void ShowTask(const Globals& globals, const task::v1::Task& task) {
  if (globals.json()) {
    PrintJson(task);
    return;
  }
  const auto line = [](absl::string_view name, absl::string_view value) {
    if (!value.empty()) PrintLine(absl::StrCat("  ", name, std::string(11 - name.size(), ' '), Printable(value)));
  };
  line("task", TaskId(task.name()));
  line("title", task.title());
  line("state", absl::StrCat(StateText(task.state()), task.forced() ? ", forced" : ""));
  line("why", task.state_reason());
  line("clients", CountsText(task.counts()));
  line("revision", absl::StrCat(task.revision(), task.server_signed() ? ", signed by the server" : ""));
  line("payload", absl::StrCat(Count(task.payload_files(), "file"), ", ", BytesText(task.payload_bytes()),
                               "   sha256:", HexEncode(task.payload_digest()).substr(0, 12), "…"));
  const absl::Time start = ToTime(task.start_time());
  if (start > ToTime(task.create_time())) line("offers from", TimeText(start));
  line("open until", TimeText(ToTime(task.expire_time())));
  if (task.has_end_time()) line("ended", TimeText(ToTime(task.end_time())));
  std::string selector;
  for (const auto& [key, value] : task.selector()) {
    absl::StrAppend(&selector, selector.empty() ? "" : ", ", key, "=", value);
  }
  for (const auto& [key, any] : task.selector_any()) {
    absl::StrAppend(&selector, selector.empty() ? "" : ", ", key, "=", absl::StrJoin(any.values(), " or "));
  }
  line("devices", selector);
  line("creator", task.creator());
  if (task.state() == task::v1::Task::STATE_HALTED) {
    for (const std::string& way : WaysOn(task)) PrintLine(way);
  }
}

absl::StatusOr<ExitCode> List(const Globals& globals) {
  ASSIGN_OR_RETURN(const Tasks tasks, ConnectTasks(globals));
  ASSIGN_OR_RETURN(
      const task::v1::ListTasksResponse all,
      tasks.server->CallAll(tasks.stub.get(), &TaskService::Stub::ListTasks, task::v1::ListTasksRequest()));
  std::vector<std::vector<std::string>> rows;
  for (const task::v1::Task& task : all.tasks()) {
    rows.push_back({TaskId(task.name()), StateText(task.state()), absl::StrCat("r", task.revision()),
                    TimeText(ToTime(task.expire_time())), CountsText(task.counts())});
  }
  if (globals.json()) {
    PrintJson(all);
  } else if (rows.empty()) {
    PrintLine("  no tasks yet; create one with: parley task create NAME --payload FOLDER");
  } else {
    PrintTable({"TASK", "STATE", "REVISION", "OPEN UNTIL", "CLIENTS"}, rows);
  }
  return kSuccess;
}

template <typename Request>
absl::StatusOr<ExitCode> ChangeTask(const Globals& globals, const std::string& typed, Request request,
                                    grpc::Status (TaskService::Stub::*method)(grpc::ClientContext*, const Request&,
                                                                              task::v1::Task*)) {
  ASSIGN_OR_RETURN(*request.mutable_name(), FullTaskName(typed));
  ASSIGN_OR_RETURN(const Tasks tasks, ConnectTasks(globals));
  ASSIGN_OR_RETURN(const task::v1::Task task, tasks.server->Call(tasks.stub.get(), method, request));
  ShowTask(globals, task);
  return kSuccess;
}

// So many clients are named in one call.
constexpr size_t kClientsPerCall = 1000;

absl::StatusOr<ExitCode> Retry(const Globals& globals, const std::string& typed,
                               const std::vector<std::string>& clients) {
  task::v1::RetryClientsRequest request;
  ASSIGN_OR_RETURN(*request.mutable_name(), FullTaskName(typed));
  ASSIGN_OR_RETURN(const Tasks tasks, ConnectTasks(globals));
  task::v1::RetryClientsResponse all;
  size_t next = 0;
  do {
    request.clear_clients();
    while (next < clients.size() && static_cast<size_t>(request.clients_size()) < kClientsPerCall) {
      request.add_clients(clients[next++]);
    }
    ASSIGN_OR_RETURN(const task::v1::RetryClientsResponse response,
                     tasks.server->Call(tasks.stub.get(), &TaskService::Stub::RetryClients, request));
    all.set_retried_clients(all.retried_clients() + response.retried_clients());
  } while (next < clients.size());
  if (globals.json()) {
    PrintJson(all);
  } else if (all.retried_clients() == 0) {
    PrintLine(clients.empty() ? "  · nobody has failed, declined or timed out"
                              : "  · none of them has failed, declined or timed out");
  } else {
    PrintLine(absl::StrCat("  ", Green("✔"), " ", Count(all.retried_clients(), "client"),
                           all.retried_clients() == 1 ? " has" : " have", " another attempt before ",
                           all.retried_clients() == 1 ? "it" : "them"));
  }
  return kSuccess;
}

absl::StatusOr<ExitCode> RevokeMember(const Globals& globals, const std::string& typed, const std::string& client,
                                      const std::string& reason) {
  ASSIGN_OR_RETURN(const std::string name, FullTaskName(typed));
  task::v1::RevokeParticipantRequest request;
  request.set_name(absl::StrCat(name, "/participants/", client));
  request.set_reason(reason);
  ASSIGN_OR_RETURN(const Tasks tasks, ConnectTasks(globals));
  ASSIGN_OR_RETURN(const task::v1::Participant participant,
                   tasks.server->Call(tasks.stub.get(), &TaskService::Stub::RevokeParticipant, request));
  if (globals.json()) {
    PrintJson(participant);
  } else {
    PrintLine(absl::StrCat("  ", Green("✔"), " ", client, " is out of ", TaskId(name), "; its key is dead"));
  }
  return kSuccess;
}

// A subcommand that takes one task.
CLI::App* AddForTask(CLI::App* task, Globals* globals, const char* name, const char* description, std::string* typed) {
  CLI::App* command = task->add_subcommand(name, description);
  command->fallthrough();
  Uses(command, globals, kCallerOptions);
  command->add_option("task", *typed, "The task's name")->required();
  return command;
}

struct TaskFlags {
  std::string task, client, reason;
  std::vector<std::string> clients;
};

}  // namespace

void AddTask(CLI::App* app, Globals* globals) {
  CLI::App* task = app->add_subcommand("task", "Create and steer update tasks");
  task->fallthrough();
  task->require_subcommand(1);
  AddTaskCreate(task, globals);
  AddTaskPublish(task, globals);
  auto flags = std::make_shared<TaskFlags>();

  CLI::App* list = task->add_subcommand("list", "All tasks, newest first");
  list->fallthrough();
  Uses(list, globals, kCallerOptions);
  list->callback([globals] { globals->run = [globals] { return List(*globals); }; });

  const auto when_chosen = [globals, flags](CLI::App* command, std::function<absl::StatusOr<ExitCode>()> run) {
    command->callback([globals, flags, run] { globals->run = run; });
  };
  when_chosen(AddForTask(task, globals, "get", "One task", &flags->task), [globals, flags] {
    return ChangeTask(*globals, flags->task, task::v1::GetTaskRequest(), &TaskService::Stub::GetTask);
  });
  AddTaskWatch(task, globals);
  when_chosen(AddForTask(task, globals, "pause", "Stop making offers; who has accepted goes on", &flags->task),
              [globals, flags] {
                return ChangeTask(*globals, flags->task, task::v1::PauseTaskRequest(), &TaskService::Stub::PauseTask);
              });
  when_chosen(
      AddForTask(task, globals, "resume", "Go on making offers; of a halted task, bear its failures", &flags->task),
      [globals, flags] {
        return ChangeTask(*globals, flags->task, task::v1::ResumeTaskRequest(), &TaskService::Stub::ResumeTask);
      });
  CLI::App* abort = AddForTask(task, globals, "abort", "End a task; who is applying finishes", &flags->task);
  abort->add_option("--reason", flags->reason, "Shown to the clients, kept in the audit log");
  when_chosen(abort, [globals, flags] {
    task::v1::AbortTaskRequest request;
    request.set_reason(flags->reason);
    return ChangeTask(*globals, flags->task, request, &TaskService::Stub::AbortTask);
  });
  AddTaskMembers(task, globals);
  CLI::App* retry = AddForTask(task, globals, "retry", "Give clients another attempt at the revision", &flags->task);
  retry->add_option("client", flags->clients, "Their names (all that have failed, declined or timed out)");
  retry->footer(
      "A client that failed stays as it is until there is a new revision, something that mattered changes on it, or\n"
      "somebody says so: here, or by giving `parley join` again there. One that is not connected gets it when it is "
      "back.\n"
      "Examples:\n"
      "  parley task retry nginx-tls-7k3q\n"
      "  parley task retry nginx-tls-7k3q web-17 web-22");
  when_chosen(retry, [globals, flags] { return Retry(*globals, flags->task, flags->clients); });
  AddTaskKey(task, globals);
  CLI::App* revoke = AddForTask(task, globals, "revoke-member", "Take one client out of a task at once", &flags->task);
  revoke->add_option("client", flags->client, "Its name in `parley task members`")->required();
  revoke->add_option("--reason", flags->reason, "Kept in the audit log");
  when_chosen(revoke, [globals, flags] { return RevokeMember(*globals, flags->task, flags->client, flags->reason); });
}

}  // namespace parley::cli
