#include "clients/agent/targets.h"

#include <errno.h>
#include <sys/stat.h>

#include <filesystem>
#include <memory>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "clients/agent/agent_state.pb.h"
#include "clients/agent/record.h"
#include "clients/agent/target_folder.h"
#include "clients/agent/task_state.h"
#include "lib/base/error.h"

namespace parley::agent {
namespace {

// How long the target is left to others between two looks.
constexpr absl::Duration kShareFor = absl::Seconds(2);

// Announces what the owner does.
class OwnerListener final : public TargetOwner::Listener {
 public:
  explicit OwnerListener(const Announcer& announce) : announce_(announce) {}

  void OnEvent(const Event& event) override {
    // The target is opened again and again, and what is undecided there is announced once.
    if (std::holds_alternative<event::Undecided>(event) && std::exchange(announced_, true)) return;
    announce_(event);
  }

 private:
  const Announcer announce_;
  bool announced_ = false;
};

// Returns true when nothing is undecided any more.
absl::StatusOr<bool> ResumeOnce(const Options& options, const std::string& target, bool share, OwnerListener* listener,
                                Cancellation* cancellation) {
  ASSIGN_OR_RETURN(const std::shared_ptr<TargetOwner> owner, TargetOwner::Get(target, OwnerOptions(options)));
  const std::optional<TargetOwner::Pending> pending = owner->pending();
  if (!pending.has_value()) return true;
  owner->Join(listener);
  // With a little time left the target is not given away any more.
  const bool stay = !share || pending->confirm_timeout - pending->undecided <= kShareFor * 2;
  const absl::Status status = stay ? owner->AwaitDecision(/*patient=*/!share, cancellation) : absl::OkStatus();
  owner->Leave(listener);
  RETURN_IF_ERROR(status);
  return stay;
}

// Whether something may be there. What this user may not look at may.
bool MayExist(const std::string& path) {
  struct stat info;
  return stat(path.c_str(), &info) == 0 || (errno != ENOENT && errno != ENOTDIR);
}

}  // namespace

std::string TargetOf(const Options& options, const std::string& task) {
  const std::string& target = options.into_file.empty() ? options.into : options.into_file;
  return absl::StrReplaceAll(target, {{"{task}", task}});
}

TargetOwner::Options OwnerOptions(const Options& options) {
  return {.kind = options.into_file.empty() ? TargetFolder::Kind::kFolder : TargetFolder::Kind::kFile,
          .installer = {.method = options.method,
                        .clock = options.clock,
                        .hooks = options.hooks,
                        .confirm_timeout = options.confirm_timeout,
                        .boot_clock = options.boot_clock,
                        .fixed = {options.state_dir}}};
}

std::set<std::string> KnownTargets(const Options& options) {
  std::set<std::string> targets;
  const std::string own = TargetOf(options, "{task}");
  if (!own.empty() && !absl::StrContains(own, "{task}")) targets.insert(own);
  for (const std::string& task : TaskState::Tasks(options.state_dir)) {
    const std::string target = TaskState::TargetOf(options.state_dir, task);
    if (!target.empty()) targets.insert(target);
    if (absl::StrContains(own, "{task}")) targets.insert(TargetOf(options, task));
  }
  return targets;
}

bool MayBeUndecided(const std::string& target) {
  struct stat info;
  if (lstat(std::string(absl::StripSuffix(target, "/")).c_str(), &info) == 0 && S_ISLNK(info.st_mode)) return true;
  for (const std::string& place : PlacesOf(target)) {
    if (MayExist(absl::StrCat(place, "/journal"))) return true;
  }
  return false;
}

absl::Status CheckTarget(const Options& options) {
  const std::string& target = options.into_file.empty() ? options.into : options.into_file;
  return MayExist(target) ? TargetFolder::Examine(target, OwnerOptions(options).kind) : absl::OkStatus();
}

absl::Status CheckLastRollback(const std::string& target) {
  std::error_code error;
  const std::string resolved = std::filesystem::canonical(target, error).string();
  for (const std::string& place : PlacesOf(error ? target : resolved)) {
    TargetRecord record;
    RETURN_IF_ERROR(ReadRecord(absl::StrCat(place, "/record"), &record).status());
    for (const TargetRecord::Task& task : record.tasks()) {
      if (!task.rollback().failed()) continue;
      const std::string& failure = task.rollback().failure();
      return Error(absl::StatusCode::kDataLoss, "ROLLBACK_FAILED",
                   absl::StrCat("the rollback of ", target, " for ", task.task(), " (", task.rollback().reason(),
                                ") failed: ", failure.empty() ? "the apply command failed on the old set" : failure,
                                "; mend the cause, and give parley join again or start the agent"));
    }
  }
  return absl::OkStatus();
}

absl::Status ResumeTarget(const Options& options, const std::string& target, bool share, const Announcer& announce,
                          Cancellation* cancellation) {
  OwnerListener listener(announce);
  while (MayBeUndecided(target)) {
    ASSIGN_OR_RETURN(const bool decided, ResumeOnce(options, target, share, &listener, cancellation));
    if (decided) break;
    RETURN_IF_ERROR(cancellation->Sleep(kShareFor));
  }
  return absl::OkStatus();
}

}  // namespace parley::agent
