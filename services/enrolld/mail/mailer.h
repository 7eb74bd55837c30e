// Hands an e-mail to a mail server.
//
// Threads: one call at a time, from any thread.
#ifndef PARLEY_SERVICES_ENROLLD_MAIL_MAILER_H_
#define PARLEY_SERVICES_ENROLLD_MAIL_MAILER_H_

#include <string>

#include "absl/status/status.h"
#include "lib/base/secret.h"

namespace parley::enrolld {

class Mailer {
 public:
  virtual ~Mailer() = default;
  // Returns the address that mails are from.
  virtual const std::string& from() const = 0;
  // Returns OK once the server has taken the mail. `message` is a whole one, with its header. Blocks, for at most a
  // minute. Returns FAILED_PRECONDITION if the server refused it for good, UNAVAILABLE if it is worth another try.
  virtual absl::Status Send(const std::string& to, const Secret& message) = 0;
};

}  // namespace parley::enrolld

#endif  // PARLEY_SERVICES_ENROLLD_MAIL_MAILER_H_
