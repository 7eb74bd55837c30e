// How a service is configured: by flags, by the environment and by one file, all with the same names.
//
//   --health-listen 0.0.0.0:7453      on the command line
//   PARLEY_TASKD_HEALTH_LISTEN=…      in the environment
//   health-listen = "0.0.0.0:7453"    in the TOML or INI file that --config or PARLEY_TASKD_CONFIG names
//
// What stands earlier in this list counts. A key of the file that is no flag is an error, as an unknown flag is. No
// secret is given by any of them: those are files of their own, which flags name.
//
// Only main.cc includes this, because CLI11 is large.
//
// Threads: one at a time.
#ifndef PARLEY_LIB_SERVICE_SERVICE_FLAGS_H_
#define PARLEY_LIB_SERVICE_SERVICE_FLAGS_H_

#include <CLI/CLI.hpp>
#include <functional>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "lib/service/config_check.h"
#include "lib/service/process.h"

namespace parley::service {

class ServiceFlags {
 public:
  // `options` has the defaults, among them the name and the services. It must outlive this.
  ServiceFlags(const std::string& description, ServiceOptions* options);

  // Adds one flag with its variable.
  template <typename Target>
  CLI::Option* Add(const std::string& flag, Target& target, const std::string& help) {
    return app_.add_option(flag, target, help)->envname(Variable(flag))->capture_default_str();
  }
  // Adds one that is on or off, with its variable: "true" or "false" there and in the file.
  void AddSwitch(const std::string& flag, bool& target, const std::string& help) {
    app_.add_flag(flag, target, help)->envname(Variable(flag));
  }

  // Reads all three. Returns main's result if there is nothing to run: after --help, or after a mistake, which is
  // explained.
  std::optional<int> Parse(int argc, char** argv);

  // Returns main's result: with --check-config that of `check`, which starts and changes nothing, otherwise that of
  // RunService. What all services have is checked before; without it the store alone, as the rest is found when it is
  // used.
  int Run(const std::function<void(ConfigCheck&)>& check, const std::function<absl::Status(Process&)>& serve);

 private:
  std::string Variable(const std::string& flag) const;

  ServiceOptions* const options_;
  CLI::App app_;
  bool check_config_ = false;
};

}  // namespace parley::service

#endif  // PARLEY_LIB_SERVICE_SERVICE_FLAGS_H_
