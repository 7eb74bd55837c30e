// parley backup, parley restore.
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "clients/cli/command.h"
#include "clients/cli/format.h"
#include "clients/cli/output.h"
#include "clients/cli/paths.h"
#include "clients/cli/terminal.h"
#include "clients/cli/unlock.h"
#include "clients/operator/new_file.h"
#include "lib/backup/backup.h"
#include "lib/base/error.h"
#include "lib/base/fd.h"
#include "lib/base/file.h"
#include "lib/device/device_file.h"

namespace parley::cli {
namespace {

constexpr char kPipe[] = "-";

constexpr char kNoTerminal[] =
    "there is no terminal to ask for the backup's password at; name a file of mode 0600 with --key-file, or give it by "
    "standard input";

struct BackupFlags {
  std::string data = DataFolder();
  // The archive; "-" is the standard stream.
  std::string file;
  std::string key_file;
  bool check = false;
};

std::string WithoutSlash(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path;
}

// From the file, the prompt, or standard input unless that is taken.
absl::StatusOr<Secret> Password(const BackupFlags& flags, bool is_new, bool stdin_is_taken) {
  if (!flags.key_file.empty()) return ReadPasswordFile(flags.key_file);
  if (!StdinIsTerminal() && !stdin_is_taken) {
    ASSIGN_OR_RETURN(Secret line, ReadSecretLines(device::kMaxPasswordBytes));
    // An empty standard input, as of a service, still leaves the terminal.
    if (!line.empty()) return line;
  }
  if (!is_new) return AskHidden("  Password of the backup (it is not shown): ", kNoTerminal);
  return AskTwice("  A password for the backup (it is not shown): ", kNoTerminal);
}

absl::StatusOr<Secret> NewPassword(const BackupFlags& flags) {
  ASSIGN_OR_RETURN(Secret password, Password(flags, /*is_new=*/true, /*stdin_is_taken=*/false));
  if (device::CheckPassword(password).ok()) return password;
  return Error(absl::StatusCode::kInvalidArgument, "BACKUP_PASSWORD_LENGTH",
               absl::StrCat("a backup's password has at least ", device::kMinPasswordBytes, " characters and at most ",
                            device::kMaxPasswordBytes, "; `openssl rand -hex 32` makes a good one for a file"));
}

ExitCode Show(const Globals& globals, const backup::Summary& summary, absl::string_view done,
              const std::string& where) {
  int64_t bytes = 0;
  for (const backup::ArchiveEntry& entry : summary.entries) bytes += static_cast<int64_t>(entry.bytes);
  if (globals.json()) {
    return JsonEvent(done)
        .Text("place", where)
        .Text("time", JsonTime(summary.label.time))
        .Text("services", absl::StrJoin(summary.label.services, ","))
        .Number("bytes", bytes)
        .Print();
  }
  PrintDone(done, "  ", where);
  PrintLine("    ", absl::StrJoin(summary.label.services, ", "), " of ", TimeText(summary.label.time), ", ",
            BytesText(bytes));
  return kSuccess;
}

absl::StatusOr<ExitCode> Backup(const Globals& globals, const BackupFlags& flags) {
  const std::string data = WithoutSlash(flags.data);
  if (flags.file == kPipe) {
    if (StdoutIsTerminal()) return UsageError("a backup is no text for a terminal; name a file with --out");
    ASSIGN_OR_RETURN(const Secret password, NewPassword(flags));
    RETURN_IF_ERROR(backup::BackupInto(STDOUT_FILENO, data, password).status());
    fprintf(stderr, "  Written to a pipe, so not read back; check the file with: parley restore FILE --check\n");
    return kSuccess;
  }
  RETURN_IF_ERROR(ops::CanCreate(flags.file, "the backup"));
  ASSIGN_OR_RETURN(const Secret password, NewPassword(flags));
  ASSIGN_OR_RETURN(const backup::Summary summary, backup::Backup(data, flags.file, password));
  Show(globals, summary, "backed up and verified", flags.file);
  if (!globals.json()) PrintLine(Dim("    Keep the password apart from it: without it nobody can restore it."));
  return kSuccess;
}

absl::StatusOr<ExitCode> Restore(const Globals& globals, const BackupFlags& flags) {
  const bool pipe = flags.file == kPipe;
  const std::string data = WithoutSlash(flags.data), name = pipe ? "standard input" : flags.file;
  const Fd fd(pipe ? dup(STDIN_FILENO) : open(flags.file.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.ok()) return FileError("read", name, errno);
  ASSIGN_OR_RETURN(const Secret password, Password(flags, /*is_new=*/false, pipe));
  if (flags.check) {
    ASSIGN_OR_RETURN(const backup::Summary summary, backup::CheckBackup(fd.get(), name, password));
    return Show(globals, summary, "whole", name);
  }
  ASSIGN_OR_RETURN(const backup::Summary summary, backup::Restore(fd.get(), name, password, data));
  return Show(globals, summary, "restored", data);
}

void AddFlags(Command command, BackupFlags* flags, const char* data) {
  command.AddOption("--data", flags->data, data).ShowDefault();
  command.AddOption("--key-file", flags->key_file,
                    "File of mode 0600 with the backup's password (else standard input or a hidden prompt)");
}

}  // namespace

void AddBackup(Command app, Globals* globals) {
  auto flags = std::make_shared<BackupFlags>();
  Command command = AddCommand(app, globals, "backup", "Copy what the services here know into one sealed file",
                               kNoGlobals, flags, &Backup);
  AddFlags(command, flags.get(), "Folder of the services' data, or of one service");
  command.AddOption("--out", flags->file, "File to write, or - for standard output").Required();
  command.Footer(
      "The services may be running; the backup has each of them as it was at one moment. The file is read back\n"
      "before it gets its name. It holds every key of the organisation, except for a key-encryption key that keyd\n"
      "reads from elsewhere (--kek-file): keep that one too.\n"
      "Examples:\n"
      "  parley backup --out parley-2026-11-22.backup\n"
      "  kubectl -n parley exec -i taskd-0 -- parley backup --data /var/lib/parley --out - <password >taskd.backup");
}

void AddRestore(Command app, Globals* globals) {
  auto flags = std::make_shared<BackupFlags>();
  Command command =
      AddCommand(app, globals, "restore", "Put back what `parley backup` has copied", kNoGlobals, flags, &Restore);
  AddFlags(command, flags.get(), "Folder for the data of several services; that of one goes into a folder in it");
  command.AddOption("file", flags->file, "The backup, or - for standard input").Required();
  command.AddFlag("--check", flags->check, "Only read the backup, to its end").Excludes("--data");
  command.Footer(
      "The place must be empty, and stays so unless every byte has proved authentic. What happened after the\n"
      "backup is gone: revoke again what was revoked since, and look at what the agents report.\n"
      "Examples:\n"
      "  parley restore parley-2026-11-22.backup --check\n"
      "  parley down; mv ~/.local/share/parley parley.broken; parley restore parley-2026-11-22.backup; parley up");
}

}  // namespace parley::cli
