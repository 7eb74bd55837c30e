// The enrolment service's process: flags, and all wiring.
#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/server_builder.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/crypto/certificate.h"
#include "lib/keyclient/key_follower.h"
#include "lib/keys/key_source.h"
#include "lib/rest/server.h"
#include "lib/rpc/process.h"
#include "lib/store/sqlite_store.h"
#include "lib/transport/grpc_door.h"
#include "services/enrolld/rest_api.h"
#include "services/enrolld/service/enrolld.h"
#include "services/enrolld/service/smtp_mailer.h"

namespace parley::enrolld {
namespace {

constexpr absl::Duration kKeydTimeout = absl::Seconds(60);
constexpr absl::Duration kDrainTimeout = absl::Seconds(10);
constexpr size_t kMaxPasswordBytes = 1024;

struct Options {
  std::string data;
  std::string listen = "127.0.0.1:7445";
  std::string public_address;
  std::string keyd_credential;
  std::vector<std::string> names;
  std::string smtp_url;
  std::string smtp_from;
  std::string smtp_user;
  std::string smtp_password_file;
  std::string smtp_tls = "required";
  std::string smtp_ca_file;
};

std::vector<std::string> DefaultNames() {
  std::vector<std::string> names = {"localhost", "127.0.0.1", "::1"};
  char host[256] = {};
  if (gethostname(host, sizeof(host) - 1) == 0 && host[0] != '\0') names.emplace_back(host);
  return names;
}

// What newcomers dial. An address that means every interface is none that they could.
absl::StatusOr<std::string> PublicAddress(const Options& options, const std::string& listening) {
  if (!options.public_address.empty()) return options.public_address;
  for (const absl::string_view wildcard : {"0.0.0.0:", "[::]:", ":"}) {
    if (absl::string_view(options.listen).substr(0, wildcard.size()) != wildcard) continue;
    return Error(absl::StatusCode::kInvalidArgument, "PUBLIC_ADDRESS_MISSING",
                 absl::StrCat("newcomers cannot connect to ", options.listen,
                              "; say with --public-address what goes into links, e.g. enrolld.example:7445"));
  }
  return listening;
}

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

absl::Status Serve(const Options& options, rpc::Process& process) {
  RETURN_IF_ERROR(MakeFolders(options.data, 0700));
  ASSIGN_OR_RETURN(const auto mailer, MakeMailer(options));
  ASSIGN_OR_RETURN(const auto store, store::OpenSqliteStore({.path = options.data + "/enrolld.db"}));
  ASSIGN_OR_RETURN(const auto follower,
                   keyclient::KeyFollower::Create({.credential_path = options.keyd_credential,
                                                   .names = options.names.empty() ? DefaultNames() : options.names}));
  RETURN_IF_ERROR(follower->WaitUntilReady(kKeydTimeout));

  keyclient::KeyFollower::Certificate certificate = follower->certificate();
  Enrolld::Config config;
  ASSIGN_OR_RETURN(config.organisation, crypto::OrganisationOfCa(certificate.ca_pem));
  transport::Listener::Options listener;
  listener.address = options.listen;
  listener.certificate_pem = std::move(certificate.certificate_pem);
  listener.private_key_pem = std::move(certificate.private_key_pem);
  listener.accept_rest = true;
  ASSIGN_OR_RETURN(const auto door, transport::GrpcDoor::Create(std::move(listener), follower->key_source()));
  ASSIGN_OR_RETURN(const auto rest, rest::Server::Attach(door.get(), RestApi()));

  config.store = store.get();
  config.keyring = follower->keyring();
  ASSIGN_OR_RETURN(config.public_address, PublicAddress(options, door->listener().address()));
  config.mailer = mailer.get();
  config.audit = follower->audit_log();
  config.find_peer = [&door = *door](const grpc::ServerContextBase& context) { return door.PeerOf(context); };
  config.revoke = [keys = follower->key_source(), &door = *door](const std::string& serial, absl::Time not_after) {
    keys->Revoke(serial, not_after);
    door.listener().CloseKey(HexEncode(serial));
  };
  ASSIGN_OR_RETURN(const auto enrolld, Enrolld::Create(std::move(config)));

  // Before the builder: both are plugins of every server that is built afterwards.
  grpc::EnableDefaultHealthCheckService(true);
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  grpc::ServerBuilder builder;
  enrolld->Register(&builder);
  RETURN_IF_ERROR(door->Serve(&builder));
  follower->Attach(&door->listener());
  const absl::Status announced = process.Serving(door->listener().address());
  if (announced.ok()) process.WaitForStop();

  follower->Detach();
  enrolld->Drain();
  door->Shutdown(absl::Now() + kDrainTimeout);
  door->Wait();
  return announced;
}

int Main(int argc, char** argv) {
  Options options;
  std::string ready_file;
  CLI::App app("Lets people and devices in: invitations, and the relay of their exchanges.", "enrolld");
  const auto add = [&app](const std::string& name, auto& target, const std::string& help) {
    std::string variable = "PARLEY_ENROLLD_" + name.substr(2);
    for (char& letter : variable) letter = letter == '-' ? '_' : static_cast<char>(toupper(letter));
    return app.add_option(name, target, help)->envname(variable)->capture_default_str();
  };
  add("--data", options.data, "folder of the database")->required();
  add("--listen", options.listen, "host:port to listen on; port 0 takes a free one");
  add("--public-address", options.public_address, "host:port that goes into links (default: --listen)");
  add("--keyd-credential", options.keyd_credential, "enrolld.credential, as keyd made it at its first start")
      ->required();
  add("--names", options.names,
      "DNS names and IP addresses for the server certificate (default: localhost and the host's name)")
      ->delimiter(',');
  CLI::Option* const url = add("--smtp-url", options.smtp_url,
                               "mail server for invitations: smtp://host:587 (STARTTLS) or smtps://host:465; without "
                               "it links are only printed");
  CLI::Option* const from = add("--smtp-from", options.smtp_from, "address that invitations are sent from")->needs(url);
  url->needs(from);
  CLI::Option* const user = add("--smtp-user", options.smtp_user, "user to log in as at the mail server")->needs(url);
  CLI::Option* const password =
      add("--smtp-password-file", options.smtp_password_file, "file with that user's password, mode 0600")->needs(user);
  user->needs(password);
  add("--smtp-tls", options.smtp_tls, "of smtp://: required, or off for a mail server on the same machine")
      ->check(CLI::IsMember({"required", "off"}));
  add("--smtp-ca-file", options.smtp_ca_file, "PEM of the CA of the mail server (default: the system's)");
  add("--ready-file", ready_file, "file that gets the address once enrolld serves");
  CLI11_PARSE(app, argc, argv);
  return rpc::RunService("enrolld", [&](rpc::Process& process) {
    process.set_ready_file(ready_file);
    return Serve(options, process);
  });
}

}  // namespace
}  // namespace parley::enrolld

int main(int argc, char** argv) { return parley::enrolld::Main(argc, argv); }
