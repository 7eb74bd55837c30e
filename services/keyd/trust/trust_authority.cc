#include "services/keyd/trust/trust_authority.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "lib/base/proto_time.h"
#include "lib/keys/roles.h"
#include "lib/store/update.h"
#include "lib/trust/certificate.h"
#include "services/keyd/domain/credential_rules.h"

namespace parley::keyd {
namespace {

using key::v1::CredentialRecord;
using Condition = store::Transaction::Condition;
using trust::v1::Certificate;

absl::Status Moved() {
  return Error(absl::StatusCode::kAborted, "CHAIN_MOVED",
               "the chain of trust has another certificate in this place by now; read it and sign again");
}

absl::StatusOr<Credentials::IssueSpec> Requested(const rpc::Caller& caller, const std::string& request_id,
                                                 absl::Duration ttl, const std::string& content) {
  RETURN_IF_ERROR(CheckTtl(ttl));
  return Credentials::Requested(caller, request_id, ttl, content);
}

// Whose credential it is to be.
void SetHolder(const trust::User& user, const std::string& device, Credentials::IssueSpec* spec) {
  spec->role = user.role;
  spec->subject = user.name;
  spec->device = device;
}

}  // namespace

absl::Status TrustAuthority::Update() const {
  const absl::Status updated = store_->UpdateChain(&chain_);
  if (!updated.ok()) chain_.reset();
  return updated;
}

absl::Status TrustAuthority::EnsureFounded() const {
  RETURN_IF_ERROR(Update());
  if (chain_.has_value()) return absl::OkStatus();
  return FailedPrecondition("CHAIN_EMPTY", "there is no chain of trust yet; found it with `parley org init`");
}

absl::StatusOr<Condition> TrustAuthority::CheckLive(const rpc::Caller& caller, std::string* device) const {
  const std::string& serial = caller.peer->key.key_id;
  ASSIGN_OR_RETURN(const auto credential, store_->GetCredential(CredentialName(serial)));
  if (credential.value.has_revoke_time()) return Unauthenticated("KEY_REVOKED", "the credential was revoked");
  *device = credential.value.device();
  return Condition{absl::StrCat(kCredentialPrefix, serial), credential.revision};
}

absl::StatusOr<Condition> TrustAuthority::CheckCaller(const rpc::Caller& caller, const CertificateBatch& batch) const {
  std::string device;
  ASSIGN_OR_RETURN(Condition live, CheckLive(caller, &device));
  for (const Certificate& certificate : batch.read) {
    if (device.empty() || device != trust::DeviceName(certificate.author_device())) {
      return PermissionDenied("CHAIN_NOT_CALLER",
                              "a certificate is appended by the device that signed it; use that device's credential");
    }
  }
  return live;
}

absl::StatusOr<bool> TrustAuthority::Has(const CertificateBatch& batch) const {
  const int64_t first = batch.read.front().sequence();
  if (first > chain_->head().sequence) return false;
  for (size_t i = 0; i < batch.received.size(); ++i) {
    if (chain_->HashAt(first + static_cast<int64_t>(i)) != trust::HashOf(batch.received[i])) return Moved();
  }
  return true;
}

absl::StatusOr<Credentials::Issued> TrustAuthority::IssuedFor(const CertificateBatch& batch) const {
  const std::string& device = batch.read.back().device().device();
  if (chain_->IsLive(device)) {
    ASSIGN_OR_RETURN(const auto credentials, store_->CredentialsOfDevice(trust::DeviceName(device)));
    for (const std::string& serial : credentials.serials) {
      ASSIGN_OR_RETURN(Credentials::Issued issued, credentials_->IssuedAs(serial));
      if (!issued.record.has_revoke_time()) return issued;
    }
  }
  return FailedPrecondition(
      "CHAIN_REVOKED",
      "the device was enrolled with this certificate before, and it or its credential was revoked since");
}

absl::Status TrustAuthority::CommitEnrolment(const CertificateBatch& batch, Credentials::IssueSpec spec,
                                             key::v1::IssueCredentialResponse* response) {
  const std::string& device = batch.read.back().device().device();
  SetHolder(*chain_->FindUser(chain_->FindDevice(device)->user), trust::DeviceName(device), &spec);
  spec.events = batch.Events(spec.actor, /*reason=*/"");
  const int64_t first = batch.read.front().sequence();
  spec.also = [&, root = chain_->root_verification_key(), also = spec.also](store::Transaction* transaction) {
    // The founding stores the root as well.
    if (first == 1) KeyStore::PutTrustRoot(root, transaction);
    KeyStore::PutCertificates(batch.received, first, transaction);
    if (also) also(transaction);
  };
  const absl::Status issued = Credentials::Answer(credentials_->TryIssueOnce(spec), response);
  // What the store has is not known then, so the chain is read again.
  if (!issued.ok()) chain_.reset();
  return issued;
}

absl::Status TrustAuthority::Found(const rpc::Caller& caller, const trust::v1::FoundOrganisationRequest& request,
                                   trust::v1::FoundOrganisationResponse* response) {
  ASSIGN_OR_RETURN(const CertificateBatch batch, CertificateBatch::Read(request.certificates()));
  if (batch.read.size() != 2) {
    return InvalidArgument("CERTIFICATES", "a founding has two certificates, of the first admin and its device");
  }
  const std::string& root = request.root_verification_key();
  ASSIGN_OR_RETURN(Credentials::IssueSpec spec,
                   Requested(caller, request.request_id(), TtlOf(request), root + batch.Content()));
  response->set_organisation(organisation_->name());
  return store::RetryConflicts([&] { return TryFound(batch, root, spec, response); });
}

absl::Status TrustAuthority::TryFound(const CertificateBatch& batch, const std::string& root,
                                      Credentials::IssueSpec spec, trust::v1::FoundOrganisationResponse* response) {
  MutexLock lock(&mutex_);
  RETURN_IF_ERROR(Update());
  if (chain_.has_value()) {
    const bool same =
        chain_->root_verification_key() == root && chain_->head().sequence == 2 && Has(batch).value_or(false);
    if (same) return Credentials::Answer(IssuedFor(batch), response->mutable_credential());
    return Error(absl::StatusCode::kAlreadyExists, "CHAIN_FOUNDED",
                 "the organisation has a chain of trust already; an admin of it can invite you");
  }
  ASSIGN_OR_RETURN(trust::Chain chain, trust::Chain::Create(root));
  RETURN_IF_ERROR(chain.AppendTogether(batch.received, store_->Now()));
  chain_ = std::move(chain);
  return CommitEnrolment(batch, std::move(spec), response->mutable_credential());
}

absl::Status TrustAuthority::Enrol(const rpc::Caller& caller, const trust::v1::EnrolRequest& request,
                                   trust::v1::EnrolResponse* response) {
  ASSIGN_OR_RETURN(const CertificateBatch batch, CertificateBatch::Read(request.certificates()));
  RETURN_IF_ERROR(batch.CheckEnrolment());
  ASSIGN_OR_RETURN(const Credentials::IssueSpec spec,
                   Requested(caller, request.request_id(), TtlOf(request), batch.Content()));
  response->set_sequence(batch.read.back().sequence());
  return store::RetryConflicts([&] { return TryEnrol(caller, batch, spec, response); });
}

absl::Status TrustAuthority::TryEnrol(const rpc::Caller& caller, const CertificateBatch& batch,
                                      Credentials::IssueSpec spec, trust::v1::EnrolResponse* response) {
  ASSIGN_OR_RETURN(const Condition live, CheckCaller(caller, batch));
  MutexLock lock(&mutex_);
  RETURN_IF_ERROR(EnsureFounded());
  ASSIGN_OR_RETURN(const bool had, Has(batch));
  if (had) return Credentials::Answer(IssuedFor(batch), response->mutable_credential());
  // Before the chain is changed, because changing it back means to read all of it.
  RETURN_IF_ERROR(credentials_->IssuedBefore(spec).status());
  RETURN_IF_ERROR(chain_->AppendTogether(batch.received, store_->Now()));
  spec.also = [live](store::Transaction* transaction) { transaction->conditions.push_back(live); };
  return CommitEnrolment(batch, std::move(spec), response->mutable_credential());
}

absl::Status TrustAuthority::Append(const rpc::Caller& caller, const trust::v1::AppendCertificatesRequest& request,
                                    trust::v1::AppendCertificatesResponse* response) {
  ASSIGN_OR_RETURN(const CertificateBatch batch, CertificateBatch::Read(request.certificates()));
  for (const Certificate& certificate : batch.read) {
    if (certificate.has_user() || certificate.has_device()) {
      return InvalidArgument("CERTIFICATES",
                             "users and devices are added by enrolment, together with their credential");
    }
  }
  RETURN_IF_ERROR(CheckRevocationReason(request.reason()));
  response->set_sequence(batch.read.back().sequence());
  return store::RetryConflicts([&] { return TryAppend(caller, batch, request.reason(), response); });
}

absl::Status TrustAuthority::TryAppend(const rpc::Caller& caller, const CertificateBatch& batch,
                                       const std::string& reason, trust::v1::AppendCertificatesResponse* response) {
  std::vector<Condition> unchanged(1);
  ASSIGN_OR_RETURN(unchanged[0], CheckCaller(caller, batch));
  MutexLock lock(&mutex_);
  RETURN_IF_ERROR(EnsureFounded());
  ASSIGN_OR_RETURN(const bool had, Has(batch));
  Credentials::RevokeSpec spec;
  ASSIGN_OR_RETURN(spec.serials, SerialsToRevoke(batch, &unchanged));
  if (had) {
    // The answer to the first time may have been that it is not in force everywhere yet.
    for (const std::string& serial : spec.serials) response->add_credentials(CredentialName(serial));
    response->set_revoked_credentials(response->credentials_size());
    return absl::OkStatus();
  }
  // A caller who revokes itself as well does so last.
  std::stable_partition(spec.serials.begin(), spec.serials.end(),
                        [&](const std::string& serial) { return serial != caller.peer->key.key_id; });
  RETURN_IF_ERROR(chain_->AppendTogether(batch.received, store_->Now()));
  spec.actor = caller.Name();
  spec.reason = reason;
  spec.events = batch.Events(spec.actor, spec.reason);
  spec.also = [&](store::Transaction* transaction) {
    KeyStore::PutCertificates(batch.received, batch.read.front().sequence(), transaction);
    for (const Condition& condition : unchanged) {
      // The caller may be among those that are revoked, whose records have this condition already.
      const bool there = std::any_of(transaction->conditions.begin(), transaction->conditions.end(),
                                     [&](const Condition& other) { return other.key == condition.key; });
      if (!there) transaction->conditions.push_back(condition);
    }
  };
  const absl::StatusOr<std::vector<CredentialRecord>> revoked = credentials_->TryRevokeTogether(spec);
  if (!revoked.ok()) {
    chain_.reset();
    return revoked.status();
  }
  for (const CredentialRecord& record : *revoked) response->add_credentials(record.name());
  response->set_revoked_credentials(response->credentials_size());
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::string>> TrustAuthority::SerialsToRevoke(const CertificateBatch& batch,
                                                                         std::vector<Condition>* unchanged) const {
  std::set<std::string> serials;
  for (const Certificate& certificate : batch.read) {
    std::vector<const trust::Device*> devices;
    if (certificate.has_device_revocation()) {
      const trust::Device* const device = chain_->FindDevice(certificate.device_revocation().device());
      if (device != nullptr) devices = {device};
    } else {
      devices =
          chain_->DevicesOf(certificate.has_role() ? certificate.role().user() : certificate.user_revocation().user());
    }
    for (const trust::Device* const device : devices) {
      ASSIGN_OR_RETURN(const auto issued, store_->CredentialsOfDevice(trust::DeviceName(device->id)));
      unchanged->push_back(issued.unchanged);
      for (const std::string& serial : issued.serials) {
        ASSIGN_OR_RETURN(const auto credential, store_->GetCredential(CredentialName(serial)));
        if (ToTime(credential.value.expire_time()) + kRevocationGrace < store_->Now()) continue;
        // Roles are numbered from the highest on. A credential of a lower one than the user's does no harm.
        const bool harmless = certificate.has_role() && credential.value.role() >= certificate.role().role();
        if (!harmless) serials.insert(serial);
      }
    }
  }
  return std::vector<std::string>(serials.begin(), serials.end());
}

absl::StatusOr<const trust::User*> TrustAuthority::UserOf(absl::string_view device, absl::string_view otherwise) const {
  RETURN_IF_ERROR(EnsureFounded());
  const std::optional<std::string> id = trust::ParseDeviceName(device);
  if (!id.has_value() || !chain_->IsLive(*id)) return FailedPrecondition("DEVICE_UNKNOWN", otherwise);
  return chain_->FindUser(chain_->FindDevice(*id)->user);
}

absl::Status TrustAuthority::Renew(const rpc::Caller& caller, const trust::v1::RenewCredentialRequest& request,
                                   trust::v1::RenewCredentialResponse* response) {
  ASSIGN_OR_RETURN(const Credentials::IssueSpec spec, Requested(caller, request.request_id(), TtlOf(request),
                                                                absl::StrCat("renew\n", caller.peer->key.key_id)));
  return store::RetryConflicts([&] { return TryRenew(caller, spec, response); });
}

absl::Status TrustAuthority::TryRenew(const rpc::Caller& caller, Credentials::IssueSpec spec,
                                      trust::v1::RenewCredentialResponse* response) {
  std::string device;
  ASSIGN_OR_RETURN(const Condition live, CheckLive(caller, &device));
  MutexLock lock(&mutex_);
  ASSIGN_OR_RETURN(
      const trust::User* const user,
      UserOf(device, "only the credential of an enrolled device is renewed; ask an admin for another one"));
  SetHolder(*user, device, &spec);
  spec.also = [&, last = chain_->head().sequence](store::Transaction* transaction) {
    transaction->conditions.push_back(live);
    KeyStore::KeepChainAt(last, transaction);
  };
  return Credentials::Answer(credentials_->TryIssueOnce(spec), response->mutable_credential());
}

absl::Status TrustAuthority::Issue(const rpc::Caller& caller, const key::v1::IssueCredentialRequest& request,
                                   key::v1::IssueCredentialResponse* response) {
  if (request.device().empty()) return credentials_->Issue(caller, request, response);
  ASSIGN_OR_RETURN(const Credentials::IssueSpec spec, Credentials::Requested(caller, request));
  return store::RetryConflicts([&] { return TryIssue(request, spec, response); });
}

absl::Status TrustAuthority::TryIssue(const key::v1::IssueCredentialRequest& request, Credentials::IssueSpec spec,
                                      key::v1::IssueCredentialResponse* response) {
  MutexLock lock(&mutex_);
  ASSIGN_OR_RETURN(const trust::User* const user,
                   UserOf(request.device(),
                          "there is no such device, or it was revoked; `parley device list` shows those there are"));
  if (user->role != request.role() || user->name != request.subject()) {
    return FailedPrecondition("DEVICE_UNKNOWN", "the device is one of ", user->name, ", whose role is ",
                              keys::RoleName(user->role), "; ask for that");
  }
  spec.also = [last = chain_->head().sequence](store::Transaction* transaction) {
    KeyStore::KeepChainAt(last, transaction);
  };
  return Credentials::Answer(credentials_->TryIssueOnce(spec), response);
}

absl::StatusOr<int64_t> TrustAuthority::LastSequence() const {
  MutexLock lock(&mutex_);
  RETURN_IF_ERROR(Update());
  return chain_.has_value() ? chain_->head().sequence : 0;
}

absl::Status TrustAuthority::List(const trust::v1::ListCertificatesRequest& request,
                                  trust::v1::ListCertificatesResponse* response) const {
  ASSIGN_OR_RETURN(const int page_size, PageSize(request.page_size()));
  RETURN_IF_ERROR(CheckAfterSequence(request.after_sequence()));
  ASSIGN_OR_RETURN(const int64_t last, LastSequence());
  response->set_organisation(organisation_->name());
  response->set_last_sequence(last);
  // Not beyond what last_sequence says.
  return store_->ListCertificates(request.after_sequence(), last, page_size, response);
}

}  // namespace parley::keyd
