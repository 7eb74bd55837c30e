// What enrolld stores, as keys and values of lib/store:
//
//   i/{id}                    InvitationRecord      o/{inverted time}/{id}    newest first; empty
//   e/{id}/{step}{g|c}        StepRecord            m/{id}                    MailRecord, until it is sent or given up
//   x/{credential}            keyd has revoked it; empty
//
// Of an exchange only the messages stand here, as they came, until it ends.
//
// Every method returns the errors of lib/store.
//
// Threads: all methods may be called from any thread; they block on the store.
#ifndef PARLEY_SERVICES_ENROLLD_STORE_INVITATION_STORE_H_
#define PARLEY_SERVICES_ENROLLD_STORE_INVITATION_STORE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "lib/store/store.h"
#include "services/enrolld/domain/exchange_rules.h"
#include "services/enrolld/domain/record.pb.h"

namespace parley::enrolld {

class InvitationStore {
 public:
  struct Stored {
    InvitationRecord record;
    // The revision of the commit that put it, for a condition.
    int64_t revision = 0;
  };
  struct Listed {
    std::vector<Stored> invitations;
    // The key behind which the list goes on; empty at the end.
    std::string last;
  };

  // `store` must outlive this.
  explicit InvitationStore(store::Store* store) : store_(store) {}

  // Returns no value if there is none.
  absl::StatusOr<std::optional<Stored>> Find(absl::string_view id) const;
  absl::StatusOr<Steps> FindSteps(absl::string_view id) const;
  // Returns all invitations, in no particular order.
  absl::StatusOr<std::vector<Stored>> All() const;
  // The range of all invitations, the newest first.
  static store::KeyRange NewestFirst();
  // Returns the invitations in a part of that range.
  absl::StatusOr<Listed> List(const store::KeyRange& range, size_t limit) const;
  absl::StatusOr<std::vector<MailRecord>> Mails() const;

  // Notes that keyd has revoked a credential (serial in hex), for that long: no invitation can be made with it any
  // more.
  absl::Status NoteRevoked(absl::string_view credential, absl::Duration time) const;
  absl::StatusOr<bool> IsRevoked(absl::string_view credential) const;

  // Returns ABORTED (CONFLICT) if the id is taken, or the credential that the record was made with has been revoked.
  absl::StatusOr<int64_t> Create(const InvitationRecord& record, const MailRecord* mail);
  // A change of one invitation. Commit returns ABORTED (CONFLICT) if its record is no longer that of `revision`.
  struct Change {
    std::string id;
    int64_t revision = 0;
    // What is set of these is put.
    const InvitationRecord* record = nullptr;
    std::vector<std::pair<Slot, const StepRecord*>> steps;
    std::vector<Slot> dropped;
    const MailRecord* mail = nullptr;
    bool drop_mail = false;
  };
  absl::StatusOr<int64_t> Commit(const Change& change);
  // Forgets an invitation that has ended.
  absl::Status Delete(const InvitationRecord& record);

 private:
  store::Store* const store_;
};

}  // namespace parley::enrolld

#endif  // PARLEY_SERVICES_ENROLLD_STORE_INVITATION_STORE_H_
