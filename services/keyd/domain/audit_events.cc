#include "services/keyd/domain/audit_events.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "lib/audit/audit_limits.h"
#include "lib/base/error.h"

namespace parley::keyd {
namespace {

using key::v1::AuditEvent;

constexpr size_t kMaxEvents = 1000;

bool IsGood(const AuditEvent& event) {
  return event.id().size() == 36 && std::all_of(event.id().begin(), event.id().end(), absl::ascii_isprint) &&
         !event.action().empty() && event.action().size() <= audit::kMaxActionBytes &&
         event.actor().size() <= audit::kMaxActorBytes && event.resource().size() <= audit::kMaxResourceBytes &&
         event.outcome().size() <= audit::kMaxOutcomeBytes && event.detail().size() <= audit::kMaxDetailBytes;
}

}  // namespace

AuditEvent NewEvent(absl::string_view actor, absl::string_view action, absl::string_view resource,
                    absl::string_view detail) {
  AuditEvent event;
  event.set_actor(std::string(actor));
  event.set_action(std::string(action));
  event.set_resource(std::string(resource));
  event.set_outcome("ok");
  event.set_detail(std::string(detail));
  return event;
}

absl::Status CheckAuditEvents(const std::vector<AuditEvent>& events) {
  if (events.empty() || events.size() > kMaxEvents) {
    return InvalidArgument("AUDIT_EVENTS", "a call appends 1 to ", kMaxEvents, " events");
  }
  if (std::all_of(events.begin(), events.end(), IsGood)) return absl::OkStatus();
  return InvalidArgument(
      "AUDIT_EVENTS",
      "an audit event must have a UUID as id, an action, and texts within the limits of docs/protocol/audit_log.md");
}

}  // namespace parley::keyd
