#include "clients/cli/command_line.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "clients/cli/format.h"
#include "lib/base/utf8.h"

namespace parley::cli {
namespace {

struct GlobalOption {
  const char* name;
  unsigned bit;
};
constexpr GlobalOption kGlobalOptions[] = {{"--credential", kCredentialOption},
                                           {"--device", kDeviceOption},
                                           {"--password-file", kUnlockOptions},
                                           {"--remember", kUnlockOptions},
                                           {"--server", kServerOption}};
// The examples of commands whose help has none of its own.
struct Example {
  absl::string_view command;
  absl::string_view lines;
};
constexpr Example kExamples[] = {
    {"parley audit list", "parley audit list --output json"},
    {"parley audit verify", "parley audit verify"},
    {"parley claim", "parley claim                              and paste the invitation's link"},
    {"parley credentials show", "parley credentials show"},
    {"parley device forget", "parley device forget"},
    {"parley device list", "parley device list --user alice"},
    {"parley device password", "parley device password"},
    {"parley device renew", "parley device renew"},
    {"parley device revoke", "parley device revoke laptop --reason lost"},
    {"parley down", "parley down"},
    {"parley greet", "parley greet"},
    {"parley invite cancel", "parley invite cancel 5f0e6c1a8b7d4e3f9a2b1c0d5e6f7a8b"},
    {"parley invite list", "parley invite list"},
    {"parley invite resend", "parley invite resend 5f0e6c1a8b7d4e3f9a2b1c0d5e6f7a8b --email bob@example.org"},
    {"parley key get", "parley key get 5f0e6c1a8b7d4e3f9a2b1c0d5e6f7a8b"},
    {"parley key list", "parley key list --output json"},
    {"parley key revoke", "parley key revoke 5f0e6c1a8b7d4e3f9a2b1c0d5e6f7a8b --reason stolen"},
    {"parley org verify", "parley org verify"},
    {"parley task abort", "parley task abort nginx-tls-7k3q --reason 'wrong file'"},
    {"parley task get", "parley task get nginx-tls-7k3q"},
    {"parley task list", "parley task list"},
    {"parley task members", "parley task members nginx-tls-7k3q"},
    {"parley task pause", "parley task pause nginx-tls-7k3q"},
    {"parley task resume", "parley task resume nginx-tls-7k3q"},
    {"parley task revoke-member", "parley task revoke-member nginx-tls-7k3q web-1 --reason stolen"},
    {"parley task watch", "parley task watch nginx-tls-7k3q"},
    {"parley user list", "parley user list"},
    {"parley user revoke", "parley user revoke carol --reason left"},
    {"parley user role", "parley user role carol auditor"},
};

const CLI::App* ChosenCommand(const CLI::App& app) {
  const CLI::App* chosen = &app;
  while (!chosen->get_subcommands().empty()) chosen = chosen->get_subcommands().front();
  return chosen;
}

std::string PathOf(const CLI::App* command) {
  std::string path = command->get_name();
  for (const CLI::App* above = command->get_parent(); above != nullptr; above = above->get_parent()) {
    path = absl::StrCat(above->get_name(), " ", path);
  }
  return path;
}

std::string UsesText(unsigned uses) {
  std::string text = "Takes these of parley's own options: ";
  for (const GlobalOption& option : kGlobalOptions) {
    if ((uses & option.bit) != 0) absl::StrAppend(&text, option.name, ", ");
  }
  return text + "--output.";
}

// Letters that are missing, too many, or others (Levenshtein).
size_t Distance(absl::string_view from, absl::string_view to) {
  std::vector<size_t> row(to.size() + 1);
  for (size_t i = 0; i < row.size(); ++i) row[i] = i;
  for (size_t i = 0; i < from.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i + 1);
    for (size_t k = 0; k < to.size(); ++k) {
      const size_t other = diagonal + (from[i] == to[k] ? 0 : 1);
      diagonal = row[k + 1];
      row[k + 1] = std::min({other, row[k] + 1, diagonal + 1});
    }
  }
  return row.back();
}

// ", did you mean `parley task create`?" where a command of this level is spelt almost like what was typed; else empty.
std::string Suggestion(const CLI::App& level, absl::string_view typed) {
  const CLI::App* closest = nullptr;
  // Two slips of the finger in a word, of which an exchange of letters is one; one in a very short one.
  size_t least = typed.size() < 4 ? 2 : 3;
  for (const CLI::App* const command : level.get_subcommands([](const CLI::App*) { return true; })) {
    const size_t distance = Distance(command->get_name(), typed);
    if (distance >= least) continue;
    least = distance;
    closest = command;
  }
  return closest == nullptr ? "" : absl::StrCat(", did you mean `", PathOf(closest), "`?");
}

}  // namespace

absl::Status CheckArguments(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    const absl::string_view argument = argv[i];
    if (IsUtf8(argument)) continue;
    return UsageError("\"", absl::CHexEscape(argument.substr(0, 60)),
                      "\" is not UTF-8 text, in which Parley keeps names and paths; give it another name");
  }
  return absl::OkStatus();
}

void DescribeUses(CLI::App* app, const Globals& globals) {
  for (CLI::App* const command : app->get_subcommands([](CLI::App*) { return true; })) {
    if (!command->get_subcommands([](CLI::App*) { return true; }).empty()) {
      DescribeUses(command, globals);
      continue;
    }
    std::string footer = command->get_footer();
    // A command without a footer has inherited that of the level above.
    if (footer == app->get_footer()) footer.clear();
    const std::string path = PathOf(command);
    if (!absl::StrContains(footer, path)) {
      for (const Example& example : kExamples) {
        if (example.command != path) continue;
        footer = absl::StrCat("Example:\n  ", example.lines, footer.empty() ? "" : "\n", footer);
      }
    }
    command->footer(absl::StrCat(footer, footer.empty() ? "" : "\n", UsesText(globals.uses.at(command))));
  }
}

absl::Status CheckUses(const CLI::App& app, const Globals& globals) {
  const CLI::App* const command = ChosenCommand(app);
  const auto uses = globals.uses.find(command);
  if (uses == globals.uses.end()) return absl::OkStatus();
  for (const GlobalOption& option : kGlobalOptions) {
    if (app.count(option.name) == 0 || (uses->second & option.bit) != 0) continue;
    return UsageError("`", PathOf(command), "` has no use for ", option.name, "; leave it out");
  }
  return absl::OkStatus();
}

absl::Status CheckValues(const CLI::App& app, const Globals& globals) {
  for (const CLI::App* level = ChosenCommand(app); level != nullptr; level = level->get_parent()) {
    for (const CLI::Option* const option : level->get_options()) {
      const std::string name = option->get_name();
      // These are only for people to read.
      if (name == "--reason" || name == "--title") continue;
      for (const std::string& value : option->results()) {
        if (value.empty()) return UsageError(name, " is empty; give it a value, or leave it out");
      }
    }
  }
  return app.count("--server") == 0 ? absl::OkStatus() : CheckAddress("--server", globals.server);
}

absl::Status ParseError(const CLI::App& app, std::string what) {
  const CLI::App* const at = ChosenCommand(app);
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
    absl::StrAppend(&what, Suggestion(*at, what.substr(kExtra.size())));
  }
  std::replace(what.begin(), what.end(), '\n', ' ');
  if (!what.empty()) what[0] = absl::ascii_tolower(static_cast<unsigned char>(what[0]));
  return UsageError(what, "; see `", PathOf(at), " --help`");
}

}  // namespace parley::cli
