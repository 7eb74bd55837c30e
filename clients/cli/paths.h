// Where the command keeps its files, by the XDG rules.
//
// Threads: free functions, which may be called from any thread.
#ifndef PARLEY_CLIENTS_CLI_PATHS_H_
#define PARLEY_CLIENTS_CLI_PATHS_H_

#include <string>

#include "clients/operator/task_keys.h"

namespace parley::cli {

// Returns the value of an environment variable; empty if it is not set.
std::string Environment(const char* name);

// Returns $XDG_CONFIG_HOME/parley or ~/.config/parley, the folder for credentials and for the keys of tasks created
// here.
std::string ConfigFolder();
// Returns tasks/ in ConfigFolder(), with the signing keys of the tasks that were created here.
ops::TaskKeyFolder OwnTaskKeys();
// Returns $XDG_DATA_HOME/parley or ~/.local/share/parley, the folder of `parley up`.
std::string DataFolder();
// Returns the folder of `parley join` and `parley agent`: /var/lib/parley for root, or $XDG_STATE_HOME/parley or
// ~/.local/state/parley.
std::string StateFolder();

}  // namespace parley::cli

#endif  // PARLEY_CLIENTS_CLI_PATHS_H_
