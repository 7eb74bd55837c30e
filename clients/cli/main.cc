// The `parley` command.
#include <signal.h>
#include <stdio.h>

#include <string>

#include "CLI/CLI.hpp"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "clients/cli/agent_output.h"
#include "clients/cli/command.h"
#include "clients/cli/command_line.h"
#include "clients/cli/output.h"
#include "clients/cli/terminal.h"
#include "lib/base/error.h"
#include "lib/base/secret.h"
#include "lib/base/standard_streams.h"

namespace parley::cli {
namespace {

constexpr char kVersion[] = "parley 0.1.0";

// Whoever lists this machine's processes sees the command line.
absl::Status RefuseSecretArguments(int argc, char** argv) {
  absl::Status refused;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = absl::AsciiStrToLower(absl::string_view(argv[i]).substr(0, 80));
    const bool is_join_key = absl::StrContains(argument, "prl1.");
    const bool is_link = absl::StrContains(argument, "pri1.") || absl::StrContains(argument, "parley://claim/");
    if (!is_join_key && !is_link && !absl::StrContains(argument, "prc1.")) continue;
    WipeMemory(argv[i], absl::string_view(argv[i]).size());
    refused = UsageError(is_join_key ? "a join key"
                         : is_link   ? "an invitation's link"
                                     : "a credential",
                         " does not belong on the command line, where everybody on this machine can see it; ",
                         is_join_key ? "give it at the prompt, by standard input, PARLEY_JOIN_KEY or --key-file"
                         : is_link   ? "give it at the prompt or by standard input"
                                     : "put it into a file of mode 0600 and name that with --credential");
  }
  return refused;
}

void PrintError(const Globals& globals, const absl::Status& status) {
  const std::string code = absl::StatusCodeToString(status.code());
  if (!globals.json()) {
    std::string message(status.message().empty() ? code : status.message());
    // What was typed is quoted, and the sentence stays one line.
    if (IsUsageError(status)) message = absl::StrReplaceAll(message, {{"\n", "\\n"}});
    PrintErrorLine(absl::StrCat("parley: ", Printable(message)));
    return;
  }
  const JsonObject error =
      JsonObject().Text("code", code).Text("reason", Reason(status)).Text("message", status.message());
  PrintErrorLine(JsonObject().Raw("error", error.Finish()).Finish());
}

void AddGlobals(CLI::App* app, Globals* globals) {
  // Subcommands made later inherit it. CLI11's names of types say more of C++ than of what to type.
  app->get_formatter()->label("TEXT", "…");
  app->get_formatter()->label("INT:NONNEGATIVE", "N");
  app->get_formatter()->label("UINT", "N");
  app->get_formatter()->label("REQUIRED", "(required)");
  app->get_formatter()->column_width(32);
  app->add_option("--credential", globals->credential_path,
                  "Credential to act with ($PARLEY_CREDENTIAL, else ~/.config/parley/credential)");
  app->add_option("--device", globals->device_path,
                  "Device file to act with, in place of a credential ($PARLEY_DEVICE, else ~/.config/parley/device)")
      ->excludes("--credential");
  app->add_option("--password-file", globals->password_file,
                  "File of mode 0600 with the device file's password ($PARLEY_DEVICE_PASSWORD_FILE, else it is asked "
                  "for)");
  app->add_flag("--remember", globals->remember,
                "Ask for the password once in 8 hours: the session's keyring keeps it");
  app->add_option("--server", globals->server,
                  "host:port, or several with commas between, in place of the address in the credential");
  Command(app).AddChoice("--output", globals->output, {"text", "json"}, "text, or json: one object a line");
  app->set_version_flag("--version", kVersion);
}

void AddCommands(CLI::App* app, Globals* globals) {
  AddGlobals(app, globals);
  const Command parley(app);
  AddUp(parley, globals);
  AddDown(parley, globals);
  AddTask(parley, globals);
  AddJoin(parley, globals);
  AddAgent(parley, globals);
  AddSettle(parley, globals);
  AddKey(parley, globals);
  AddCredentials(parley, globals);
  AddProxy(parley, globals);
  AddAudit(parley, globals);
  AddInvite(parley, globals);
  AddGreet(parley, globals);
  AddClaim(parley, globals);
  AddOrg(parley, globals);
  AddUser(parley, globals);
  AddDevice(parley, globals);
  AddBackup(parley, globals);
  AddRestore(parley, globals);
  AddStore(parley, globals);
  DescribeUses(app, *globals);
}

int Main(int argc, char** argv) {
  // A reader that goes away is an error of a write, not the end of the process.
  signal(SIGPIPE, SIG_IGN);
  // And so is a write beyond a limit (ulimit -f).
  signal(SIGXFSZ, SIG_IGN);
  // Some tell a program by one of these to open its logs anew, and here nothing is.
  for (const int number : {SIGUSR1, SIGUSR2}) signal(number, SIG_IGN);
  Globals globals;
  const auto refuse = [&globals](const absl::Status& status) {
    PrintError(globals, status);
    return kUsage;
  };
  if (absl::Status status = RefuseSecretArguments(argc, argv); !status.ok()) return refuse(status);
  if (absl::Status status = CheckArguments(argc, argv); !status.ok()) return refuse(status);
  CLI::App app("Carries out configuration updates on many machines: offer, fetch, check, apply, confirm, roll back.",
               "parley");
  // Commands inherit that the options of the levels above may stand behind them.
  app.fallthrough();
  app.require_subcommand(1);
  app.footer(
      "A first minute:\n"
      "  parley up                                             start the services here\n"
      "  parley task create nginx-tls --payload ./nginx        make a task, get a key to join it\n"
      "  parley join --into /etc/nginx --check 'nginx -t' --apply 'systemctl reload nginx'\n"
      "  parley task watch nginx-tls-7k3q                      see who has confirmed\n"
      "`parley COMMAND --help` explains each command.");
  AddCommands(&app, &globals);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& help) {
    return app.exit(help);
  } catch (const CLI::ParseError& error) {
    const absl::Status ignored = CheckUses(app, globals);
    return refuse(ignored.ok() ? ParseError(app, error.what()) : ignored);
  }
  if (absl::Status status = CheckUses(app, globals); !status.ok()) return refuse(status);
  if (absl::Status status = CheckValues(app, globals); !status.ok()) return refuse(status);
  const absl::StatusOr<ExitCode> code = globals.run();
  if (code.ok()) return *code;
  PrintError(globals, code.status());
  return IsUsageError(code.status()) ? kUsage : kFailure;
}

}  // namespace
}  // namespace parley::cli

int main(int argc, char** argv) {
  parley::FillStandardStreams();
  return parley::cli::FinishOutput(parley::cli::Main(argc, argv));
}
