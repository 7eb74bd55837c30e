// What the commands share: the global options, exit codes, and how main finds what to run.
//
// Threads: the main thread makes the commands and the globals; then the globals are read, by one thread at a time.
#ifndef PARLEY_CLIENTS_CLI_COMMAND_H_
#define PARLEY_CLIENTS_CLI_COMMAND_H_

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "lib/base/error.h"

namespace CLI {
class App;
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

// Adds a command below `group`, which does `run` when the command line names it. `uses` are GlobalOptions: main refuses
// the others, because an option that is ignored misleads, and lists these in the command's help. `globals` must outlive
// the app.
CLI::App* AddCommand(CLI::App* group, Globals* globals, const char* name, const char* description, unsigned uses,
                     std::function<absl::StatusOr<ExitCode>(const Globals&)> run);
// Adds a command with flags, which live as long as the app.
template <typename Flags>
CLI::App* AddCommand(CLI::App* group, Globals* globals, const char* name, const char* description, unsigned uses,
                     const std::shared_ptr<Flags>& flags,
                     absl::StatusOr<ExitCode> (*run)(const Globals&, const Flags&)) {
  return AddCommand(group, globals, name, description, uses,
                    [flags, run](const Globals& globals) { return run(globals, *flags); });
}
// Adds a command below `app` that is there for its commands alone.
CLI::App* AddGroup(CLI::App* app, const char* name, const char* description);

// Returns INVALID_ARGUMENT (USAGE), a mistake on the command line, for which main exits with kUsage. The parts, joined
// as by absl::StrCat, are one sentence.
template <typename... Parts>
absl::Status UsageError(const Parts&... parts) {
  return Error(absl::StatusCode::kInvalidArgument, "USAGE", absl::StrCat(parts...));
}
inline bool IsUsageError(const absl::Status& status) { return Reason(status) == "USAGE"; }

// Each adds one command, or a group of them.
void AddUp(CLI::App* app, Globals* globals);
void AddDown(CLI::App* app, Globals* globals);
void AddBackup(CLI::App* app, Globals* globals);
void AddRestore(CLI::App* app, Globals* globals);
void AddTask(CLI::App* app, Globals* globals);
void AddTaskCreate(CLI::App* task, Globals* globals);
void AddTaskPublish(CLI::App* task, Globals* globals);
void AddTaskWatch(CLI::App* task, Globals* globals);
void AddTaskKey(CLI::App* task, Globals* globals);
void AddTaskMembers(CLI::App* task, Globals* globals);
void AddJoin(CLI::App* app, Globals* globals);
void AddAgent(CLI::App* app, Globals* globals);
void AddSettle(CLI::App* app, Globals* globals);
void AddKey(CLI::App* app, Globals* globals);
void AddCredentials(CLI::App* app, Globals* globals);
void AddProxy(CLI::App* app, Globals* globals);
void AddAudit(CLI::App* app, Globals* globals);
void AddOrg(CLI::App* app, Globals* globals);
void AddUser(CLI::App* app, Globals* globals);
void AddDevice(CLI::App* app, Globals* globals);
void AddDeviceFileCommands(CLI::App* device, Globals* globals);
void AddInvite(CLI::App* app, Globals* globals);
void AddGreet(CLI::App* app, Globals* globals);
void AddClaim(CLI::App* app, Globals* globals);

}  // namespace parley::cli

#endif  // PARLEY_CLIENTS_CLI_COMMAND_H_
