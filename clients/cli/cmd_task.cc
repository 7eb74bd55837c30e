// parley task list, get, pause, resume, abort, delete, retry, revoke-member.
#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "clients/cli/command.h"
#include "clients/cli/connection.h"
#include "clients/cli/format.h"
#include "clients/cli/output.h"
#include "clients/cli/rollout_text.h"
#include "clients/cli/task_name.h"
#include "clients/cli/task_text.h"
#include "clients/cli/terminal.h"
#include "lib/base/error.h"
#include "lib/base/proto_time.h"
#include "lib/keys/identity.h"
#include "parley/task/v1/task_service.grpc.pb.h"

namespace parley::cli {
namespace {

using task::v1::TaskService;

struct TaskFlags {
  std::string task, client, reason;
  std::vector<std::string> clients;
};

ExitCode ShowTask(const Globals& globals, const task::v1::Task& task) {
  if (globals.json()) return PrintJson(task);
  const auto line = [](absl::string_view name, absl::string_view value) {
    if (!value.empty()) PrintLine("  ", name, std::string(11 - name.size(), ' '), Printable(value));
  };
  line("task", TaskId(task.name()));
  line("title", task.title());
  line("state", absl::StrCat(StateText(task.state()), task.forced() ? ", forced" : ""));
  line("why", task.state_reason());
  line("clients", CountsText(task.counts()));
  line("revision", absl::StrCat(task.revision(), task.server_signed() ? ", signed by the server" : ""));
  line("payload", absl::StrCat(Count(task.payload_files(), "file"), ", ", BytesText(task.payload_bytes()),
                               "   sha256:", DigestText(task.payload_digest())));
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
  if (task.has_rollout()) {
    line("waves", WavesText(task.rollout()));
    line("gate", GateText(task.rollout().gate()));
    line("next", task.rollout_status().detail());
  }
  line("creator", task.creator());
  if (task.state() == task::v1::Task::STATE_HALTED) {
    for (const std::string& way : WaysOn(task)) PrintLine(way);
  }
  return kSuccess;
}

absl::StatusOr<ExitCode> List(const Globals& globals) {
  ASSIGN_OR_RETURN(const std::unique_ptr<ops::Connection> taskd, Connect(globals, keys::kTaskd));
  ASSIGN_OR_RETURN(const task::v1::ListTasksResponse all,
                   taskd->CallAll<TaskService>(&TaskService::Stub::ListTasks, task::v1::ListTasksRequest()));
  if (globals.json()) return PrintJson(all);
  std::vector<std::vector<std::string>> rows;
  for (const task::v1::Task& task : all.tasks()) {
    rows.push_back({TaskId(task.name()), StateText(task.state()), absl::StrCat("r", task.revision()),
                    TimeText(ToTime(task.expire_time())), CountsText(task.counts())});
  }
  if (!rows.empty()) return PrintTable({"TASK", "STATE", "REVISION", "OPEN UNTIL", "CLIENTS"}, rows);
  PrintLine("  no tasks yet; create one with: parley task create NAME --payload FOLDER");
  return kSuccess;
}

// Makes a call that answers with the task, and shows that.
template <typename Request>
absl::StatusOr<ExitCode> CallForTask(const Globals& globals, const TaskFlags& flags,
                                     grpc::Status (TaskService::Stub::*method)(grpc::ClientContext*, const Request&,
                                                                               task::v1::Task*),
                                     Request request = Request()) {
  ASSIGN_OR_RETURN(*request.mutable_name(), FullTaskName(flags.task));
  ASSIGN_OR_RETURN(const task::v1::Task task, Call<TaskService>(globals, keys::kTaskd, method, request));
  return ShowTask(globals, task);
}

absl::StatusOr<ExitCode> Get(const Globals& globals, const TaskFlags& flags) {
  return CallForTask(globals, flags, &TaskService::Stub::GetTask);
}

absl::StatusOr<ExitCode> Pause(const Globals& globals, const TaskFlags& flags) {
  return CallForTask(globals, flags, &TaskService::Stub::PauseTask);
}

absl::StatusOr<ExitCode> Resume(const Globals& globals, const TaskFlags& flags) {
  return CallForTask(globals, flags, &TaskService::Stub::ResumeTask);
}

absl::StatusOr<ExitCode> Abort(const Globals& globals, const TaskFlags& flags) {
  task::v1::AbortTaskRequest request;
  request.set_reason(flags.reason);
  return CallForTask(globals, flags, &TaskService::Stub::AbortTask, request);
}

absl::StatusOr<ExitCode> Delete(const Globals& globals, const TaskFlags& flags) {
  task::v1::DeleteTaskRequest request;
  ASSIGN_OR_RETURN(*request.mutable_name(), FullTaskName(flags.task));
  ASSIGN_OR_RETURN(const task::v1::DeleteTaskResponse response,
                   Call<TaskService>(globals, keys::kTaskd, &TaskService::Stub::DeleteTask, request));
  if (globals.json()) return PrintJson(response);
  return PrintDone(TaskId(request.name()), " is deleted; the audit log keeps what happened to it");
}

// So many clients are named in one call.
constexpr ptrdiff_t kClientsPerCall = 1000;

absl::StatusOr<ExitCode> Retry(const Globals& globals, const TaskFlags& flags) {
  task::v1::RetryClientsRequest request;
  ASSIGN_OR_RETURN(*request.mutable_name(), FullTaskName(flags.task));
  ASSIGN_OR_RETURN(const std::unique_ptr<ops::Connection> taskd, Connect(globals, keys::kTaskd));
  task::v1::RetryClientsResponse all;
  auto next = flags.clients.begin();
  do {
    const auto end = next + std::min(flags.clients.end() - next, kClientsPerCall);
    *request.mutable_clients() = {next, end};
    next = end;
    ASSIGN_OR_RETURN(const task::v1::RetryClientsResponse response,
                     taskd->Call<TaskService>(&TaskService::Stub::RetryClients, request));
    all.set_retried_clients(all.retried_clients() + response.retried_clients());
  } while (next != flags.clients.end());
  if (globals.json()) return PrintJson(all);
  if (all.retried_clients() > 0) {
    return PrintDone(Count(all.retried_clients(), "client"), all.retried_clients() == 1
                                                                 ? " has another attempt before it"
                                                                 : " have another attempt before them");
  }
  PrintLine("  · ", flags.clients.empty() ? "nobody" : "none of them", " has failed, declined or timed out");
  return kSuccess;
}

absl::StatusOr<ExitCode> RevokeMember(const Globals& globals, const TaskFlags& flags) {
  ASSIGN_OR_RETURN(const std::string name, FullTaskName(flags.task));
  task::v1::RevokeParticipantRequest request;
  request.set_name(absl::StrCat(name, "/participants/", flags.client));
  request.set_reason(flags.reason);
  ASSIGN_OR_RETURN(const task::v1::Participant participant,
                   Call<TaskService>(globals, keys::kTaskd, &TaskService::Stub::RevokeParticipant, request));
  if (globals.json()) return PrintJson(participant);
  return PrintDone(flags.client, " is out of ", TaskId(name), "; its key is dead");
}

}  // namespace

void AddTask(Command app, Globals* globals) {
  Command task = AddGroup(app, "task", "Create and steer update tasks");
  AddTaskCreate(task, globals);
  AddTaskPublish(task, globals);
  AddTaskRollback(task, globals);
  auto flags = std::make_shared<TaskFlags>();
  const auto add = [&](const char* name, const char* description,
                       absl::StatusOr<ExitCode> (*run)(const Globals&, const TaskFlags&)) {
    Command command = AddCommand(task, globals, name, description, kCallerOptions, flags, run);
    command.AddOption("task", flags->task, "The task's name").Required();
    return command;
  };
  AddCommand(task, globals, "list", "List all tasks, newest first", kCallerOptions, &List);
  add("get", "Show one task", &Get);
  AddTaskWatch(task, globals);
  AddTaskHistory(task, globals);
  AddTaskDiff(task, globals);
  AddTaskRollout(task, globals);
  add("pause", "Stop making offers; clients that have accepted go on", &Pause);
  add("resume", "Make offers again; a halted task goes on in spite of its failures", &Resume);
  add("abort", "End a task; clients that are applying finish", &Abort)
      .AddOption("--reason", flags->reason, "Shown to the clients and kept in the audit log");
  add("delete", "Delete a task that has ended, with all that is kept of it", &Delete)
      .Footer(
          "Its clients, join keys and payloads go, and the keys of its clients end. A task goes by itself 30 days\n"
          "after its end, unless taskd is told otherwise (--task-retention).\n"
          "Example:\n"
          "  parley task delete nginx-tls-7k3q");
  AddTaskMembers(task, globals);
  Command retry = add("retry", "Give clients another attempt at the revision", &Retry);
  retry.AddOption("client", flags->clients, "Names of clients (all that have failed, declined or timed out)");
  retry.Footer(
      "A client that has failed stays as it is until there is a new revision, something that mattered changes on\n"
      "it, or somebody gives it another attempt: here, or there by `parley join`. A client that is not connected\n"
      "gets it when it is back.\n"
      "Examples:\n"
      "  parley task retry nginx-tls-7k3q\n"
      "  parley task retry nginx-tls-7k3q web-17 web-22");
  AddTaskKey(task, globals);
  Command revoke = add("revoke-member", "Take one client out of a task at once", &RevokeMember);
  revoke.AddOption("client", flags->client, "The client's name, as in `parley task members`").Required();
  revoke.AddOption("--reason", flags->reason, "Kept in the audit log");
}

}  // namespace parley::cli
