// Writes the e-mail that carries an invitation's link: a plain and an HTML part that say the same.
#ifndef PARLEY_SERVICES_ENROLLD_DOMAIN_MAIL_TEXT_H_
#define PARLEY_SERVICES_ENROLLD_DOMAIN_MAIL_TEXT_H_

#include <string>

#include "absl/time/time.h"
#include "lib/base/secret.h"

namespace parley::enrolld {

struct MailText {
  // Addresses that ValidateEmail accepts.
  std::string from;
  std::string to;
  // Printable ASCII.
  std::string organisation;
  std::string creator;
  std::string user_name;
  // The link is for a further device, and not for a new user.
  bool device = false;
  absl::Time expire_time;
  absl::Time time;
  // What stands left of the '@' in Message-ID.
  std::string message_id;
};

// Returns a whole message (RFC 5322, multipart/alternative, ASCII, lines that end with CR LF). Whatever a field holds,
// it stays within its line and its part: control characters are dropped, and HTML is escaped.
Secret WriteMail(const MailText& text, const Secret& link);

}  // namespace parley::enrolld

#endif  // PARLEY_SERVICES_ENROLLD_DOMAIN_MAIL_TEXT_H_
