// parley audit list, parley audit verify.
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "clients/cli/audit_mark.h"
#include "clients/cli/command.h"
#include "clients/cli/connection.h"
#include "clients/cli/output.h"
#include "clients/cli/terminal.h"
#include "clients/cli/whole_number.h"
#include "lib/audit/audit_chain.h"
#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/base/proto_time.h"
#include "lib/keys/identity.h"
#include "parley/key/v1/key_service.grpc.pb.h"

namespace parley::cli {
namespace {

using key::v1::AuditEntry;
using key::v1::AuditEvent;
using key::v1::KeyService;

// Gives `each` every entry above a sequence; the sequence of the newest one that the log says it has.
absl::StatusOr<int64_t> ReadLog(const Globals& globals, int64_t after,
                                const std::function<absl::Status(const AuditEntry&)>& each) {
  ASSIGN_OR_RETURN(const std::unique_ptr<Connection> server, Connect(globals, keys::kKeyd));
  const std::unique_ptr<KeyService::Stub> keys = KeyService::NewStub(server->channel());
  key::v1::ListAuditEventsRequest request;
  request.set_page_size(1000);
  request.set_after_sequence(after);
  while (true) {
    ASSIGN_OR_RETURN(const key::v1::ListAuditEventsResponse page,
                     server->Call(keys.get(), &KeyService::Stub::ListAuditEvents, request));
    if (page.entries().empty()) return page.last_sequence();
    for (const AuditEntry& entry : page.entries()) RETURN_IF_ERROR(each(entry));
    request.set_after_sequence(request.after_sequence() + page.entries_size());
  }
}

void ShowEvent(const Globals& globals, const AuditEvent& event) {
  if (globals.json()) {
    PrintJson(event);
    return;
  }
  const std::string line = absl::StrCat(
      event.sequence(), "  ", absl::FormatTime("%Y-%m-%d %H:%M:%S", ToTime(event.time()), absl::UTCTimeZone()), "  ",
      event.service(), "  ", event.actor().empty() ? "-" : event.actor(), "  ", event.action(), "  ", event.resource(),
      "  ", event.outcome(), event.detail().empty() ? "" : "  ", event.detail());
  PrintLine(Printable(line));
}

absl::StatusOr<ExitCode> List(const Globals& globals, int64_t after) {
  RETURN_IF_ERROR(ReadLog(globals, after, [&](const AuditEntry& entry) -> absl::Status {
                    AuditEvent event;
                    if (!event.ParseFromString(entry.event_bytes())) {
                      return Error(absl::StatusCode::kDataLoss, "AUDIT_TAMPERED",
                                   "the log holds an entry that is no event; run: parley audit verify");
                    }
                    ShowEvent(globals, event);
                    return absl::OkStatus();
                  }).status());
  return kSuccess;
}

absl::StatusOr<ExitCode> Verify(const Globals& globals) {
  ASSIGN_OR_RETURN(const keys::Credential credential, LoadCredential(globals));
  const std::string mark_path = AuditMarkPath(credential.ca_pem);
  ASSIGN_OR_RETURN(const std::optional<audit::AuditMark> known, LoadAuditMark(mark_path));
  audit::AuditVerifier verifier(known);
  ASSIGN_OR_RETURN(const int64_t last_sequence,
                   ReadLog(globals, 0, [&](const AuditEntry& entry) { return verifier.Add(entry); }));
  RETURN_IF_ERROR(verifier.Finish(last_sequence));
  RETURN_IF_ERROR(StoreAuditMark(mark_path, verifier.mark()));
  const std::string hash = HexEncode(verifier.mark().hash);
  if (globals.json()) {
    JsonObject().Number("entries", verifier.mark().sequence).Text("hash", hash).Print();
  } else {
    PrintLine(absl::StrCat(
        "  ", Green("✔"), " ", verifier.mark().sequence, " events in one unbroken chain",
        known.has_value() ? absl::StrCat(", which holds what was seen at the last verification (", known->sequence, ")")
                          : ""));
    PrintLine(Dim(absl::StrCat("    newest  ", hash, "   kept in ", mark_path)));
  }
  return kSuccess;
}

}  // namespace

void AddAudit(CLI::App* app, Globals* globals) {
  CLI::App* audit = app->add_subcommand("audit", "Read and verify the log of who did what");
  audit->fallthrough();
  audit->require_subcommand(1);
  auto after = std::make_shared<int64_t>(0);
  CLI::App* list = audit->add_subcommand("list", "The events, oldest first");
  list->fallthrough();
  Uses(list, globals, kCallerOptions);
  list->add_option("--after", *after, "Only those above this sequence")
      ->check(WholeNumber(std::numeric_limits<int64_t>::max()));
  list->callback([globals, after] { globals->run = [globals, after] { return List(*globals, *after); }; });
  CLI::App* verify = audit->add_subcommand("verify", "Check that nothing was changed, dropped or reordered");
  verify->fallthrough();
  Uses(verify, globals, kCallerOptions);
  verify->footer(
      "Follows the hash chain from the first event, and demands what was seen at the last verification on\n"
      "this machine: a log whose end was cut off, or that was written anew, is found out.");
  verify->callback([globals] { globals->run = [globals] { return Verify(*globals); }; });
}

}  // namespace parley::cli
