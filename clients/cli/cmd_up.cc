// parley up, parley down.
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "clients/cli/agent_output.h"
#include "clients/cli/command.h"
#include "clients/cli/output.h"
#include "clients/cli/paths.h"
#include "clients/cli/stack.h"
#include "clients/cli/terminal.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/keys/credential.h"

namespace parley::cli {
namespace {

// Makes this user an admin of the stack: writes the credential where the other commands look for one, unless there
// is one for another organisation. The path that it is at; the reason when it could not be put there.
absl::StatusOr<std::string> InstallAccess(const Stack& stack) {
  const std::string admin_file = stack.CredentialFile("admin");
  ASSIGN_OR_RETURN(const keys::Credential admin, keys::ReadCredentialFile(admin_file));
  const std::string path = ConfigFolder() + "/credential";
  const absl::StatusOr<keys::Credential> present = keys::ReadCredentialFile(path);
  const bool ours = present.ok() && present->ca_pem == admin.ca_pem;
  if (::access(path.c_str(), F_OK) == 0 && !ours) return admin_file;
  RETURN_IF_ERROR(MakeFolders(ConfigFolder(), 0700));
  RETURN_IF_ERROR(keys::WriteCredentialFile(path, admin));
  return path;
}

void ShowReady(const Globals& globals, const Stack& stack, const std::string& data, const std::string& credential) {
  if (globals.json()) {
    JsonEvent("ready")
        .Text("taskd", stack.options().taskd_public)
        .Text("keyd", stack.options().keyd_public)
        .Text("enrolld", stack.options().enrolld_public)
        .Text("data", data)
        .Text("credential", credential)
        .Text("operatorCredential", stack.CredentialFile("operator"))
        .Print();
    return;
  }
  PrintDone("taskd   ", stack.options().taskd_public);
  PrintDone("keyd    ", stack.options().keyd_public);
  PrintDone("enrolld ", stack.options().enrolld_public);
  PrintLine("    data    ", data, "   (logs in ", data, "/log)");
  PrintLine("    access  ", credential, "   (admin; for operators: ", stack.CredentialFile("operator"), ")");
  if (credential != ConfigFolder() + "/credential") {
    PrintLine("    ", ConfigFolder(), "/credential is for another server and stays; to use this one:");
    PrintLine("    export PARLEY_CREDENTIAL=", credential);
  }
  PrintLine("  next, in another terminal:");
  PrintLine("    parley task create hello --payload ./some-folder");
  PrintLine(Dim("  Ctrl-C or `parley down` stops it; what it knows stays."));
}

void ShowEnded(const Globals& globals, const std::string& name, const absl::Status& why, absl::Duration pause) {
  if (globals.json()) {
    JsonEvent("serviceEnded")
        .Text("service", name)
        .Text("why", why.message())
        .Number("pauseSeconds", absl::ToInt64Seconds(pause))
        .Print();
    return;
  }
  PrintLine("  ✘ ", why.message(), "; it is started again",
            pause > absl::ZeroDuration() ? absl::StrCat(" in ", absl::FormatDuration(pause)) : "");
}

std::string AbsolutePath(const std::string& path) {
  char* folder = get_current_dir_name();
  const std::string absolute =
      path.empty() || path[0] == '/' || folder == nullptr ? path : absl::StrCat(folder, "/", path);
  free(folder);
  return absolute;
}

absl::StatusOr<ExitCode> Up(const Globals& globals, const Stack::Options& given) {
  Stack::Options options = given;
  options.data = AbsolutePath(given.data);
  ASSIGN_OR_RETURN(const std::unique_ptr<Stack> stack, Stack::Start(options));
  // The services do not hang on whether somebody reads this.
  PrintInBackground(globals);
  ASSIGN_OR_RETURN(const std::string credential, InstallAccess(*stack));
  ShowReady(globals, *stack, options.data, credential);
  RETURN_IF_ERROR(stack->WaitForStop([&globals](const std::string& name, const absl::Status& why,
                                                absl::Duration pause) { ShowEnded(globals, name, why, pause); }));
  if (!globals.json()) PrintLine("  stopping");
  return kSuccess;
}

absl::StatusOr<ExitCode> Down(const Globals& globals, const std::string& given) {
  const std::string data = AbsolutePath(given);
  const pid_t pid = DataLock::Holder(data);
  if (pid == 0) {
    return Error(absl::StatusCode::kNotFound, "NOT_RUNNING",
                 absl::StrCat("no parley up runs on ", data, "; if it was given another folder, say so with --data"));
  }
  if (kill(pid, SIGTERM) != 0) return FileError("stop the parley up that runs on", data, errno);
  DataLock::WaitUntilFree(data);
  if (!globals.json()) PrintDone("stopped; what it knows is in ", data);
  return kSuccess;
}

}  // namespace

void AddUp(Command app, Globals* globals) {
  auto options = std::make_shared<Stack::Options>();
  options->data = DataFolder();
  Command command =
      AddCommand(app, globals, "up", "Start the services on this machine and stay with them", kNoGlobals, options, &Up);
  command.AddOption("--data", options->data, "Folder for keys, tasks and payloads").ShowDefault();
  command.AddOption("--listen", options->taskd_listen, "Where taskd listens; port 0 takes a free one").ShowDefault();
  command.AddOption("--listen-keyd", options->keyd_listen, "Where keyd listens").ShowDefault();
  command.AddOption("--listen-enrolld", options->enrolld_listen, "Where enrolld listens").ShowDefault();
  command.AddOption("--public-address", options->taskd_public,
                    "host:port under which clients reach taskd; goes into join keys");
  command.AddOption("--public-address-keyd", options->keyd_public, "The same for keyd; goes into credentials");
  command.AddOption("--public-address-enrolld", options->enrolld_public,
                    "The same for enrolld; goes into invitations' links");
  command
      .AddOption("--replicas", options->replicas,
                 "How many processes of each service; more than one share an etcd, which is started with them")
      .ShowDefault();
  command.AddOption("--names", options->names, "Further DNS names and addresses for the certificates, a,b,c");
  command.Footer(
      "At the first start it makes the organisation's keys and an admin's credential, and puts that into\n"
      "~/.config/parley/credential, where the other commands find it. Invitations go out by e-mail when\n"
      "PARLEY_ENROLLD_SMTP_URL and PARLEY_ENROLLD_SMTP_FROM name a mail server and a sender. A service\n"
      "that ends by itself is started again.\n"
      "Examples:\n"
      "  parley up\n"
      "  parley up --replicas 3 --data ./three\n"
      "  parley up --listen 0.0.0.0:7443 --public-address parley.example:7443 --names parley.example");
}

void AddDown(Command app, Globals* globals) {
  auto data = std::make_shared<std::string>(DataFolder());
  AddCommand(app, globals, "down", "Stop what `parley up` started", kNoGlobals, data, &Down)
      .AddOption("--data", *data, "Folder of its data")
      .ShowDefault();
}

}  // namespace parley::cli
