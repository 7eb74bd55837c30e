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
  JoinCredentials credentials;
  credentials.follow = options->follow;
  credentials.client = options->client_name;
  if (!options->key.has_value()) {
    credentials.task = options->task;
    if (credentials.task.empty()) {
      ASSIGN_OR_RETURN(credentials.task, TaskState::OnlyTask(options->state_dir));
    }
  } else {
    credentials.task = options->key->task;
    credentials.address = options->key->address;
    credentials.identity = options->key->identity;
    credentials.secret = std::move(options->key->secret);
    credentials.not_after = options->key->not_after;
    credentials.verification_key = options->key->verification_key;
  }
  if (IsTaskId(credentials.task)) return credentials;
  return Error(absl::StatusCode::kInvalidArgument, "TASK_NAME",
               absl::StrCat(credentials.task, " is not the id of a task"));
}

}  // namespace

absl::StatusOr<Outcome> Join(JoinOptions options, Observer* observer) {
  RETURN_IF_ERROR(CheckOptions(options));
  ASSIGN_OR_RETURN(JoinCredentials credentials, MakeJoinCredentials(&options));
  AddFacts(&options.facts);
  const std::string target = TargetOf(options, credentials.task);
  Cancellation never;
  Cancellation* const cancellation = options.cancellation == nullptr ? &never : options.cancellation;
  Mutex observer_mutex;
  TaskSession session(&options, std::move(credentials), target, Announcer(observer, &observer_mutex), cancellation);
  return session.Run();
}

absl::Status ResumePending(const Options& options, Observer* observer) {
  Cancellation never;
  Cancellation* const cancellation = options.cancellation == nullptr ? &never : options.cancellation;
  Mutex observer_mutex;
  const Announcer announce(observer, &observer_mutex);
  for (const std::string& target : KnownTargets(options)) {
    const absl::Status resumed = ResumeTarget(options, target, /*share=*/true, announce, cancellation);
    if (Reason(resumed) != "ROLLBACK_FAILED") RETURN_IF_ERROR(resumed);
    // The record says more of it, if there was room to note it.
    RETURN_IF_ERROR(CheckLastRollback(target));
    RETURN_IF_ERROR(resumed);
  }
  return CheckTarget(options);
}

}  // namespace parley::agent
