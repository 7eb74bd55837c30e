// The `parley` command.
#include <signal.h>
#include <stdio.h>

#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "clients/cli/agent_output.h"
#include "clients/cli/command.h"
#include "clients/cli/command_line.h"
#include "clients/cli/output.h"
#include "clients/cli/terminal.h"
#include "lib/base/error.h"
#include "lib/base/log.h"
#include "lib/base/secret.h"

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
    refused =
        UsageError(absl::StrCat(is_join_key ? "a join key"
                                : is_link   ? "an invitation's link"
                                            : "a credential",
                                " does not belong on the command line, where everybody on this machine can see it; ",
                                is_join_key ? "give it at the prompt, by standard input, PARLEY_JOIN_KEY or --key-file"
                                : is_link   ? "give it at the prompt or by standard input"
                                            : "put it into a file of mode 0600 and name that with --credential"));
  }
  return refused;
}

void PrintError(const Globals& globals, const absl::Status& status) {
  std::string text;
  if (globals.json()) {
    JsonObject error;
    error.Text("code", absl::StatusCodeToString(status.code())).Text("reason", Reason(status));
    error.Text("message", status.message());
    text = JsonObject().Raw("error", error.Finish()).Finish();
  } else {
    const std::string sentence =
        status.message().empty() ? absl::StatusCodeToString(status.code()) : std::string(status.message());
    text = absl::StrCat("parley: ", Printable(sentence));
  }
  PrintErrorLine(text);
}

void AddGlobals(CLI::App* app, Globals* globals) {
  // Subcommands made later inherit it. CLI11's names of types say more of C++ than of what to type.
  app->get_formatter()->label("TEXT", "…");
  app->get_formatter()->label("INT:NONNEGATIVE", "N");
  app->get_formatter()->label("UINT", "N");
  app->get_formatter()->label("TEXT:{text,json}", "text|json");
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
  app->add_option("--server", globals->server, "host:port, in place of the address in the credential");
  app->add_option("--output", globals->output, "text, or json: one object a line")
      ->check(CLI::IsMember({"text", "json"}))
      ->capture_default_str();
  app->set_version_flag("--version", kVersion);
}

// CLI11's own words, as one sentence with a way on.
absl::Status ParseError(const CLI::App& app, const CLI::ParseError& error) {
  const CLI::App* at = &app;
  while (!at->get_subcommands().empty()) at = at->get_subcommands().front();
  std::string path = at->get_name();
  for (const CLI::App* above = at->get_parent(); above != nullptr; above = above->get_parent()) {
    path = absl::StrCat(above->get_name(), " ", path);
  }
  std::string what = error.what();
  if (constexpr char kTwice[] = ": At Most 1 required but received"; absl::StrContains(what, kTwice)) {
    what = absl::StrCat(what.substr(0, what.find(kTwice)), " was given more than once");
  }
  // What a level does not know it leaves to the one above.
  const std::vector<std::string> unknown = app.remaining(/*recurse=*/true);
  if (absl::StartsWith(what, "A subcommand is required") && !unknown.empty()) {
    const std::string& typed = unknown.front();
    what = absl::StrCat("there is no command `", typed.substr(0, 40), "`", Suggestion(*at, typed));
  } else if (constexpr absl::string_view kExtra = "The following argument was not expected: ";
             absl::StartsWith(what, kExtra)) {
    const std::string typed = what.substr(kExtra.size());
    absl::StrAppend(&what, Suggestion(*at, typed));
  }
  for (char& c : what) {
    if (c == '\n') c = ' ';
  }
  if (!what.empty()) what[0] = absl::ascii_tolower(static_cast<unsigned char>(what[0]));
  return UsageError(absl::StrCat(what, "; see `", path, " --help`"));
}

void AddCommands(CLI::App* app, Globals* globals) {
  AddGlobals(app, globals);
  AddUp(app, globals);
  AddDown(app, globals);
  AddTask(app, globals);
  AddJoin(app, globals);
  AddAgent(app, globals);
  AddSettle(app, globals);
  AddKey(app, globals);
  AddCredentials(app, globals);
  AddProxy(app, globals);
  AddAudit(app, globals);
  AddInvite(app, globals);
  AddGreet(app, globals);
  AddClaim(app, globals);
  AddOrg(app, globals);
  AddUser(app, globals);
  AddDevice(app, globals);
  AddBackup(app, globals);
  AddRestore(app, globals);
  DescribeUses(app, *globals);
}

int Main(int argc, char** argv) {
  // A reader that goes away is an error of a write, not the end of the process.
  signal(SIGPIPE, SIG_IGN);
  Globals globals;
  const auto refuse = [&globals](const absl::Status& status) {
    PrintError(globals, status);
    return kUsage;
  };
  if (absl::Status status = RefuseSecretArguments(argc, argv); !status.ok()) return refuse(status);
  if (absl::Status status = CheckArguments(argc, argv); !status.ok()) return refuse(status);
  CLI::App app("Carries out configuration updates on many machines: offer, fetch, check, apply, confirm, roll back.",
               "parley");
  app.require_subcommand(1);
  app.footer(
      "A first minute:\n"
      "  parley up                                             start the services here\n"
      "  parley task create nginx-tls --payload ./nginx        make a task, get a key to join it\n"
      "  parley join --into /etc/nginx --check 'nginx -t' --apply 'systemctl reload nginx'\n"
      "  parley task watch nginx-tls-7k3q                      see who has confirmed\n"
      "`parley COMMAND --help` teaches each.");
  AddCommands(&app, &globals);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& help) {
    return app.exit(help);
  } catch (const CLI::ParseError& error) {
    const absl::Status ignored = CheckUses(app, globals);
    return refuse(ignored.ok() ? ParseError(app, error) : ignored);
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

int main(int argc, char** argv) { return parley::cli::FinishOutput(parley::cli::Main(argc, argv)); }
