// Lays a verified set of files over a target folder, all of it or nothing.
//
// The new tree (what stays of the target, and the payload) is built beside the target and swapped in by one rename;
// the old tree stays there until Commit, or comes back by Rollback. A journal beside it, written before each step
// that needs it, lets the next process go on wherever the last one was killed: docs/protocol/applying.md.
//
// Files of the target that the payload does not name stay. Files that an earlier revision of the same task installed
// and this one does not name go. Links inside the target are never followed.
//
//   ASSIGN_OR_RETURN(Installer installer, Installer::Open(workplace, options));
//   if (!installer.pending()) { Stage(…); Swap(); }
//   check and apply hooks by RunCheck and RunApply;  then Commit(), or BeginRollback and FinishRollback
//
// Threads: none; one installer a workplace at a time (Workplace::BeginUpdate).
#ifndef PARLEY_CLIENTS_AGENT_INSTALLER_H_
#define PARLEY_CLIENTS_AGENT_INSTALLER_H_

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "clients/agent/agent_state.pb.h"
#include "clients/agent/hook.h"
#include "clients/agent/tree.h"
#include "clients/agent/workplace.h"
#include "lib/base/clock.h"
#include "parley/task/v1/manifest.pb.h"

namespace parley::agent {

class Installer {
 public:
  struct Options {
    // "tasks/{task}".
    std::string task;
    // Where the record of what the task has installed lives.
    std::string state_folder;
    std::string check;
    std::string apply;
    absl::Duration check_timeout = absl::Minutes(1);
    absl::Duration apply_timeout = absl::Minutes(2);
    TreeLimits limits;
    Clock* clock = Clock::System();
  };

  // Verified content of a chunk, by digest.
  using ReadChunk = std::function<absl::StatusOr<std::string>(absl::string_view digest)>;

  // Finishes what was begun: leftovers and a committed update are cleaned up, a rollback is finished (its apply hook
  // run again), an update of another task is rolled back. A swap of this task's stays pending. `workplace` must
  // outlive the installer. TARGET_CHANGED when somebody else moved the folders; STATE_DAMAGED.
  static absl::StatusOr<Installer> Open(Workplace* workplace, Options options);

  // The swapped-in set that is neither committed nor rolled back.
  struct Pending {
    int64_t revision;
    int32_t attempt;
    std::string digest;
    // Both hooks have passed.
    bool applied;
    // The apply hook was begun more often than a crash excuses.
    bool exhausted;
    // When it got as far as it has.
    absl::Time since;
  };
  std::optional<Pending> pending() const;

  // What the task has installed, from its state folder.
  const Installed& installed() const { return installed_; }
  // Digest of what is on disk of installed(); empty when that is nothing.
  absl::StatusOr<std::string> InstalledDigest() const;
  // Digest of what is on disk of the pending set.
  absl::StatusOr<std::string> PendingDigest() const;

  // Whether the target can take the set, as far as can be told without trying: TARGET_*, DISK_FULL, FILE_PERMISSION.
  absl::Status Check(const task::v1::Manifest& manifest) const;
  // REVISION_OLDER, REVISION_CHANGED (another digest under the same number).
  absl::Status CheckRevision(const task::v1::Manifest& manifest) const;

  // Builds the new tree, durably. The target has not changed, whatever comes back. TARGET_CONFLICT (a file or link of
  // somebody else's where the payload needs a folder, or the other way round), FILE_DIGEST, and those of Check.
  absl::Status Stage(const task::v1::Manifest& manifest, int32_t attempt, const ReadChunk& read_chunk);
  // Swaps it in. TARGET_CHANGED when somebody wrote to the target meanwhile: Stage again.
  absl::Status Swap();

  // One of the user's commands; OK at once when there is none. RunApply notes that it ran before it starts it.
  HookResult RunCheck();
  absl::StatusOr<HookResult> RunApply();

  // The new set is the installed one for good.
  absl::Status Commit();
  // Decides for the old set, durably.
  absl::Status BeginRollback(const std::string& reason, const std::string& detail);
  // Swaps back; runs the apply hook again if it ran for the new set. ROLLBACK_FAILED when the old set could not be
  // brought back, or its apply hook failed. Notes the rollback in installed() until ForgetRollback.
  absl::Status FinishRollback();
  absl::Status ForgetRollback();

 private:
  Installer(Workplace* workplace, Options options) : workplace_(workplace), options_(std::move(options)) {}

  enum class Place { kNewInstalled, kOldInstalled, kUnknown };
  Place WhereIsWhat() const;
  absl::Status Recover();
  absl::Status BuildTree(const task::v1::Manifest& manifest, const ReadChunk& read_chunk);
  absl::StatusOr<std::string> DigestOf(const google::protobuf::RepeatedPtrField<std::string>& paths) const;
  absl::Status SwapBack();
  void NoteRollback(bool failed);
  absl::Status CleanUp();
  absl::Status WriteJournal(Journal::Phase phase);
  absl::Status WriteInstalled(const std::string& state_folder, const Installed& installed) const;
  std::map<std::string, std::string> Variables(int64_t revision, const std::string& digest) const;
  std::string JournalPath() const { return workplace_->path() + "/journal"; }

  Workplace* workplace_;
  Options options_;
  Installed installed_;
  // Empty unless a new set is swapped in, or staged.
  std::optional<Journal> journal_;
  bool swapped_ = false;
  std::string fingerprint_;
};

}  // namespace parley::agent

#endif  // PARLEY_CLIENTS_AGENT_INSTALLER_H_
