// What lies in the place of a target besides the journal and the record, and how it is cleared away.
//
// Threads: not thread-safe for the same target.
#ifndef PARLEY_CLIENTS_AGENT_PLACE_H_
#define PARLEY_CLIENTS_AGENT_PLACE_H_

#include <string>

#include "clients/agent/target_folder.h"

namespace parley::agent {

namespace place {

// Method exchange: the tree that is not in use.
inline constexpr char kTree[] = "tree";
// Method files: what goes into the target and, afterwards, what it has replaced; and what was taken out of it.
inline constexpr char kNew[] = "new";
inline constexpr char kOld[] = "old";
// Folders to try out what the file system can do.
inline constexpr char kProbe[] = "probe";
// "aside-1" and so on: trees that could not be removed.
inline constexpr char kAside[] = "aside-";
// "kept-1" and so on: what somebody else had put where the target was. It is for a person to look at, and never
// removed.
inline constexpr char kKept[] = "kept-";

}  // namespace place

// Removes all of these but the kept ones. A tree that something is mounted in, here or in another mount namespace, or
// that cannot be removed for another reason, is set aside with a warning, and tried again the next time. `proc` is
// "/proc", where other namespaces are seen; with an empty one they are not looked at.
void ClearPlace(const TargetFolder& folder, const std::string& proc);

// Keeps what is in kTree, which is somebody else's and stood where the target was, as "kept-N", with a warning. It
// removes an empty folder.
void MoveForeignTreeAside(const TargetFolder& folder);

}  // namespace parley::agent

#endif  // PARLEY_CLIENTS_AGENT_PLACE_H_
