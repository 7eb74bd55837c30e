// parley task history, parley task show.
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "clients/cli/command.h"
#include "clients/cli/connection.h"
#include "clients/cli/format.h"
#include "clients/cli/output.h"
#include "clients/cli/paths.h"
#include "clients/cli/task_name.h"
#include "clients/cli/task_text.h"
#include "clients/cli/terminal.h"
#include "clients/operator/revision_folder.h"
#include "clients/operator/revisions.h"
#include "lib/base/error.h"
#include "lib/base/proto_time.h"
#include "lib/keys/identity.h"
#include "parley/task/v1/task_service.grpc.pb.h"

namespace parley::cli {
namespace {

using ops::ManifestWitness;
using task::v1::FileEntry;
using task::v1::TaskService;

std::string AuthorText(const task::v1::Revision& revision) {
  return revision.author().empty() ? "unknown" : revision.author();
}

// A message of several lines, in one.
std::string InOneLine(const std::string& message) { return absl::StrReplaceAll(message, {{"\n", " "}}); }

absl::StatusOr<ExitCode> History(const Globals& globals, const std::string& typed) {
  task::v1::ListRevisionsRequest request;
  ASSIGN_OR_RETURN(*request.mutable_parent(), FullTaskName(typed));
  ASSIGN_OR_RETURN(const std::unique_ptr<ops::Connection> server, Connect(globals, keys::kTaskd));
  ASSIGN_OR_RETURN(const task::v1::ListRevisionsResponse all,
                   server->CallAll<TaskService>(&TaskService::Stub::ListRevisions, request));
  if (globals.json()) return PrintJson(all);
  std::vector<std::vector<std::string>> rows;
  for (const task::v1::Revision& revision : all.revisions()) {
    rows.push_back({absl::StrCat("r", revision.revision()), TimeText(ToTime(revision.create_time())),
                    AuthorText(revision), absl::StrCat(revision.payload_files()), BytesText(revision.payload_bytes()),
                    DigestText(revision.payload_digest()), InOneLine(revision.message())});
  }
  return PrintTable({"REVISION", "WHEN", "AUTHOR", "FILES", "BYTES", "DIGEST", "MESSAGE"}, rows);
}

struct ShowFlags {
  std::string task, out;
  int64_t revision = -1;
};

std::string WitnessText(ManifestWitness witness) {
  switch (witness) {
    case ManifestWitness::kOwnKey:
      return "by the task's key, which is on this machine";
    case ManifestWitness::kSigningServer:
      return "by the server";
    case ManifestWitness::kServersWord:
      break;
  }
  return "so the server says; the task's key is not on this machine";
}

// Content is taken from a server that signs for the task, or if the task's key has signed it. A program may rely on it.
absl::Status CheckMayTake(const ops::ReadRevision& read, const std::string& task) {
  if (read.witness != ManifestWitness::kServersWord) return absl::OkStatus();
  const std::string id = TaskId(task);
  return Error(
      absl::StatusCode::kNotFound, "NO_TASK_KEY",
      absl::StrCat("the key that signs for ", id, " is not here, so that nobody but the server could say what r",
                   read.manifest.revision(), " holds; it is in ", OwnTaskKeys().PathOf(id),
                   " where the task was created: write the files from there"));
}

ExitCode ShowRead(const Globals& globals, const ops::ReadRevision& read, const std::string& out) {
  const task::v1::Revision& revision = read.revision;
  if (globals.json()) {
    return JsonObject()
        .Raw("revision", ToJson(revision))
        .Raw("manifest", ToJson(read.manifest))
        .Bool("verified", read.witness == ManifestWitness::kOwnKey)
        .Text("folder", out)
        .Print();
  }
  PrintLine("  revision r", revision.revision(), "   ", TimeText(ToTime(revision.create_time())), " by ",
            Printable(AuthorText(revision)));
  if (!revision.message().empty()) PrintLine("  message  ", Printable(InOneLine(revision.message())));
  PrintLine("  payload  ", Count(read.manifest.files_size(), "file"), ", ", BytesText(read.manifest.size()),
            "   sha256:", DigestText(read.manifest.digest()));
  PrintLine("  signed   ", WitnessText(read.witness));
  std::vector<std::vector<std::string>> rows;
  for (const FileEntry& file : read.manifest.files()) {
    if (file.type() == FileEntry::TYPE_SYMLINK) {
      rows.push_back({"link", "", "", absl::StrCat(file.path(), " -> ", file.link_target())});
    } else {
      rows.push_back(
          {absl::StrFormat("%04o", file.mode()), BytesText(file.size()), DigestText(file.sha256()), file.path()});
    }
  }
  PrintTable({"MODE", "SIZE", "SHA256", "FILE"}, rows);
  if (out.empty()) return kSuccess;
  return PrintDone(Count(read.manifest.files_size(), "file"), read.manifest.files_size() == 1 ? " is in " : " are in ",
                   Printable(out));
}

absl::StatusOr<ExitCode> Show(const Globals& globals, const ShowFlags& flags) {
  ASSIGN_OR_RETURN(const std::string name, FullTaskName(flags.task));
  if (flags.revision == 0) return UsageError("--revision: revisions count from 1");
  if (!flags.out.empty()) RETURN_IF_ERROR(ops::CanWriteRevision(flags.out));
  ASSIGN_OR_RETURN(const std::unique_ptr<ops::Connection> server, Connect(globals, keys::kTaskd));
  const ops::RevisionReader reader(server.get(), OwnTaskKeys(), name);
  int64_t number = flags.revision;
  if (number < 0) {
    ASSIGN_OR_RETURN(const task::v1::Task task, reader.GetTask());
    number = task.revision();
  }
  ASSIGN_OR_RETURN(const ops::ReadRevision read, reader.Get(number));
  if (!flags.out.empty()) {
    RETURN_IF_ERROR(CheckMayTake(read, name));
    RETURN_IF_ERROR(ops::WriteRevision(reader, read.manifest, flags.out));
  }
  return ShowRead(globals, read, flags.out);
}

}  // namespace

void AddTaskHistory(Command task, Globals* globals) {
  auto typed = std::make_shared<std::string>();
  Command history = AddCommand(task, globals, "history", "List a task's revisions: who published each, when and why",
                               kCallerOptions, typed, &History);
  history.AddOption("task", *typed, "The task's name").Required();
  history.Footer(
      "The first one is on offer. Of a revision from before taskd kept it, the author is unknown, and the time is the\n"
      "one of its signature.\n"
      "Example:\n"
      "  parley task history nginx-tls-7k3q");

  auto flags = std::make_shared<ShowFlags>();
  Command show = AddCommand(task, globals, "show", "Show the files of a revision, and write them into a new folder",
                            kCallerOptions, flags, &Show);
  show.AddOption("task", flags->task, "The task's name").Required();
  show.AddOption("--revision", flags->revision, "The number of the revision (the newest)").WholeNumber();
  show.AddOption("--out", flags->out, "Write the files into this folder, which must be new or empty");
  show.Footer(
      "The files are written only if the task's key on this machine has signed them, or if the server signs for the\n"
      "task itself. Only you may enter the folder.\n"
      "Examples:\n"
      "  parley task show nginx-tls-7k3q --revision 2\n"
      "  parley task show nginx-tls-7k3q --revision 2 --out ./nginx-r2");
}

}  // namespace parley::cli
