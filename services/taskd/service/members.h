// Who a member key stands for. Names in a request are claims: only what the key is sealed for is acted upon.
//
// Threads: all methods may be called from any thread; they block on the store.
#ifndef PARLEY_SERVICES_TASKD_SERVICE_MEMBERS_H_
#define PARLEY_SERVICES_TASKD_SERVICE_MEMBERS_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "lib/rpc/gate.h"
#include "services/taskd/service/standing.h"
#include "services/taskd/store/task_store.h"

namespace parley::taskd {

struct Member {
  std::string task;
  std::string client;
};

class Members {
 public:
  // All must outlive this.
  Members(const TaskStore* store, const Standings* standings, rpc::AuditLog* audit)
      : store_(store), standings_(standings), audit_(audit) {}

  // The client that calls. PERMISSION_DENIED (OTHER_TASK), and an entry in the audit log, when the request names
  // another task than the key's; NOT_FOUND (PARTICIPANT_NOT_FOUND).
  absl::StatusOr<Member> Identify(const rpc::Caller& caller, absl::string_view method,
                                  absl::string_view task_name) const;

  // Where it stands. UNAUTHENTICATED (KEY_REVOKED) when its key has been revoked, even if the door does not know yet.
  absl::StatusOr<Standing> Load(const rpc::Caller& caller, const Member& member) const;
  // The same error when the record is not of the key that calls: it was revoked, or the client has joined anew.
  static absl::Status CheckKey(const rpc::Caller& caller, const ParticipantRecord& record);

 private:
  const TaskStore* const store_;
  const Standings* const standings_;
  rpc::AuditLog* const audit_;
};

}  // namespace parley::taskd

#endif  // PARLEY_SERVICES_TASKD_SERVICE_MEMBERS_H_
