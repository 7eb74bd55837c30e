// parley credentials: what this machine holds, and its export for other stacks.
#include <memory>
#include <string>

#include "absl/time/clock.h"
#include "clients/cli/command.h"
#include "clients/cli/connection.h"
#include "clients/cli/format.h"
#include "clients/cli/output.h"
#include "clients/cli/terminal.h"
#include "clients/operator/exported_files.h"
#include "lib/base/error.h"
#include "lib/keys/credential.h"
#include "lib/keys/roles.h"

namespace parley::cli {
namespace {

struct ExportFlags {
  std::string out, audience = "taskd";
};

absl::StatusOr<ExitCode> Export(const Globals& globals, const ExportFlags& flags) {
  ASSIGN_OR_RETURN(const keys::Credential credential, LoadCredential(globals, flags.audience));
  ASSIGN_OR_RETURN(const keys::AudienceKey* const key, credential.KeyFor(flags.audience));
  ASSIGN_OR_RETURN(const ops::ExportedFiles files, ops::ExportToFolder(credential, flags.audience, flags.out));
  if (globals.json()) {
    return JsonObject()
        .Text("address", key->address)
        .Text("ca", files.ca)
        .Text("certificate", files.certificate)
        .Text("key", files.private_key)
        .Text("psk", files.psk)
        .Print();
  }
  PrintDone(files.ca, ", ", files.certificate, ", ", files.private_key, ", ", files.psk, ", good until ",
            TimeText(credential.not_after));
  PrintLine("  try:");
  PrintLine("  grpcurl -cacert ", files.ca, " -cert ", files.certificate, " -key ", files.private_key, " ",
            key->address, " list");
  return kSuccess;
}

absl::StatusOr<ExitCode> Show(const Globals& globals) {
  ASSIGN_OR_RETURN(const keys::Credential credential, LoadCredential(globals));
  const std::string role = keys::RoleName(credential.role);
  if (globals.json()) {
    JsonObject audiences;
    for (const keys::AudienceKey& key : credential.keys) audiences.Text(key.audience, key.address);
    return JsonObject()
        .Text("file", CredentialPath(globals))
        .Text("role", role)
        .Text("subject", credential.subject)
        .Text("serial", credential.serial)
        .Text("expireTime", JsonTime(credential.not_after))
        .Raw("audiences", audiences.Finish())
        .Print();
  }
  PrintLine("  file     ", CredentialPath(globals));
  PrintLine("  for      ", role, " ", Printable(credential.subject));
  PrintLine("  serial   ", credential.serial);
  PrintLine("  until    ", TimeText(credential.not_after), credential.not_after <= absl::Now() ? Red("  expired") : "");
  for (const keys::AudienceKey& key : credential.keys) {
    PrintLine("  ", key.audience, std::string(key.audience.size() < 9 ? 9 - key.audience.size() : 1, ' '),
              Printable(key.address));
  }
  return kSuccess;
}

}  // namespace

void AddCredentials(Command app, Globals* globals) {
  Command credentials = AddGroup(app, "credentials", "Show this machine's credential, or export it");
  AddCommand(credentials, globals, "show", "Show whom it stands for, until when, and for which servers",
             kCallerOptions & ~kServerOption, &Show);
  auto flags = std::make_shared<ExportFlags>();
  Command exporting = AddCommand(credentials, globals, "export",
                                 "Write certificates for grpcurl, curl and gRPC stubs, and the key for TLS-PSK",
                                 kCallerOptions, flags, &Export);
  exporting.AddOption("--out", flags->out, "Folder to write to; made when missing").Required();
  exporting.AddOption("--audience", flags->audience, "taskd, keyd or enrolld").ShowDefault();
  exporting.Footer(
      "Writes ca.pem, client.pem and client.key for TLS 1.3, and psk.txt (identity:key) for TLS-PSK.\n"
      "Whoever has them acts as you, for as long as the credential lives.\n"
      "Example:\n"
      "  parley credentials export --out ./certs");
}

}  // namespace parley::cli
