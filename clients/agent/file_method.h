// Method files: each file that changes is renamed, and the old files are kept in the place until all is decided.
//
// "new/N" in the place is what step N puts into the target; swapping exchanges it with what is there, so that it holds
// the old entry afterwards. What a step takes away goes to "old/N". The place alone, into which nobody else writes,
// tells how far a swap has come, and each step can be done and undone at any time, whatever it finds.
//
// Nothing but the entries that change is read, copied or locked.
//
// Threads: not thread-safe.
#ifndef PARLEY_CLIENTS_AGENT_FILE_METHOD_H_
#define PARLEY_CLIENTS_AGENT_FILE_METHOD_H_

#include <string>
#include <utility>
#include <vector>

#include "clients/agent/open_files.h"
#include "clients/agent/swap_method.h"
#include "clients/agent/target_folder.h"
#include "lib/base/fd.h"

namespace parley::agent {

// A step before it is built.
struct PlannedStep {
  // The path below the target's root.
  std::string path;
  // The entries of the manifest that it puts in place: one at the path, or all that lie below a folder there; none if
  // it takes the path away.
  std::vector<const task::v1::FileEntry*> entries;
  bool replaces = false;
  std::string old_state;
  FileId old_id;
};

// Returns the steps that a set needs, by a look at the target, which it does not change. Errors: TARGET_CONFLICT
// (something is in the way of a path), TARGET_MOUNT (something is mounted at a path of the payload, or above it),
// TARGET_SPECIAL_FILE, TARGET_IMMUTABLE, TARGET_PERMISSION, TARGET_IN_USE (another target lies where the payload has
// files), and those of lib/base/file.h.
absl::StatusOr<std::vector<PlannedStep>> PlanSteps(const TargetFolder& folder, const NewSet& set);

class FileMethod final : public SwapMethod {
 public:
  // `folder` must outlive it. `proc` is "/proc"; with an empty one it takes no notice of other programs. Without
  // `can_exchange` it works as on file systems that do not exchange two names.
  FileMethod(const TargetFolder* folder, std::string proc, bool can_exchange)
      : folder_(*folder), proc_(std::move(proc)), can_exchange_(can_exchange) {}

  absl::Status Stage(const NewSet& set, Journal* journal) override;
  absl::Status Swap(const Journal& journal) override;
  Place WhereIsWhat(const Journal& journal) const override;
  absl::Status CheckSwapped(const Journal& journal) const override;
  absl::Status SwapBack(const Journal& journal) override;
  std::string OldSetPath() const override { return folder_.place_path(); }

 private:
  absl::Status Build(int number, const PlannedStep& step, const ReadChunk& read_chunk, Journal::FileStep* made);
  absl::Status Do(int number, const Journal::FileStep& step) const;
  absl::Status Replace(int number, const Journal::FileStep& step, int folder, const std::string& name) const;
  absl::Status CheckMount(const Fd& root) const;
  absl::StatusOr<Fd> RootForUndo() const;
  absl::Status NoFolderAnyMore(absl::string_view what) const;
  bool StandsAsBefore(const Journal::FileStep& step) const;
  bool TookWhatWasSeen(const std::string& name, const Journal::FileStep& step) const;
  absl::Status Undo(int number, const Journal::FileStep& step) const;
  bool IsDone(int number, const Journal::FileStep& step) const;
  bool IsUntouched(int number, const Journal::FileStep& step) const;
  absl::Status Sync(const Journal& journal) const;
  absl::Status StepError(const std::string& path, int error) const;

  const TargetFolder& folder_;
  const std::string proc_;
  const bool can_exchange_;
};

}  // namespace parley::agent

#endif  // PARLEY_CLIENTS_AGENT_FILE_METHOD_H_
