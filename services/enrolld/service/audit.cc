#include "services/enrolld/service/audit.h"

#include <string>
#include <utility>

#include "lib/base/error.h"
#include "services/enrolld/domain/names.h"

namespace parley::enrolld {

using enrol::v1::Invitation;

void Audit(rpc::AuditLog* audit, absl::string_view actor, absl::string_view action, absl::string_view resource,
           absl::string_view detail) {
  key::v1::AuditEvent event;
  event.set_actor(std::string(actor));
  event.set_action(std::string(action));
  event.set_resource(std::string(resource));
  event.set_outcome("ok");
  event.set_detail(std::string(detail));
  audit->Record(std::move(event));
}

absl::Status Refuse(rpc::AuditLog* audit, const rpc::Caller& caller, absl::string_view method, absl::string_view reason,
                    absl::string_view sentence) {
  key::v1::AuditEvent event;
  event.set_actor(caller.Name());
  event.set_action("rpc.refused");
  event.set_resource(std::string(method));
  event.set_outcome(std::string(reason));
  audit->Record(std::move(event));
  return Error(absl::StatusCode::kPermissionDenied, reason, sentence);
}

bool MaySee(const rpc::Caller& caller, const Invitation& invitation) {
  return caller.role() == access::v1::ROLE_ADMIN || caller.role() == access::v1::ROLE_AUDITOR ||
         (invitation.kind() == Invitation::KIND_DEVICE && caller.subject() == invitation.creator());
}

absl::Status CheckHandles(rpc::AuditLog* audit, const rpc::Caller& caller, absl::string_view method,
                          const Invitation& invitation) {
  const bool handles = invitation.kind() == Invitation::KIND_USER ? caller.role() == access::v1::ROLE_ADMIN
                                                                  : caller.subject() == invitation.creator();
  if (handles) return absl::OkStatus();
  const absl::Status refused =
      Refuse(audit, caller, method, "NOT_YOUR_INVITATION",
             invitation.kind() == Invitation::KIND_USER ? "only admins invite and greet users"
                                                        : "only its user invites and greets a further device");
  return MaySee(caller, invitation) ? refused : NoInvitation(invitation.name());
}

}  // namespace parley::enrolld
