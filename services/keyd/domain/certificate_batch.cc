#include "services/keyd/domain/certificate_batch.h"

#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "lib/keys/roles.h"
#include "lib/trust/certificate.h"
#include "services/keyd/domain/audit_events.h"
#include "services/keyd/domain/credential_rules.h"

namespace parley::keyd {
namespace {

using trust::v1::Certificate;
using trust::v1::SignedCertificate;

constexpr int kMaxCertificates = 25;

}  // namespace

absl::StatusOr<CertificateBatch> CertificateBatch::Read(
    const google::protobuf::RepeatedPtrField<SignedCertificate>& certificates) {
  if (certificates.empty() || certificates.size() > kMaxCertificates) {
    return InvalidArgument("CERTIFICATES", "a call appends 1 to ", kMaxCertificates, " certificates");
  }
  CertificateBatch batch;
  for (const SignedCertificate& certificate : certificates) {
    ASSIGN_OR_RETURN(batch.read.emplace_back(), trust::ParseCertificate(certificate));
    batch.received.push_back(certificate);
  }
  return batch;
}

absl::Status CertificateBatch::CheckEnrolment() const {
  const bool new_user = read.size() == 2 && read[0].has_user() && read[1].has_device();
  if (new_user || (read.size() == 1 && read[0].has_device())) return absl::OkStatus();
  return InvalidArgument("CERTIFICATES",
                         "an enrolment has two certificates, of a user and its first device, or one, of a device");
}

std::string CertificateBatch::Content() const {
  std::string content;
  for (const SignedCertificate& certificate : received) absl::StrAppend(&content, trust::HashOf(certificate));
  return content;
}

std::vector<key::v1::AuditEvent> CertificateBatch::Events(absl::string_view actor, absl::string_view reason) const {
  std::vector<key::v1::AuditEvent> events;
  const auto add = [&](absl::string_view action, const std::string& resource, absl::string_view detail) {
    events.push_back(NewEvent(actor, action, resource, detail));
  };
  for (const Certificate& certificate : read) {
    if (certificate.has_user()) {
      const trust::v1::UserCertificate& user = certificate.user();
      add("user.enrolled", trust::UserName(user.user()),
          absl::StrCat(user.name(), " as ", keys::RoleName(user.role())));
    } else if (certificate.has_device()) {
      const trust::v1::DeviceCertificate& device = certificate.device();
      add("device.enrolled", trust::DeviceName(device.device()),
          absl::StrCat(device.label(), " of ", trust::UserName(device.user())));
    } else if (certificate.has_role()) {
      add("user.role_changed", trust::UserName(certificate.role().user()), keys::RoleName(certificate.role().role()));
    } else if (certificate.has_user_revocation()) {
      add("user.revoked", trust::UserName(certificate.user_revocation().user()), reason);
    } else if (certificate.has_device_revocation()) {
      add("device.revoked", trust::DeviceName(certificate.device_revocation().device()), reason);
    }
  }
  return events;
}

}  // namespace parley::keyd
