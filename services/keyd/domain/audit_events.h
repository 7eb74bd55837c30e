// The events of the audit log: keyd's own, and what may be in those of others.
//
// Threads: free functions without state.
#ifndef PARLEY_SERVICES_KEYD_DOMAIN_AUDIT_EVENTS_H_
#define PARLEY_SERVICES_KEYD_DOMAIN_AUDIT_EVENTS_H_

#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "parley/key/v1/key_service.pb.h"

namespace parley::keyd {

// Returns an event of keyd's own, which went well. The audit trail adds id, time and service.
key::v1::AuditEvent NewEvent(absl::string_view actor, absl::string_view action, absl::string_view resource,
                             absl::string_view detail);

// INVALID_ARGUMENT (AUDIT_EVENTS) unless there are 1 to 1000, each within the limits of docs/protocol/audit_log.md.
absl::Status CheckAuditEvents(const std::vector<key::v1::AuditEvent>& events);

}  // namespace parley::keyd

#endif  // PARLEY_SERVICES_KEYD_DOMAIN_AUDIT_EVENTS_H_
