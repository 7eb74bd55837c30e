// The audit log in the store: entries are appended in the transaction that does what they tell.
//
// Threads: all methods may be called from any thread.
#ifndef PARLEY_SERVICES_KEYD_STORE_AUDIT_TRAIL_H_
#define PARLEY_SERVICES_KEYD_STORE_AUDIT_TRAIL_H_

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "lib/base/clock.h"
#include "lib/base/mutex.h"
#include "lib/store/store.h"
#include "parley/key/v1/key_service.pb.h"
#include "services/keyd/store/records.pb.h"
#include "services/keyd/store/store_layout.h"

namespace parley::keyd {

class AuditTrail {
 public:
  // Adds to the transaction what is done together with the entries. `sequence` is the first entry's. May be called
  // again with a fresh transaction.
  using Operation = std::function<void(int64_t sequence, store::Transaction* transaction)>;

  // Both must outlive this.
  AuditTrail(store::Store* store, const Clock* clock) : store_(store), clock_(clock) {}

  // Commits the operation with events of keyd's own (NewEvent), at least one. The errors of Store::Commit: CONFLICT
  // when a condition of the operation does not hold.
  absl::Status Commit(std::vector<key::v1::AuditEvent> events, const Operation& operation);

  // Appends those of a service's events that the log does not have yet, in several commits when there are many. The
  // errors of CheckAuditEvents.
  absl::Status Append(absl::string_view service, const std::vector<key::v1::AuditEvent>& events);

  // INVALID_ARGUMENT: PAGE_SIZE, AFTER_SEQUENCE.
  absl::Status List(const key::v1::ListAuditEventsRequest& request, key::v1::ListAuditEventsResponse* response) const;

 private:
  absl::Status LoadHead() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status AppendFresh(absl::string_view service, const std::vector<key::v1::AuditEvent>& events);
  absl::Status CommitComplete(const std::vector<key::v1::AuditEvent>& events, const Operation& operation);
  absl::Status TryCommit(const std::vector<key::v1::AuditEvent>& events, const Operation& operation)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  store::Store* const store_;
  const Clock* const clock_;
  Mutex mutex_;
  // What the next entry follows; unknown at first and after an error.
  std::optional<Versioned<records::AuditHead>> head_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace parley::keyd

#endif  // PARLEY_SERVICES_KEYD_STORE_AUDIT_TRAIL_H_
