// The meeting place of one invitation's parties: it runs the ExchangeRules, stores what the relay says, and then tells
// the streams.
//
// When the store fails, every party in the session is sent away with UNAVAILABLE, and the next one to come finds what
// is stored: a session holds no truth of its own. At the end of an invitation the invitee's key is revoked as soon as
// the claimers have been told and have gone, or after a few seconds.
//
// Threads: all methods may be called from any thread; they block on the store, and one another.
#ifndef PARLEY_SERVICES_ENROLLD_EXCHANGES_EXCHANGE_SESSION_H_
#define PARLEY_SERVICES_ENROLLD_EXCHANGES_EXCHANGE_SESSION_H_

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
  // Returns the errors of ExchangeRules::Cancel, or of the store.
  absl::Status Cancel(absl::string_view actor, absl::string_view reason);
  // Changes the record, and puts or drops the mail, in one commit; does nothing if `edit` returns false. Returns the
  // errors of `edit` and of the store.
  using Edit = std::function<absl::StatusOr<bool>(InvitationRecord* record, InvitationStore::Change* change)>;
  absl::Status Change(const Edit& edit);

  // Return the errors of the store.
  absl::StatusOr<InvitationRecord> Record();
  absl::StatusOr<enrol::v1::Invitation> Show();
  // Returns whether nobody is here, and nothing will happen.
  bool idle();

 private:
  struct Member {
    std::shared_ptr<SessionStream> stream;
    sas::Role role;
  };

  absl::Status Load() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status Apply(Effects effects) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status Store(const Effects& effects) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void SendAway(const absl::Status& status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Schedule() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void ScheduleAt(absl::Time due) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void RevokeWhenAlone() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Revoke() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void OnTime();
  void Record(const Effects& effects) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const EnrolldParts* const parts_;
  const std::string id_;
  Mutex mutex_;
  // Unset from a failure of the store until somebody comes.
  std::optional<ExchangeRules> relay_ ABSL_GUARDED_BY(mutex_);
  int64_t revision_ ABSL_GUARDED_BY(mutex_) = 0;
  // The messages that are stored.
  std::vector<Slot> stored_ ABSL_GUARDED_BY(mutex_);
  std::map<StreamId, Member> members_ ABSL_GUARDED_BY(mutex_);
  absl::Time timer_at_ ABSL_GUARDED_BY(mutex_) = absl::InfiniteFuture();
  // The invitee's key goes at this time at the latest.
  absl::Time revoke_at_ ABSL_GUARDED_BY(mutex_) = absl::InfiniteFuture();
};

}  // namespace parley::enrolld

#endif  // PARLEY_SERVICES_ENROLLD_EXCHANGES_EXCHANGE_SESSION_H_
