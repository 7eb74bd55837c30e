#include "lib/audit/audit_log.h"

#include <string>
#include <utility>

#include "lib/base/error.h"

namespace parley::audit {
namespace {

void Record(AuditLog* audit, absl::string_view actor, absl::string_view action, absl::string_view resource,
            absl::string_view outcome, absl::string_view detail) {
  key::v1::AuditEvent event;
  event.set_actor(std::string(actor));
  event.set_action(std::string(action));
  event.set_resource(std::string(resource));
  event.set_outcome(std::string(outcome));
  event.set_detail(std::string(detail));
  audit->Record(std::move(event));
}

}  // namespace

void RecordAction(AuditLog* audit, absl::string_view actor, absl::string_view action, absl::string_view resource,
                  absl::string_view detail) {
  Record(audit, actor, action, resource, "ok", detail);
}

absl::Status RecordRefusal(AuditLog* audit, absl::string_view actor, absl::string_view method, absl::string_view reason,
                           absl::string_view sentence) {
  Record(audit, actor, "rpc.refused", method, reason, "");
  return PermissionDenied(reason, sentence);
}

}  // namespace parley::audit
