// The enrolment service's process: flags, and all wiring.
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/ascii.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/service/following_server.h"
#include "lib/service/service_flags.h"
#include "services/enrolld/enrolld.h"
#include "services/enrolld/mail/smtp_mailer.h"
#include "services/enrolld/rest_api.h"

namespace parley::enrolld {
namespace {

constexpr size_t kMaxPasswordBytes = 1024;

struct Options : service::ServerOptions {
  std::string smtp_url;
  std::string smtp_from;
  std::string smtp_user;
  std::string smtp_password_file;
  std::string smtp_tls = "required";
  std::string smtp_ca_file;
};

absl::StatusOr<std::unique_ptr<SmtpMailer>> MakeMailer(const Options& options) {
  if (options.smtp_url.empty()) return std::unique_ptr<SmtpMailer>();
  SmtpMailer::Options mailer;
  mailer.url = options.smtp_url;
  mailer.from = options.smtp_from;
  mailer.user = options.smtp_user;
  mailer.tls = options.smtp_tls == "off" ? SmtpMailer::Tls::kOff : SmtpMailer::Tls::kRequired;
  mailer.ca_file = options.smtp_ca_file;
  if (!options.smtp_password_file.empty()) {
    ASSIGN_OR_RETURN(const Secret file, ReadSecretFile(options.smtp_password_file, kMaxPasswordBytes));
    mailer.password = Secret::CopyOf(absl::StripTrailingAsciiWhitespace(file.Expose()));
  }
  return SmtpMailer::Create(std::move(mailer));
}

absl::Status Serve(const Options& options, service::Process& process) {
  RETURN_IF_ERROR(MakeFolders(options.data, 0700));
  ASSIGN_OR_RETURN(const auto mailer, MakeMailer(options));
  ASSIGN_OR_RETURN(const auto server, service::FollowingServer::Open(options, RestApi(), &process));
  Enrolld::Config config;
  config.organisation = server->organisation();
  config.store = server->store();
  config.replicas = server->replicas();
  config.keyring = server->keyring();
  config.public_address = server->public_address();
  config.mailer = mailer.get();
  config.audit = server->audit_log();
  config.metrics = process.metrics();
  config.find_peer = server->FindPeer();
  config.revoke = server->Revoke();
  ASSIGN_OR_RETURN(const auto enrolld, Enrolld::Create(std::move(config)));
  const auto replicas = server->FollowReplicas([&enrolld] { return enrolld->ReadAnew(); }, nullptr);
  RETURN_IF_ERROR(server->Join());
  ASSIGN_OR_RETURN(const auto following, server->FollowRevocations(&enrolld->ended_credentials()));
  return server->Run([&](grpc::ServerBuilder* builder) { enrolld->Register(builder); }, [&] { enrolld->Drain(); });
}

void Check(const Options& options, service::ConfigCheck& check) {
  service::FollowingServer::Check(options, &check);
  check.Found("--smtp-url", MakeMailer(options).status());
}

int Main(int argc, char** argv) {
  Options options;
  options.process.name = "enrolld";
  options.process.services = RestApi().services;
  // Two directions at once, which REST does not offer.
  options.process.services.push_back("parley.enrol.v1.ExchangeService");
  options.listen = "127.0.0.1:7445";
  service::ServiceFlags flags("Lets people and devices in: invitations, and the relay of their exchanges.", &options);
  service::FollowingServer::AddFlags(&options, "links", &flags);
  CLI::Option* const url =
      flags.Add("--smtp-url", options.smtp_url,
                "mail server for invitations: smtp://host:587 (STARTTLS) or smtps://host:465; without "
                "it links are only printed");
  CLI::Option* const from =
      flags.Add("--smtp-from", options.smtp_from, "address that invitations are sent from")->needs(url);
  url->needs(from);
  CLI::Option* const user =
      flags.Add("--smtp-user", options.smtp_user, "user to log in as at the mail server")->needs(url);
  CLI::Option* const password =
      flags.Add("--smtp-password-file", options.smtp_password_file, "file with that user's password, mode 0600")
          ->needs(user);
  user->needs(password);
  flags.Add("--smtp-tls", options.smtp_tls, "of smtp://: required, or off for a mail server on the same machine")
      ->check(CLI::IsMember({"required", "off"}));
  flags.Add("--smtp-ca-file", options.smtp_ca_file, "PEM of the CA of the mail server (default: the system's)");
  if (const auto result = flags.Parse(argc, argv); result.has_value()) return *result;
  return flags.Run([&](service::ConfigCheck& check) { Check(options, check); },
                   [&](service::Process& process) { return Serve(options, process); });
}

}  // namespace
}  // namespace parley::enrolld

int main(int argc, char** argv) { return parley::enrolld::Main(argc, argv); }
