// What enrolld stores, as keys and values of lib/store:
//
//   i/{id}                    InvitationRecord      o/{inverted time}/{id}    newest first; empty
//   e/{id}/{step}{g|c}        StepRecord            m/{id}                    MailRecord, until it is sent or given up
//   x/{credential}            keyd has revoked it; empty
//
// Of an exchange only the messages stand here, as they came, until it ends. Where several processes serve from one
// store, each of their commits puts the record, so that its revision is the version of all that belongs to the
// invitation; and these stand here, under the lease of the process that they concern:
//
//   p/{id}/{a|w}{g|c}                   PlaceRecord: who is in the attempt, and who waits for one
//   a/{id}/{lease}/{stream}/{revision}  AnswerRecord: what a stream at that process is to be told; from the commit that
//                                       followed on this revision of the record
//   n/{id}                              the name of the process that sends the mail now
//
// Every method returns the errors of lib/store.
//
// Threads: all methods may be called from any thread; they block on the store.
#ifndef PARLEY_SERVICES_ENROLLD_STORE_INVITATION_STORE_H_
#define PARLEY_SERVICES_ENROLLD_STORE_INVITATION_STORE_H_

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
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
  struct StoredPlace {
    PlaceRecord record;
    // 0 if nobody is there.
    int64_t revision = 0;
  };
  // Places in the order of kPlaces.
  using StoredPlaces = std::array<StoredPlace, kPlaces.size()>;
  struct StoredAnswer {
    std::string key;
    StreamId stream = 0;
    // The one in the key.
    int64_t revision = 0;
    AnswerRecord record;
  };
  // All of an invitation, as it stood at one revision.
  struct Snapshot {
    Stored stored;
    Steps steps;
    StoredPlaces places;
    // Answers to streams of one process, in order for each stream.
    std::vector<StoredAnswer> answers;
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
  absl::StatusOr<Steps> FindSteps(absl::string_view id, int64_t revision = 0) const;
  // Reads an invitation and its messages. With a lease it also reads the places, and the answers to the streams of the
  // process that has this lease. Returns no value if there is no such invitation.
  absl::StatusOr<std::optional<Snapshot>> Read(absl::string_view id, std::optional<store::LeaseId> lease) const;
  // Returns all invitations, in no particular order.
  absl::StatusOr<std::vector<Stored>> All(int64_t* revision = nullptr) const;
  // The range of all invitations, the newest first.
  static store::KeyRange NewestFirst();
  // Returns the invitations in a part of that range.
  absl::StatusOr<Listed> List(const store::KeyRange& range, size_t limit) const;
  absl::StatusOr<std::vector<MailRecord>> Mails() const;
  struct StoredMail {
    MailRecord record;
    int64_t revision = 0;
  };
  // Returns no value if no mail of the invitation waits.
  absl::StatusOr<std::optional<StoredMail>> FindMail(absl::string_view id) const;
  // Claims a mail for a process, which is the only one to send it until it releases it or loses the lease. Returns
  // false if another process has it, or the mail is not that one any more.
  absl::StatusOr<bool> ClaimMail(const StoredMail& mail, const std::string& process, store::LeaseId lease);
  absl::Status ReleaseMail(absl::string_view id, const std::string& process);

  // The range that a process follows which shares the store: every commit of others changes a key in it.
  static store::KeyRange Followed();
  // Tells what a change in that range is about.
  struct Moved {
    enum class What { kRecord, kPlace, kMail, kClaim, kOther };
    What what = What::kOther;
    // The invitation's.
    std::string id;
  };
  static Moved WhatMoved(absl::string_view key);
  // Reads a record as it stands in a change.
  static absl::StatusOr<InvitationRecord> ParseRecord(absl::string_view key, absl::string_view value);

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
    // The places that must be as they were read; null means any.
    const StoredPlaces* places_before = nullptr;
    // Places to put by their index, under the lease that each names; one without a stream is deleted.
    std::vector<std::pair<size_t, PlaceRecord>> places;
    // Answers to the streams of these places.
    std::vector<std::pair<PlaceRecord, AnswerRecord>> answers;
  };
  // Returns NOT_FOUND (LEASE_NOT_FOUND) if a lease has run out.
  absl::StatusOr<int64_t> Commit(const Change& change);
  // Deletes answers that were given.
  absl::Status DropAnswers(const std::vector<StoredAnswer>& answers);
  // Forgets an invitation that has ended.
  absl::Status Delete(const InvitationRecord& record);

 private:
  absl::Status ReadPlaces(absl::string_view id, Snapshot* read) const;
  absl::Status ReadAnswers(absl::string_view id, store::LeaseId lease, Snapshot* read) const;

  store::Store* const store_;
};

}  // namespace parley::enrolld

#endif  // PARLEY_SERVICES_ENROLLD_STORE_INVITATION_STORE_H_
