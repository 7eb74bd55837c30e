// parley task create, parley task publish, parley task rollback.
#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "clients/cli/command.h"
#include "clients/cli/connection.h"
#include "clients/cli/format.h"
#include "clients/cli/output.h"
#include "clients/cli/pasting.h"
#include "clients/cli/paths.h"
#include "clients/cli/rollout_text.h"
#include "clients/cli/task_name.h"
#include "clients/cli/task_text.h"
#include "clients/cli/terminal.h"
#include "clients/cli/unlock.h"
#include "clients/operator/membership.h"
#include "clients/operator/new_file.h"
#include "clients/operator/publish.h"
#include "lib/base/error.h"
#include "lib/base/proto_time.h"
#include "lib/crypto/kdf.h"
#include "lib/keys/identity.h"
#include "lib/payload/fileset.h"
#include "parley/task/v1/task_service.pb.h"

namespace parley::cli {
namespace {

struct CreateFlags {
  std::string name, payload, title, message, start, join_key_ttl, join_key_folder = ".", supersedes;
  std::string ttl = "24h";
  std::vector<std::string> select;
  bool forced = false;
  int max_deferrals = -1;
  int expected = 0, max_members = 0, max_failures = -1;
  RolloutFlags rollout;
};

std::string PayloadLine(const payload::Files& files) {
  return absl::StrCat("  payload  ", Count(files.size(), "file"), ", ", BytesText(payload::TotalBytes(files)),
                      "   sha256:", DigestText(payload::DigestFiles(files)));
}

// Everything about the request that does not need the payload, checked.
absl::StatusOr<task::v1::CreateTaskRequest> DescribeTask(const CreateFlags& flags, absl::Time now) {
  task::v1::CreateTaskRequest request;
  request.set_request_id(crypto::RandomUuid());
  ASSIGN_OR_RETURN(*request.mutable_task_id(), NewTaskId(flags.name));
  request.set_title(flags.title.empty() ? flags.name : flags.title);
  request.set_message(flags.message);
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
  ASSIGN_OR_RETURN(const auto selector, ParsePairs("--select", flags.select));
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
  ASSIGN_OR_RETURN(auto rollout, ParseRollout(flags.rollout));
  if (rollout.has_value()) *request.mutable_rollout() = *std::move(rollout);
  request.set_join_key_max_members(flags.max_members);
  if (!flags.supersedes.empty()) {
    ASSIGN_OR_RETURN(*request.mutable_supersedes(), FullTaskName(flags.supersedes));
  }
  return request;
}

// Publishes from here, with the signing keys in the configuration folder. An operator with a device vouches for the
// manifest, and is shown to do so.
ops::Publisher MakePublisher(const Globals& globals, const ops::Connection* server,
                             std::optional<std::string> join_key_folder) {
  ops::PublisherOptions options{server, OwnTaskKeys(), std::move(join_key_folder), nullptr, nullptr};
  if (UsesDevice(globals)) {
    options.vouch = [&globals](task::v1::SignedManifest* manifest) -> absl::StatusOr<std::string> {
      ASSIGN_OR_RETURN(device::DeviceFile* const file, OpenDevice(globals));
      return ops::Membership(file).SignAsOperator(manifest);
    };
  }
  if (!globals.json() && StdoutIsTerminal()) {
    options.progress = [](size_t sent, size_t total) {
      RedrawLine(total == 0 ? "" : absl::StrCat("  uploading ", sent * 100 / total, " %"));
    };
  }
  return ops::Publisher(std::move(options));
}

void ShowSigner(const std::string& signer) {
  if (!signer.empty()) PrintLine("  signed   by ", Printable(signer));
}

void ShowWaves(const task::v1::Task& task) {
  if (!task.has_rollout()) return;
  PrintLine("  waves    ", Printable(WavesText(task.rollout())), "; the next opens when ",
            GateText(task.rollout().gate()));
}

ExitCode ShowCreated(const Globals& globals, const ops::CreatedTask& created, const payload::Files& files) {
  const task::v1::Task& task = created.task;
  const ops::NewJoinKey& key = created.join_key;
  if (globals.json()) {
    const JsonObject join_key = JsonObject().Raw("joinKey", ToJson(key.record)).Text("pasted", key.pasted.Expose());
    return JsonObject()
        .Raw("task", ToJson(task))
        .Raw("joinKey", join_key.Finish())
        .Text("joinKeyFile", key.file)
        .Text("signingKeyFile", OwnTaskKeys().PathOf(TaskId(task.name())))
        .Text("signer", created.signer)
        .Print();
  }
  const std::string id = TaskId(task.name());
  PrintLine("  task     ", Green(id), std::string(id.size() < 22 ? 22 - id.size() : 1, ' '), "open until ",
            TimeText(ToTime(task.expire_time())));
  PrintLine(PayloadLine(files));
  ShowWaves(task);
  ShowSigner(created.signer);
  ShowJoinKey(key.pasted, key.file);
  // By --join-key-ttl, or with the credential of who made it.
  const absl::Time key_end = ToTime(key.record.expire_time());
  if (key_end < ToTime(task.expire_time())) {
    PrintLine("  nobody joins with this key after ", TimeText(key_end));
  }
  PrintLine(Dim(absl::StrCat("  follow it with: parley task watch ", id)));
  return kSuccess;
}

absl::StatusOr<ExitCode> Create(const Globals& globals, const CreateFlags& flags) {
  const absl::Time now = absl::Now();
  ASSIGN_OR_RETURN(task::v1::CreateTaskRequest request, DescribeTask(flags, now));
  RETURN_IF_ERROR(ops::CanCreate(absl::StrCat(flags.join_key_folder, "/", request.task_id(), ".join"), "the join key"));
  ASSIGN_OR_RETURN(const payload::Files files, payload::ScanPayload(flags.payload));
  ASSIGN_OR_RETURN(const std::unique_ptr<ops::Connection> server, Connect(globals, keys::kTaskd));
  ASSIGN_OR_RETURN(const ops::CreatedTask created, MakePublisher(globals, server.get(), flags.join_key_folder)
                                                       .Create(std::move(request), flags.payload, files, now));
  return ShowCreated(globals, created, files);
}

struct PublishFlags {
  std::string task, payload, message;
  RolloutFlags rollout;
};

// Says of a task that ends with its clients that it does.
void ShowEnd(const task::v1::Task& task) {
  if (task.expected_clients() == 0) return;
  PrintLine(Dim(absl::StrCat("  it ends as soon as ", Count(task.expected_clients(), "client"),
                             " settled, by --expected of its creation")));
}

absl::StatusOr<ExitCode> Publish(const Globals& globals, const PublishFlags& flags) {
  task::v1::PublishRevisionRequest request;
  ASSIGN_OR_RETURN(*request.mutable_name(), FullTaskName(flags.task));
  ASSIGN_OR_RETURN(auto rollout, ParseRollout(flags.rollout));
  if (rollout.has_value()) *request.mutable_rollout() = *std::move(rollout);
  request.set_message(flags.message);
  ASSIGN_OR_RETURN(const payload::Files files, payload::ScanPayload(flags.payload));
  ASSIGN_OR_RETURN(const std::unique_ptr<ops::Connection> server, Connect(globals, keys::kTaskd));
  ASSIGN_OR_RETURN(
      const ops::PublishedRevision published,
      MakePublisher(globals, server.get(), std::nullopt).Publish(std::move(request), flags.payload, files));
  const task::v1::Task& after = published.task;
  if (globals.json()) return PrintJson(after);
  PrintLine("  task     ", Green(TaskId(after.name())), " r", after.revision(), " is on offer until ",
            TimeText(ToTime(after.expire_time())));
  PrintLine(PayloadLine(files));
  ShowWaves(after);
  ShowSigner(published.signer);
  ShowEnd(after);
  return kSuccess;
}

struct RollbackFlags {
  std::string task, message;
  int64_t to = -1;
};

absl::StatusOr<ExitCode> Rollback(const Globals& globals, const RollbackFlags& flags) {
  ASSIGN_OR_RETURN(const std::string name, FullTaskName(flags.task));
  if (flags.to == 0) {
    return UsageError("--to 0: revisions count from 1, and a task's files are not taken off its clients in this way");
  }
  ASSIGN_OR_RETURN(const std::unique_ptr<ops::Connection> server, Connect(globals, keys::kTaskd));
  const auto message = [&flags](int64_t revision) {
    return flags.message.empty() ? absl::StrCat("the content of r", revision, " again") : flags.message;
  };
  ASSIGN_OR_RETURN(const ops::PublishedRevision published,
                   MakePublisher(globals, server.get(), std::nullopt)
                       .PublishContentOf(name, std::max<int64_t>(flags.to, 0), message));
  const task::v1::Task& after = published.task;
  if (globals.json()) return PrintJson(after);
  PrintLine("  task     ", Green(TaskId(name)), " r", after.revision(), " is on offer until ",
            TimeText(ToTime(after.expire_time())), ", with the content of r", published.content_of);
  ShowSigner(published.signer);
  ShowEnd(after);
  return kSuccess;
}

// `flags` must outlive the app.
void AddRolloutOptions(const Command& command, RolloutFlags* flags) {
  const Option waves = command.AddOption("--waves", flags->waves,
                                         "The waves of a revision, such as 1,10%,all: a number, a share, a label "
                                         "(canary=true), names (@web-1+web-2)");
  const auto add = [&](const char* name, std::string& value, const char* help) {
    command.AddOption(name, value, help).Needs(waves);
  };
  add("--wave-success", flags->success,
      "The share of the open waves that must have it before the next one opens (100%)");
  add("--wave-failures", flags->failures, "How many clients, or which share, may fail before the roll-out stops (0)");
  add("--soak", flags->soak, "How long that must hold: 10m");
  const Option approve =
      command.AddFlag("--approve", flags->approve, "Each wave waits for somebody's `parley task advance`");
  approve.Needs(waves);
  command.AddOption("--approve-by", flags->approve_by, "Each wave waits for so many people, other than you")
      .WholeNumber(20)
      .Needs(waves)
      .Excludes(approve);
  command.AddChoice("--on-failure", flags->on_failure, {"halt", "pause"}, "What a stop does").Needs(waves);
}

}  // namespace

void AddTaskCreate(Command task, Globals* globals) {
  auto flags = std::make_shared<CreateFlags>();
  Command command =
      AddCommand(task, globals, "create", "Create a task and the key to join it", kCallerOptions, flags, &Create);
  command.AddOption("name", flags->name, "Short name; four letters are added to it").Required();
  command.AddOption("--payload", flags->payload, "File or folder that the clients install").Required();
  command.AddOption("--ttl", flags->ttl, "How long the task stays open: 1m to 366d").ShowDefault();
  command.AddOption("--title", flags->title, "A line for people");
  command.AddOption("--message", flags->message, "What the first revision is, for `parley task history`");
  command.AddOption("--start", flags->start, "Make no offers before then: 2026-11-22T23:10:00Z, or 2h");
  command
      .AddOption(
          "--select", flags->select,
          "Only devices with this label take part: key=value, key=a,b (either), or a fact, fact:key=value (repeatable)")
      .OneValueEach();
  command.AddOption("--expected", flags->expected, "Complete the task as soon as this many clients have ended")
      .WholeNumber();
  command.AddFlag("--forced", flags->forced, "Clients may not decline");
  command.AddOption("--max-deferrals", flags->max_deferrals, "How often a client may put the task off (3)")
      .WholeNumber();
  command
      .AddOption("--max-failures", flags->max_failures,
                 "How many clients may fail before one more halts the task (without this option, any number)")
      .WholeNumber();
  AddRolloutOptions(command, &flags->rollout);
  command.AddOption("--max-members", flags->max_members, "How many may join with the key (0: no limit)").WholeNumber();
  command.AddOption("--join-key-ttl", flags->join_key_ttl, "How long the key lives (as long as the task)");
  command.AddOption("--join-key-folder", flags->join_key_folder, "Where NAME.join is written").ShowDefault();
  command.AddOption("--supersedes", flags->supersedes,
                    "A task whose place this one takes; its files on the clients become this one's");
  command.Footer(
      "Examples:\n"
      "  parley task create nginx-tls --payload ./nginx --ttl 24h\n"
      "  parley task create motd --payload ./motd --select site=berlin --expected 12\n"
      "  parley task create web --payload ./web --select role=web --waves canary=true,25%,all --wave-failures 2\n"
      "  parley task create apt --payload ./apt --select role=web --select fact:os=debian,ubuntu\n"
      "Labels are set by an admin, with `parley key label`. A fact is what a machine says of itself: whoever holds "
      "the\n"
      "key of some device can claim it, so select secrets by labels.\n"
      "The task's signing key stays on this machine, in ~/.config/parley/tasks: nobody else, the server\n"
      "included, can publish a revision of it. With a device file you vouch for what you publish.");
}

void AddTaskPublish(Command task, Globals* globals) {
  auto flags = std::make_shared<PublishFlags>();
  Command command = AddCommand(task, globals, "publish", "Offer a new revision to every client of a task",
                               kCallerOptions, flags, &Publish);
  command.AddOption("task", flags->task, "The task's name").Required();
  command.AddOption("--payload", flags->payload, "File or folder that the clients install").Required();
  command.AddOption("--message", flags->message, "What the revision is, for `parley task history`");
  AddRolloutOptions(command, &flags->rollout);
  command.Footer(
      "Waves are those of the task, unless --waves names others.\n"
      "Examples:\n"
      "  parley task publish nginx-tls-7k3q --payload ./nginx --message 'new certificate'\n"
      "  parley task publish nginx-tls-7k3q --payload ./nginx --waves 1,10%,all --soak 10m");
}

void AddTaskRollback(Command task, Globals* globals) {
  auto flags = std::make_shared<RollbackFlags>();
  Command command = AddCommand(task, globals, "rollback", "Offer the content of an earlier revision as the next one",
                               kCallerOptions, flags, &Rollback);
  command.AddOption("task", flags->task, "The task's name").Required();
  command.AddOption("--to", flags->to, "The number of the revision (the one before the newest)").WholeNumber();
  command.AddOption("--message", flags->message, "What the revision is, for `parley task history`");
  command.Footer(
      "A client never goes back to a lower number: the earlier content gets the next one. It is signed anew by the\n"
      "task's key on this machine, or by the server if that signs for the task. Nothing is uploaded.\n"
      "Examples:\n"
      "  parley task rollback nginx-tls-7k3q\n"
      "  parley task rollback nginx-tls-7k3q --to 2 --message 'r3 breaks old browsers'");
}

}  // namespace parley::cli
