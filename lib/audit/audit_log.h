// Where a service records what must be accounted for. keyd keeps the log; the others send their events to it.
#ifndef PARLEY_LIB_AUDIT_AUDIT_LOG_H_
#define PARLEY_LIB_AUDIT_AUDIT_LOG_H_

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "parley/key/v1/key_service.pb.h"

namespace parley::audit {

// A log of events.
//
// Threads: all methods may be called from any thread.
class AuditLog {
 public:
  virtual ~AuditLog() = default;
  // Sets the event's id, time and service. Does not block on the network: a full sink drops the newest refusals, counts
  // them, and says so in the log once it can.
  virtual void Record(key::v1::AuditEvent event) = 0;
};

// Records that an actor, e.g. "operator/alice", did something to a resource.
void RecordAction(AuditLog* audit, absl::string_view actor, absl::string_view action, absl::string_view resource,
                  absl::string_view detail = "");

// Records that an actor was refused, and returns the PERMISSION_DENIED to answer with.
absl::Status RecordRefusal(AuditLog* audit, absl::string_view actor, absl::string_view method, absl::string_view reason,
                           absl::string_view sentence);

}  // namespace parley::audit

#endif  // PARLEY_LIB_AUDIT_AUDIT_LOG_H_
