// Hands an e-mail to a mail server.
#ifndef PARLEY_SERVICES_ENROLLD_MAIL_MAILER_H_
#define PARLEY_SERVICES_ENROLLD_MAIL_MAILER_H_

#include <string>

#include "absl/status/status.h"
#include "lib/base/secret.h"

namespace parley::enrolld {

class Mailer {
 public:
  virtual ~Mailer() = default;
  // The address that mails are from.
  virtual const std::string& from() const = 0;
  // OK when the server has taken it. FAILED_PRECONDITION when it refused it for good; UNAVAILABLE when it is worth
  // another try. `message` is a whole one, with its header. Blocks, at most a minute. One call at a time.
  virtual absl::Status Send(const std::string& to, const Secret& message) = 0;
};

}  // namespace parley::enrolld

#endif  // PARLEY_SERVICES_ENROLLD_MAIL_MAILER_H_
