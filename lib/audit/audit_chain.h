// The hash chain of the audit log: whoever changes, drops or reorders an entry breaks it. docs/protocol/audit_log.md.
//
// A chain cannot tell that its end was cut off. Who verifies therefore keeps the last entry that it saw (AuditMark)
// and demands it again next time; that also finds a log that was written anew from the start.
#ifndef PARLEY_LIB_AUDIT_AUDIT_CHAIN_H_
#define PARLEY_LIB_AUDIT_AUDIT_CHAIN_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "parley/key/v1/key_service.pb.h"

namespace parley::audit {

// A place in the chain. The default: before the first entry.
struct AuditMark {
  int64_t sequence = 0;
  // 32 bytes.
  std::string hash = std::string(32, '\0');
};

// Hash of an entry that follows one with the hash `previous` (32 bytes).
std::string ChainHash(absl::string_view previous, absl::string_view event_bytes);

// Follows a chain, entry by entry. Threads: one at a time.
class AuditVerifier {
 public:
  // Begins at the start of the log. `known`: an entry seen before, which must come again.
  explicit AuditVerifier(std::optional<AuditMark> known = std::nullopt) : known_(std::move(known)) {}

  // The next entry. DATA_LOSS: AUDIT_TAMPERED (its hash is not that of its bytes and the entry before), AUDIT_GAP
  // (not the next sequence), AUDIT_REWRITTEN (the known entry has another hash). After an error the verifier is of
  // no more use.
  absl::Status Add(const key::v1::AuditEntry& entry);
  // There are no more. DATA_LOSS (AUDIT_TRUNCATED) when the known entry, or one that the log says it has
  // (ListAuditEventsResponse.last_sequence), did not come.
  absl::Status Finish(int64_t last_sequence) const;

  // The last entry.
  const AuditMark& mark() const { return mark_; }

 private:
  const std::optional<AuditMark> known_;
  AuditMark mark_;
};

}  // namespace parley::audit

#endif  // PARLEY_LIB_AUDIT_AUDIT_CHAIN_H_
