#include "clients/cli/command_line.h"

#include <stdio.h>
#include <stdlib.h>

#include <algorithm>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "clients/cli/format.h"
#include "clients/cli/terminal.h"
#include "lib/base/error.h"
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
// What may be empty, because it is only for people to read.
constexpr const char* kMayBeEmpty[] = {"--reason", "--title"};

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
  std::string text = "Takes of parley's own options: ";
  for (const GlobalOption& option : kGlobalOptions) {
    if ((uses & option.bit) != 0) absl::StrAppend(&text, option.name, ", ");
  }
  return text + "--output.";
}

}  // namespace

absl::Status CheckArguments(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    const absl::string_view argument = argv[i];
    if (IsUtf8(argument)) continue;
    return UsageError(
        absl::StrCat("\"", absl::CHexEscape(argument.substr(0, 60)),
                     "\" is not UTF-8 text, in which Parley keeps names and paths; give it another name"));
  }
  return absl::OkStatus();
}

void DescribeUses(CLI::App* app, const Globals& globals) {
  for (CLI::App* const command : app->get_subcommands([](CLI::App*) { return true; })) {
    if (!command->get_subcommands([](CLI::App*) { return true; }).empty()) {
      DescribeUses(command, globals);
      continue;
    }
    const auto uses = globals.uses.find(command);
    if (uses == globals.uses.end()) {
      fprintf(stderr, "parley: %s does not say which options it uses\n", PathOf(command).c_str());
      abort();
    }
    const std::string footer = command->get_footer();
    command->footer(absl::StrCat(footer, footer.empty() ? "" : "\n", UsesText(uses->second)));
  }
}

absl::Status CheckUses(const CLI::App& app, const Globals& globals) {
  const CLI::App* const command = ChosenCommand(app);
  const auto uses = globals.uses.find(command);
  if (uses == globals.uses.end()) return absl::OkStatus();
  for (const GlobalOption& option : kGlobalOptions) {
    if (app.count(option.name) == 0 || (uses->second & option.bit) != 0) continue;
    return UsageError(absl::StrCat("`", PathOf(command), "` has no use for ", option.name, "; leave it out"));
  }
  return absl::OkStatus();
}

absl::Status CheckValues(const CLI::App& app, const Globals& globals) {
  for (const CLI::App* level = ChosenCommand(app); level != nullptr; level = level->get_parent()) {
    for (const CLI::Option* const option : level->get_options()) {
      const std::string name = option->get_name();
      const auto is_name = [&name](const char* allowed) { return name == allowed; };
      if (std::any_of(std::begin(kMayBeEmpty), std::end(kMayBeEmpty), is_name)) continue;
      for (const std::string& value : option->results()) {
        if (value.empty()) return UsageError(absl::StrCat(name, " is empty; give it a value, or leave it out"));
      }
    }
  }
  return app.count("--server") == 0 ? absl::OkStatus() : CheckAddress("--server", globals.server);
}

}  // namespace parley::cli
