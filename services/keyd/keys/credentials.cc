#include "services/keyd/keys/credentials.h"

#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/base/proto_time.h"
#include "lib/base/uuid.h"
#include "lib/crypto/hash.h"
#include "lib/crypto/kdf.h"
#include "lib/store/update.h"
#include "services/keyd/domain/audit_events.h"
#include "services/keyd/store/device_names.h"

namespace parley::keyd {
namespace {

using key::v1::AuditEvent;
using key::v1::CredentialRecord;

constexpr absl::Duration kRequestMemory = absl::Hours(24);
// In one commit, of 128 operations: each takes four and, with a device's name, one more. The rest is for 25
// certificates, which take three.
constexpr size_t kRevokedTogether = 8;

}  // namespace

absl::StatusOr<Credentials::IssueSpec> Credentials::Requested(const rpc::Caller& caller, absl::string_view request_id,
                                                              absl::Duration ttl, absl::string_view content) {
  if (!IsUuid(request_id)) return InvalidArgument("REQUEST_ID", "request_id must be a UUID, a new one per credential");
  IssueSpec spec;
  spec.ttl = ttl;
  spec.issuer = caller.subject();
  spec.actor = caller.Name();
  spec.request_hash = HexEncode(crypto::Sha256(absl::StrCat(spec.issuer, "\n", absl::AsciiStrToLower(request_id))));
  spec.request_digest = crypto::Sha256(content);
  return spec;
}

absl::StatusOr<Credentials::IssueSpec> Credentials::Requested(const rpc::Caller& caller,
                                                              const key::v1::IssueCredentialRequest& request) {
  ASSIGN_OR_RETURN(IssueSpec spec, Requested(caller, request.request_id(), TtlOf(request), ContentOf(request)));
  spec.role = request.role();
  spec.subject = request.subject();
  spec.device = request.device();
  spec.labels = request.labels();
  return spec;
}

absl::Status Credentials::Issue(const rpc::Caller& caller, const key::v1::IssueCredentialRequest& request,
                                key::v1::IssueCredentialResponse* response) {
  ASSIGN_OR_RETURN(const IssueSpec spec, Requested(caller, request));
  return Answer(IssueOnce(spec), response);
}

absl::StatusOr<Credentials::Issued> Credentials::IssueOnce(const IssueSpec& spec) {
  return store::RetryConflicts([&] { return TryIssueOnce(spec); });
}

absl::StatusOr<Credentials::Issued> Credentials::TryIssueOnce(const IssueSpec& spec) {
  RETURN_IF_ERROR(CheckIssue(spec.role, spec.subject, spec.ttl, spec.labels));
  int64_t request_revision = 0;
  ASSIGN_OR_RETURN(std::optional<Issued> before, FindIssued(spec, &request_revision));
  if (before.has_value()) return *std::move(before);
  absl::StatusOr<Issued> issued = IssueNew(spec, request_revision);
  // Perhaps it was the roots, which another keyd has rotated.
  if (absl::IsAborted(issued.status())) RETURN_IF_ERROR(roots_->Refresh());
  return issued;
}

absl::StatusOr<std::optional<Credentials::Issued>> Credentials::FindIssued(const IssueSpec& spec,
                                                                           int64_t* revision) const {
  if (spec.request_hash.empty()) return std::nullopt;
  ASSIGN_OR_RETURN(const auto answered, store_->FindRequest(spec.request_hash));
  *revision = answered.revision;
  if (answered.value.serial().empty()) return std::nullopt;
  if (answered.value.digest() != spec.request_digest) {
    return FailedPrecondition("REQUEST_ID_REUSED", "this request_id was used for another credential; take a new one");
  }
  ASSIGN_OR_RETURN(Issued issued, IssuedAs(answered.value.serial()));
  return std::optional<Issued>(std::move(issued));
}

absl::StatusOr<Credentials::Issued> Credentials::IssuedAs(absl::string_view serial) const {
  Issued issued;
  ASSIGN_OR_RETURN(issued.record, Get(CredentialName(serial)));
  ASSIGN_OR_RETURN(issued.credential, Mint(issued.record));
  return issued;
}

absl::Status Credentials::Answer(const absl::StatusOr<Issued>& issued, key::v1::IssueCredentialResponse* response) {
  RETURN_IF_ERROR(issued.status());
  *response->mutable_record() = issued->record;
  response->set_ca_pem(issued->credential.ca_pem);
  for (const keys::AudienceKey& key : issued->credential.keys) {
    key::v1::AudienceSecret* const secret = response->add_secrets();
    secret->set_audience(key.audience);
    secret->set_identity(key.identity);
    secret->set_address(key.address);
    secret->set_secret(key.secret.Expose().data(), key.secret.size());
  }
  return absl::OkStatus();
}

absl::StatusOr<Credentials::Issued> Credentials::IssueNew(const IssueSpec& spec, int64_t request_revision) {
  const absl::Time now = store_->Now();
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
  records::IssueRequest answered;
  answered.set_digest(spec.request_digest);
  answered.set_serial(SerialOfName(record.name()));
  *answered.mutable_expire_time() = ToProto(now + kRequestMemory);
  const RootKeys::Primary primary = roots_->primary();
  record.set_epoch(primary.epoch);
  ASSIGN_OR_RETURN(issued.credential, Mint(record));
  // The labels are stored with the name.
  const CredentialRecord stored = record;
  DeviceNames names(store_);
  if (spec.role == access::v1::ROLE_DEVICE) {
    ASSIGN_OR_RETURN(*record.mutable_labels(), names.AddCredential(record, spec.labels));
  }
  std::vector<AuditEvent> events = spec.events;
  events.push_back(NewEvent(spec.actor, "credential.issued", record.name(), Describe(record)));
  RETURN_IF_ERROR(store_->trail()->Commit(std::move(events), [&](int64_t sequence, store::Transaction* transaction) {
    transaction->conditions.push_back(primary.unchanged);
    KeyStore::PutIssued(stored, sequence, transaction);
    if (!spec.request_hash.empty()) {
      KeyStore::PutRequest(spec.request_hash, request_revision, answered, transaction);
    }
    names.AddTo(transaction);
    if (spec.also) spec.also(transaction);
  }));
  return issued;
}

absl::StatusOr<keys::Credential> Credentials::Mint(const CredentialRecord& record) const {
  keys::Credential credential;
  credential.role = record.role();
  credential.subject = record.subject();
  credential.serial = SerialOfName(record.name());
  credential.not_after = ToTime(record.expire_time());
  credential.ca_pem = organisation_->ca_pem();
  const keys::Claims claims{record.role(), record.subject(), *HexDecode(credential.serial), credential.not_after};
  for (const absl::string_view audience : AudiencesOf(record.role())) {
    const std::string name(audience);
    absl::StatusOr<keys::Keyring::Minted> minted = roots_->keyring(audience)->Mint(claims, record.epoch());
    if (absl::IsNotFound(minted.status())) {
      return FailedPrecondition("EPOCH_RETIRED",
                                "the root that this credential was issued under has been retired; issue a new one");
    }
    RETURN_IF_ERROR(minted.status());
    const auto address = addresses_.find(name);
    credential.keys.push_back({name, address == addresses_.end() ? "" : address->second, std::move(minted->identity),
                               std::move(minted->secret)});
  }
  return credential;
}

absl::StatusOr<CredentialRecord> Credentials::Get(absl::string_view name) const {
  ASSIGN_OR_RETURN(auto stored, store_->GetCredential(name));
  CredentialRecord& record = stored.value;
  ASSIGN_OR_RETURN(const std::set<uint32_t> live, store_->LiveEpochs());
  record.set_retired(live.count(record.epoch()) == 0);
  if (record.role() == access::v1::ROLE_DEVICE && !record.has_revoke_time()) {
    ASSIGN_OR_RETURN(*record.mutable_labels(), DeviceNames::LabelsOf(*store_, record.subject()));
  }
  return std::move(record);
}

absl::Status Credentials::List(const key::v1::ListCredentialsRequest& request,
                               key::v1::ListCredentialsResponse* response) const {
  ASSIGN_OR_RETURN(const int page_size, PageSize(request.page_size()));
  ASSIGN_OR_RETURN(const std::vector<std::string> serials,
                   store_->ListIssued(request.page_token(), page_size, response->mutable_next_page_token()));
  for (const std::string& serial : serials) {
    ASSIGN_OR_RETURN(*response->add_credentials(), Get(CredentialName(serial)));
  }
  return absl::OkStatus();
}

absl::StatusOr<CredentialRecord> Credentials::Revoke(absl::string_view actor,
                                                     const key::v1::RevokeCredentialRequest& request) {
  RETURN_IF_ERROR(store_->GetCredential(request.name()).status());
  const std::string serial = SerialOfName(request.name());
  const RevokeSpec spec{std::string(actor), {serial}, request.reason(), {}, nullptr};
  RETURN_IF_ERROR(store::RetryConflicts([&] { return TryRevokeTogether(spec); }).status());
  return Get(request.name());
}

absl::StatusOr<std::vector<CredentialRecord>> Credentials::TryRevokeTogether(const RevokeSpec& spec) {
  RETURN_IF_ERROR(CheckRevocationReason(spec.reason));
  std::vector<CredentialRecord> revoked;
  size_t first = 0;
  // What is beyond one commit is revoked first: whoever sees a part of it sees less that is good, not more.
  for (; spec.serials.size() - first > kRevokedTogether; first += kRevokedTogether) {
    const auto begin = spec.serials.begin() + first;
    ASSIGN_OR_RETURN(std::vector<CredentialRecord> some,
                     RevokeSome({spec.actor, {begin, begin + kRevokedTogether}, spec.reason, {}, nullptr}));
    revoked.insert(revoked.end(), some.begin(), some.end());
  }
  RevokeSpec last = spec;
  last.serials.assign(spec.serials.begin() + first, spec.serials.end());
  ASSIGN_OR_RETURN(std::vector<CredentialRecord> rest, RevokeSome(last));
  revoked.insert(revoked.end(), rest.begin(), rest.end());
  return revoked;
}

absl::StatusOr<std::vector<CredentialRecord>> Credentials::RevokeSome(const RevokeSpec& spec) {
  std::vector<CredentialRecord> revoked;
  std::vector<AuditEvent> events = spec.events;
  store::Transaction changes;
  DeviceNames names(store_);
  for (const std::string& serial : spec.serials) {
    ASSIGN_OR_RETURN(auto stored, store_->GetCredential(CredentialName(serial)));
    CredentialRecord& record = stored.value;
    if (record.has_revoke_time()) continue;
    if (record.role() == access::v1::ROLE_DEVICE) RETURN_IF_ERROR(names.RemoveCredential(record));
    *record.mutable_revoke_time() = ToProto(store_->Now());
    KeyStore::PutRevoked(record, stored.revision, &changes);
    events.push_back(NewEvent(spec.actor, "credential.revoked", record.name(), spec.reason));
    revoked.push_back(std::move(record));
  }
  if (events.empty()) return revoked;
  names.AddTo(&changes);
  const auto together = [&](int64_t, store::Transaction* transaction) {
    *transaction = changes;
    if (spec.also) spec.also(transaction);
  };
  RETURN_IF_ERROR(store_->trail()->Commit(std::move(events), together));
  return revoked;
}

absl::Status Credentials::Label(const rpc::Caller& caller, const key::v1::LabelDeviceRequest& request,
                                key::v1::DeviceLabels* response) {
  return store::RetryConflicts([&] { return TryLabel(caller, request, response); });
}

absl::Status Credentials::TryLabel(const rpc::Caller& caller, const key::v1::LabelDeviceRequest& request,
                                   key::v1::DeviceLabels* response) {
  DeviceNames names(store_);
  ASSIGN_OR_RETURN(const bool changed, names.ChangeLabels(request, response));
  if (!changed) return absl::OkStatus();
  std::string detail = keys::ShowLabels(request.set());
  for (const std::string& key : request.remove()) absl::StrAppend(&detail, detail.empty() ? "" : ", ", key, "-");
  return store_->trail()->Commit({NewEvent(caller.Name(), "device.labelled", request.name(), detail)},
                                 [&](int64_t, store::Transaction* transaction) { names.AddTo(transaction); });
}

}  // namespace parley::keyd
