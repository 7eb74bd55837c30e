#include "lib/service/service_flags.h"

#include <stdio.h>
#include <stdlib.h>

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "lib/base/error.h"
#include "lib/service/service_store.h"

namespace parley::service {
namespace {

constexpr char kConfigFlag[] = "--config";

// Leaves out what the environment says, which CLI11 would read only where the file says nothing.
class FileBelowEnvironment : public CLI::ConfigTOML {
 public:
  explicit FileBelowEnvironment(std::function<std::string(const std::string&)> variable)
      : variable_(std::move(variable)) {}

  std::vector<CLI::ConfigItem> from_config(std::istream& input) const override {
    std::vector<CLI::ConfigItem> items = CLI::ConfigTOML::from_config(input);
    std::erase_if(items, [this](const CLI::ConfigItem& item) {
      const char* const value = getenv(variable_("--" + item.fullname()).c_str());
      return value != nullptr && *value != '\0';
    });
    return items;
  }

 private:
  const std::function<std::string(const std::string&)> variable_;
};

// CLI11 does not say that it speaks of the file.
std::string WhatIsWrong(const CLI::ParseError& error) {
  absl::string_view what = error.what();
  if (dynamic_cast<const CLI::FileError*>(&error) != nullptr) {
    return absl::StrCat("cannot read the configuration file ", what.substr(0, what.find(' ')));
  }
  if (dynamic_cast<const CLI::ConfigError*>(&error) != nullptr &&
      absl::ConsumePrefix(&what, "INI was not able to parse ")) {
    return absl::StrCat("the configuration file has the key \"", what, "\", which is no flag");
  }
  return std::string(what);
}

}  // namespace

ServiceFlags::ServiceFlags(const std::string& description, ServiceOptions* options)
    : options_(options), app_(description, options->process.name) {
  app_.set_config(
      kConfigFlag, "",
      absl::StrCat("file with the same names as these flags, as TOML or INI (Env:", Variable(kConfigFlag), ")"));
  app_.config_formatter(
      std::make_shared<FileBelowEnvironment>([this](const std::string& flag) { return Variable(flag); }));
  app_.allow_config_extras(CLI::config_extras_mode::error);
  app_.add_flag("--check-config", check_config_,
                "say whether all of the configuration can be used, and start nothing; exit code 0 or 1")
      ->configurable(false);
  CLI::Option* const data = Add("--data", options->data, "folder of the database and of what the service makes itself");
  if (options->data.empty()) data->required();
  Add("--store", options->store.url,
      "sqlite:PATH, or etcd:https://HOST:PORT[,…][/PREFIX] for several replicas (default: a database in --data)");
  Add("--store-ca", options->store.ca_file, "certificates that sign those of the etcd's members, PEM");
  Add("--store-cert", options->store.certificate_file, "certificate that this service shows to the etcd, PEM");
  Add("--store-key", options->store.key_file, "private key of that certificate, PEM");
  Add("--listen", options->listen, "host:port to listen on; port 0 takes a free one");
  Add("--names", options->names,
      "DNS names and IP addresses for the server certificate (default: localhost and the host's name)")
      ->delimiter(',');
  Add("--ready-file", options->process.ready_file,
      absl::StrCat("file that gets the address once ", options->process.name, " serves"));
  Add("--health-listen", options->process.health_listen,
      "host:port for grpc.health.v1 in plaintext, for probes; nothing else is there (default: no such port)");
  Add("--metrics-listen", options->process.metrics_listen,
      "host:port for Prometheus, http://host:port/metrics in plaintext (default: no such port)");
}

std::string ServiceFlags::Variable(const std::string& flag) const {
  std::string variable = absl::StrCat("PARLEY_", options_->process.name, "_", flag.substr(2));
  for (char& letter : variable) letter = letter == '-' ? '_' : absl::ascii_toupper(letter);
  return variable;
}

std::optional<int> ServiceFlags::Parse(int argc, char** argv) {
  std::vector<std::string> arguments(argv + 1, argv + argc);
  const bool named = std::any_of(arguments.begin(), arguments.end(), [](const std::string& argument) {
    return argument == kConfigFlag || absl::StartsWith(argument, absl::StrCat(kConfigFlag, "="));
  });
  // CLI11 knows no variable for this one, and would not complain of a missing file that it was not given as a flag.
  const char* const file = getenv(Variable(kConfigFlag).c_str());
  if (!named && file != nullptr && *file != '\0') arguments.push_back(absl::StrCat(kConfigFlag, "=", file));
  // It takes them from the end.
  std::reverse(arguments.begin(), arguments.end());
  try {
    app_.parse(std::move(arguments));
  } catch (const CLI::CallForHelp& help) {
    return app_.exit(help);
  } catch (const CLI::ParseError& error) {
    fprintf(stderr, "%s: %s; %s --help has all flags\n", options_->process.name.c_str(), WhatIsWrong(error).c_str(),
            options_->process.name.c_str());
    return 1;
  }
  return std::nullopt;
}

int ServiceFlags::Run(const std::function<void(ConfigCheck&)>& check,
                      const std::function<absl::Status(Process&)>& serve) {
  const absl::Status store = CheckServiceStore(*options_);
  if (!check_config_) {
    return RunService(options_->process, [&](Process& process) {
      RETURN_IF_ERROR(Annotate(store, "--store"));
      return serve(process);
    });
  }
  const ProcessOptions& process = options_->process;
  ConfigCheck found;
  found.Folder("--data", options_->data);
  found.Found("--store", store);
  found.Listens("--listen", options_->listen);
  if (!process.health_listen.empty()) found.Listens("--health-listen", process.health_listen);
  if (!process.metrics_listen.empty()) found.Listens("--metrics-listen", process.metrics_listen);
  found.ParentFolder("--ready-file", process.ready_file);
  check(found);
  for (const std::string& problem : found.problems()) {
    fprintf(stderr, "%s: %s\n", process.name.c_str(), problem.c_str());
  }
  if (!found.problems().empty()) return 1;
  printf("%s: the configuration can be used\n", process.name.c_str());
  return 0;
}

}  // namespace parley::service
