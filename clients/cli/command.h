// What the commands share: the global options, exit codes, and how main finds what to run.
//
// Threads: the main thread makes the commands and the globals; then the globals are read, by one thread at a time.
#ifndef PARLEY_CLIENTS_CLI_COMMAND_H_
#define PARLEY_CLIENTS_CLI_COMMAND_H_

#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "lib/base/error.h"

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace parley::device {
class DeviceFile;
}  // namespace parley::device

namespace parley::cli {

enum ExitCode : int {
  kSuccess = 0,
  kFailure = 1,
  kUsage = 2,
  // The client is back on the old set.
  kRolledBack = 3,
  // The client declined.
  kRefused = 4,
};

// The global options that a command may use. Every command uses --output.
enum GlobalOptions : unsigned {
  kNoGlobals = 0,
  kCredentialOption = 1 << 0,
  kDeviceOption = 1 << 1,
  // What unlocks the device file: --password-file and --remember.
  kUnlockOptions = 1 << 2,
  kServerOption = 1 << 3,
  // The options of a command that acts by the device file, and of one that acts by that or a credential.
  kMemberOptions = kDeviceOption | kUnlockOptions | kServerOption,
  kCallerOptions = kMemberOptions | kCredentialOption,
};

struct Globals {
  // If this is empty, the path is $PARLEY_CREDENTIAL, or else credential in ConfigFolder().
  std::string credential_path;
  // clients/cli/unlock.h says which of the two files is used when neither is named.
  std::string device_path;
  std::string password_file;
  // The session's keyring keeps what unlocks the device file.
  bool remember = false;
  // The device file that the process has unlocked; null before that.
  mutable std::shared_ptr<device::DeviceFile> device;
  // The host:port that takes the place of the address in the credential, unless it is empty.
  std::string server;
  // "text" or "json".
  std::string output = "text";
  // What the command that the command line names does.
  std::function<absl::StatusOr<ExitCode>()> run;
  // The GlobalOptions of each command.
  std::map<const CLI::App*, unsigned> uses;

  bool json() const { return output == "json"; }
};

// An option, and a command, for what adds them. CLI11 stands behind them, in command.cc and where the line is parsed:
// it is large, and would be compiled with each command.
class Option {
 public:
  explicit Option(CLI::Option* option) : option_(option) {}

  Option Required() const;
  // Says in the help what the value is without the option.
  Option ShowDefault() const;
  Option Excludes(const Option& other) const;
  Option Excludes(const std::string& name) const;
  Option Needs(const Option& other) const;
  // Accepts 0 to `most`.
  Option WholeNumber(int64_t most = std::numeric_limits<int32_t>::max()) const;
  // Takes one value each time it is given, so that what follows is something else.
  Option OneValueEach() const;
  // Leaves it out of the help.
  Option Hidden() const;

 private:
  CLI::Option* option_;
};

class Command {
 public:
  explicit Command(CLI::App* app) : app_(app) {}

  // Values must outlive the app. A name without hyphens is an argument.
  Option AddOption(const std::string& name, std::string& value, const std::string& help) const;
  Option AddOption(const std::string& name, std::vector<std::string>& values, const std::string& help = "") const;
  Option AddOption(const std::string& name, int32_t& value, const std::string& help) const;
  Option AddOption(const std::string& name, int64_t& value, const std::string& help) const;
  Option AddOption(const std::string& name, uint32_t& value, const std::string& help) const;
  // One of these words; the help shows all of them, and the default.
  Option AddChoice(const std::string& name, std::string& value, const std::vector<std::string>& words,
                   const std::string& help) const;
  Option AddFlag(const std::string& name, bool& value, const std::string& help) const;
  // Ends the help with this.
  void Footer(const std::string& text) const;

  CLI::App* app() const { return app_; }

 private:
  CLI::App* app_;
};

// Adds a command below `group`, which does `run` when the command line names it. `uses` are GlobalOptions: main refuses
// the others, because an option that is ignored misleads, and lists these in the command's help. `globals` must outlive
// the app.
Command AddCommand(Command group, Globals* globals, const char* name, const char* description, unsigned uses,
                   std::function<absl::StatusOr<ExitCode>(const Globals&)> run);
// Adds a command with flags, which live as long as the app.
template <typename Flags>
Command AddCommand(Command group, Globals* globals, const char* name, const char* description, unsigned uses,
                   const std::shared_ptr<Flags>& flags, absl::StatusOr<ExitCode> (*run)(const Globals&, const Flags&)) {
  return AddCommand(group, globals, name, description, uses,
                    [flags, run](const Globals& globals) { return run(globals, *flags); });
}
// Adds a command below `group` that is there for its commands alone.
Command AddGroup(Command group, const char* name, const char* description);

// Returns INVALID_ARGUMENT (USAGE), a mistake on the command line, for which main exits with kUsage. The parts, joined
// as by absl::StrCat, are one sentence.
template <typename... Parts>
absl::Status UsageError(const Parts&... parts) {
  return Error(absl::StatusCode::kInvalidArgument, "USAGE", absl::StrCat(parts...));
}
inline bool IsUsageError(const absl::Status& status) { return Reason(status) == "USAGE"; }

// Each adds one command, or a group of them.
void AddUp(Command app, Globals* globals);
void AddDown(Command app, Globals* globals);
void AddBackup(Command app, Globals* globals);
void AddRestore(Command app, Globals* globals);
void AddStore(Command app, Globals* globals);
void AddTask(Command app, Globals* globals);
void AddTaskCreate(Command task, Globals* globals);
void AddTaskPublish(Command task, Globals* globals);
void AddTaskRollback(Command task, Globals* globals);
// Adds history and show.
void AddTaskHistory(Command task, Globals* globals);
void AddTaskDiff(Command task, Globals* globals);
void AddTaskWatch(Command task, Globals* globals);
void AddTaskKey(Command task, Globals* globals);
void AddTaskMembers(Command task, Globals* globals);
void AddTaskRollout(Command task, Globals* globals);
void AddJoin(Command app, Globals* globals);
void AddAgent(Command app, Globals* globals);
void AddSettle(Command app, Globals* globals);
void AddKey(Command app, Globals* globals);
void AddCredentials(Command app, Globals* globals);
void AddProxy(Command app, Globals* globals);
void AddAudit(Command app, Globals* globals);
void AddOrg(Command app, Globals* globals);
void AddUser(Command app, Globals* globals);
void AddDevice(Command app, Globals* globals);
void AddDeviceFileCommands(Command device, Globals* globals);
void AddInvite(Command app, Globals* globals);
void AddGreet(Command app, Globals* globals);
void AddClaim(Command app, Globals* globals);

}  // namespace parley::cli

#endif  // PARLEY_CLIENTS_CLI_COMMAND_H_
