// What taskd tells the audit log.
#ifndef PARLEY_SERVICES_TASKD_SERVICE_AUDIT_H_
#define PARLEY_SERVICES_TASKD_SERVICE_AUDIT_H_

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "lib/rpc/gate.h"

namespace parley::taskd {

// That a caller did something.
void Audit(rpc::AuditLog* audit, const rpc::Caller& caller, absl::string_view action, absl::string_view resource,
           absl::string_view detail = "");

// That a caller was refused, as the gate records its own refusals; PERMISSION_DENIED to answer with.
absl::Status Refuse(rpc::AuditLog* audit, const rpc::Caller& caller, absl::string_view method, absl::string_view reason,
                    absl::string_view sentence);

}  // namespace parley::taskd

#endif  // PARLEY_SERVICES_TASKD_SERVICE_AUDIT_H_
