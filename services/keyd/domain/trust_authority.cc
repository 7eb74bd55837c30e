#include "services/keyd/domain/trust_authority.h"

#include <algorithm>
#include <limits>
#include <set>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "lib/base/error.h"
#include "lib/trust/certificate.h"
#include "services/keyd/domain/audit_trail.h"
#include "services/keyd/domain/store_layout.h"

namespace parley::keyd {
namespace {

using key::v1::AuditEvent;
using key::v1::CredentialRecord;
using trust::v1::Certificate;
using trust::v1::SignedCertificate;

constexpr int kMaxCertificates = 100;
constexpr size_t kMaxReasonBytes = 200;

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
void SetHolder(const trust::Chain& chain, const std::string& device, KeyAuthority::IssueSpec* spec) {
  const trust::User& user = *chain.FindUser(chain.FindDevice(device)->user);
  spec->role = user.role;
  spec->subject = user.name;
  spec->device = trust::DeviceName(device);
}

std::string CertificateKey(int64_t sequence) { return absl::StrCat(kCertificatePrefix, OrderedNumber(sequence)); }

std::string RoleText(access::v1::Role role) {
  return absl::AsciiStrToLower(absl::StripPrefix(access::v1::Role_Name(role), "ROLE_"));
}

void Put(const std::vector<SignedCertificate>& certificates, int64_t first, store::Transaction* transaction) {
  for (const SignedCertificate& certificate : certificates) {
    const std::string key = CertificateKey(first++);
    transaction->IfAbsent(key).Set(key, certificate.SerializeAsString());
  }
}

// What a request asks for, to tell a repetition from another one.
std::string Content(const std::vector<SignedCertificate>& certificates) {
  std::string content;
  for (const SignedCertificate& certificate : certificates) absl::StrAppend(&content, trust::HashOf(certificate));
  return content;
}

// A user and its first device, or one device: the device.
absl::StatusOr<trust::v1::DeviceCertificate> EnrolledDevice(const std::vector<Certificate>& certificates) {
  const bool new_user = certificates.size() == 2 && certificates[0].has_user() && certificates[1].has_device();
  if (new_user || (certificates.size() == 1 && certificates[0].has_device())) return certificates.back().device();
  return Invalid("CERTIFICATES",
                 "an enrolment has two certificates, of a user and its first device, or one, of a device");
}

}  // namespace

absl::StatusOr<std::unique_ptr<TrustAuthority>> TrustAuthority::Open(KeyAuthority* keys, const Clock* clock) {
  std::unique_ptr<TrustAuthority> authority(new TrustAuthority(keys, clock));
  MutexLock lock(&authority->mutex_);
  RETURN_IF_ERROR(authority->Load());
  return authority;
}

absl::Status TrustAuthority::Load() const {
  if (loaded_) return absl::OkStatus();
  chain_.reset();
  const absl::StatusOr<store::Entry> root = keys_->store()->Get(kTrustRootKey);
  if (!absl::IsNotFound(root.status())) {
    RETURN_IF_ERROR(root.status());
    ASSIGN_OR_RETURN(trust::Chain chain, trust::Chain::Create(root->value));
    ASSIGN_OR_RETURN(const store::Page page, keys_->store()->List(store::KeyRange::Prefix(kCertificatePrefix)));
    for (const store::Entry& entry : page.entries) {
      SignedCertificate certificate;
      // What was in time once stays so, whatever this clock says meanwhile.
      const absl::Status added = certificate.ParseFromString(entry.value)
                                     ? chain.Append(certificate, absl::InfiniteFuture())
                                     : absl::DataLossError("it cannot be read");
      if (added.ok()) continue;
      return Error(absl::StatusCode::kDataLoss, "STORE_DAMAGED",
                   absl::StrCat("the store's entry ", entry.key, " is not the certificate that was put there (",
                                added.message(), "); restore it from a backup"));
    }
    chain_ = std::move(chain);
  }
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

template <typename Certificates>
absl::StatusOr<TrustAuthority::Batch> TrustAuthority::Read(const Certificates& certificates) {
  if (certificates.empty() || certificates.size() > kMaxCertificates) {
    return Invalid("CERTIFICATES", absl::StrCat("a call appends 1 to ", kMaxCertificates, " certificates"));
  }
  Batch batch;
  for (const SignedCertificate& certificate : certificates) {
    ASSIGN_OR_RETURN(batch.read.emplace_back(), trust::ParseCertificate(certificate));
    batch.received.push_back(certificate);
  }
  return batch;
}

absl::Status TrustAuthority::CheckCaller(const Caller& caller, const Batch& batch) const {
  ASSIGN_OR_RETURN(const CredentialRecord record, keys_->Get(absl::StrCat("credentials/", caller.serial)));
  for (const Certificate& certificate : batch.read) {
    if (record.device().empty() || record.device() != trust::DeviceName(certificate.author_device())) {
      return Error(absl::StatusCode::kPermissionDenied, "CHAIN_NOT_CALLER",
                   "a certificate is appended by the device that signed it; use that device's credential");
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<bool> TrustAuthority::Has(const Batch& batch) const {
  const int64_t first = batch.read.front().sequence();
  if (first > chain_->head().sequence) return false;
  for (size_t i = 0; i < batch.received.size(); ++i) {
    if (chain_->HashAt(first + static_cast<int64_t>(i)) != trust::HashOf(batch.received[i])) return Moved();
  }
  return true;
}

absl::StatusOr<KeyAuthority::Issued> TrustAuthority::IssuedTo(const std::string& device) const {
  if (chain_->IsLive(device)) {
    ASSIGN_OR_RETURN(const std::vector<std::string> serials, keys_->SerialsOfDevice(trust::DeviceName(device)));
    for (const std::string& serial : serials) {
      ASSIGN_OR_RETURN(KeyAuthority::Issued issued, keys_->IssuedAs(serial));
      if (!issued.record.has_revoke_time()) return issued;
    }
  }
  return Error(absl::StatusCode::kFailedPrecondition, "CHAIN_REVOKED",
               "the device was enrolled with this certificate before, and it or its credential was revoked since");
}

absl::Status TrustAuthority::BeginIssue(const Caller& caller, const std::string& request_id, const std::string& content,
                                        absl::Duration ttl, KeyAuthority::IssueSpec* spec) const {
  RETURN_IF_ERROR(KeyAuthority::CheckTtl(ttl));
  spec->ttl = ttl;
  spec->issuer = caller.subject;
  spec->actor = caller.actor;
  return KeyAuthority::SetRequest(caller.subject, request_id, content, spec);
}

std::vector<AuditEvent> TrustAuthority::EventsOf(const Caller& caller, const Batch& batch,
                                                 const std::string& reason) const {
  std::vector<AuditEvent> events;
  const auto add = [&](absl::string_view action, const std::string& resource, const std::string& detail) {
    events.push_back(MakeEvent(*clock_, caller.actor, action, resource, detail));
  };
  for (const Certificate& certificate : batch.read) {
    if (certificate.has_user()) {
      const trust::v1::UserCertificate& user = certificate.user();
      add("user.enrolled", trust::UserName(user.user()), absl::StrCat(user.name(), " as ", RoleText(user.role())));
    } else if (certificate.has_device()) {
      const trust::v1::DeviceCertificate& device = certificate.device();
      add("device.enrolled", trust::DeviceName(device.device()),
          absl::StrCat(device.label(), " of ", trust::UserName(device.user())));
    } else if (certificate.has_role()) {
      add("user.role_changed", trust::UserName(certificate.role().user()), RoleText(certificate.role().role()));
    } else if (certificate.has_user_revocation()) {
      add("user.revoked", trust::UserName(certificate.user_revocation().user()), reason);
    } else if (certificate.has_device_revocation()) {
      add("device.revoked", trust::DeviceName(certificate.device_revocation().device()), reason);
    }
  }
  return events;
}

absl::StatusOr<KeyAuthority::Issued> TrustAuthority::Found(const Caller& caller,
                                                           const trust::v1::FoundOrganisationRequest& request) {
  ASSIGN_OR_RETURN(const Batch batch, Read(request.certificates()));
  if (batch.read.size() != 2) {
    return Invalid("CERTIFICATES", "a founding has two certificates, of the first admin and its device");
  }
  const std::string& root = request.root_verification_key();
  KeyAuthority::IssueSpec spec;
  RETURN_IF_ERROR(BeginIssue(caller, request.request_id(), root + Content(batch.received),
                             TtlOf(request.has_ttl(), request.ttl()), &spec));
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
  spec.events = EventsOf(caller, batch, "");
  spec.also = [&](store::Transaction* transaction) {
    transaction->IfAbsent(kTrustRootKey).Set(kTrustRootKey, root);
    Put(batch.received, 1, transaction);
  };
  absl::StatusOr<KeyAuthority::Issued> issued = keys_->IssueOnce(spec);
  if (!issued.ok()) return Forget(issued.status());
  chain_ = std::move(chain);
  return issued;
}

absl::StatusOr<TrustAuthority::Enrolled> TrustAuthority::Enrol(const Caller& caller,
                                                               const trust::v1::EnrolRequest& request) {
  ASSIGN_OR_RETURN(const Batch batch, Read(request.certificates()));
  ASSIGN_OR_RETURN(const trust::v1::DeviceCertificate device, EnrolledDevice(batch.read));
  RETURN_IF_ERROR(CheckCaller(caller, batch));
  KeyAuthority::IssueSpec spec;
  RETURN_IF_ERROR(BeginIssue(caller, request.request_id(), Content(batch.received),
                             TtlOf(request.has_ttl(), request.ttl()), &spec));
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
  RETURN_IF_ERROR(keys_->IssuedBefore(spec).status());
  RETURN_IF_ERROR(chain_->AppendTogether(batch.received, clock_->Now()));
  SetHolder(*chain_, device.device(), &spec);
  spec.events = EventsOf(caller, batch, "");
  spec.also = [&](store::Transaction* transaction) { Put(batch.received, batch.read.front().sequence(), transaction); };
  absl::StatusOr<KeyAuthority::Issued> issued = keys_->IssueOnce(spec);
  if (!issued.ok()) return Forget(issued.status());
  enrolled.issued = *std::move(issued);
  return enrolled;
}

absl::StatusOr<TrustAuthority::Appended> TrustAuthority::Append(const Caller& caller,
                                                                const trust::v1::AppendCertificatesRequest& request) {
  ASSIGN_OR_RETURN(const Batch batch, Read(request.certificates()));
  for (const Certificate& certificate : batch.read) {
    if (certificate.has_user() || certificate.has_device()) {
      return Invalid("CERTIFICATES", "users and devices are added by enrolment, together with their credential");
    }
  }
  if (request.reason().size() > kMaxReasonBytes) {
    return Invalid("REVOCATION_REASON", "a reason may have at most 200 characters");
  }
  RETURN_IF_ERROR(CheckCaller(caller, batch));
  Appended appended;
  appended.sequence = batch.read.back().sequence();
  MutexLock lock(&mutex_);
  RETURN_IF_ERROR(EnsureFounded());
  ASSIGN_OR_RETURN(const bool had, Has(batch));
  if (had) return appended;
  ASSIGN_OR_RETURN(std::vector<std::string> serials, SerialsToRevoke(batch));
  RETURN_IF_ERROR(chain_->AppendTogether(batch.received, clock_->Now()));
  KeyAuthority::RevokeSpec spec;
  spec.actor = caller.actor;
  spec.serials = std::move(serials);
  spec.reason = request.reason();
  spec.events = EventsOf(caller, batch, request.reason());
  spec.also = [&](store::Transaction* transaction) { Put(batch.received, batch.read.front().sequence(), transaction); };
  absl::StatusOr<std::vector<CredentialRecord>> revoked = keys_->RevokeTogether(spec);
  if (!revoked.ok()) return Forget(revoked.status());
  appended.revoked = *std::move(revoked);
  return appended;
}

absl::StatusOr<std::vector<std::string>> TrustAuthority::SerialsToRevoke(const Batch& batch) const {
  std::set<std::string> serials;
  const auto add = [&](const trust::Device& device, std::optional<access::v1::Role> lowered_to) -> absl::Status {
    ASSIGN_OR_RETURN(const std::vector<std::string> issued, keys_->SerialsOfDevice(trust::DeviceName(device.id)));
    for (const std::string& serial : issued) {
      ASSIGN_OR_RETURN(const CredentialRecord record, keys_->Get(absl::StrCat("credentials/", serial)));
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

absl::StatusOr<KeyAuthority::Issued> TrustAuthority::Renew(const Caller& caller,
                                                           const trust::v1::RenewCredentialRequest& request) {
  KeyAuthority::IssueSpec spec;
  RETURN_IF_ERROR(BeginIssue(caller, request.request_id(), absl::StrCat("renew\n", caller.serial),
                             TtlOf(request.has_ttl(), request.ttl()), &spec));
  ASSIGN_OR_RETURN(const CredentialRecord record, keys_->Get(absl::StrCat("credentials/", caller.serial)));
  const std::optional<std::string> device = trust::ParseDeviceName(record.device());
  MutexLock lock(&mutex_);
  RETURN_IF_ERROR(EnsureFounded());
  if (!device.has_value() || !chain_->IsLive(*device)) {
    return DeviceUnknown("only the credential of an enrolled device is renewed; ask an admin for another one");
  }
  SetHolder(*chain_, *device, &spec);
  return keys_->IssueOnce(spec);
}

absl::StatusOr<KeyAuthority::Issued> TrustAuthority::Issue(const Caller& caller,
                                                           const key::v1::IssueCredentialRequest& request) {
  if (request.device().empty()) return keys_->Issue(caller.subject, request);
  const std::optional<std::string> device = trust::ParseDeviceName(request.device());
  MutexLock lock(&mutex_);
  RETURN_IF_ERROR(EnsureFounded());
  if (!device.has_value() || !chain_->IsLive(*device)) {
    return DeviceUnknown("there is no such device, or it was revoked; `parley device list` shows those there are");
  }
  const trust::User& user = *chain_->FindUser(chain_->FindDevice(*device)->user);
  if (user.role != request.role() || user.name != request.subject()) {
    return DeviceUnknown(
        absl::StrCat("the device is one of ", user.name, ", whose role is ", RoleText(user.role), "; ask for that"));
  }
  return keys_->Issue(caller.subject, request);
}

absl::StatusOr<store::KeyRange> TrustAuthority::CertificatesAfter(int64_t sequence) {
  if (sequence < 0) return Invalid("AFTER_SEQUENCE", "after_sequence must not be negative");
  store::KeyRange range = store::KeyRange::Prefix(kCertificatePrefix);
  range.begin = CertificateKey(std::min(sequence, std::numeric_limits<int64_t>::max() - 1) + 1);
  return range;
}

absl::StatusOr<int64_t> TrustAuthority::LastSequence() const {
  MutexLock lock(&mutex_);
  RETURN_IF_ERROR(Load());
  return chain_.has_value() ? chain_->head().sequence : 0;
}

absl::StatusOr<trust::v1::ListCertificatesResponse> TrustAuthority::List(
    const trust::v1::ListCertificatesRequest& request) const {
  if (request.page_size() < 0 || request.page_size() > 1000) {
    return Invalid("PAGE_SIZE", "page_size must be 0 to 1000");
  }
  ASSIGN_OR_RETURN(store::KeyRange range, CertificatesAfter(request.after_sequence()));
  ASSIGN_OR_RETURN(const int64_t last, LastSequence());
  trust::v1::ListCertificatesResponse response;
  response.set_organisation(keys_->organisation());
  response.set_last_sequence(last);
  // Not beyond what last_sequence says.
  range.end = CertificateKey(last + 1);
  if (range.begin >= range.end) return response;
  ASSIGN_OR_RETURN(const store::Page page,
                   keys_->store()->List(range, request.page_size() == 0 ? 100 : request.page_size()));
  for (const store::Entry& entry : page.entries) response.add_certificates()->ParseFromString(entry.value);
  return response;
}

}  // namespace parley::keyd
