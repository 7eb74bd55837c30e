// Which task has installed what in a target: rules over the record, without a disk.
//
// The task that installed a path last owns it. A path goes with the revision of its owner that does not name it any
// more, unless another task has it too: then it stays and is that one's.
//
// Threads: pure functions.
#ifndef PARLEY_CLIENTS_AGENT_TARGET_RECORD_H_
#define PARLEY_CLIENTS_AGENT_TARGET_RECORD_H_

#include <set>
#include <string>

#include "clients/agent/agent_state.pb.h"

namespace parley::agent {

using InstalledFiles = google::protobuf::RepeatedPtrField<InstalledFile>;

// Returns null if the record does not know the task.
const TargetRecord::Task* FindTask(const TargetRecord& record, const std::string& task);
// Returns the entry of the task, which is made if it is missing.
TargetRecord::Task* TaskIn(TargetRecord* record, const std::string& task);

// Returns the paths that go when the task installs `files`. It takes over those of the task `supersedes`, which may be
// empty.
std::set<std::string> DroppedPaths(const TargetRecord& record, const std::string& task, const std::string& supersedes,
                                   const InstalledFiles& files);

// Records that the journal's set is installed, and that its apply command has passed.
void RecordInstalled(const Journal& journal, TargetRecord* record);

// Takes over what an older version noted of the task, unless the record knows it already. Without `with_paths` it takes
// the revision alone, because the paths were another target's.
void RecordAdopted(const std::string& task, const Installed& installed, bool with_paths, TargetRecord* record);

// Returns a sentence if another task has installed over one of the `changed` paths, or has taken over the task; empty
// otherwise.
std::string TakenOver(const TargetRecord& record, const std::string& task, const std::set<std::string>& changed);

}  // namespace parley::agent

#endif  // PARLEY_CLIENTS_AGENT_TARGET_RECORD_H_
