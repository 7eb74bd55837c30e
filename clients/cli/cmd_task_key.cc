// parley task key: further join keys of a task.
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "clients/cli/command.h"
#include "clients/cli/connection.h"
#include "clients/cli/format.h"
#include "clients/cli/output.h"
#include "clients/cli/pasting.h"
#include "clients/cli/paths.h"
#include "clients/cli/task_name.h"
#include "clients/cli/terminal.h"
#include "clients/operator/publish.h"
#include "lib/base/error.h"
#include "lib/base/proto_time.h"
#include "lib/crypto/kdf.h"
#include "lib/keys/identity.h"
#include "parley/task/v1/task_service.grpc.pb.h"

namespace parley::cli {
namespace {

using task::v1::TaskService;

struct KeyFlags {
  std::string task, ttl, folder = ".", revoke;
  int max_members = 0;
  bool list = false, with_members = false;
};

absl::StatusOr<ExitCode> CreateKey(const Globals& globals, const KeyFlags& flags, const std::string& name) {
  task::v1::CreateJoinKeyRequest request;
  request.set_request_id(crypto::RandomUuid());
  request.set_parent(name);
  request.set_max_members(flags.max_members);
  if (!flags.ttl.empty()) {
    ASSIGN_OR_RETURN(const absl::Duration ttl, ParseTtl("--ttl", flags.ttl, absl::Seconds(1), "a join key lives"));
    *request.mutable_ttl() = ToProto(ttl);
  }
  ASSIGN_OR_RETURN(const std::unique_ptr<ops::Connection> server, Connect(globals, keys::kTaskd));
  ops::Publisher publisher({server.get(), OwnTaskKeys(), flags.folder, nullptr, nullptr});
  ASSIGN_OR_RETURN(const ops::NewJoinKey key, publisher.CreateJoinKey(request));
  if (globals.json()) {
    return JsonObject()
        .Raw("joinKey", ToJson(key.record))
        .Text("pasted", key.pasted.Expose())
        .Text("joinKeyFile", key.file)
        .Print();
  }
  PrintLine("  task     ", Green(TaskId(name)), "   key good until ", TimeText(ToTime(key.record.expire_time())));
  ShowJoinKey(key.pasted, key.file);
  return kSuccess;
}

std::string StateText(const task::v1::JoinKey& key) {
  if (key.has_revoke_time()) return "revoked";
  return ToTime(key.expire_time()) <= absl::Now() ? "expired" : "good";
}

absl::StatusOr<ExitCode> ListKeys(const Globals& globals, const std::string& name) {
  ASSIGN_OR_RETURN(const std::unique_ptr<ops::Connection> server, Connect(globals, keys::kTaskd));
  task::v1::ListJoinKeysRequest request;
  request.set_parent(name);
  ASSIGN_OR_RETURN(const task::v1::ListJoinKeysResponse all,
                   server->CallAll<TaskService>(&TaskService::Stub::ListJoinKeys, request));
  if (globals.json()) return PrintJson(all);
  std::vector<std::vector<std::string>> rows;
  for (const task::v1::JoinKey& key : all.join_keys()) {
    const std::string limit = key.max_members() == 0 ? "" : absl::StrCat(" of ", key.max_members());
    rows.push_back({key.name().substr(key.name().rfind('/') + 1), absl::StrCat(key.members(), limit),
                    TimeText(ToTime(key.expire_time())), StateText(key), key.creator()});
  }
  return PrintTable({"KEY", "MEMBERS", "UNTIL", "STATE", "CREATOR"}, rows);
}

absl::StatusOr<ExitCode> RevokeKey(const Globals& globals, const KeyFlags& flags, const std::string& name) {
  task::v1::RevokeJoinKeyRequest request;
  request.set_name(absl::StrCat(name, "/joinKeys/", flags.revoke));
  request.set_with_members(flags.with_members);
  ASSIGN_OR_RETURN(const task::v1::JoinKey key,
                   Call<TaskService>(globals, keys::kTaskd, &TaskService::Stub::RevokeJoinKey, request));
  if (globals.json()) return PrintJson(key);
  return PrintDone("revoked; ", Count(key.members(), "client"), " joined with it before, ",
                   flags.with_members ? absl::StrCat("and ", Count(key.ended_members(), "key"), " of theirs ended")
                                      : "and go on; to end their keys too:  --with-members");
}

absl::StatusOr<ExitCode> Run(const Globals& globals, const KeyFlags& flags) {
  ASSIGN_OR_RETURN(const std::string name, FullTaskName(flags.task));
  if (flags.list) return ListKeys(globals, name);
  if (!flags.revoke.empty()) return RevokeKey(globals, flags, name);
  return CreateKey(globals, flags, name);
}

}  // namespace

void AddTaskKey(Command task, Globals* globals) {
  auto flags = std::make_shared<KeyFlags>();
  Command command = AddCommand(task, globals, "key", "Make a further join key for a task; list and revoke them",
                               kCallerOptions, flags, &Run);
  command.AddOption("task", flags->task, "The task's name").Required();
  const Option ttl = command.AddOption("--ttl", flags->ttl, "How long the key lives (as long as the task)");
  const Option most =
      command.AddOption("--max-members", flags->max_members, "How many may join with it (0: no limit)").WholeNumber();
  const Option folder =
      command.AddOption("--join-key-folder", flags->folder, "Where NAME.join is written").ShowDefault();
  const Option list = command.AddFlag("--list", flags->list, "List the task's keys instead");
  const Option revoke = command.AddOption("--revoke", flags->revoke, "Revoke this key of the list instead");
  revoke.Excludes(list);
  command.AddFlag("--with-members", flags->with_members, "End the keys of the clients that joined with it, too")
      .Needs(revoke);
  // These are for a new key.
  for (const Option instead : {list, revoke}) instead.Excludes(ttl).Excludes(most).Excludes(folder);
  command.Footer(
      "Examples:\n"
      "  parley task key nginx-tls-7k3q --ttl 1h --max-members 5\n"
      "  parley task key nginx-tls-7k3q --list\n"
      "  parley task key nginx-tls-7k3q --revoke 5f0e... --with-members\n"
      "Revoking a key keeps out the clients that have not joined yet. Those that have joined stay, until\n"
      "`parley task revoke-member`, or --with-members for all of them. A key ends with the credential that\n"
      "made it.");
}

}  // namespace parley::cli
