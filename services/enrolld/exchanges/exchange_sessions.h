// Holds the sessions of all invitations in which something can happen.
//
// Threads: all methods may be called from any thread; they block on the store.
#ifndef PARLEY_SERVICES_ENROLLD_EXCHANGES_EXCHANGE_SESSIONS_H_
#define PARLEY_SERVICES_ENROLLD_EXCHANGES_EXCHANGE_SESSIONS_H_

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lib/base/mutex.h"
#include "services/enrolld/exchanges/exchange_session.h"

namespace parley::enrolld {

class ExchangeSessions {
 public:
  // `parts` must outlive this.
  explicit ExchangeSessions(const EnrolldParts* parts) : parts_(parts) {}

  // Opens the sessions of all that is not over, and refuses the keys of all that is. Returns the revision of the store
  // up to which that is so, or the errors of the store.
  absl::StatusOr<int64_t> Load();
  // Deletes, at this time and once a day from then on, what ended long ago.
  void ForgetAt(absl::Time time);
  // Says that another process may have changed an invitation, or who is there. Does not block. From then on, the key
  // of an invitation that has ended is refused, unless a claimer has seconds left here to hear how it ended.
  void OnChange(const InvitationStore::Moved& moved, const store::Change& change);
  // Returns the session of an invitation, or NOT_FOUND.
  absl::StatusOr<std::shared_ptr<ExchangeSession>> Find(const std::string& id);
  // Returns null if nothing goes on there.
  std::shared_ptr<ExchangeSession> FindOpen(const std::string& id) const;
  // Says that somebody has left the session.
  void Leave(const std::string& id);
  size_t open() const;

  // Returns a number that no other stream has, at any process.
  static StreamId NewStream();

 private:
  void RevokeIfEnded(const std::string& id, const InvitationRecord& record);
  void RefreshLater(const std::string& id, int64_t revision);
  absl::Status Forget(const std::vector<InvitationStore::Stored>& all);

  const EnrolldParts* const parts_;
  mutable Mutex mutex_;
  std::unordered_map<std::string, std::shared_ptr<ExchangeSession>> sessions_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace parley::enrolld

#endif  // PARLEY_SERVICES_ENROLLD_EXCHANGES_EXCHANGE_SESSIONS_H_
