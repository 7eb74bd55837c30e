// The certificates of one request to the chain of trust, read; and what they say.
//
// Threads: an object does not change once it is read.
#ifndef PARLEY_SERVICES_KEYD_DOMAIN_CERTIFICATE_BATCH_H_
#define PARLEY_SERVICES_KEYD_DOMAIN_CERTIFICATE_BATCH_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "google/protobuf/repeated_ptr_field.h"
#include "parley/key/v1/key_service.pb.h"
#include "parley/trust/v1/trust_service.pb.h"

namespace parley::keyd {

struct CertificateBatch {
  // The certificates as they came, and as they were read: 1 to 25 of each, in the same order.
  std::vector<trust::v1::SignedCertificate> received;
  std::vector<trust::v1::Certificate> read;

  // INVALID_ARGUMENT (CERTIFICATES), and the errors of trust::ParseCertificate.
  static absl::StatusOr<CertificateBatch> Read(
      const google::protobuf::RepeatedPtrField<trust::v1::SignedCertificate>& certificates);

  // INVALID_ARGUMENT (CERTIFICATES) unless it is an enrolment: of a user and its first device, or of one device, which
  // is the last certificate.
  absl::Status CheckEnrolment() const;
  // Returns what the batch asks for, to tell a repetition from another request: the hashes, one after another.
  std::string Content() const;
  // Returns an audit event for each certificate. `reason`: why something is revoked.
  std::vector<key::v1::AuditEvent> Events(absl::string_view actor, absl::string_view reason) const;
};

}  // namespace parley::keyd

#endif  // PARLEY_SERVICES_KEYD_DOMAIN_CERTIFICATE_BATCH_H_
