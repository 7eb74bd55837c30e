// Decides who may see and who may handle which invitation.
#ifndef PARLEY_SERVICES_ENROLLD_EXCHANGES_ACCESS_H_
#define PARLEY_SERVICES_ENROLLD_EXCHANGES_ACCESS_H_

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "lib/rpc/gate.h"
#include "parley/enrol/v1/invitation_service.pb.h"

namespace parley::enrolld {

// Returns whether the caller may read of an invitation.
bool MaySee(const rpc::Caller& caller, const enrol::v1::Invitation& invitation);

// Checks that the caller may greet with the invitation and have its link: any admin may for a user's, and its user for
// a device's. Returns NOT_FOUND to those who may not see it, or else PERMISSION_DENIED (NOT_YOUR_INVITATION).
absl::Status CheckHandles(audit::AuditLog* audit, const rpc::Caller& caller, absl::string_view method,
                          const enrol::v1::Invitation& invitation);

}  // namespace parley::enrolld

#endif  // PARLEY_SERVICES_ENROLLD_EXCHANGES_ACCESS_H_
