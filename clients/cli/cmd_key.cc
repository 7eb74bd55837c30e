// parley key: issue, list, get, label, revoke, rotate-root.
#include <stdio.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "clients/chain/trust_client.h"
#include "clients/cli/answers.h"
#include "clients/cli/command.h"
#include "clients/cli/connection.h"
#include "clients/cli/ended_with.h"
#include "clients/cli/format.h"
#include "clients/cli/output.h"
#include "clients/cli/terminal.h"
#include "clients/operator/membership.h"
#include "clients/operator/new_file.h"
#include "lib/base/error.h"
#include "lib/base/proto_time.h"
#include "lib/crypto/kdf.h"
#include "lib/keys/credential.h"
#include "lib/keys/identity.h"
#include "lib/keys/labels.h"
#include "lib/keys/roles.h"
#include "parley/key/v1/key_service.grpc.pb.h"

namespace parley::cli {
namespace {

using key::v1::KeyService;

struct KeyFlags {
  std::string role, subject, device, out, ttl = "90d", serial, reason, name;
  // The values of --label; and the changes that `label` makes: key=value, or key- to remove one.
  std::vector<std::string> labels, changes;
  uint32_t retire_before = 0;
  bool yes = false;
};

// Rows of what a question is about.
constexpr size_t kMostShown = 20;

std::string Serial(const key::v1::CredentialRecord& record) {
  return std::string(absl::StripPrefix(record.name(), "credentials/"));
}

std::string ClientStatus(const key::v1::CredentialRecord& record) {
  if (record.has_revoke_time()) return "revoked " + TimeText(ToTime(record.revoke_time()));
  if (ToTime(record.expire_time()) <= absl::Now()) return "expired";
  return record.retired() ? "dead: its root was retired" : "good";
}

ExitCode ShowRecord(const Globals& globals, const key::v1::CredentialRecord& record) {
  if (globals.json()) return PrintJson(record);
  PrintLine("  serial   ", Serial(record));
  PrintLine("  for      ", keys::RoleName(record.role()), " ", Printable(record.subject()));
  PrintLine("  issued   ", TimeText(ToTime(record.create_time())), " by ", Printable(record.issuer()));
  PrintLine("  until    ", TimeText(ToTime(record.expire_time())));
  PrintLine("  state    ", ClientStatus(record));
  if (!record.labels().empty()) PrintLine("  labels   ", Printable(keys::ShowLabels(record.labels())));
  return kSuccess;
}

absl::Status FillHolder(const Globals& globals, const KeyFlags& flags, key::v1::IssueCredentialRequest* request) {
  if (flags.device.empty()) {
    if (flags.role.empty() || flags.subject.empty()) {
      return UsageError("say whom it is for: --role and --subject, or --for-device");
    }
    ASSIGN_OR_RETURN(const access::v1::Role role,
                     ParseRole("--role", flags.role,
                               {access::v1::ROLE_ADMIN, access::v1::ROLE_OPERATOR, access::v1::ROLE_AUDITOR,
                                access::v1::ROLE_SERVICE, access::v1::ROLE_DEVICE}));
    request->set_role(role);
    request->set_subject(flags.subject);
    return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(const trust::Chain chain, FetchChain(globals));
  ASSIGN_OR_RETURN(const trust::Device* const device, ops::FindDevice(chain, flags.device));
  const trust::User& user = *chain.FindUser(device->user);
  request->set_role(user.role);
  request->set_subject(user.name);
  request->set_device(trust::DeviceName(device->id));
  return absl::OkStatus();
}

absl::StatusOr<ExitCode> Issue(const Globals& globals, const KeyFlags& flags) {
  key::v1::IssueCredentialRequest request;
  RETURN_IF_ERROR(FillHolder(globals, flags, &request));
  ASSIGN_OR_RETURN(const absl::Duration ttl, ParseTtl("--ttl", flags.ttl, absl::Seconds(1), "a credential lives"));
  ASSIGN_OR_RETURN(const auto labels, ParsePairs("--label", flags.labels));
  request.mutable_labels()->insert(labels.begin(), labels.end());
  request.set_request_id(crypto::RandomUuid());
  *request.mutable_ttl() = ToProto(ttl);
  RETURN_IF_ERROR(ops::CanCreate(flags.out, "the credential"));
  ASSIGN_OR_RETURN(key::v1::IssueCredentialResponse response,
                   Call<KeyService>(globals, keys::kKeyd, &KeyService::Stub::IssueCredential, request));
  const keys::Credential credential = trust::ToCredential(&response);
  RETURN_IF_ERROR(keys::WriteCredentialFile(flags.out, credential));
  ShowRecord(globals, response.record());
  if (!globals.json()) {
    PrintDone("written to ", flags.out,
              ", mode 0600; this is the only copy: carry it to its holder and delete it here");
  }
  if (!labels.empty() && response.record().labels().empty()) {
    return Error(
        absl::StatusCode::kFailedPrecondition, "LABELS_NOT_TAKEN",
        absl::StrCat("the credential is good, but has no labels, because keyd is of an earlier version; upgrade "
                     "keyd, and then give them with: parley key label ",
                     response.record().subject(), " KEY=VALUE"));
  }
  return kSuccess;
}

absl::StatusOr<key::v1::ListCredentialsResponse> ListAll(const ops::Connection& keyd) {
  return keyd.CallAll<KeyService>(&KeyService::Stub::ListCredentials, key::v1::ListCredentialsRequest());
}

std::vector<std::string> Row(const key::v1::CredentialRecord& record) {
  return {Serial(record),       keys::RoleName(record.role()),
          record.subject(),     TimeText(ToTime(record.expire_time())),
          ClientStatus(record), keys::ShowLabels(record.labels())};
}

ExitCode ShowRows(const std::vector<std::vector<std::string>>& rows) {
  return PrintTable({"SERIAL", "ROLE", "SUBJECT", "UNTIL", "STATE", "LABELS"}, rows);
}

absl::StatusOr<ExitCode> List(const Globals& globals) {
  ASSIGN_OR_RETURN(const std::unique_ptr<ops::Connection> keyd, Connect(globals, keys::kKeyd));
  ASSIGN_OR_RETURN(const key::v1::ListCredentialsResponse all, ListAll(*keyd));
  if (globals.json()) return PrintJson(all);
  std::vector<std::vector<std::string>> rows;
  for (const key::v1::CredentialRecord& record : all.credentials()) rows.push_back(Row(record));
  return ShowRows(rows);
}

absl::StatusOr<ExitCode> Get(const Globals& globals, const KeyFlags& flags) {
  key::v1::GetCredentialRequest request;
  request.set_name(absl::StrCat("credentials/", flags.serial));
  ASSIGN_OR_RETURN(const key::v1::CredentialRecord record,
                   Call<KeyService>(globals, keys::kKeyd, &KeyService::Stub::GetCredential, request));
  return ShowRecord(globals, record);
}

// "site=berlin" sets a label, "site-" removes it.
absl::Status FillChanges(const std::vector<std::string>& changes, key::v1::LabelDeviceRequest* request) {
  std::vector<std::string> set, all;
  for (const std::string& change : changes) {
    const bool sets = absl::StrContains(change, '=');
    if (!sets && (change.size() < 2 || change.back() != '-')) {
      return UsageError("\"", change.substr(0, 40),
                        "\" changes no label; write key=value to set one, or key- to remove it");
    }
    if (sets) {
      set.push_back(change);
    } else {
      request->add_remove(change.substr(0, change.size() - 1));
    }
    all.push_back(sets ? change : *request->remove().rbegin() + "=");
  }
  RETURN_IF_ERROR(ParsePairs("the label", all).status());
  ASSIGN_OR_RETURN(const auto labels, ParsePairs("the label", set));
  request->mutable_set()->insert(labels.begin(), labels.end());
  return absl::OkStatus();
}

absl::StatusOr<ExitCode> Label(const Globals& globals, const KeyFlags& flags) {
  key::v1::LabelDeviceRequest request;
  request.set_name(absl::StrCat(keys::kDeviceLabelsPrefix, flags.name));
  RETURN_IF_ERROR(FillChanges(flags.changes, &request));
  ASSIGN_OR_RETURN(const key::v1::DeviceLabels after,
                   Call<KeyService>(globals, keys::kKeyd, &KeyService::Stub::LabelDevice, request));
  if (globals.json()) return PrintJson(after);
  return PrintDone(Printable(flags.name), "  ",
                   after.labels().empty() ? "has no labels" : Printable(keys::ShowLabels(after.labels())));
}

absl::StatusOr<ExitCode> Revoke(const Globals& globals, const KeyFlags& flags) {
  key::v1::RevokeCredentialRequest request;
  request.set_name(absl::StrCat("credentials/", flags.serial));
  request.set_reason(flags.reason);
  ASSIGN_OR_RETURN(const key::v1::CredentialRecord record,
                   Call<KeyService>(globals, keys::kKeyd, &KeyService::Stub::RevokeCredential, request));
  google::protobuf::RepeatedPtrField<std::string> revoked;
  *revoked.Add() = record.name();
  const EndedWith ended = AskWhatEnded(globals, revoked);
  if (globals.json()) return JsonObject(record).Raw("ended", EndedJson(ended)).Print();
  ShowRecord(globals, record);
  PrintLine("  ended    its connections and ", EndedText(ended));
  ShowWhatGoesOn(ended);
  return kSuccess;
}

// Those that the retirement ends, one's own first.
std::vector<key::v1::CredentialRecord> EndedBy(uint32_t retire_before, const std::string& own_serial,
                                               const key::v1::ListCredentialsResponse& all) {
  std::vector<key::v1::CredentialRecord> ended;
  for (const key::v1::CredentialRecord& record : all.credentials()) {
    if (record.epoch() < retire_before && ClientStatus(record) == "good") ended.push_back(record);
  }
  std::stable_partition(ended.begin(), ended.end(),
                        [&own_serial](const auto& record) { return Serial(record) == own_serial; });
  return ended;
}

absl::Status ConfirmRetirement(const Globals& globals, const ops::Connection& keyd, const KeyFlags& flags) {
  if (flags.yes) return absl::OkStatus();
  if (globals.json() || !StdinIsTerminal()) {
    return Error(absl::StatusCode::kFailedPrecondition, "NOT_CONFIRMED",
                 "retiring a root ends every key that was made under it; say --yes, or answer at a terminal");
  }
  ASSIGN_OR_RETURN(const keys::Credential own, LoadCredential(globals));
  ASSIGN_OR_RETURN(const key::v1::ListCredentialsResponse all, ListAll(keyd));
  const std::vector<key::v1::CredentialRecord> ended = EndedBy(flags.retire_before, own.serial, all);
  if (ended.empty()) {
    PrintLine("  No credential ends; member keys, join keys and invitations that are older than the epoch do.");
  } else {
    const bool with_own = Serial(ended.front()) == own.serial;
    PrintLine("  This ends ", Count(static_cast<int64_t>(ended.size()), "credential"),
              with_own ? ", your own first (issue yourself another one of a newer epoch before)" : "", ":");
    std::vector<std::vector<std::string>> rows;
    for (const auto& record : ended) rows.push_back(Row(record));
    rows.resize(std::min<size_t>(rows.size(), kMostShown));
    ShowRows(rows);
    if (ended.size() > kMostShown) PrintLine("  … and ", ended.size() - kMostShown, " more");
    PrintLine("  and the member keys, join keys and invitations that were made under the same roots.");
  }
  fputs("  Go on? [y/N] ", stdout);
  fflush(stdout);
  ASSIGN_OR_RETURN(const bool yes, Answers(-1).NextIsYes());
  if (yes) return absl::OkStatus();
  return Error(absl::StatusCode::kCancelled, "CANCELLED", "nothing was rotated or retired");
}

absl::StatusOr<ExitCode> RotateRoot(const Globals& globals, const KeyFlags& flags) {
  ASSIGN_OR_RETURN(const std::unique_ptr<ops::Connection> keyd, Connect(globals, keys::kKeyd));
  if (flags.retire_before > 0) RETURN_IF_ERROR(ConfirmRetirement(globals, *keyd, flags));
  key::v1::RotateRootRequest request;
  request.set_retire_before(flags.retire_before);
  ASSIGN_OR_RETURN(const key::v1::RotateRootResponse response,
                   keyd->Call<KeyService>(&KeyService::Stub::RotateRoot, request));
  if (globals.json()) return PrintJson(response);
  return PrintDone("epoch ", response.primary_epoch(), " is primary: new keys come from it",
                   flags.retire_before == 0
                       ? "; earlier keys go on until you retire them with --retire-before"
                       : absl::StrCat("; keys of epochs before ", flags.retire_before, " are dead"));
}

void AddIssue(Command key, Globals* globals, const std::shared_ptr<KeyFlags>& flags) {
  Command issue = AddCommand(key, globals, "issue", "Make a credential and write it to a file of mode 0600",
                             kCallerOptions, flags, &Issue);
  const Option role = issue.AddOption("--role", flags->role, "admin, operator, auditor, service or device");
  const Option subject = issue.AddOption("--subject", flags->subject, "Whom it stands for, e.g. alice or web-1");
  issue
      .AddOption("--for-device", flags->device,
                 "An enrolled device whose credential has ended, as in `parley device list`")
      .Excludes(role)
      .Excludes(subject);
  issue
      .AddOption("--label", flags->labels,
                 "key=value by which tasks select the device (repeatable); without it, the device keeps its labels")
      .OneValueEach();
  issue.AddOption("--out", flags->out, "File to write, e.g. web-1.credential").Required();
  issue.AddOption("--ttl", flags->ttl, "How long it lives: 1s to 366d").ShowDefault();
  issue.Footer(
      "Examples:\n"
      "  parley key issue --role device --subject web-1 --label site=berlin --out web-1.credential\n"
      "  parley key issue --for-device web-1 --out web-1.credential\n"
      "                                    then there: parley device renew --from web-1.credential");
}

}  // namespace

void AddKey(Command app, Globals* globals) {
  Command key = AddGroup(app, "key", "Issue, list and revoke credentials; rotate the root");
  auto flags = std::make_shared<KeyFlags>();
  AddIssue(key, globals, flags);
  AddCommand(key, globals, "list", "List all credentials that were issued", kCallerOptions, &List);
  AddCommand(key, globals, "get", "Show one credential's record", kCallerOptions, flags, &Get)
      .AddOption("serial", flags->serial, "The credential's serial, as in `parley key list`")
      .Required();
  Command label = AddCommand(key, globals, "label", "Set or remove labels of a device, by which tasks select it",
                             kCallerOptions, flags, &Label);
  label.AddOption("name", flags->name, "The subject of its credential, as in `parley key list`").Required();
  label.AddOption("changes", flags->changes, "key=value sets a label, key- removes it").Required();
  label.Footer(
      "Example:\n"
      "  parley key label web-1 site=berlin role=web canary-\n"
      "The change holds at once, without a new credential, and for the credentials that follow. A device that\n"
      "is connected is offered the tasks that select it now; an offer that it has not begun to apply is taken\n"
      "back if the task does not select the device any more.");
  Command revoke =
      AddCommand(key, globals, "revoke",
                 "Revoke a credential: its connections, and the keys that were made with it, end within a second",
                 kCallerOptions, flags, &Revoke);
  revoke.AddOption("serial", flags->serial, "The credential's serial, as in `parley key list`").Required();
  revoke.AddOption("--reason", flags->reason, "Kept in the audit log");
  Command rotate =
      AddCommand(key, globals, "rotate-root", "Make a new root epoch, from which keys are issued from now on",
                 kCallerOptions, flags, &RotateRoot);
  const Option retire =
      rotate.AddOption("--retire-before", flags->retire_before, "End every key of the epochs below this one");
  rotate.AddFlag("--yes", flags->yes, "Do not ask before keys are ended").Needs(retire);
  rotate.Footer(
      "Examples:\n"
      "  parley key rotate-root                      new keys come from the new epoch\n"
      "  parley key rotate-root --retire-before 2    when everybody has one: those of epoch 1 end\n"
      "An admin whose own key has ended with it gets another one where keyd runs: start keyd once with\n"
      "--new-admin.");
}

}  // namespace parley::cli
