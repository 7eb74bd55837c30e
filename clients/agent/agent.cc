#include "clients/agent/agent.h"

#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "clients/agent/cancellation.h"
#include "clients/agent/identity.h"
#include "clients/agent/operator_check.h"
#include "clients/agent/target_owner.h"
#include "clients/agent/targets.h"
#include "clients/agent/task_session.h"
#include "clients/agent/task_state.h"
#include "lib/base/error.h"

namespace parley::agent {
namespace {

absl::StatusOr<JoinCredentials> MakeJoinCredentials(JoinOptions* options) {
  JoinCredentials entry;
  entry.follow = options->follow;
  entry.client = options->client_name;
  if (!options->key.has_value()) {
    entry.task = options->task;
    if (entry.task.empty()) {
      ASSIGN_OR_RETURN(entry.task, TaskState::OnlyTask(options->state_dir));
    }
  } else {
    entry.task = options->key->task;
    entry.address = options->key->address;
    entry.identity = options->key->identity;
    entry.secret = std::move(options->key->secret);
    entry.not_after = options->key->not_after;
    entry.verification_key = options->key->verification_key;
  }
  if (IsTaskId(entry.task)) return entry;
  return Error(absl::StatusCode::kInvalidArgument, "TASK_NAME", absl::StrCat(entry.task, " is not the id of a task"));
}

}  // namespace

absl::StatusOr<Outcome> Join(JoinOptions options, Observer* observer) {
  RETURN_IF_ERROR(CheckOptions(options));
  ASSIGN_OR_RETURN(JoinCredentials entry, MakeJoinCredentials(&options));
  AddFacts(&options.facts);
  const std::string target = TargetOf(options, entry.task);
  Cancellation cancellation;
  const StopWatcher watcher(options.stop, &cancellation);
  Mutex observer_mutex;
  TaskSession session(&options, std::move(entry), target, Announcer(observer, &observer_mutex), &cancellation);
  return session.Run();
}

absl::Status ResumePending(const Options& options, Observer* observer) {
  Cancellation cancellation;
  const StopWatcher watcher(options.stop, &cancellation);
  Mutex observer_mutex;
  const Announcer announce(observer, &observer_mutex);
  for (const std::string& target : KnownTargets(options)) {
    RETURN_IF_ERROR(SettleTarget(options, target, /*share=*/true, announce, &cancellation));
    RETURN_IF_ERROR(CheckLastRollback(target));
  }
  return absl::OkStatus();
}

}  // namespace parley::agent
