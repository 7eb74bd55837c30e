// A Mailer over SMTP: starts enrolld_mail (send_mail.cc), which stands beside this program, for each mail.
//
// Guarantees: with Tls::kRequired nothing but the greeting and STARTTLS is said before the server has shown a
// certificate for its name; the password goes to nobody else, and is in no argument and no environment.
#ifndef PARLEY_SERVICES_ENROLLD_MAIL_SMTP_MAILER_H_
#define PARLEY_SERVICES_ENROLLD_MAIL_SMTP_MAILER_H_

#include <memory>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "services/enrolld/mail/mailer.h"

namespace parley::enrolld {

class SmtpMailer final : public Mailer {
 public:
  enum class Tls { kRequired, kOff };
  struct Options {
    // smtp://host:port, or smtps://host:port for TLS from the first byte.
    std::string url;
    std::string from;
    // STARTTLS, for smtp://.
    Tls tls = Tls::kRequired;
    // Both empty: no login.
    std::string user;
    Secret password;
    // PEM; empty: the system's.
    std::string ca_file;
  };

  // INVALID_ARGUMENT: SMTP_URL, EMAIL_MALFORMED (from), SMTP_PASSWORD_IN_CLEAR (a login without TLS). NOT_FOUND:
  // PROGRAM_MISSING (enrolld_mail).
  static absl::StatusOr<std::unique_ptr<SmtpMailer>> Create(Options options);

  const std::string& from() const override { return options_.from; }
  absl::Status Send(const std::string& to, const Secret& message) override;

 private:
  SmtpMailer(Options options, std::string program) : options_(std::move(options)), program_(std::move(program)) {}

  const Options options_;
  const std::string program_;
};

}  // namespace parley::enrolld

#endif  // PARLEY_SERVICES_ENROLLD_MAIL_SMTP_MAILER_H_
