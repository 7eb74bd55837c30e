// The part of KeyAuthority that issues, lists and revokes credentials.
#include <algorithm>
#include <map>
#include <string>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/base/proto_time.h"
#include "lib/base/uuid.h"
#include "lib/crypto/hash.h"
#include "lib/crypto/kdf.h"
#include "services/keyd/domain/device_names.h"
#include "services/keyd/domain/key_authority.h"
#include "services/keyd/domain/store_layout.h"

namespace parley::keyd {
namespace {

using key::v1::AuditEvent;
using key::v1::CredentialRecord;

constexpr absl::string_view kNamePrefix = "credentials/";
constexpr absl::Duration kRequestMemory = absl::Hours(24);
constexpr size_t kMaxSubjectBytes = 48;
constexpr size_t kMaxRevocationReasonBytes = 200;

absl::Status Invalid(absl::string_view reason, absl::string_view sentence) {
  return Error(absl::StatusCode::kInvalidArgument, reason, sentence);
}

std::vector<absl::string_view> AudiencesOf(access::v1::Role role) {
  switch (role) {
    case access::v1::ROLE_ADMIN:
    case access::v1::ROLE_AUDITOR:
    // Reads the chain of trust, and enrols further devices of its own.
    case access::v1::ROLE_OPERATOR:
      return {keys::kTaskd, keys::kEnrolld, keys::kKeyd};
    // Reads the chain of trust.
    case access::v1::ROLE_DEVICE:
      return {keys::kTaskd, keys::kKeyd};
    case access::v1::ROLE_SERVICE:
      return {keys::kKeyd};
    default:
      return {};
  }
}

bool IsSubject(absl::string_view text) {
  return !text.empty() && text.size() <= kMaxSubjectBytes && std::all_of(text.begin(), text.end(), [](unsigned char c) {
    return absl::ascii_islower(c) || absl::ascii_isdigit(c) || c == '.' || c == '_' || c == '-';
  });
}

absl::Status CheckIssue(access::v1::Role role, absl::string_view subject, absl::Duration ttl) {
  if (AudiencesOf(role).empty()) {
    return Invalid("ROLE", "a credential's role is admin, operator, auditor, service or device");
  }
  if (!IsSubject(subject)) {
    return Invalid("SUBJECT", "a subject has 1 to 48 characters out of a-z, 0-9, dot, underscore and hyphen");
  }
  // Its subject decides whose keys a service gets.
  if (role == access::v1::ROLE_SERVICE && subject != keys::kTaskd && subject != keys::kEnrolld) {
    return Invalid("SUBJECT", "a service's subject is taskd or enrolld");
  }
  return KeyAuthority::CheckTtl(ttl);
}

absl::Status CheckIssuedLabels(access::v1::Role role, const keys::Labels& labels) {
  if (labels.empty() || role == access::v1::ROLE_DEVICE) return keys::CheckLabels(labels);
  return Invalid("LABEL_ROLE", "only a device has labels; leave them out, or issue a credential of the role device");
}

// "device/web-1 until 2026-12-01T00:00:00Z with role=web".
std::string Describe(const CredentialRecord& record) {
  std::string text = absl::StrCat(
      absl::AsciiStrToLower(absl::StripPrefix(access::v1::Role_Name(record.role()), "ROLE_")), "/", record.subject(),
      " until ", absl::FormatTime(absl::RFC3339_sec, ToTime(record.expire_time()), absl::UTCTimeZone()));
  if (!record.labels().empty()) absl::StrAppend(&text, " with ", keys::ShowLabels(record.labels()));
  return text;
}

std::string NameOf(absl::string_view serial_hex) { return absl::StrCat(kNamePrefix, serial_hex); }

}  // namespace

std::string SerialOfName(absl::string_view name) {
  if (!absl::ConsumePrefix(&name, kNamePrefix)) return "";
  const auto serial = HexDecode(name);
  return serial.has_value() && serial->size() == keys::kSerialBytes ? std::string(name) : "";
}

absl::Duration TtlOf(bool has_ttl, const google::protobuf::Duration& ttl) {
  return has_ttl ? ToDuration(ttl) : kDefaultTtl;
}

absl::Status KeyAuthority::SetRequest(absl::string_view caller, absl::string_view request_id, absl::string_view content,
                                      IssueSpec* spec) {
  if (!IsUuid(request_id)) return Invalid("REQUEST_ID", "request_id must be a UUID, a new one per credential");
  spec->request_key = absl::StrCat(
      kRequestPrefix, HexEncode(crypto::Sha256(absl::StrCat(caller, "\n", absl::AsciiStrToLower(request_id)))));
  spec->request_digest = crypto::Sha256(content);
  return absl::OkStatus();
}

absl::StatusOr<KeyAuthority::Issued> KeyAuthority::Issue(absl::string_view caller,
                                                         const key::v1::IssueCredentialRequest& request) {
  IssueSpec spec;
  spec.role = request.role();
  spec.subject = request.subject();
  spec.ttl = TtlOf(request.has_ttl(), request.ttl());
  spec.issuer = std::string(caller);
  spec.actor = absl::StrCat("admin/", caller);
  spec.device = request.device();
  spec.labels = request.labels();
  std::string content = absl::StrCat(static_cast<int>(spec.role), "\n", spec.subject, "\n",
                                     absl::ToInt64Nanoseconds(spec.ttl), "\n", spec.device);
  // With their lengths: different labels may read the same.
  for (const auto& [key, value] : std::map<std::string, std::string>(spec.labels.begin(), spec.labels.end())) {
    absl::StrAppend(&content, "\n", key.size(), " ", key, " ", value.size(), " ", value);
  }
  RETURN_IF_ERROR(SetRequest(caller, request.request_id(), content, &spec));
  return IssueOnce(spec);
}

absl::Status KeyAuthority::CheckTtl(absl::Duration ttl) {
  if (ttl >= absl::Seconds(1) && ttl <= kMaxTtl) return absl::OkStatus();
  return Invalid("TTL", "a ttl must be 1 second to 366 days");
}

absl::StatusOr<KeyAuthority::Issued> KeyAuthority::IssueOnce(const IssueSpec& spec) {
  RETURN_IF_ERROR(CheckIssue(spec.role, spec.subject, spec.ttl));
  RETURN_IF_ERROR(CheckIssuedLabels(spec.role, spec.labels));
  MutexLock lock(&mutex_);
  ASSIGN_OR_RETURN(std::optional<Issued> before, IssuedBefore(spec));
  if (before.has_value()) return *std::move(before);
  return IssueNew(spec);
}

absl::StatusOr<std::optional<KeyAuthority::Issued>> KeyAuthority::IssuedBefore(const IssueSpec& spec) const {
  if (spec.request_key.empty()) return std::nullopt;
  const absl::StatusOr<store::Entry> earlier = store()->Get(spec.request_key);
  if (absl::IsNotFound(earlier.status())) return std::nullopt;
  RETURN_IF_ERROR(earlier.status());
  records::IssueRequest answered;
  if (!answered.ParseFromString(earlier->value)) return Damaged(earlier->key);
  if (ToTime(answered.expire_time()) < options_.clock->Now()) return std::nullopt;
  if (answered.digest() != spec.request_digest) {
    return Error(absl::StatusCode::kFailedPrecondition, "REQUEST_ID_REUSED",
                 "this request_id was used for another credential; take a new one");
  }
  ASSIGN_OR_RETURN(Issued issued, IssuedAs(answered.serial()));
  return std::optional<Issued>(std::move(issued));
}

absl::StatusOr<KeyAuthority::Issued> KeyAuthority::IssuedAs(absl::string_view serial) const {
  Issued issued;
  ASSIGN_OR_RETURN(issued.record, Get(NameOf(serial)));
  ASSIGN_OR_RETURN(issued.credential, Mint(issued.record));
  return issued;
}

absl::StatusOr<KeyAuthority::Issued> KeyAuthority::IssueOwn(access::v1::Role role, absl::string_view subject,
                                                            absl::Duration ttl) {
  RETURN_IF_ERROR(CheckIssue(role, subject, ttl));
  MutexLock lock(&mutex_);
  IssueSpec spec;
  spec.role = role;
  spec.subject = std::string(subject);
  spec.ttl = ttl;
  spec.issuer = spec.actor = "keyd";
  return IssueNew(spec);
}

absl::StatusOr<KeyAuthority::Issued> KeyAuthority::IssueNew(const IssueSpec& spec) {
  const absl::Time now = options_.clock->Now();
  const std::string serial = HexEncode(crypto::RandomBytes(keys::kSerialBytes));
  Issued issued;
  CredentialRecord& record = issued.record;
  record.set_name(NameOf(serial));
  record.set_role(spec.role);
  record.set_subject(spec.subject);
  *record.mutable_create_time() = ToProto(now);
  // Identities carry whole seconds; the record must say the same.
  const absl::Duration rounded_ttl = absl::Ceil(now + spec.ttl - absl::UnixEpoch(), absl::Seconds(1));
  *record.mutable_expire_time() = ToProto(absl::UnixEpoch() + rounded_ttl);
  record.set_issuer(spec.issuer);
  record.set_epoch(primary_epoch());
  record.set_device(spec.device);
  ASSIGN_OR_RETURN(issued.credential, Mint(record));

  records::IssueRequest answered;
  answered.set_digest(spec.request_digest);
  answered.set_serial(serial);
  *answered.mutable_expire_time() = ToProto(now + kRequestMemory);
  const std::string stored = record.SerializeAsString();
  DeviceNames names(store(), now);
  if (spec.role == access::v1::ROLE_DEVICE) {
    RETURN_IF_ERROR(names.AddCredential(record, spec.labels));
    ASSIGN_OR_RETURN(*record.mutable_labels(),
                     spec.labels.empty() ? DeviceNames::LabelsOf(store(), spec.subject) : spec.labels);
  }
  std::vector<AuditEvent> events = spec.events;
  events.push_back(MakeEvent(*options_.clock, spec.actor, "credential.issued", record.name(), Describe(record)));
  RETURN_IF_ERROR(
      trail_
          .Commit(std::move(events),
                  [&](int64_t sequence, store::Transaction* transaction) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
                    transaction->conditions.push_back({kRootsKey, roots_revision_});
                    transaction->IfAbsent(kCredentialPrefix + serial)
                        .Set(kCredentialPrefix + serial, stored)
                        .Set(kIssuedPrefix + OrderedNumber(sequence), serial);
                    if (!spec.request_key.empty()) transaction->Set(spec.request_key, answered.SerializeAsString());
                    if (!spec.device.empty()) {
                      transaction->Set(DeviceCredentialKey(spec.device, OrderedNumber(sequence)), serial);
                    }
                    names.AddTo(transaction);
                    if (spec.also) spec.also(transaction);
                  })
          .status());
  return issued;
}

absl::StatusOr<keys::Credential> KeyAuthority::Mint(const CredentialRecord& record) const {
  keys::Credential credential;
  credential.role = record.role();
  credential.subject = record.subject();
  credential.serial = SerialOfName(record.name());
  credential.not_after = ToTime(record.expire_time());
  credential.ca_pem = ca_pem();
  const keys::Claims claims{record.role(), record.subject(), *HexDecode(credential.serial), credential.not_after};
  const std::map<std::string, std::string> addresses = this->addresses();
  for (const absl::string_view audience : AudiencesOf(record.role())) {
    const std::string name(audience);
    absl::StatusOr<keys::Keyring::Minted> minted = keyrings_.at(name)->Mint(claims, record.epoch());
    if (absl::IsNotFound(minted.status())) {
      return Error(absl::StatusCode::kFailedPrecondition, "EPOCH_RETIRED",
                   "the root that this credential was issued under has been retired; issue a new one");
    }
    RETURN_IF_ERROR(minted.status());
    const auto address = addresses.find(name);
    credential.keys.push_back({name, address == addresses.end() ? "" : address->second, std::move(minted->identity),
                               std::move(minted->secret)});
  }
  return credential;
}

absl::StatusOr<store::Entry> KeyAuthority::Record(absl::string_view name) const {
  const std::string serial = SerialOfName(name);
  absl::StatusOr<store::Entry> entry = absl::NotFoundError("");
  if (!serial.empty()) entry = store()->Get(kCredentialPrefix + serial);
  if (!absl::IsNotFound(entry.status())) return entry;
  return Error(
      absl::StatusCode::kNotFound, "CREDENTIAL_NOT_FOUND",
      absl::StrCat("there is no credential ", name.substr(0, 64), "; `parley key list` shows those there are"));
}

absl::StatusOr<CredentialRecord> KeyAuthority::Get(absl::string_view name) const {
  ASSIGN_OR_RETURN(const store::Entry entry, Record(name));
  CredentialRecord record;
  if (!record.ParseFromString(entry.value)) return Damaged(entry.key);
  ASSIGN_OR_RETURN(const std::set<uint32_t> live, LiveEpochs());
  record.set_retired(live.count(record.epoch()) == 0);
  if (record.role() == access::v1::ROLE_DEVICE && !record.has_revoke_time()) {
    ASSIGN_OR_RETURN(*record.mutable_labels(), DeviceNames::LabelsOf(store(), record.subject()));
  }
  return record;
}

absl::StatusOr<key::v1::ListCredentialsResponse> KeyAuthority::List(
    const key::v1::ListCredentialsRequest& request) const {
  if (request.page_size() < 0 || request.page_size() > 1000) {
    return Invalid("PAGE_SIZE", "page_size must be 0 to 1000");
  }
  store::KeyRange range = store::KeyRange::Prefix(kIssuedPrefix);
  if (const std::string& token = request.page_token(); !token.empty()) {
    if (token.size() != 16 || !std::all_of(token.begin(), token.end(), absl::ascii_isxdigit)) {
      return Invalid("PAGE_TOKEN", "page_token is not one that this service gave");
    }
    range.begin = absl::StrCat(kIssuedPrefix, token, "0");  // The next key after it.
  }
  ASSIGN_OR_RETURN(const store::Page page, store()->List(range, request.page_size() == 0 ? 100 : request.page_size()));
  key::v1::ListCredentialsResponse response;
  for (const store::Entry& issued : page.entries) {
    ASSIGN_OR_RETURN(*response.add_credentials(), Get(NameOf(issued.value)));
  }
  if (page.more) {
    response.set_next_page_token(std::string(absl::StripPrefix(page.entries.back().key, kIssuedPrefix)));
  }
  return response;
}

absl::StatusOr<CredentialRecord> KeyAuthority::Revoke(absl::string_view actor,
                                                      const key::v1::RevokeCredentialRequest& request) {
  RETURN_IF_ERROR(Record(request.name()).status());
  const std::string serial = SerialOfName(request.name());
  RETURN_IF_ERROR(RevokeTogether({std::string(actor), {serial}, request.reason(), {}, nullptr}).status());
  return Get(request.name());
}

absl::StatusOr<std::vector<CredentialRecord>> KeyAuthority::RevokeTogether(const RevokeSpec& spec) {
  if (spec.reason.size() > kMaxRevocationReasonBytes) {
    return Invalid("REVOCATION_REASON", "a reason may have at most 200 characters");
  }
  MutexLock lock(&mutex_);
  std::vector<CredentialRecord> revoked;
  std::vector<AuditEvent> events = spec.events;
  store::Transaction changes;
  DeviceNames names(store(), options_.clock->Now());
  for (const std::string& serial : spec.serials) {
    ASSIGN_OR_RETURN(const store::Entry entry, Record(NameOf(serial)));
    CredentialRecord record;
    if (!record.ParseFromString(entry.value)) return Damaged(entry.key);
    if (record.has_revoke_time()) continue;
    if (record.role() == access::v1::ROLE_DEVICE) RETURN_IF_ERROR(names.RemoveCredential(record));
    *record.mutable_revoke_time() = ToProto(options_.clock->Now());
    key::v1::Revocation revocation;
    revocation.set_serial(*HexDecode(serial));
    *revocation.mutable_expire_time() = record.expire_time();
    changes.IfUnchanged(entry)
        .Set(entry.key, record.SerializeAsString())
        .Set(kRevocationPrefix + serial, revocation.SerializeAsString());
    events.push_back(MakeEvent(*options_.clock, spec.actor, "credential.revoked", record.name(), spec.reason));
    revoked.push_back(std::move(record));
  }
  if (events.empty()) return revoked;
  names.AddTo(&changes);
  RETURN_IF_ERROR(trail_
                      .Commit(std::move(events),
                              [&](int64_t, store::Transaction* transaction) {
                                *transaction = changes;
                                if (spec.also) spec.also(transaction);
                              })
                      .status());
  return revoked;
}

absl::StatusOr<key::v1::DeviceLabels> KeyAuthority::Label(absl::string_view actor,
                                                          const key::v1::LabelDeviceRequest& request) {
  MutexLock lock(&mutex_);
  DeviceNames names(store(), options_.clock->Now());
  ASSIGN_OR_RETURN(const bool changed, names.ChangeLabels(request));
  key::v1::DeviceLabels after;
  after.set_name(request.name());
  const absl::string_view subject = absl::StripPrefix(request.name(), keys::kDeviceLabelsPrefix);
  if (changed) {
    std::string detail = keys::ShowLabels(request.set());
    for (const std::string& key : request.remove()) absl::StrAppend(&detail, detail.empty() ? "" : ", ", key, "-");
    AuditEvent event = MakeEvent(*options_.clock, actor, "device.labelled", request.name(), detail);
    RETURN_IF_ERROR(
        trail_.Commit({std::move(event)}, [&](int64_t, store::Transaction* transaction) { names.AddTo(transaction); })
            .status());
  }
  ASSIGN_OR_RETURN(*after.mutable_labels(), DeviceNames::LabelsOf(store(), subject));
  return after;
}

absl::StatusOr<std::vector<std::string>> KeyAuthority::SerialsOfDevice(absl::string_view device) const {
  ASSIGN_OR_RETURN(const store::Page page, store()->List(store::KeyRange::Prefix(DeviceCredentialKey(device, ""))));
  std::vector<std::string> serials;
  for (const store::Entry& entry : page.entries) serials.push_back(entry.value);
  return serials;
}

}  // namespace parley::keyd
