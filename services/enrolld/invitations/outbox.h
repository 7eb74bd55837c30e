// Sends links by e-mail: each is tried until the mail server takes or refuses it, or its invitation has ended.
//
// What waits is stored. The mail itself is not, because its link is a key: it is made anew for each try.
//
// Where several processes serve from one store, each knows every mail that waits. One claims a mail under its lease
// before it sends it, so no two of them send it; if that process ends or loses its lease, another one sends the mail,
// for the second time if it had just been sent.
//
// Threads: Add may be called from any thread. Mails are sent on a thread of its own, one after another.
#ifndef PARLEY_SERVICES_ENROLLD_INVITATIONS_OUTBOX_H_
#define PARLEY_SERVICES_ENROLLD_INVITATIONS_OUTBOX_H_

#include <map>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "lib/base/mutex.h"
#include "services/enrolld/exchanges/exchange_sessions.h"
#include "services/enrolld/invitations/invitee_keys.h"
#include "services/enrolld/mail/mailer.h"

namespace parley::enrolld {

class Outbox {
 public:
  // All of these must outlive this.
  Outbox(const EnrolldParts* parts, ExchangeSessions* sessions, const InviteeKeys* keys, Mailer* mailer)
      : parts_(parts), sessions_(sessions), keys_(keys), mailer_(mailer) {}
  ~Outbox() { Stop(); }

  // Takes up what waits in the store. Returns the errors of the store.
  absl::Status Load();
  // Begins to send.
  void Start();
  // Sends the stored mail of an invitation as soon as this time has come, unless another time is given meanwhile.
  void Add(const std::string& invitation, absl::Time time);
  // Says what another process has done. Does not block.
  void OnChange(const InvitationStore::Moved& moved, const store::Change& change);
  // Waits for a mail that is being sent.
  void Stop();

 private:
  void Run();
  // Sends a mail if it is there, is due, and is not being sent by another process. Returns the errors of the store.
  absl::Status Try(const std::string& invitation);
  absl::Status SendClaimed(InvitationStore::StoredMail mail);
  absl::Status Send(const MailRecord& mail, const InvitationRecord& record);

  const EnrolldParts* const parts_;
  ExchangeSessions* const sessions_;
  const InviteeKeys* const keys_;
  Mailer* const mailer_;
  Mutex mutex_;
  CondVar changed_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  // When to try each mail, by the id of its invitation.
  std::map<std::string, absl::Time> waiting_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;
};

}  // namespace parley::enrolld

#endif  // PARLEY_SERVICES_ENROLLD_INVITATIONS_OUTBOX_H_
