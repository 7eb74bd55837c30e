#include "lib/audit/audit_chain.h"

#include <algorithm>

#include "lib/base/error.h"
#include "lib/crypto/hash.h"

namespace parley::audit {
namespace {}  // namespace

std::string ChainHash(absl::string_view previous, absl::string_view event_bytes) {
  crypto::Sha256Stream hash;
  hash.Update(absl::string_view("parley audit v1\0", 16));
  hash.Update(previous);
  hash.Update(event_bytes);
  return hash.Finish();
}

absl::Status AuditVerifier::Add(const key::v1::AuditEntry& entry) {
  const int64_t expected = mark_.sequence + 1;
  key::v1::AuditEvent event;
  if (!event.ParseFromString(entry.event_bytes()) || entry.hash() != ChainHash(mark_.hash, entry.event_bytes())) {
    return DataLoss("AUDIT_TAMPERED", "audit entry ", expected,
                    " does not follow from the one before it: it, or an entry before it, "
                    "was changed, dropped or moved");
  }
  if (event.sequence() != expected) {
    return DataLoss("AUDIT_GAP", "audit entry ", expected, " is missing: after ", mark_.sequence, " comes ",
                    event.sequence());
  }
  mark_ = {expected, entry.hash()};
  if (known_.has_value() && known_->sequence == expected && known_->hash != mark_.hash) {
    return DataLoss("AUDIT_REWRITTEN", "audit entry ", expected,
                    " is not the one that was there at the last verification: the log was "
                    "written anew");
  }
  return absl::OkStatus();
}

absl::Status AuditVerifier::Finish(int64_t last_sequence) const {
  const int64_t needed = std::max(last_sequence, known_.has_value() ? known_->sequence : 0);
  if (mark_.sequence >= needed) return absl::OkStatus();
  return DataLoss("AUDIT_TRUNCATED", "the audit log ends at entry ", mark_.sequence, " but had ", needed,
                  ": its end was cut off");
}

}  // namespace parley::audit
