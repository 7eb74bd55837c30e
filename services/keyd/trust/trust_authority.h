// The organisation's chain of certificates in keyd's store, and the credentials that hang on it.
//
// Guarantees: holds only what keeps the chain's rules (lib/trust); a certificate is appended by the device that signed
// it and by no other caller; a device and its credential, a revocation and the end of its credentials are one commit,
// with their audit entries. Nobody need believe it: clients verify the chain themselves.
//
// Errors, besides those of the store, trust::Chain and Credentials: each carries a reason named below.
// Threads: all methods may be called from any thread.
#ifndef PARLEY_SERVICES_KEYD_TRUST_TRUST_AUTHORITY_H_
#define PARLEY_SERVICES_KEYD_TRUST_TRUST_AUTHORITY_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lib/base/clock.h"
#include "lib/base/mutex.h"
#include "lib/trust/chain.h"
#include "parley/key/v1/key_service.pb.h"
#include "parley/trust/v1/trust_service.pb.h"
#include "services/keyd/domain/certificate_batch.h"
#include "services/keyd/keys/credentials.h"

namespace parley::keyd {

class TrustAuthority {
 public:
  // Who calls, by the credential of the connection.
  struct Caller {
    // "admin/alice".
    std::string actor;
    std::string subject;
    // Hex.
    std::string serial;
  };

  struct Enrolled {
    Credentials::Issued issued;
    // The sequence of the device's certificate.
    int64_t sequence = 0;
  };

  struct Appended {
    // The sequence of the last certificate.
    int64_t sequence = 0;
    std::vector<key::v1::CredentialRecord> revoked;
  };

  // Verifies what is stored. `organisation` is its name; the others must outlive the authority. DATA_LOSS
  // (STORE_DAMAGED).
  static absl::StatusOr<std::unique_ptr<TrustAuthority>> Open(const KeyStore* store, std::string organisation,
                                                              Credentials* credentials, const Clock* clock);

  // ALREADY_EXISTS (CHAIN_FOUNDED); INVALID_ARGUMENT: CERTIFICATES, CHAIN_ROOT_KEY, REQUEST_ID, TTL.
  absl::StatusOr<Credentials::Issued> Found(const Caller& caller, const trust::v1::FoundOrganisationRequest& request);
  // PERMISSION_DENIED (CHAIN_NOT_CALLER), ABORTED (CHAIN_MOVED); INVALID_ARGUMENT: CERTIFICATES, REQUEST_ID, TTL;
  // FAILED_PRECONDITION: REQUEST_ID_REUSED, CHAIN_REVOKED (the same was enrolled before, and revoked since).
  absl::StatusOr<Enrolled> Enrol(const Caller& caller, const trust::v1::EnrolRequest& request);
  // The errors of Enrol, and INVALID_ARGUMENT (REVOCATION_REASON).
  absl::StatusOr<Appended> Append(const Caller& caller, const trust::v1::AppendCertificatesRequest& request);
  // FAILED_PRECONDITION: DEVICE_UNKNOWN, REQUEST_ID_REUSED; INVALID_ARGUMENT: REQUEST_ID, TTL.
  absl::StatusOr<Credentials::Issued> Renew(const Caller& caller, const trust::v1::RenewCredentialRequest& request);
  // Credentials::Issue; when it names a device, FAILED_PRECONDITION (DEVICE_UNKNOWN) unless that is live and role and
  // subject are its user's.
  absl::StatusOr<Credentials::Issued> Issue(const Caller& caller, const key::v1::IssueCredentialRequest& request);
  // Returns where the store has the certificates after a sequence. INVALID_ARGUMENT: AFTER_SEQUENCE.
  static absl::StatusOr<store::KeyRange> CertificatesAfter(int64_t sequence);
  // Returns the sequence of the newest certificate, 0 before the founding.
  absl::StatusOr<int64_t> LastSequence() const;
  // INVALID_ARGUMENT: PAGE_SIZE, AFTER_SEQUENCE.
  absl::StatusOr<trust::v1::ListCertificatesResponse> List(const trust::v1::ListCertificatesRequest& request) const;
  const std::string& organisation() const { return organisation_; }

 private:
  TrustAuthority(const KeyStore* store, std::string organisation, Credentials* credentials, const Clock* clock)
      : store_(store), organisation_(std::move(organisation)), credentials_(credentials), clock_(clock) {}
  absl::Status Load() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status EnsureFounded() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status CheckCaller(const Caller& caller, const CertificateBatch& batch) const;
  // Whether the chain has all of them. CHAIN_MOVED when it has others in their place.
  absl::StatusOr<bool> Has(const CertificateBatch& batch) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::StatusOr<Credentials::Issued> IssuedTo(const std::string& device) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status BeginIssue(const Caller& caller, const std::string& request_id, const std::string& content,
                          absl::Duration ttl, Credentials::IssueSpec* spec) const;
  absl::StatusOr<std::vector<std::string>> SerialsToRevoke(const CertificateBatch& batch) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // After a commit that failed: what the store has is not known, so the chain is read again.
  absl::Status Forget(const absl::Status& failure) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const KeyStore* const store_;
  const std::string organisation_;
  Credentials* const credentials_;
  const Clock* const clock_;
  // One change at a time. Taken before that of Credentials.
  mutable Mutex mutex_;
  mutable bool loaded_ ABSL_GUARDED_BY(mutex_) = false;
  // None before the founding.
  mutable std::optional<trust::Chain> chain_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace parley::keyd

#endif  // PARLEY_SERVICES_KEYD_TRUST_TRUST_AUTHORITY_H_
