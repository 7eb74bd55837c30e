#include "services/taskd/service/audit.h"

#include <string>
#include <utility>

#include "lib/base/error.h"

namespace parley::taskd {

void Audit(rpc::AuditLog* audit, const rpc::Caller& caller, absl::string_view action, absl::string_view resource,
           absl::string_view detail) {
  key::v1::AuditEvent event;
  event.set_actor(caller.Name());
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

}  // namespace parley::taskd
