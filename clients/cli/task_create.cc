// parley task create, parley task publish.
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "clients/cli/chain.h"
#include "clients/cli/command.h"
#include "clients/cli/connection.h"
#include "clients/cli/format.h"
#include "clients/cli/output.h"
#include "clients/cli/paths.h"
#include "clients/cli/shown_join_key.h"
#include "clients/cli/task_key.h"
#include "clients/cli/task_name.h"
#include "clients/cli/terminal.h"
#include "clients/cli/unlock.h"
#include "clients/cli/upload.h"
#include "clients/cli/whole_number.h"
#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/proto_time.h"
#include "lib/keys/identity.h"
#include "lib/payload/manifest.h"
#include "parley/task/v1/task_service.grpc.pb.h"

namespace parley::cli {
namespace {

using task::v1::TaskService;

struct CreateFlags {
  std::string name, payload, title, start, join_key_ttl, join_key_folder = ".", supersedes;
  std::string ttl = "24h";
  std::vector<std::string> select;
  bool forced = false;
  int max_deferrals = -1;
  int expected = 0, max_members = 0, max_failures = -1;
};

std::string PayloadLine(const payload::Files& files) {
  return absl::StrCat("  payload  ", Count(files.size(), "file"), ", ", BytesText(payload::TotalBytes(files)),
                      "   sha256:", HexEncode(payload::DigestFiles(files)).substr(0, 12), "…");
}

// Everything about the request that does not need the payload, checked.
absl::StatusOr<task::v1::CreateTaskRequest> DescribeTask(const CreateFlags& flags, absl::Time now) {
  task::v1::CreateTaskRequest request;
  request.set_request_id(NewRequestId());
  ASSIGN_OR_RETURN(*request.mutable_task_id(), NewTaskId(flags.name));
  request.set_title(flags.title.empty() ? flags.name : flags.title);
  ASSIGN_OR_RETURN(const absl::Duration ttl, ParseTtl("--ttl", flags.ttl, absl::Minutes(1), "a task stays open"));
  *request.mutable_ttl() = ToProto(ttl);
  if (!flags.join_key_ttl.empty()) {
    ASSIGN_OR_RETURN(const absl::Duration key_ttl,
                     ParseTtl("--join-key-ttl", flags.join_key_ttl, absl::Seconds(1), "a join key lives"));
    *request.mutable_join_key_ttl() = ToProto(key_ttl);
  }
  if (!flags.start.empty()) {
    ASSIGN_OR_RETURN(const absl::Time start, ParseTime("--start", flags.start, now));
    request.mutable_start_time()->set_seconds(absl::ToUnixSeconds(start));
  }
  using Pairs = std::map<std::string, std::string>;
  ASSIGN_OR_RETURN(const Pairs selector, ParsePairs("--select", flags.select));
  for (const auto& [key, value] : selector) {
    if (!absl::StrContains(value, ',')) {
      (*request.mutable_selector())[key] = value;
      continue;
    }
    for (const absl::string_view one : absl::StrSplit(value, ',')) {
      (*request.mutable_selector_any())[key].add_values(std::string(one));
    }
  }
  request.set_forced(flags.forced);
  if (flags.max_deferrals >= 0) request.set_max_deferrals(flags.max_deferrals);
  request.set_expected_clients(flags.expected);
  if (flags.max_failures >= 0) request.set_max_failures(flags.max_failures);
  request.set_join_key_max_members(flags.max_members);
  if (!flags.supersedes.empty()) {
    ASSIGN_OR_RETURN(*request.mutable_supersedes(), FullTaskName(flags.supersedes));
  }
  return request;
}

// An operator with a device vouches for the manifest, and is shown to do so; empty without a device.
absl::StatusOr<std::string> Vouch(const Globals& globals, task::v1::SignedManifest* manifest) {
  return UsesDevice(globals) ? SignAsOperator(globals, manifest) : "";
}

void ShowSigner(const std::string& signer) {
  if (!signer.empty()) PrintLine(absl::StrCat("  signed   by ", Printable(signer)));
}

void ShowCreated(const Globals& globals, const task::v1::CreateTaskResponse& created, const payload::Files& files,
                 const std::string& signer, const Secret& key, const std::string& file) {
  const task::v1::Task& task = created.task();
  if (globals.json()) {
    JsonObject join_key;
    join_key.Raw("joinKey", ToJson(created.join_key().join_key())).Text("pasted", key.Expose());
    JsonObject()
        .Raw("task", ToJson(task))
        .Raw("joinKey", join_key.Finish())
        .Text("joinKeyFile", file)
        .Text("signingKeyFile", TaskKeyPath(TaskId(task.name())))
        .Text("signer", signer)
        .Print();
    return;
  }
  const std::string id = TaskId(task.name());
  PrintLine(absl::StrCat("  task     ", Green(id), std::string(id.size() < 22 ? 22 - id.size() : 1, ' '), "open until ",
                         TimeText(ToTime(task.expire_time()))));
  PrintLine(PayloadLine(files));
  ShowSigner(signer);
  ShowJoinKey(key, file);
  // By --join-key-ttl, or with the credential of who made it.
  const absl::Time key_end = ToTime(created.join_key().join_key().expire_time());
  if (key_end < ToTime(task.expire_time())) {
    PrintLine(absl::StrCat("  nobody joins with this key after ", TimeText(key_end)));
  }
  PrintLine(Dim(absl::StrCat("  follow it with: parley task watch ", id)));
}

// Made and kept before the server hears of the task, because a task whose key is lost can not get a new revision;
// taken away again when there will be no task.
class NewTaskKey {
 public:
  static absl::StatusOr<NewTaskKey> Make(const std::string& task_id) {
    crypto::SigningKey key = crypto::SigningKey::Generate();
    RETURN_IF_ERROR(StoreTaskKey(task_id, key));
    return NewTaskKey(task_id, std::move(key));
  }
  NewTaskKey(NewTaskKey&& other) noexcept : task_id_(std::exchange(other.task_id_, "")), key_(std::move(other.key_)) {}
  NewTaskKey& operator=(NewTaskKey&&) = delete;
  ~NewTaskKey() {
    if (!task_id_.empty()) RemoveTaskKey(task_id_);
  }

  const crypto::SigningKey& key() const { return key_; }
  void Keep() { task_id_.clear(); }

 private:
  NewTaskKey(std::string task_id, crypto::SigningKey key) : task_id_(std::move(task_id)), key_(std::move(key)) {}
  std::string task_id_;
  crypto::SigningKey key_;
};

// A manifest that has expired before it arrived was dated by a clock that is behind.
absl::Status ExplainClock(const absl::Status& status, absl::Time now) {
  if (Reason(status) != "MANIFEST_EXPIRED") return status;
  return Error(status.code(), Reason(status),
               absl::StrCat("this machine's clock (", TimeText(now),
                            ") is so far behind the server's that the task would end before it begins; set the clock, "
                            "and try again"));
}

absl::StatusOr<ExitCode> Create(const Globals& globals, const CreateFlags& flags) {
  const absl::Time now = absl::Now();
  ASSIGN_OR_RETURN(task::v1::CreateTaskRequest request, DescribeTask(flags, now));
  RETURN_IF_ERROR(CanCreate(absl::StrCat(flags.join_key_folder, "/", request.task_id(), ".join"), "the join key"));
  ASSIGN_OR_RETURN(const payload::Files files, payload::ScanPayload(flags.payload));
  ASSIGN_OR_RETURN(const std::unique_ptr<Connection> server, Connection::Open(globals, keys::kTaskd));
  RETURN_IF_ERROR(UploadPayload(*server, flags.payload, files, !globals.json() && StdoutIsTerminal()));
  ASSIGN_OR_RETURN(NewTaskKey task_key, NewTaskKey::Make(request.task_id()));

  payload::ManifestFields fields;
  fields.task = absl::StrCat("tasks/", request.task_id());
  fields.revision = 1;
  fields.create_time = now;
  fields.expire_time = now + absl::Seconds(request.ttl().seconds());
  fields.supersedes = request.supersedes();
  if (!fields.supersedes.empty()) RETURN_IF_ERROR(StoreSuperseded(request.task_id(), fields.supersedes));
  ASSIGN_OR_RETURN(*request.mutable_signed_manifest(), payload::SignManifest(fields, files, task_key.key()));
  ASSIGN_OR_RETURN(const std::string signer, Vouch(globals, request.mutable_signed_manifest()));
  request.set_verification_key(task_key.key().verification_key());

  const std::unique_ptr<TaskService::Stub> tasks = TaskService::NewStub(server->channel());
  absl::StatusOr<task::v1::CreateTaskResponse> created =
      server->Call(tasks.get(), &TaskService::Stub::CreateTask, request);
  RETURN_IF_ERROR(ExplainClock(created.status(), now));
  task::v1::CreateTaskResponse& response = *created;
  task_key.Keep();
  const auto task_is_there = [&request](const absl::Status& status) {
    return Annotate(status, absl::StrCat("the task was created, but its key is not kept (get another with: parley task "
                                         "key ",
                                         request.task_id(), ")"));
  };
  const absl::StatusOr<Secret> join_key =
      ComposeJoinKey(response.mutable_join_key()->mutable_pasted(), request.task_id(), request.verification_key());
  if (!join_key.ok()) return task_is_there(join_key.status());
  const absl::StatusOr<std::string> file = WriteJoinKeyFile(flags.join_key_folder, request.task_id(), *join_key);
  if (!file.ok()) return task_is_there(file.status());
  ShowCreated(globals, response, files, signer, *join_key, *file);
  return kSuccess;
}

struct PublishFlags {
  std::string task, payload;
};

// For a task that was made without a client of ours: the server signs, and takes the files themselves.
absl::Status AddInlineFiles(const std::string& path, const payload::Files& files,
                            task::v1::PublishRevisionRequest* request) {
  constexpr int64_t kMostInlineBytes = 3 << 20;
  if (payload::TotalBytes(files) > kMostInlineBytes) {
    return Error(
        absl::StatusCode::kResourceExhausted, "PAYLOAD_TOO_LARGE",
        absl::StrCat(path, " holds ", BytesText(payload::TotalBytes(files)),
                     ", and a task that the server signs takes 3 MiB; create a task with `parley task create`"));
  }
  const bool one_file = files.size() == 1 && ReadFile(path, kMostInlineBytes).ok();
  for (const task::v1::FileEntry& entry : files) {
    if (entry.type() != task::v1::FileEntry::TYPE_REGULAR) {
      return Error(absl::StatusCode::kInvalidArgument, "FILE_TYPE",
                   absl::StrCat(entry.path(),
                                " is a link, which a task that the server signs can not hold; create a "
                                "task with `parley task create`"));
    }
    task::v1::InlineFile* file = request->mutable_files()->add_files();
    file->set_path(entry.path());
    file->set_mode(entry.mode());
    ASSIGN_OR_RETURN(*file->mutable_content(),
                     ReadFile(one_file ? path : absl::StrCat(path, "/", entry.path()), kMostInlineBytes));
  }
  return absl::OkStatus();
}

absl::StatusOr<ExitCode> Publish(const Globals& globals, const PublishFlags& flags) {
  ASSIGN_OR_RETURN(const std::string name, FullTaskName(flags.task));
  ASSIGN_OR_RETURN(const payload::Files files, payload::ScanPayload(flags.payload));
  ASSIGN_OR_RETURN(const std::unique_ptr<Connection> server, Connection::Open(globals, keys::kTaskd));
  const std::unique_ptr<TaskService::Stub> tasks = TaskService::NewStub(server->channel());
  task::v1::GetTaskRequest get;
  get.set_name(name);
  ASSIGN_OR_RETURN(const task::v1::Task before, server->Call(tasks.get(), &TaskService::Stub::GetTask, get));

  task::v1::PublishRevisionRequest request;
  request.set_request_id(NewRequestId());
  request.set_name(name);
  std::string signer;
  if (before.server_signed()) {
    RETURN_IF_ERROR(AddInlineFiles(flags.payload, files, &request));
  } else {
    ASSIGN_OR_RETURN(const crypto::SigningKey key, LoadTaskKey(TaskId(name)));
    RETURN_IF_ERROR(UploadPayload(*server, flags.payload, files, !globals.json() && StdoutIsTerminal()));
    payload::ManifestFields fields;
    fields.task = name;
    fields.revision = before.revision() + 1;
    fields.create_time = absl::Now();
    fields.expire_time = ToTime(before.expire_time());
    ASSIGN_OR_RETURN(fields.supersedes, LoadSuperseded(TaskId(name)));
    ASSIGN_OR_RETURN(*request.mutable_signed_manifest(), payload::SignManifest(fields, files, key));
    ASSIGN_OR_RETURN(signer, Vouch(globals, request.mutable_signed_manifest()));
  }
  ASSIGN_OR_RETURN(const task::v1::Task after, server->Call(tasks.get(), &TaskService::Stub::PublishRevision, request));
  if (globals.json()) {
    PrintJson(after);
  } else {
    PrintLine(absl::StrCat("  task     ", Green(TaskId(name)), " r", after.revision(), " is on offer until ",
                           TimeText(ToTime(after.expire_time()))));
    PrintLine(PayloadLine(files));
    ShowSigner(signer);
    if (after.expected_clients() > 0) {
      PrintLine(Dim(absl::StrCat("  it ends as soon as ", Count(after.expected_clients(), "client"),
                                 " settled, by --expected of its creation")));
    }
  }
  return kSuccess;
}

}  // namespace

void AddTaskCreate(CLI::App* task, Globals* globals) {
  auto flags = std::make_shared<CreateFlags>();
  CLI::App* command = task->add_subcommand("create", "Create a task and the key to join it");
  command->fallthrough();
  Uses(command, globals, kCallerOptions);
  command->add_option("name", flags->name, "Short name; four letters are added to it")->required();
  command->add_option("--payload", flags->payload, "File or folder that the clients install")->required();
  command->add_option("--ttl", flags->ttl, "How long the task stays open: 1m to 366d")->capture_default_str();
  command->add_option("--title", flags->title, "A line for people");
  command->add_option("--start", flags->start, "Make offers from then on: 2026-11-22T23:10:00Z, or 2h");
  command
      ->add_option(
          "--select", flags->select,
          "Devices with the label key=value take part; key=a,b: either; fact:key=value: those that say so; repeatable")
      ->allow_extra_args(false);
  command->add_option("--expected", flags->expected, "Complete as soon as this many clients have ended")
      ->check(WholeNumber());
  command->add_flag("--forced", flags->forced, "Clients may not decline");
  command->add_option("--max-deferrals", flags->max_deferrals, "How often a client may put it off (3)")
      ->check(WholeNumber());
  command
      ->add_option("--max-failures", flags->max_failures,
                   "So many failed clients are borne; one more halts the task (0: the first does; without: never)")
      ->check(WholeNumber());
  command->add_option("--max-members", flags->max_members, "How many may join with the key (0: no limit)")
      ->check(WholeNumber());
  command->add_option("--join-key-ttl", flags->join_key_ttl, "How long the key lives (as long as the task)");
  command->add_option("--join-key-folder", flags->join_key_folder, "Where NAME.join is written")->capture_default_str();
  command->add_option("--supersedes", flags->supersedes,
                      "A task that this one takes the place of; its files on the clients become this one's");
  command->footer(
      "Examples:\n"
      "  parley task create nginx-tls --payload ./nginx --ttl 24h\n"
      "  parley task create motd --payload ./motd --select site=berlin --expected 12\n"
      "  parley task create apt --payload ./apt --select role=web --select fact:os=debian,ubuntu\n"
      "Labels are set by an admin, with `parley key label`. A fact is what a machine says of itself: whoever holds "
      "the\n"
      "key of some device can claim it, so select secrets by labels.\n"
      "The task's signing key stays on this machine, in ~/.config/parley/tasks: nobody else, the server\n"
      "included, can publish a revision of it. With a device file you vouch for what you publish.");
  command->callback([globals, flags] { globals->run = [globals, flags] { return Create(*globals, *flags); }; });
}

void AddTaskPublish(CLI::App* task, Globals* globals) {
  auto flags = std::make_shared<PublishFlags>();
  CLI::App* command = task->add_subcommand("publish", "Offer a new revision to every client of a task");
  command->fallthrough();
  Uses(command, globals, kCallerOptions);
  command->add_option("task", flags->task, "The task's name")->required();
  command->add_option("--payload", flags->payload, "File or folder that the clients install")->required();
  command->footer("Example:\n  parley task publish nginx-tls-7k3q --payload ./nginx");
  command->callback([globals, flags] { globals->run = [globals, flags] { return Publish(*globals, *flags); }; });
}

}  // namespace parley::cli
