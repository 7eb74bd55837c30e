// parley audit list, parley audit verify.
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "clients/cli/command.h"
#include "clients/cli/connection.h"
#include "clients/cli/output.h"
#include "clients/cli/paths.h"
#include "clients/cli/terminal.h"
#include "lib/audit/audit_chain.h"
#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/proto_time.h"
#include "lib/crypto/hash.h"
#include "lib/keys/identity.h"
#include "parley/key/v1/key_service.grpc.pb.h"

namespace parley::cli {
namespace {

using key::v1::AuditEntry;
using key::v1::AuditEvent;
using key::v1::KeyService;

// Where the last entry of the log that this machine has verified is kept, for each organisation, which its CA stands
// for: a log whose end was cut off, or that was written anew, is found out by it.
std::string MarkPath(const std::string& ca_pem) {
  return absl::StrCat(ConfigFolder(), "/audit-", HexEncode(crypto::Sha256(ca_pem)).substr(0, 16), ".mark");
}

// Returns no mark if there is none yet.
absl::StatusOr<std::optional<audit::AuditMark>> LoadMark(const std::string& path) {
  const absl::StatusOr<std::string> text = ReadFile(path, 200);
  if (absl::IsNotFound(text.status())) return std::nullopt;
  RETURN_IF_ERROR(text.status());
  const std::vector<std::string> parts = absl::StrSplit(*text, absl::ByAnyChar(" \n"), absl::SkipEmpty());
  audit::AuditMark mark;
  std::optional<std::string> hash = parts.size() == 2 ? HexDecode(parts[1]) : std::nullopt;
  if (!hash.has_value() || hash->size() != crypto::kSha256Bytes || !absl::SimpleAtoi(parts[0], &mark.sequence)) {
    return Error(absl::StatusCode::kDataLoss, "AUDIT_MARK_DAMAGED",
                 absl::StrCat(path,
                              " does not hold what `parley audit verify` wrote; restore it from a backup, or "
                              "delete it to trust the log as it is now"));
  }
  mark.hash = *std::move(hash);
  return mark;
}

absl::Status StoreMark(const std::string& path, const audit::AuditMark& mark) {
  RETURN_IF_ERROR(MakeFolders(FolderOf(path), 0700));
  return WriteFileAtomically(path, absl::StrCat(mark.sequence, " ", HexEncode(mark.hash), "\n"), 0600);
}

// Gives `each` every entry above a sequence; the sequence of the newest one that the log says it has.
absl::StatusOr<int64_t> ReadLog(const Globals& globals, int64_t after,
                                const std::function<absl::Status(const AuditEntry&)>& each) {
  ASSIGN_OR_RETURN(const std::unique_ptr<ops::Connection> server, Connect(globals, keys::kKeyd));
  key::v1::ListAuditEventsRequest request;
  request.set_page_size(1000);
  request.set_after_sequence(after);
  while (true) {
    ASSIGN_OR_RETURN(const key::v1::ListAuditEventsResponse page,
                     server->Call<KeyService>(&KeyService::Stub::ListAuditEvents, request));
    if (page.entries().empty()) return page.last_sequence();
    for (const AuditEntry& entry : page.entries()) RETURN_IF_ERROR(each(entry));
    request.set_after_sequence(request.after_sequence() + page.entries_size());
  }
}

ExitCode ShowEvent(const Globals& globals, const AuditEvent& event) {
  if (globals.json()) return PrintJson(event);
  const std::string line = absl::StrCat(
      event.sequence(), "  ", absl::FormatTime("%Y-%m-%d %H:%M:%S", ToTime(event.time()), absl::UTCTimeZone()), "  ",
      event.service(), "  ", event.actor().empty() ? "-" : event.actor(), "  ", event.action(), "  ", event.resource(),
      "  ", event.outcome(), event.detail().empty() ? "" : "  ", event.detail());
  PrintLine(Printable(line));
  return kSuccess;
}

absl::StatusOr<ExitCode> List(const Globals& globals, const int64_t& after) {
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
  const std::string mark_path = MarkPath(credential.ca_pem);
  ASSIGN_OR_RETURN(const std::optional<audit::AuditMark> known, LoadMark(mark_path));
  audit::AuditVerifier verifier(known);
  ASSIGN_OR_RETURN(const int64_t last_sequence,
                   ReadLog(globals, 0, [&](const AuditEntry& entry) { return verifier.Add(entry); }));
  RETURN_IF_ERROR(verifier.Finish(last_sequence));
  RETURN_IF_ERROR(StoreMark(mark_path, verifier.mark()));
  const std::string hash = HexEncode(verifier.mark().hash);
  if (globals.json()) return JsonObject().Number("entries", verifier.mark().sequence).Text("hash", hash).Print();
  PrintDone(verifier.mark().sequence, " events in one unbroken chain",
            known.has_value()
                ? absl::StrCat(", which holds what was seen at the last verification (", known->sequence, ")")
                : "");
  PrintLine(Dim(absl::StrCat("    newest  ", hash, "   kept in ", mark_path)));
  return kSuccess;
}

}  // namespace

void AddAudit(Command app, Globals* globals) {
  Command audit = AddGroup(app, "audit", "Read and verify the log of who did what");
  auto after = std::make_shared<int64_t>(0);
  Command list = AddCommand(audit, globals, "list", "List the events, oldest first", kCallerOptions, after, &List);
  list.AddOption("--after", *after, "List only the events above this sequence number")
      .WholeNumber(std::numeric_limits<int64_t>::max());
  Command verify = AddCommand(audit, globals, "verify", "Check that nothing was changed, dropped or reordered",
                              kCallerOptions, &Verify);
  verify.Footer(
      "It follows the hash chain from the first event, which must hold what was seen at the last verification on\n"
      "this machine: a log whose end was cut off, or that was written anew, is noticed.");
}

}  // namespace parley::cli
