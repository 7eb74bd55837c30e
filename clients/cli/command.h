// What the subcommands share: the global options, exit codes, and how main finds what to run.
#ifndef PARLEY_CLIENTS_CLI_COMMAND_H_
#define PARLEY_CLIENTS_CLI_COMMAND_H_

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

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
  // The client is back on its old set.
  kRolledBack = 3,
  // The client declined.
  kRefused = 4,
};

// The global options that a command may use. All use --output.
enum GlobalOptions : unsigned {
  kNoGlobals = 0,
  kCredentialOption = 1 << 0,
  // --device, and what unlocks the device file: --password-file and --remember.
  kDeviceOption = 1 << 1,
  kUnlockOptions = 1 << 2,
  kServerOption = 1 << 3,
  // A command that acts by the device file, and one that acts by that or a credential.
  kMemberOptions = kDeviceOption | kUnlockOptions | kServerOption,
  kCallerOptions = kMemberOptions | kCredentialOption,
};

struct Globals {
  // Empty: $PARLEY_CREDENTIAL, else credential in ConfigFolder().
  std::string credential_path;
  // clients/cli/unlock.h says which of the two is used when neither is named.
  std::string device_path;
  std::string password_file;
  // The session keeps what unlocks the device file.
  bool remember = false;
  // Unlocked once, however many connections a command makes.
  mutable std::shared_ptr<device::DeviceFile> device;
  // Empty: the address in the credential.
  std::string server;
  // "text" or "json".
  std::string output = "text";
  // Set by the subcommand that the command line names.
  std::function<absl::StatusOr<ExitCode>()> run;
  // By command; see Uses.
  std::map<const CLI::App*, unsigned> uses;

  bool json() const { return output == "json"; }
};

// Says which GlobalOptions a command uses. Each command that runs something says it: main refuses the others, because
// an option that is ignored misleads, and lists these in the command's help.
void Uses(const CLI::App* command, Globals* globals, unsigned options);

// A mistake on the command line: exit code 2. One sentence.
absl::Status UsageError(absl::string_view sentence);
bool IsUsageError(const absl::Status& status);

// Each adds one subcommand. `globals` must outlive the app.
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
