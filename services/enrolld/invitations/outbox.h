// Sends links by e-mail: each is tried until the mail server takes or refuses it, or its invitation has ended.
//
// What waits is stored. The mail itself is not, because its link is a key: it is made anew for each try.
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
  absl::Status Start();
  // Sends what has been stored as soon as its time has come. It replaces an earlier mail of the invitation, or is
  // dropped if there is one.
  void Add(const MailRecord& mail, bool replaces = true);
  // Waits for a mail that is being sent.
  void Stop();

 private:
  void Run();
  void Try(MailRecord mail);
  absl::Status Send(const MailRecord& mail, const InvitationRecord& record);

  const EnrolldParts* const parts_;
  ExchangeSessions* const sessions_;
  const InviteeKeys* const keys_;
  Mailer* const mailer_;
  Mutex mutex_;
  CondVar changed_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  // Mails by the id of the invitation.
  std::map<std::string, MailRecord> waiting_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;
};

}  // namespace parley::enrolld

#endif  // PARLEY_SERVICES_ENROLLD_INVITATIONS_OUTBOX_H_
