#include "services/enrolld/exchanges/access.h"

#include "lib/audit/audit_log.h"
#include "services/enrolld/domain/names.h"

namespace parley::enrolld {

using enrol::v1::Invitation;

bool MaySee(const rpc::Caller& caller, const Invitation& invitation) {
  return caller.role() == access::v1::ROLE_ADMIN || caller.role() == access::v1::ROLE_AUDITOR ||
         (invitation.kind() == Invitation::KIND_DEVICE && caller.subject() == invitation.creator());
}

absl::Status CheckHandles(audit::AuditLog* audit, const rpc::Caller& caller, absl::string_view method,
                          const Invitation& invitation) {
  const bool handles = invitation.kind() == Invitation::KIND_USER ? caller.role() == access::v1::ROLE_ADMIN
                                                                  : caller.subject() == invitation.creator();
  if (handles) return absl::OkStatus();
  const absl::Status refused =
      RecordRefusal(audit, caller.Name(), method, "NOT_YOUR_INVITATION",
                    invitation.kind() == Invitation::KIND_USER ? "only admins invite and greet users"
                                                               : "only its user invites and greets a further device");
  return MaySee(caller, invitation) ? refused : NoInvitation(invitation.name());
}

}  // namespace parley::enrolld
