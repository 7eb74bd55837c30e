// The organisation's CA: certificates for the servers of its services.
//
// Threads: all methods may be called from any thread; they block on the store.
#ifndef PARLEY_SERVICES_KEYD_KEYS_CERTIFICATE_AUTHORITY_H_
#define PARLEY_SERVICES_KEYD_KEYS_CERTIFICATE_AUTHORITY_H_

#include <memory>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "lib/base/clock.h"
#include "lib/crypto/certificate.h"
#include "parley/key/v1/key_service.pb.h"
#include "services/keyd/keys/organisation.h"
#include "services/keyd/store/audit_trail.h"

namespace parley::keyd {

// Short, because a server certificate cannot be revoked; services renew it by themselves.
inline constexpr absl::Duration kServerCertificateTtl = absl::Hours(24 * 90);

class CertificateAuthority {
 public:
  // All must outlive the authority. FAILED_PRECONDITION (KEK_WRONG).
  static absl::StatusOr<std::unique_ptr<CertificateAuthority>> Open(const Organisation* organisation, AuditTrail* trail,
                                                                    const Clock* clock);

  // `actor` as in the audit log. INVALID_ARGUMENT: SERVER_NAMES, SERVER_KEY.
  absl::StatusOr<key::v1::IssueServerCertificateResponse> Issue(absl::string_view actor,
                                                                const key::v1::IssueServerCertificateRequest& request);

 private:
  CertificateAuthority(const Organisation* organisation, crypto::EcKey key, AuditTrail* trail, const Clock* clock)
      : organisation_(organisation), key_(std::move(key)), trail_(trail), clock_(clock) {}

  const Organisation* const organisation_;
  const crypto::EcKey key_;
  AuditTrail* const trail_;
  const Clock* const clock_;
};

}  // namespace parley::keyd

#endif  // PARLEY_SERVICES_KEYD_KEYS_CERTIFICATE_AUTHORITY_H_
