// Where the command keeps what it keeps, by the XDG rules.
#ifndef PARLEY_CLIENTS_CLI_PATHS_H_
#define PARLEY_CLIENTS_CLI_PATHS_H_

#include <string>

#include "clients/operator/task_keys.h"

namespace parley::cli {

// An environment variable; empty when it is not set.
std::string Environment(const char* name);

// $XDG_CONFIG_HOME/parley or ~/.config/parley: credentials and the signing keys of tasks created here.
std::string ConfigFolder();
// The keys of the tasks that were created here: tasks/ in ConfigFolder().
ops::TaskKeys OwnTaskKeys();
// Of `parley up`: $XDG_DATA_HOME/parley or ~/.local/share/parley.
std::string DataFolder();
// Of `parley join` and `parley agent`: /var/lib/parley for root, $XDG_STATE_HOME/parley or ~/.local/state/parley.
std::string StateFolder();

}  // namespace parley::cli

#endif  // PARLEY_CLIENTS_CLI_PATHS_H_
