// Which method a target can bear, and why.
//
// Threads: any thread may call the functions.
#ifndef PARLEY_CLIENTS_AGENT_METHOD_CHOICE_H_
#define PARLEY_CLIENTS_AGENT_METHOD_CHOICE_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "clients/agent/file_method.h"
#include "clients/agent/method.h"
#include "clients/agent/swap_method.h"
#include "clients/agent/target_folder.h"
#include "clients/agent/tree.h"

namespace parley::agent {

// What is known besides the target.
struct ChoiceInput {
  Method wanted = Method::kAutomatic;
  TreeLimits limits;
  // "/proc" and "/sys"; with an empty `proc` no notice is taken of other programs.
  std::string proc;
  std::string sys;
  // Folders that must stay the ones that they are, such as that of the agent's state. They are told by what they are,
  // whatever path leads to them.
  std::vector<std::string> fixed;
  // Somebody wrote to the target each time that a new tree had been built.
  bool restless = false;
};

struct MethodChoice {
  // It is never kAutomatic.
  Method method = Method::kExchange;
  // A sentence; empty if nothing speaks against an exchange.
  std::string why;
};

// Chooses the method by a look at the target, which must exist. If an exchange is wanted, what speaks against it is an
// error: TARGET_MOUNT, TARGET_SPECIAL_FILE, TARGET_HARD_LINK, TARGET_TOO_LARGE, TARGET_IMMUTABLE, TARGET_BUSY,
// TARGET_IN_USE (another target lies in it), TARGET_CHANGED (programs go on writing to it), TARGET_ROOT,
// TARGET_NOT_FOLDER, or TARGET_COPY (something in it cannot be read or copied).
absl::StatusOr<MethodChoice> ChooseMethod(const TargetFolder& folder, const ChoiceInput& input);

// Returns the path from the root on, with every link in it followed. The part that does not exist yet stays as it is.
std::string WithoutLinks(const std::string& path);

// Returns whether a path names the folder, or something below it. Both are without links.
bool IsInOrIs(const std::string& path, const std::string& folder);

// Returns the same error for a person that has asked for an exchange: its sentence names the method that gets on.
absl::Status ButFilesWould(const absl::Status& against);

// Checks whether method files can put the set in place. Errors: those of PlanSteps; TARGET_BUSY if a program, a loop
// device or swap space writes to a file that the set changes; TARGET_MOUNT if such a file is mounted by itself
// somewhere else, where it would stay the old one.
absl::Status CheckFiles(const TargetFolder& folder, const NewSet& set, const std::string& proc, const std::string& sys);

// Checks in the last moment before an exchange, and in the first one after it, that nothing uses a file below the
// folder `root`. `shown` stands for the root in errors. Returns TARGET_CHANGED if something does, so that the method is
// chosen anew, and the errors of WalkTree.
absl::Status CheckNobodyWrites(int root, const std::string& shown, const std::string& proc, const std::string& sys);

}  // namespace parley::agent

#endif  // PARLEY_CLIENTS_AGENT_METHOD_CHOICE_H_
