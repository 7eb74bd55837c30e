// A Mailer over SMTP: for each mail it starts enrolld_mail (send_mail.cc), which stands beside this program.
//
// Guarantees: with Tls::kRequired nothing but the greeting and STARTTLS is said before the server has shown a
// certificate for its name. The password goes to nobody else, and is in no argument and no environment.
//
// Threads: one call at a time, from any thread.
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
    // "smtp://host:port", or "smtps://host:port" for TLS from the first byte.
    std::string url;
    std::string from;
    // Whether STARTTLS is used with smtp://.
    Tls tls = Tls::kRequired;
    // Without both there is no login.
    std::string user;
    Secret password;
    // PEM; empty for the system's.
    std::string ca_file;
  };

  // Returns INVALID_ARGUMENT: SMTP_URL, EMAIL_MALFORMED for `from`, SMTP_PASSWORD_IN_CLEAR for a login without TLS; or
  // NOT_FOUND (PROGRAM_MISSING) for enrolld_mail.
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
