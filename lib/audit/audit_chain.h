// The hash chain of the audit log: an entry that is changed, dropped or moved breaks it (docs/protocol/audit_log.md).
//
// A chain cannot show that its end was cut off. A verifier therefore keeps the last entry that it saw (AuditMark) and
// demands it again next time. This also finds a log that was written anew from its start.
#ifndef PARLEY_LIB_AUDIT_AUDIT_CHAIN_H_
#define PARLEY_LIB_AUDIT_AUDIT_CHAIN_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "parley/key/v1/key_service.pb.h"

namespace parley::audit {

// A place in the chain; by default the one before the first entry.
struct AuditMark {
  int64_t sequence = 0;
  // 32 bytes.
  std::string hash = std::string(32, '\0');
};

// Returns the hash of an entry that follows one with the hash `previous` (32 bytes).
std::string ChainHash(absl::string_view previous, absl::string_view event_bytes);

// Follows a chain, entry by entry.
//
// Threads: one at a time.
class AuditVerifier {
 public:
  // Begins at the start of the log. `known` is an entry that was seen before and must come again.
  explicit AuditVerifier(std::optional<AuditMark> known = std::nullopt) : known_(std::move(known)) {}

  // Takes the next entry. After an error the verifier must not be used any more. Returns DATA_LOSS: AUDIT_TAMPERED if
  // the hash is not that of the entry's bytes and the entry before, AUDIT_GAP if it is not the next sequence,
  // AUDIT_REWRITTEN if the known entry has another hash.
  absl::Status Add(const key::v1::AuditEntry& entry);
  // Must be called after the last entry. Returns DATA_LOSS (AUDIT_TRUNCATED) if the known entry did not come, or one
  // that the log says it has (ListAuditEventsResponse.last_sequence).
  absl::Status Finish(int64_t last_sequence) const;

  // Returns the place of the last entry.
  const AuditMark& mark() const { return mark_; }

 private:
  const std::optional<AuditMark> known_;
  AuditMark mark_;
};

}  // namespace parley::audit

#endif  // PARLEY_LIB_AUDIT_AUDIT_CHAIN_H_
