#include "clients/cli/command.h"

#include <utility>

#include "CLI/CLI.hpp"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "clients/cli/terminal.h"

namespace parley::cli {

Option Option::Required() const { return Option(option_->required()); }
Option Option::ShowDefault() const { return Option(option_->capture_default_str()); }
Option Option::Excludes(const Option& other) const { return Option(option_->excludes(other.option_)); }
Option Option::Excludes(const std::string& name) const { return Option(option_->excludes(name)); }
Option Option::Needs(const Option& other) const { return Option(option_->needs(other.option_)); }
Option Option::OneValueEach() const { return Option(option_->allow_extra_args(false)); }
Option Option::Hidden() const { return Option(option_->group("")); }

// CLI11's own check speaks of floating-point limits.
Option Option::WholeNumber(int64_t most) const {
  const auto check = [most](const std::string& text) {
    int64_t number = 0;
    if (absl::SimpleAtoi(text, &number) && number >= 0 && number <= most) return std::string();
    return absl::StrCat("\"", Printable(text.substr(0, 40)), "\" is not a whole number from 0 to ", most);
  };
  return Option(option_->check(CLI::Validator(check, "")));
}

Option Command::AddOption(const std::string& name, std::string& value, const std::string& help) const {
  return Option(app_->add_option(name, value, help));
}
Option Command::AddOption(const std::string& name, std::vector<std::string>& values, const std::string& help) const {
  return Option(app_->add_option(name, values, help));
}
Option Command::AddOption(const std::string& name, int32_t& value, const std::string& help) const {
  return Option(app_->add_option(name, value, help));
}
Option Command::AddOption(const std::string& name, int64_t& value, const std::string& help) const {
  return Option(app_->add_option(name, value, help));
}
Option Command::AddOption(const std::string& name, uint32_t& value, const std::string& help) const {
  return Option(app_->add_option(name, value, help));
}
Option Command::AddChoice(const std::string& name, std::string& value, const std::vector<std::string>& words,
                          const std::string& help) const {
  app_->get_formatter()->label(absl::StrCat("TEXT:{", absl::StrJoin(words, ","), "}"), absl::StrJoin(words, "|"));
  return Option(app_->add_option(name, value, help)->check(CLI::IsMember(words))->capture_default_str());
}
Option Command::AddFlag(const std::string& name, bool& value, const std::string& help) const {
  return Option(app_->add_flag(name, value, help));
}
void Command::Footer(const std::string& text) const { app_->footer(text); }

Command AddCommand(Command group, Globals* globals, const char* name, const char* description, unsigned uses,
                   std::function<absl::StatusOr<ExitCode>(const Globals&)> run) {
  CLI::App* const command = group.app()->add_subcommand(name, description);
  globals->uses[command] = uses;
  command->callback([globals, run = std::move(run)] { globals->run = [globals, run] { return run(*globals); }; });
  return Command(command);
}

Command AddGroup(Command group, const char* name, const char* description) {
  return Command(group.app()->add_subcommand(name, description)->require_subcommand(1));
}

}  // namespace parley::cli
