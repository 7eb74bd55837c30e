#include "services/keyd/trust/trust_authority.h"

#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "lib/keys/roles.h"
#include "lib/trust/certificate.h"
#include "services/keyd/domain/credential_rules.h"

namespace parley::keyd {
namespace {

using key::v1::CredentialRecord;
using trust::v1::Certificate;

absl::Status Invalid(absl::string_view reason, absl::string_view sentence) {
  return Error(absl::StatusCode::kInvalidArgument, reason, sentence);
}

absl::Status DeviceUnknown(absl::string_view sentence) {
  return Error(absl::StatusCode::kFailedPrecondition, "DEVICE_UNKNOWN", sentence);
}

absl::Status Moved() {
  return Error(absl::StatusCode::kAborted, "CHAIN_MOVED",
               "the chain of trust has another certificate in this place by now; read it and sign again");
}

// Whose credential it is to be.
void SetHolder(const trust::Chain& chain, const std::string& device, Credentials::IssueSpec* spec) {
  const trust::User& user = *chain.FindUser(chain.FindDevice(device)->user);
  spec->role = user.role;
  spec->subject = user.name;
  spec->device = trust::DeviceName(device);
}

}  // namespace

absl::StatusOr<std::unique_ptr<TrustAuthority>> TrustAuthority::Open(const KeyStore* store, std::string organisation,
                                                                     Credentials* credentials, const Clock* clock) {
  std::unique_ptr<TrustAuthority> authority(new TrustAuthority(store, std::move(organisation), credentials, clock));
  MutexLock lock(&authority->mutex_);
  RETURN_IF_ERROR(authority->Load());
  return authority;
}

absl::Status TrustAuthority::Load() const {
  if (loaded_) return absl::OkStatus();
  chain_.reset();
  ASSIGN_OR_RETURN(chain_, store_->LoadChain());
  loaded_ = true;
  return absl::OkStatus();
}

absl::Status TrustAuthority::EnsureFounded() const {
  RETURN_IF_ERROR(Load());
  if (chain_.has_value()) return absl::OkStatus();
  return Error(absl::StatusCode::kFailedPrecondition, "CHAIN_EMPTY",
               "there is no chain of trust yet; found it with `parley org init`");
}

absl::Status TrustAuthority::Forget(const absl::Status& failure) {
  loaded_ = false;
  // Another keyd on the same store was faster.
  return absl::IsAborted(failure) ? Moved() : failure;
}

absl::Status TrustAuthority::CheckCaller(const Caller& caller, const CertificateBatch& batch) const {
  ASSIGN_OR_RETURN(const CredentialRecord record, credentials_->Get(CredentialName(caller.serial)));
  for (const Certificate& certificate : batch.read) {
    if (record.device().empty() || record.device() != trust::DeviceName(certificate.author_device())) {
      return Error(absl::StatusCode::kPermissionDenied, "CHAIN_NOT_CALLER",
                   "a certificate is appended by the device that signed it; use that device's credential");
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<bool> TrustAuthority::Has(const CertificateBatch& batch) const {
  const int64_t first = batch.read.front().sequence();
  if (first > chain_->head().sequence) return false;
  for (size_t i = 0; i < batch.received.size(); ++i) {
    if (chain_->HashAt(first + static_cast<int64_t>(i)) != trust::HashOf(batch.received[i])) return Moved();
  }
  return true;
}

absl::StatusOr<Credentials::Issued> TrustAuthority::IssuedTo(const std::string& device) const {
  if (chain_->IsLive(device)) {
    ASSIGN_OR_RETURN(const std::vector<std::string> serials, credentials_->SerialsOfDevice(trust::DeviceName(device)));
    for (const std::string& serial : serials) {
      ASSIGN_OR_RETURN(Credentials::Issued issued, credentials_->IssuedAs(serial));
      if (!issued.record.has_revoke_time()) return issued;
    }
  }
  return Error(absl::StatusCode::kFailedPrecondition, "CHAIN_REVOKED",
               "the device was enrolled with this certificate before, and it or its credential was revoked since");
}

absl::Status TrustAuthority::BeginIssue(const Caller& caller, const std::string& request_id, const std::string& content,
                                        absl::Duration ttl, Credentials::IssueSpec* spec) const {
  RETURN_IF_ERROR(CheckTtl(ttl));
  spec->ttl = ttl;
  spec->issuer = caller.subject;
  spec->actor = caller.actor;
  return Credentials::SetRequest(caller.subject, request_id, content, spec);
}

absl::StatusOr<Credentials::Issued> TrustAuthority::Found(const Caller& caller,
                                                          const trust::v1::FoundOrganisationRequest& request) {
  ASSIGN_OR_RETURN(const CertificateBatch batch, CertificateBatch::Read(request.certificates()));
  if (batch.read.size() != 2) {
    return Invalid("CERTIFICATES", "a founding has two certificates, of the first admin and its device");
  }
  const std::string& root = request.root_verification_key();
  Credentials::IssueSpec spec;
  RETURN_IF_ERROR(
      BeginIssue(caller, request.request_id(), root + batch.Content(), TtlOf(request.has_ttl(), request.ttl()), &spec));
  MutexLock lock(&mutex_);
  RETURN_IF_ERROR(Load());
  if (chain_.has_value()) {
    const bool same =
        chain_->root_verification_key() == root && chain_->head().sequence == 2 && Has(batch).value_or(false);
    if (same) return IssuedTo(batch.read.back().device().device());
    return Error(absl::StatusCode::kAlreadyExists, "CHAIN_FOUNDED",
                 "the organisation has a chain of trust already; an admin of it can invite you");
  }
  ASSIGN_OR_RETURN(trust::Chain chain, trust::Chain::Create(root));
  RETURN_IF_ERROR(chain.AppendTogether(batch.received, clock_->Now()));
  SetHolder(chain, batch.read.back().device().device(), &spec);
  spec.events = batch.Events(*clock_, caller.actor, /*reason=*/"");
  spec.also = [&](store::Transaction* transaction) {
    KeyStore::PutTrustRoot(root, transaction);
    KeyStore::PutCertificates(batch.received, 1, transaction);
  };
  absl::StatusOr<Credentials::Issued> issued = credentials_->IssueOnce(spec);
  if (!issued.ok()) return Forget(issued.status());
  chain_ = std::move(chain);
  return issued;
}

absl::StatusOr<TrustAuthority::Enrolled> TrustAuthority::Enrol(const Caller& caller,
                                                               const trust::v1::EnrolRequest& request) {
  ASSIGN_OR_RETURN(const CertificateBatch batch, CertificateBatch::Read(request.certificates()));
  ASSIGN_OR_RETURN(const trust::v1::DeviceCertificate device, batch.EnrolledDevice());
  RETURN_IF_ERROR(CheckCaller(caller, batch));
  Credentials::IssueSpec spec;
  RETURN_IF_ERROR(
      BeginIssue(caller, request.request_id(), batch.Content(), TtlOf(request.has_ttl(), request.ttl()), &spec));
  Enrolled enrolled;
  enrolled.sequence = batch.read.back().sequence();
  MutexLock lock(&mutex_);
  RETURN_IF_ERROR(EnsureFounded());
  ASSIGN_OR_RETURN(const bool had, Has(batch));
  if (had) {
    ASSIGN_OR_RETURN(enrolled.issued, IssuedTo(device.device()));
    return enrolled;
  }
  // Before the chain is changed, because changing it back means to read all of it.
  RETURN_IF_ERROR(credentials_->IssuedBefore(spec).status());
  RETURN_IF_ERROR(chain_->AppendTogether(batch.received, clock_->Now()));
  SetHolder(*chain_, device.device(), &spec);
  spec.events = batch.Events(*clock_, caller.actor, /*reason=*/"");
  spec.also = [&](store::Transaction* transaction) {
    KeyStore::PutCertificates(batch.received, batch.read.front().sequence(), transaction);
  };
  absl::StatusOr<Credentials::Issued> issued = credentials_->IssueOnce(spec);
  if (!issued.ok()) return Forget(issued.status());
  enrolled.issued = *std::move(issued);
  return enrolled;
}

absl::StatusOr<TrustAuthority::Appended> TrustAuthority::Append(const Caller& caller,
                                                                const trust::v1::AppendCertificatesRequest& request) {
  ASSIGN_OR_RETURN(const CertificateBatch batch, CertificateBatch::Read(request.certificates()));
  for (const Certificate& certificate : batch.read) {
    if (certificate.has_user() || certificate.has_device()) {
      return Invalid("CERTIFICATES", "users and devices are added by enrolment, together with their credential");
    }
  }
  RETURN_IF_ERROR(CheckRevocationReason(request.reason()));
  RETURN_IF_ERROR(CheckCaller(caller, batch));
  Appended appended;
  appended.sequence = batch.read.back().sequence();
  MutexLock lock(&mutex_);
  RETURN_IF_ERROR(EnsureFounded());
  ASSIGN_OR_RETURN(const bool had, Has(batch));
  if (had) return appended;
  ASSIGN_OR_RETURN(std::vector<std::string> serials, SerialsToRevoke(batch));
  RETURN_IF_ERROR(chain_->AppendTogether(batch.received, clock_->Now()));
  Credentials::RevokeSpec spec;
  spec.actor = caller.actor;
  spec.serials = std::move(serials);
  spec.reason = request.reason();
  spec.events = batch.Events(*clock_, caller.actor, request.reason());
  spec.also = [&](store::Transaction* transaction) {
    KeyStore::PutCertificates(batch.received, batch.read.front().sequence(), transaction);
  };
  absl::StatusOr<std::vector<CredentialRecord>> revoked = credentials_->RevokeTogether(spec);
  if (!revoked.ok()) return Forget(revoked.status());
  appended.revoked = *std::move(revoked);
  return appended;
}

absl::StatusOr<std::vector<std::string>> TrustAuthority::SerialsToRevoke(const CertificateBatch& batch) const {
  std::set<std::string> serials;
  const auto add = [&](const trust::Device& device, std::optional<access::v1::Role> lowered_to) -> absl::Status {
    ASSIGN_OR_RETURN(const std::vector<std::string> issued,
                     credentials_->SerialsOfDevice(trust::DeviceName(device.id)));
    for (const std::string& serial : issued) {
      ASSIGN_OR_RETURN(const CredentialRecord record, credentials_->Get(CredentialName(serial)));
      // Roles are numbered from the highest on. A credential of a lower one than the user's does no harm.
      if (!lowered_to.has_value() || record.role() < *lowered_to) serials.insert(serial);
    }
    return absl::OkStatus();
  };
  for (const Certificate& certificate : batch.read) {
    if (certificate.has_device_revocation()) {
      const trust::Device* const device = chain_->FindDevice(certificate.device_revocation().device());
      if (device != nullptr) RETURN_IF_ERROR(add(*device, std::nullopt));
      continue;
    }
    const bool revoked = certificate.has_user_revocation();
    const std::string& user = revoked ? certificate.user_revocation().user() : certificate.role().user();
    for (const trust::Device* const device : chain_->DevicesOf(user)) {
      RETURN_IF_ERROR(add(*device, revoked ? std::nullopt : std::optional(certificate.role().role())));
    }
  }
  return std::vector<std::string>(serials.begin(), serials.end());
}

absl::StatusOr<Credentials::Issued> TrustAuthority::Renew(const Caller& caller,
                                                          const trust::v1::RenewCredentialRequest& request) {
  Credentials::IssueSpec spec;
  RETURN_IF_ERROR(BeginIssue(caller, request.request_id(), absl::StrCat("renew\n", caller.serial),
                             TtlOf(request.has_ttl(), request.ttl()), &spec));
  ASSIGN_OR_RETURN(const CredentialRecord record, credentials_->Get(CredentialName(caller.serial)));
  const std::optional<std::string> device = trust::ParseDeviceName(record.device());
  MutexLock lock(&mutex_);
  RETURN_IF_ERROR(EnsureFounded());
  if (!device.has_value() || !chain_->IsLive(*device)) {
    return DeviceUnknown("only the credential of an enrolled device is renewed; ask an admin for another one");
  }
  SetHolder(*chain_, *device, &spec);
  return credentials_->IssueOnce(spec);
}

absl::StatusOr<Credentials::Issued> TrustAuthority::Issue(const Caller& caller,
                                                          const key::v1::IssueCredentialRequest& request) {
  if (request.device().empty()) return credentials_->Issue(caller.subject, request);
  const std::optional<std::string> device = trust::ParseDeviceName(request.device());
  MutexLock lock(&mutex_);
  RETURN_IF_ERROR(EnsureFounded());
  if (!device.has_value() || !chain_->IsLive(*device)) {
    return DeviceUnknown("there is no such device, or it was revoked; `parley device list` shows those there are");
  }
  const trust::User& user = *chain_->FindUser(chain_->FindDevice(*device)->user);
  if (user.role != request.role() || user.name != request.subject()) {
    return DeviceUnknown(absl::StrCat("the device is one of ", user.name, ", whose role is ", keys::RoleName(user.role),
                                      "; ask for that"));
  }
  return credentials_->Issue(caller.subject, request);
}

absl::StatusOr<store::KeyRange> TrustAuthority::CertificatesAfter(int64_t sequence) {
  if (sequence < 0) return Invalid("AFTER_SEQUENCE", "after_sequence must not be negative");
  return KeyStore::CertificatesAfter(sequence);
}

absl::StatusOr<int64_t> TrustAuthority::LastSequence() const {
  MutexLock lock(&mutex_);
  RETURN_IF_ERROR(Load());
  return chain_.has_value() ? chain_->head().sequence : 0;
}

absl::StatusOr<trust::v1::ListCertificatesResponse> TrustAuthority::List(
    const trust::v1::ListCertificatesRequest& request) const {
  ASSIGN_OR_RETURN(const int page_size, PageSize(request.page_size()));
  RETURN_IF_ERROR(CertificatesAfter(request.after_sequence()).status());
  ASSIGN_OR_RETURN(const int64_t last, LastSequence());
  trust::v1::ListCertificatesResponse response;
  response.set_organisation(organisation_);
  response.set_last_sequence(last);
  // Not beyond what last_sequence says.
  ASSIGN_OR_RETURN(const auto certificates, store_->Certificates(request.after_sequence(), last, page_size));
  *response.mutable_certificates() = {certificates.begin(), certificates.end()};
  return response;
}

}  // namespace parley::keyd
