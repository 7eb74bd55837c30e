// parley credentials: what this machine holds, and its export for other stacks.
#include <memory>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "clients/cli/command.h"
#include "clients/cli/connection.h"
#include "clients/cli/format.h"
#include "clients/cli/output.h"
#include "clients/cli/terminal.h"
#include "clients/operator/exported_files.h"
#include "lib/base/error.h"
#include "lib/base/log.h"
#include "lib/keys/credential.h"
#include "lib/keys/roles.h"

namespace parley::cli {
namespace {

struct ExportFlags {
  std::string out, audience = "taskd";
};

absl::StatusOr<ExitCode> Export(const Globals& globals, const ExportFlags& flags) {
  ASSIGN_OR_RETURN(const keys::Credential credential, LoadCredential(globals));
  ASSIGN_OR_RETURN(const keys::AudienceKey* key, credential.KeyFor(flags.audience));
  ASSIGN_OR_RETURN(const ops::ExportedFiles files, ops::ExportToFolder(credential, flags.audience, flags.out));
  const std::string address = globals.server.empty() ? key->address : globals.server;
  if (globals.json()) {
    JsonObject()
        .Text("address", address)
        .Text("ca", files.ca)
        .Text("certificate", files.certificate)
        .Text("key", files.private_key)
        .Text("psk", files.psk)
        .Print();
    return kSuccess;
  }
  PrintLine(absl::StrCat("  ", Green("✔"), " ", files.ca, ", ", files.certificate, ", ", files.private_key, ", ",
                         files.psk, ", good until ", TimeText(credential.not_after)));
  PrintLine("  try:");
  PrintLine(absl::StrCat("  grpcurl -cacert ", files.ca, " -cert ", files.certificate, " -key ", files.private_key, " ",
                         address, " list"));
  return kSuccess;
}

absl::StatusOr<ExitCode> Show(const Globals& globals) {
  ASSIGN_OR_RETURN(const keys::Credential credential, LoadCredential(globals));
  const std::string role = keys::RoleName(credential.role);
  if (globals.json()) {
    std::string audiences;
    for (const keys::AudienceKey& key : credential.keys) {
      absl::StrAppend(&audiences, audiences.empty() ? "" : ",", JsonString(key.audience), ":", JsonString(key.address));
    }
    JsonObject()
        .Text("file", CredentialPath(globals))
        .Text("role", role)
        .Text("subject", credential.subject)
        .Text("serial", credential.serial)
        .Text("expireTime", absl::FormatTime(absl::RFC3339_sec, credential.not_after, absl::UTCTimeZone()))
        .Raw("audiences", absl::StrCat("{", audiences, "}"))
        .Print();
    return kSuccess;
  }
  PrintLine(absl::StrCat("  file     ", CredentialPath(globals)));
  PrintLine(absl::StrCat("  for      ", role, " ", Printable(credential.subject)));
  PrintLine(absl::StrCat("  serial   ", credential.serial));
  PrintLine(absl::StrCat("  until    ", TimeText(credential.not_after),
                         credential.not_after <= absl::Now() ? Red("  expired") : ""));
  for (const keys::AudienceKey& key : credential.keys) {
    PrintLine(absl::StrCat("  ", key.audience, std::string(key.audience.size() < 9 ? 9 - key.audience.size() : 1, ' '),
                           Printable(key.address)));
  }
  return kSuccess;
}

}  // namespace

void AddCredentials(CLI::App* app, Globals* globals) {
  CLI::App* credentials = app->add_subcommand("credentials", "Show this machine's credential, or export it");
  credentials->fallthrough();
  credentials->require_subcommand(1);
  CLI::App* show = credentials->add_subcommand("show", "Whom it stands for, until when, for which servers");
  show->fallthrough();
  Uses(show, globals, kCallerOptions & ~kServerOption);
  show->callback([globals] { globals->run = [globals] { return Show(*globals); }; });
  auto flags = std::make_shared<ExportFlags>();
  CLI::App* exporting = credentials->add_subcommand(
      "export", "Write certificates for grpcurl, curl and gRPC stubs, and the key for TLS-PSK");
  exporting->fallthrough();
  Uses(exporting, globals, kCallerOptions);
  exporting->add_option("--out", flags->out, "Folder to write to; made when missing")->required();
  exporting->add_option("--audience", flags->audience, "taskd, keyd or enrolld")->capture_default_str();
  exporting->footer(
      "Writes ca.pem, client.pem and client.key for TLS 1.3, and psk.txt (identity:key) for TLS-PSK.\n"
      "Whoever has them acts as you, for as long as the credential lives.\n"
      "Example:\n"
      "  parley credentials export --out ./certs");
  exporting->callback([globals, flags] { globals->run = [globals, flags] { return Export(*globals, *flags); }; });
}

}  // namespace parley::cli
