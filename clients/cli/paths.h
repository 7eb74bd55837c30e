// Where the command keeps what it keeps, by the XDG rules.
#ifndef PARLEY_CLIENTS_CLI_PATHS_H_
#define PARLEY_CLIENTS_CLI_PATHS_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace parley::cli {

// An environment variable; empty when it is not set.
std::string Environment(const char* name);

// $XDG_CONFIG_HOME/parley or ~/.config/parley: credentials and the signing keys of tasks created here.
std::string ConfigFolder();
// Of `parley up`: $XDG_DATA_HOME/parley or ~/.local/share/parley.
std::string DataFolder();
// Of `parley join` and `parley agent`: /var/lib/parley for root, $XDG_STATE_HOME/parley or ~/.local/state/parley.
std::string StateFolder();

// OK when a new file could be made at `path`, so that a command can refuse before it has done anything.
// ALREADY_EXISTS (FILE_EXISTS) or the error of the folder.
absl::Status CanCreate(const std::string& path, absl::string_view what);
// OK when a new file could be made in the folder, else the error of the folder.
absl::Status CanWriteTo(const std::string& folder, absl::string_view what);

}  // namespace parley::cli

#endif  // PARLEY_CLIENTS_CLI_PATHS_H_
