#include "services/keyd/keys/credentials.h"

#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/base/proto_time.h"
#include "lib/base/uuid.h"
#include "lib/crypto/hash.h"
#include "lib/crypto/kdf.h"
#include "services/keyd/domain/audit_events.h"
#include "services/keyd/store/device_names.h"

namespace parley::keyd {
namespace {

using key::v1::AuditEvent;
using key::v1::CredentialRecord;

constexpr absl::Duration kRequestMemory = absl::Hours(24);

}  // namespace

void Credentials::SetAddress(absl::string_view audience, absl::string_view address) {
  MutexLock lock(&addresses_mutex_);
  addresses_[std::string(audience)] = std::string(address);
}

std::map<std::string, std::string> Credentials::addresses() const {
  MutexLock lock(&addresses_mutex_);
  return addresses_;
}

absl::Status Credentials::SetRequest(absl::string_view caller, absl::string_view request_id, absl::string_view content,
                                     IssueSpec* spec) {
  if (!IsUuid(request_id)) {
    return Error(absl::StatusCode::kInvalidArgument, "REQUEST_ID",
                 "request_id must be a UUID, a new one per credential");
  }
  spec->request_hash = HexEncode(crypto::Sha256(absl::StrCat(caller, "\n", absl::AsciiStrToLower(request_id))));
  spec->request_digest = crypto::Sha256(content);
  return absl::OkStatus();
}

absl::StatusOr<Credentials::Issued> Credentials::Issue(absl::string_view caller,
                                                       const key::v1::IssueCredentialRequest& request) {
  IssueSpec spec;
  spec.role = request.role();
  spec.subject = request.subject();
  spec.ttl = TtlOf(request.has_ttl(), request.ttl());
  spec.issuer = std::string(caller);
  spec.actor = absl::StrCat("admin/", caller);
  spec.device = request.device();
  spec.labels = request.labels();
  RETURN_IF_ERROR(SetRequest(caller, request.request_id(), ContentOf(request), &spec));
  return IssueOnce(spec);
}

absl::StatusOr<Credentials::Issued> Credentials::IssueOnce(const IssueSpec& spec) {
  RETURN_IF_ERROR(CheckIssue(spec.role, spec.subject, spec.ttl, spec.labels));
  MutexLock lock(&mutex_);
  ASSIGN_OR_RETURN(std::optional<Issued> before, IssuedBefore(spec));
  if (before.has_value()) return *std::move(before);
  return IssueNew(spec);
}

absl::StatusOr<std::optional<Credentials::Issued>> Credentials::IssuedBefore(const IssueSpec& spec) const {
  if (spec.request_hash.empty()) return std::nullopt;
  ASSIGN_OR_RETURN(const auto answered, parts_.store->FindRequest(spec.request_hash, parts_.clock->Now()));
  if (!answered.has_value()) return std::nullopt;
  if (answered->digest() != spec.request_digest) {
    return Error(absl::StatusCode::kFailedPrecondition, "REQUEST_ID_REUSED",
                 "this request_id was used for another credential; take a new one");
  }
  ASSIGN_OR_RETURN(Issued issued, IssuedAs(answered->serial()));
  return std::optional<Issued>(std::move(issued));
}

absl::StatusOr<Credentials::Issued> Credentials::IssuedAs(absl::string_view serial) const {
  Issued issued;
  ASSIGN_OR_RETURN(issued.record, Get(CredentialName(serial)));
  ASSIGN_OR_RETURN(issued.credential, Mint(issued.record));
  return issued;
}

absl::StatusOr<Credentials::Issued> Credentials::IssueOwn(access::v1::Role role, absl::string_view subject,
                                                          absl::Duration ttl) {
  RETURN_IF_ERROR(CheckIssue(role, subject, ttl, keys::Labels()));
  MutexLock lock(&mutex_);
  IssueSpec spec;
  spec.role = role;
  spec.subject = std::string(subject);
  spec.ttl = ttl;
  spec.issuer = spec.actor = "keyd";
  return IssueNew(spec);
}

absl::StatusOr<Credentials::Issued> Credentials::IssueNew(const IssueSpec& spec) {
  const absl::Time now = parts_.clock->Now();
  Issued issued;
  CredentialRecord& record = issued.record;
  record.set_name(CredentialName(HexEncode(crypto::RandomBytes(keys::kSerialBytes))));
  record.set_role(spec.role);
  record.set_subject(spec.subject);
  *record.mutable_create_time() = ToProto(now);
  // Identities carry whole seconds; the record must say the same.
  const absl::Duration rounded_ttl = absl::Ceil(now + spec.ttl - absl::UnixEpoch(), absl::Seconds(1));
  *record.mutable_expire_time() = ToProto(absl::UnixEpoch() + rounded_ttl);
  record.set_issuer(spec.issuer);
  record.set_device(spec.device);
  RETURN_IF_ERROR(parts_.roots->WithoutRotation(
      [&](const store::Transaction::Condition& unchanged)
          ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return CommitNew(spec, unchanged, &issued); }));
  return issued;
}

absl::Status Credentials::CommitNew(const IssueSpec& spec, const store::Transaction::Condition& roots, Issued* issued) {
  const absl::Time now = parts_.clock->Now();
  CredentialRecord& record = issued->record;
  record.set_epoch(parts_.roots->primary_epoch());
  ASSIGN_OR_RETURN(issued->credential, Mint(record));
  records::IssueRequest answered;
  answered.set_digest(spec.request_digest);
  answered.set_serial(SerialOfName(record.name()));
  *answered.mutable_expire_time() = ToProto(now + kRequestMemory);
  // The labels are stored with the name.
  const CredentialRecord stored = record;
  DeviceNames names(parts_.store->store(), now);
  if (spec.role == access::v1::ROLE_DEVICE) {
    RETURN_IF_ERROR(names.AddCredential(record, spec.labels));
    ASSIGN_OR_RETURN(*record.mutable_labels(),
                     spec.labels.empty() ? DeviceNames::LabelsOf(parts_.store->store(), spec.subject) : spec.labels);
  }
  std::vector<AuditEvent> events = spec.events;
  events.push_back(MakeEvent(*parts_.clock, spec.actor, "credential.issued", record.name(), Describe(record)));
  return parts_.trail
      ->Commit(std::move(events),
               [&](int64_t sequence, store::Transaction* transaction) {
                 transaction->conditions.push_back(roots);
                 KeyStore::PutIssued(stored, sequence, transaction);
                 if (!spec.request_hash.empty()) KeyStore::PutRequest(spec.request_hash, answered, transaction);
                 names.AddTo(transaction);
                 if (spec.also) spec.also(transaction);
               })
      .status();
}

absl::StatusOr<keys::Credential> Credentials::Mint(const CredentialRecord& record) const {
  keys::Credential credential;
  credential.role = record.role();
  credential.subject = record.subject();
  credential.serial = SerialOfName(record.name());
  credential.not_after = ToTime(record.expire_time());
  credential.ca_pem = parts_.organisation->ca_pem();
  const keys::Claims claims{record.role(), record.subject(), *HexDecode(credential.serial), credential.not_after};
  const std::map<std::string, std::string> addresses = this->addresses();
  for (const absl::string_view audience : AudiencesOf(record.role())) {
    const std::string name(audience);
    absl::StatusOr<keys::Keyring::Minted> minted = parts_.roots->keyring(audience)->Mint(claims, record.epoch());
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

absl::StatusOr<CredentialRecord> Credentials::Get(absl::string_view name) const {
  ASSIGN_OR_RETURN(auto stored, parts_.store->GetCredential(name));
  CredentialRecord& record = stored.value;
  ASSIGN_OR_RETURN(const std::set<uint32_t> live, parts_.store->LiveEpochs());
  record.set_retired(live.count(record.epoch()) == 0);
  if (record.role() == access::v1::ROLE_DEVICE && !record.has_revoke_time()) {
    ASSIGN_OR_RETURN(*record.mutable_labels(), DeviceNames::LabelsOf(parts_.store->store(), record.subject()));
  }
  return std::move(record);
}

absl::StatusOr<key::v1::ListCredentialsResponse> Credentials::List(
    const key::v1::ListCredentialsRequest& request) const {
  ASSIGN_OR_RETURN(const int page_size, PageSize(request.page_size()));
  ASSIGN_OR_RETURN(KeyStore::Issued issued, parts_.store->ListIssued(request.page_token(), page_size));
  key::v1::ListCredentialsResponse response;
  for (const std::string& serial : issued.serials) {
    ASSIGN_OR_RETURN(*response.add_credentials(), Get(CredentialName(serial)));
  }
  response.set_next_page_token(std::move(issued.next));
  return response;
}

absl::StatusOr<CredentialRecord> Credentials::Revoke(absl::string_view actor,
                                                     const key::v1::RevokeCredentialRequest& request) {
  RETURN_IF_ERROR(parts_.store->GetCredential(request.name()).status());
  const std::string serial = SerialOfName(request.name());
  RETURN_IF_ERROR(RevokeTogether({std::string(actor), {serial}, request.reason(), {}, nullptr}).status());
  return Get(request.name());
}

absl::StatusOr<std::vector<CredentialRecord>> Credentials::RevokeTogether(const RevokeSpec& spec) {
  RETURN_IF_ERROR(CheckRevocationReason(spec.reason));
  MutexLock lock(&mutex_);
  std::vector<CredentialRecord> revoked;
  std::vector<AuditEvent> events = spec.events;
  store::Transaction changes;
  DeviceNames names(parts_.store->store(), parts_.clock->Now());
  for (const std::string& serial : spec.serials) {
    ASSIGN_OR_RETURN(auto stored, parts_.store->GetCredential(CredentialName(serial)));
    CredentialRecord& record = stored.value;
    if (record.has_revoke_time()) continue;
    if (record.role() == access::v1::ROLE_DEVICE) RETURN_IF_ERROR(names.RemoveCredential(record));
    *record.mutable_revoke_time() = ToProto(parts_.clock->Now());
    KeyStore::PutRevoked(record, stored.revision, &changes);
    events.push_back(MakeEvent(*parts_.clock, spec.actor, "credential.revoked", record.name(), spec.reason));
    revoked.push_back(std::move(record));
  }
  if (events.empty()) return revoked;
  names.AddTo(&changes);
  RETURN_IF_ERROR(parts_.trail
                      ->Commit(std::move(events),
                               [&](int64_t, store::Transaction* transaction) {
                                 *transaction = changes;
                                 if (spec.also) spec.also(transaction);
                               })
                      .status());
  return revoked;
}

absl::StatusOr<key::v1::DeviceLabels> Credentials::Label(absl::string_view actor,
                                                         const key::v1::LabelDeviceRequest& request) {
  MutexLock lock(&mutex_);
  DeviceNames names(parts_.store->store(), parts_.clock->Now());
  ASSIGN_OR_RETURN(const bool changed, names.ChangeLabels(request));
  key::v1::DeviceLabels after;
  after.set_name(request.name());
  if (changed) {
    std::string detail = keys::ShowLabels(request.set());
    for (const std::string& key : request.remove()) absl::StrAppend(&detail, detail.empty() ? "" : ", ", key, "-");
    AuditEvent event = MakeEvent(*parts_.clock, actor, "device.labelled", request.name(), detail);
    RETURN_IF_ERROR(
        parts_.trail
            ->Commit({std::move(event)}, [&](int64_t, store::Transaction* transaction) { names.AddTo(transaction); })
            .status());
  }
  const absl::string_view subject = absl::StripPrefix(request.name(), keys::kDeviceLabelsPrefix);
  ASSIGN_OR_RETURN(*after.mutable_labels(), DeviceNames::LabelsOf(parts_.store->store(), subject));
  return after;
}

}  // namespace parley::keyd
