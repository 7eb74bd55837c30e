// Finds the client that a member key stands for. Names in a request are claims: only what the key is sealed for is
// acted upon.
//
// Threads: all methods may be called from any thread; they block on the store.
#ifndef PARLEY_SERVICES_TASKD_PARTICIPANTS_CALLER_RESOLVER_H_
#define PARLEY_SERVICES_TASKD_PARTICIPANTS_CALLER_RESOLVER_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "lib/base/bounded_cache.h"
#include "lib/rpc/gate.h"
#include "services/taskd/store/participant_updater.h"
#include "services/taskd/store/task_store.h"

namespace parley::taskd {

struct Member {
  std::string task;
  std::string client;
};

class CallerResolver {
 public:
  // All of these must outlive this.
  CallerResolver(const TaskStore* store, const ParticipantUpdater* updater, audit::AuditLog* audit)
      : store_(store), updater_(updater), audit_(audit) {}

  // Returns the client that calls. Returns PERMISSION_DENIED (OTHER_TASK), with an entry in the audit log, if the
  // request names another task than the key's; NOT_FOUND (PARTICIPANT_NOT_FOUND).
  absl::StatusOr<Member> Identify(const rpc::Caller& caller, absl::string_view method,
                                  absl::string_view task_name) const;
  // Says that the client's member key has this tag.
  void Joined(absl::string_view task, absl::string_view tag, absl::string_view client) const;

  // Returns where the client stands, perhaps from memory. Returns UNAUTHENTICATED (KEY_REVOKED) if its key has been
  // revoked, even if the door does not know yet, and what `also` has against what is stored.
  absl::StatusOr<ParticipantSnapshot> Load(const rpc::Caller& caller, const Member& member,
                                           const ParticipantUpdater::Check& also = nullptr) const;
  // Returns the same error if the record is not of the key that calls: the key was revoked, or the client has joined
  // anew.
  static absl::Status CheckKey(const rpc::Caller& caller, const ParticipantRecord& record);

 private:
  const TaskStore* const store_;
  const ParticipantUpdater* const updater_;
  audit::AuditLog* const audit_;
  // By TagKey. A tag stands for the same client for ever, and a client that is gone has no record.
  mutable BoundedCache<std::string> clients_{1 << 20};
};

}  // namespace parley::taskd

#endif  // PARLEY_SERVICES_TASKD_PARTICIPANTS_CALLER_RESOLVER_H_
