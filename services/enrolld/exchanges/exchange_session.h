// The meeting place of one invitation's parties: it runs the ExchangeRules, stores what the relay says, and then tells
// the streams.
//
// When the store fails, every party in the session is sent away with UNAVAILABLE, and the next one to come finds what
// is stored: a session holds no truth of its own. At the end of an invitation the invitee's key is revoked as soon as
// the claimers have been told and have gone, or after a few seconds.
//
// Where several processes serve from one store, each has a session of the invitation, and the parties are at any of
// them. Who is there is stored. Every decision is committed on the condition that nothing has moved since it was read,
// and made again after a conflict; what it tells the streams at other processes is in the same commit, so that each is
// told everything, once and in order.
//
// Threads: all methods may be called from any thread; they block on the store, and one another.
#ifndef PARLEY_SERVICES_ENROLLD_EXCHANGES_EXCHANGE_SESSION_H_
#define PARLEY_SERVICES_ENROLLD_EXCHANGES_EXCHANGE_SESSION_H_

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lib/audit/audit_log.h"
#include "lib/base/clock.h"
#include "lib/base/mutex.h"
#include "lib/base/timer_queue.h"
#include "lib/rpc/live_streams.h"
#include "lib/rpc/worker_pool.h"
#include "lib/store/replicas.h"
#include "services/enrolld/domain/exchange_rules.h"
#include "services/enrolld/store/invitation_store.h"

namespace parley::enrolld {

// What the classes of enrolld work with. All that this points to must outlive whoever has it.
struct EnrolldParts {
  InvitationStore* store;
  Clock* clock;
  TimerQueue* timers;
  rpc::WorkerPool* workers;
  rpc::LiveStreams* streams;
  audit::AuditLog* audit;
  std::string organisation;
  Leases leases;
  // Refuses a key (16 bytes of serial) from now on and closes its connections. Must not block.
  std::function<void(const std::string& serial, absl::Time not_after)> revoke;
  // Called when nothing goes on in a session any more.
  std::function<void(const std::string& id)> idle;
  // The processes that serve from the same store; null if this one has it alone.
  store::Replicas* replicas = nullptr;
};

// A party's stream, in a session's view.
class SessionStream : public rpc::LiveStream {
 public:
  // Does not block.
  virtual void Deliver(const enrol::v1::ExchangeResponse& response) = 0;
};

class ExchangeSession : public std::enable_shared_from_this<ExchangeSession> {
 public:
  // `parts` must outlive every session.
  ExchangeSession(const EnrolldParts* parts, std::string id) : parts_(parts), id_(std::move(id)) {}

  // Reads what is stored, and begins to wait for what is due. Returns NOT_FOUND (INVITATION_NOT_FOUND), or the errors
  // of the store.
  absl::Status Open();

  void Hello(StreamId id, const std::shared_ptr<SessionStream>& stream, const CallingParty& who,
             const enrol::v1::Hello& hello);
  // Takes what a party says after its hello.
  void Handle(StreamId id, const CallingParty& who, const enrol::v1::ExchangeRequest& request);
  void Gone(StreamId id);
  // Returns the revision at which the invitation ended, the errors of ExchangeRules::Cancel, or those of the store.
  absl::StatusOr<int64_t> Cancel(absl::string_view actor, absl::string_view reason);
  // Changes the record, and puts or drops the mail, in one commit; does nothing if `edit` returns false. Where several
  // processes serve, `edit` may be called several times, with what is stored by then. Returns the errors of `edit` and
  // of the store.
  using Edit = std::function<absl::StatusOr<bool>(InvitationRecord* record, InvitationStore::Change* change)>;
  absl::Status Change(const Edit& edit);
  // Says that something of the invitation has changed in the store, at this revision.
  void Refresh(int64_t revision);

  // Return what is stored, or the errors of the store.
  absl::StatusOr<InvitationRecord> Record();
  absl::StatusOr<enrol::v1::Invitation> Show();
  // Adds who is there, as far as this process knows.
  void AddParties(enrol::v1::Invitation* invitation);
  // Returns whether a claimer's stream is here. Does not block.
  bool has_claimer() const { return claimers_ > 0; }
  // Returns whether nobody is here, and nothing will happen.
  bool idle();

 private:
  struct Member {
    std::shared_ptr<SessionStream> stream;
    sas::Role role;
    // Whether it has one of the Places.
    bool placed = false;
    // What it was told last of the other side.
    bool peer_connected = false;
    // The last answer of another process that it was given: StoredAnswer::revision.
    int64_t answered = 0;
  };
  // Decides by the rules, or adds to the change itself.
  using Decision = std::function<absl::StatusOr<Effects>(ExchangeRules* rules, InvitationStore::Change* change)>;

  bool shared() const { return parts_->replicas != nullptr; }
  // Reads what is stored, unless that is known.
  absl::Status Load() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Reads what is stored, unless only this process can have changed it, and tells those who are here what is new.
  absl::Status LoadNewest() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Makes a decision so: first in the store, and then for those who are here. Returns the errors of `decide`, and then
  // nothing has happened; or those of the store, and then everybody was sent away.
  absl::Status Decide(const Decision& decide) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status Store(const Effects& effects, InvitationStore::Change change) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Announce(const Effects& effects) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void EndAll(const absl::Status& status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void SendAway(const absl::Status& status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Deliver(Member* member, const enrol::v1::ExchangeResponse& response) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Returns whether it was here.
  bool RemoveMember(StreamId id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Leave(StreamId id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void NoteEnd() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Schedule() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void ScheduleAt(absl::Time due) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void RevokeWhenAlone() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void OnTime();
  void Record(const Effects& effects) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // With others at the same store.
  void CheckLease() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Places ReadPlaces(const InvitationStore::Snapshot& read) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Returns the place of a stream at another process, or null.
  const PlaceRecord* FindElsewhere(StreamId id) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void AddPlaces(InvitationStore::Change* change) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void AddAnswers(const Effects& effects, InvitationStore::Change* change) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void TakeAnswers(const std::vector<InvitationStore::StoredAnswer>& answers) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void UpdateMembers() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const EnrolldParts* const parts_;
  const std::string id_;
  Mutex mutex_;
  // Unset while what is stored has to be read: after a failure of the store or a conflict.
  std::optional<ExchangeRules> relay_ ABSL_GUARDED_BY(mutex_);
  // The revision of the record, and the one up to which everything is known.
  int64_t revision_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t known_ ABSL_GUARDED_BY(mutex_) = 0;
  // The time from which waits are counted.
  absl::Time loaded_ ABSL_GUARDED_BY(mutex_) = absl::InfinitePast();
  // The lease of this process, if it shares the store.
  std::optional<store::LeaseId> lease_ ABSL_GUARDED_BY(mutex_);
  // The places that are stored, and those that the rules were made with.
  InvitationStore::StoredPlaces stored_places_ ABSL_GUARDED_BY(mutex_);
  Places places_ ABSL_GUARDED_BY(mutex_);
  uint32_t places_of_attempt_ ABSL_GUARDED_BY(mutex_) = 0;
  // The messages that are stored.
  std::vector<Slot> stored_ ABSL_GUARDED_BY(mutex_);
  std::map<StreamId, Member> members_ ABSL_GUARDED_BY(mutex_);
  std::atomic<int> claimers_{0};
  absl::Time timer_at_ ABSL_GUARDED_BY(mutex_) = absl::InfiniteFuture();
  bool end_noted_ ABSL_GUARDED_BY(mutex_) = false;
  // The invitee's key goes at this time at the latest.
  absl::Time revoke_at_ ABSL_GUARDED_BY(mutex_) = absl::InfiniteFuture();
};

}  // namespace parley::enrolld

#endif  // PARLEY_SERVICES_ENROLLD_EXCHANGES_EXCHANGE_SESSION_H_
