// parley backup, parley restore.
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "clients/cli/command.h"
#include "clients/cli/format.h"
#include "clients/cli/output.h"
#include "clients/cli/paths.h"
#include "clients/cli/store_options.h"
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
  std::string data;
  // In place of databases in the folder: of a backup several, of a restore one.
  std::vector<std::string> stores;
  std::string store;
  EtcdFiles etcd;
  std::string kek_file, seal_key_file;
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

std::string ElsewhereText(const std::string& folder) {
  return absl::StrCat("Not in it: the payloads in ", Printable(folder), "; copy that folder now, after the backup.");
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
        .Text("elsewhere", absl::StrJoin(summary.elsewhere, ","))
        .Print();
  }
  PrintDone(done, "  ", where);
  PrintLine("    ", absl::StrJoin(summary.label.services, ", "), " of ", TimeText(summary.label.time), ", ",
            BytesText(bytes));
  return kSuccess;
}

absl::StatusOr<backup::BackupPlaces> PlacesOf(const BackupFlags& flags) {
  backup::BackupPlaces places;
  for (const std::string& url : flags.stores) {
    ASSIGN_OR_RETURN(places.stores.emplace_back(), StoreAt(url, flags.etcd, /*service=*/""));
  }
  // What happens to lie in the default folder is not what a store was named for.
  places.data = WithoutSlash(flags.data.empty() && flags.stores.empty() ? DataFolder() : flags.data);
  places.kek_file = flags.kek_file;
  places.seal_key_file = flags.seal_key_file;
  return places;
}

// Says what a backup lacks of what a restore needs.
void ShowMissingKeys(const backup::Summary& summary) {
  const auto has = [&](absl::string_view name) {
    return std::any_of(summary.entries.begin(), summary.entries.end(),
                       [name](const backup::ArchiveEntry& entry) { return entry.name == name; });
  };
  std::vector<std::string> missing;
  if (has("keyd/keyd.db") && !has("keyd/kek")) missing.push_back("keyd's --kek-file");
  if (has("taskd/taskd.db") && !has("taskd/seal.key")) missing.push_back("taskd's --seal-key-file");
  if (missing.empty()) return;
  PrintLine("    It does not have ", absl::StrJoin(missing, " and "),
            ": keep a copy elsewhere, or name it to this command by the same option.");
}

absl::StatusOr<ExitCode> Backup(const Globals& globals, const BackupFlags& flags) {
  ASSIGN_OR_RETURN(const backup::BackupPlaces places, PlacesOf(flags));
  if (flags.file == kPipe) {
    if (StdoutIsTerminal()) return UsageError("a backup is no text for a terminal; name a file with --out");
    ASSIGN_OR_RETURN(const Secret password, NewPassword(flags));
    ASSIGN_OR_RETURN(const backup::Summary summary, backup::BackupInto(STDOUT_FILENO, places, password));
    for (const std::string& folder : summary.elsewhere) fprintf(stderr, "  %s\n", ElsewhereText(folder).c_str());
    fprintf(stderr, "  Written to a pipe, so not read back; check the file with: parley restore FILE --check\n");
    return kSuccess;
  }
  RETURN_IF_ERROR(ops::CanCreate(flags.file, "the backup"));
  ASSIGN_OR_RETURN(const Secret password, NewPassword(flags));
  ASSIGN_OR_RETURN(const backup::Summary summary, backup::Backup(places, flags.file, password));
  Show(globals, summary, "backed up and verified", flags.file);
  if (globals.json()) return kSuccess;
  ShowMissingKeys(summary);
  for (const std::string& folder : summary.elsewhere) PrintLine("    ", ElsewhereText(folder));
  PrintLine(Dim("    Keep the password apart from it: without it nobody can restore it."));
  return kSuccess;
}

absl::StatusOr<ExitCode> Restore(const Globals& globals, const BackupFlags& flags) {
  const bool pipe = flags.file == kPipe;
  const std::string data = WithoutSlash(flags.data.empty() ? DataFolder() : flags.data);
  const std::string name = pipe ? "standard input" : flags.file;
  store::StoreOptions store;
  if (!flags.store.empty()) {
    ASSIGN_OR_RETURN(store, StoreAt(flags.store, flags.etcd, /*service=*/""));
  }
  const Fd fd(pipe ? dup(STDIN_FILENO) : open(flags.file.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.ok()) return FileError("read", name, errno);
  ASSIGN_OR_RETURN(const Secret password, Password(flags, /*is_new=*/false, pipe));
  if (flags.check) {
    ASSIGN_OR_RETURN(const backup::Summary summary, backup::CheckBackup(fd.get(), name, password));
    return Show(globals, summary, "whole", name);
  }
  ASSIGN_OR_RETURN(const backup::Summary summary, backup::Restore(fd.get(), name, password, data, store));
  return Show(globals, summary, "restored", flags.store.empty() ? data : flags.store);
}

void AddFlags(Command command, BackupFlags* flags, const std::string& data) {
  command.AddOption("--data", flags->data, absl::StrCat(data, " (default: ", DataFolder(), ")"));
  AddEtcdFiles(command, &flags->etcd);
  command.AddOption("--key-file", flags->key_file,
                    "File of mode 0600 with the backup's password (else standard input or a hidden prompt)");
}

}  // namespace

void AddBackup(Command app, Globals* globals) {
  auto flags = std::make_shared<BackupFlags>();
  Command command = AddCommand(app, globals, "backup", "Copy what the services here know into one sealed file",
                               kNoGlobals, flags, &Backup);
  AddFlags(command, flags.get(), "Folder of the services' data, or of one service");
  command
      .AddOption("--store", flags->stores,
                 "Store that takes the place of databases in the folder, as the services' --store names it; may be "
                 "given several times, and the default folder is not looked at then")
      .OneValueEach();
  command.AddOption("--kek-file", flags->kek_file, "Key-encryption key that keyd reads from elsewhere, to have it too");
  command.AddOption("--seal-key-file", flags->seal_key_file,
                    "Sealing key that taskd reads from elsewhere, to have it too");
  command.AddOption("--out", flags->file, "File to write, or - for standard output").Required();
  command.Footer(
      "The services may be running; the backup has each of them as it was at one moment. The file is read back\n"
      "before it gets its name. It holds every key of the organisation, except for those that services read from\n"
      "elsewhere (--kek-file, --seal-key-file) unless they are named here. One of an etcd is like one of databases,\n"
      "and can be restored to either. Payloads in a folder of their own (taskd --chunks) are not in it: copy that\n"
      "folder after the backup.\n"
      "Examples:\n"
      "  parley backup --out parley-2026-11-22.backup\n"
      "  parley backup --store etcd:unix:/run/etcd.sock --kek-file kek --seal-key-file seal.key --out parley.backup\n"
      "  kubectl -n parley exec -i taskd-0 -- parley backup --data /var/lib/parley --out - <password >taskd.backup");
}

void AddRestore(Command app, Globals* globals) {
  auto flags = std::make_shared<BackupFlags>();
  Command command =
      AddCommand(app, globals, "restore", "Put back what `parley backup` has copied", kNoGlobals, flags, &Restore);
  AddFlags(command, flags.get(), "Folder for the data of several services; that of one goes into a folder in it");
  command.AddOption("file", flags->file, "The backup, or - for standard input").Required();
  command.AddOption("--store", flags->store, "Store for the databases, in place of the folder; nothing may be there");
  command.AddFlag("--check", flags->check, "Only read the backup, to its end").Excludes("--data").Excludes("--store");
  command.Footer(
      "Stop the services. The place must be empty, and stays so unless every byte has proved authentic. What happened "
      "after the\n"
      "backup is gone: revoke again what was revoked since, and look at what the agents report.\n"
      "Examples:\n"
      "  parley restore parley-2026-11-22.backup --check\n"
      "  parley restore parley.backup --store etcd:https://etcd-0.example:2379/example --data keys --store-ca …\n"
      "  parley down; mv ~/.local/share/parley parley.broken; parley restore parley-2026-11-22.backup; parley up");
}

}  // namespace parley::cli
