// What depends on a credential that keyd issued, and ends with it: the member keys of a device that has joined with it,
// and the join keys that an operator has made with it.
//
// A dependent never outlives its credential, because its own end is no later; and it is tied to it in the store
// (TaskStore::Tie), so that a revocation finds it. Once a credential's end is noted, nothing can be tied to it any
// more: whatever was tied before is ended, and whatever comes later is refused, in whichever order the two arrive.
//
// Two things go on, on purpose: the clients that joined with a join key that ends, and tasks.
//
// Threads: all methods may be called from any thread; they block on the store.
#ifndef PARLEY_SERVICES_TASKD_PARTICIPANTS_DEPENDENTS_H_
#define PARLEY_SERVICES_TASKD_PARTICIPANTS_DEPENDENTS_H_

#include <string>

#include "lib/keyd_client/ended_credentials.h"
#include "parley/task/v1/task_service.pb.h"
#include "services/taskd/participants/parts.h"
#include "services/taskd/participants/roster.h"

namespace parley::taskd {

class Dependents {
 public:
  using Credential = keyd_client::EndedCredentials::Credential;

  // Both must outlive this.
  Dependents(const TaskdParts* parts, Roster* roster);

  // Does what TaskService.AwaitEndedKeys says, and returns its errors.
  absl::Status AwaitEndedKeys(const task::v1::AwaitEndedKeysRequest& request,
                              task::v1::AwaitEndedKeysResponse* response);
  // Hears of the credentials that are revoked, and calls this class for each until it is stopped.
  keyd_client::EndedCredentials& ended() { return ended_; }

 private:
  absl::Status End(const Credential& credential) const;
  // Ends what one page of the range names, and moves on. Returns false at the end.
  absl::StatusOr<bool> EndPage(const Credential& credential, store::KeyRange* range) const;
  // Commits what has ended, in the place of the record of its revision, which is 0 the first time.
  absl::Status Note(const Credential& credential, const Stored<EndedRecord>& ended,
                    store::Transaction transaction) const;
  absl::Status AddTo(const std::string& serial, task::v1::AwaitEndedKeysResponse* response) const;

  const TaskdParts* const parts_;
  Roster* const roster_;
  keyd_client::EndedCredentials ended_;
};

}  // namespace parley::taskd

#endif  // PARLEY_SERVICES_TASKD_PARTICIPANTS_DEPENDENTS_H_
