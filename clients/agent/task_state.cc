#include "clients/agent/task_state.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "clients/agent/record.h"
#include "clients/agent/target_folder.h"
#include "clients/agent/tree.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/secret.h"

namespace parley::agent {
namespace {

constexpr absl::string_view kAnotherFolder = "give this client another folder for its state";

std::string MembershipPath(const std::string& folder) { return absl::StrCat(folder, "/membership"); }

// A name that is too long, or a link that leads to itself.
bool CannotBe(const std::string& path) {
  struct stat info;
  return stat(path.c_str(), &info) != 0 && (errno == ENAMETOOLONG || errno == ELOOP);
}

// Says what to do where no waiting helps. `why` is a FileError of the folder.
absl::Status Unusable(const std::string& folder, const absl::Status& why) {
  if (why.ok()) return why;
  const std::string reason = Reason(why);
  if (reason == "FILE_NOT_FOUND" || CannotBe(folder)) {
    return Error(absl::StatusCode::kFailedPrecondition, "STATE_UNUSABLE",
                 absl::StrCat(why.message(), "; ", kAnotherFolder));
  }
  if (reason != "FILE_PERMISSION" && reason != "DISK_READ_ONLY") return why;
  return Error(why.code(), reason, absl::StrCat(why.message(), "; ", kAnotherFolder));
}

absl::Status LockError(const std::string& folder, int error) {
  if (error != EEXIST) return Unusable(folder, FileError("use", folder, error));
  return Error(absl::StatusCode::kFailedPrecondition, "STATE_UNUSABLE",
               absl::StrCat(folder, " belongs to another user, or others may open it; ", kAnotherFolder));
}

}  // namespace

absl::StatusOr<std::unique_ptr<TaskState>> TaskState::Open(const std::string& state_dir, const std::string& task) {
  if (state_dir.empty()) {
    return Error(absl::StatusCode::kInvalidArgument, "STATE_MISSING", "no folder for the agent's state was given");
  }
  std::unique_ptr<TaskState> state(new TaskState());
  const std::string tasks = absl::StrCat(state_dir, "/tasks");
  RETURN_IF_ERROR(Unusable(tasks, MakeFolders(tasks, 0700)));
  state->folder_ = absl::StrCat(state_dir, "/tasks/", task);
  state->lock_ = LockFolder(state->folder_);
  if (!state->lock_.ok() && errno == EWOULDBLOCK) {
    return Error(absl::StatusCode::kFailedPrecondition, "STATE_IN_USE",
                 absl::StrCat("another parley process takes part in ", task, " from ", state_dir,
                              "; end it, or give this one a state folder of its own"));
  }
  if (!state->lock_.ok()) return LockError(state->folder_, errno);
  RemoveRecordLitter(MembershipPath(state->folder_));
  RETURN_IF_ERROR(ReadRecord(MembershipPath(state->folder_), &state->membership_).status());
  return state;
}

std::vector<std::string> TaskState::Tasks(const std::string& state_dir) {
  std::vector<std::string> tasks;
  const std::string folder = absl::StrCat(state_dir, "/tasks");
  for (const std::string& name : FolderNames(folder)) {
    if (::access(MembershipPath(absl::StrCat(folder, "/", name)).c_str(), F_OK) == 0) tasks.push_back(name);
  }
  return tasks;
}

std::string TaskState::TargetOf(const std::string& state_dir, const std::string& task) {
  Membership membership;
  ReadRecord(MembershipPath(absl::StrCat(state_dir, "/tasks/", task)), &membership).status().IgnoreError();
  std::string target = membership.target();
  WipeMembership(&membership);
  return target;
}

absl::StatusOr<std::string> TaskState::OnlyTask(const std::string& state_dir) {
  const auto missing = [&state_dir](absl::string_view what) {
    return Error(absl::StatusCode::kNotFound, "STATE_MISSING", absl::StrCat(state_dir, " ", what));
  };
  const std::string folder = absl::StrCat(state_dir, "/tasks");
  if (::access(folder.c_str(), R_OK) != 0 && errno != ENOENT) return FileError("read", folder, errno);
  const std::vector<std::string> tasks = Tasks(state_dir);
  if (tasks.empty()) return missing("knows of no task; give a join key");
  if (tasks.size() == 1) return tasks[0];
  return missing(absl::StrCat("knows of several tasks (", absl::StrJoin(tasks, ", "), "); say which"));
}

TaskState::~TaskState() { WipeMembership(&membership_); }

absl::Status TaskState::SetMembership(Membership membership) {
  const absl::Status written = WriteRecord(MembershipPath(folder_), membership);
  if (written.ok()) membership_.Swap(&membership);
  WipeMembership(&membership);
  return written;
}

void WipeMembership(Membership* membership) {
  WipeString(membership->mutable_secret());
  membership->Clear();
}

}  // namespace parley::agent
