// The organisation's chain of certificates in keyd's store, and the credentials that depend on it.
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
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "lib/base/mutex.h"
#include "lib/rpc/gate.h"
#include "lib/trust/chain.h"
#include "parley/key/v1/key_service.pb.h"
#include "parley/trust/v1/trust_service.pb.h"
#include "services/keyd/domain/certificate_batch.h"
#include "services/keyd/keys/credentials.h"

namespace parley::keyd {

class TrustAuthority {
 public:
  // All must outlive the authority.
  TrustAuthority(const KeyStore* store, const Organisation* organisation, Credentials* credentials)
      : store_(store), organisation_(organisation), credentials_(credentials) {}

  // ALREADY_EXISTS (CHAIN_FOUNDED); INVALID_ARGUMENT: CERTIFICATES, CHAIN_ROOT_KEY, REQUEST_ID, TTL.
  absl::Status Found(const rpc::Caller& caller, const trust::v1::FoundOrganisationRequest& request,
                     trust::v1::FoundOrganisationResponse* response);
  // PERMISSION_DENIED (CHAIN_NOT_CALLER), ABORTED (CHAIN_MOVED); INVALID_ARGUMENT: CERTIFICATES, REQUEST_ID, TTL;
  // FAILED_PRECONDITION: REQUEST_ID_REUSED, CHAIN_REVOKED (the same was enrolled before, and revoked since).
  absl::Status Enrol(const rpc::Caller& caller, const trust::v1::EnrolRequest& request,
                     trust::v1::EnrolResponse* response);
  // The errors of Enrol, and INVALID_ARGUMENT (REVOCATION_REASON).
  absl::Status Append(const rpc::Caller& caller, const trust::v1::AppendCertificatesRequest& request,
                      trust::v1::AppendCertificatesResponse* response);
  // FAILED_PRECONDITION: DEVICE_UNKNOWN, REQUEST_ID_REUSED; INVALID_ARGUMENT: REQUEST_ID, TTL.
  absl::Status Renew(const rpc::Caller& caller, const trust::v1::RenewCredentialRequest& request,
                     trust::v1::RenewCredentialResponse* response);
  // Credentials::Issue; when it names a device, FAILED_PRECONDITION (DEVICE_UNKNOWN) unless that is live and role and
  // subject are its user's.
  absl::Status Issue(const rpc::Caller& caller, const key::v1::IssueCredentialRequest& request,
                     key::v1::IssueCredentialResponse* response);
  // Returns the sequence of the newest certificate, 0 before the founding. The first call verifies what is stored:
  // DATA_LOSS (STORE_DAMAGED).
  absl::StatusOr<int64_t> LastSequence() const;
  // INVALID_ARGUMENT: PAGE_SIZE, AFTER_SEQUENCE.
  absl::Status List(const trust::v1::ListCertificatesRequest& request,
                    trust::v1::ListCertificatesResponse* response) const;

 private:
  // Reads and verifies what is stored by now.
  absl::Status Update() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status EnsureFounded() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Returns a condition that holds until the caller's credential is revoked. KEY_REVOKED when it is.
  absl::StatusOr<store::Transaction::Condition> CheckLive(const rpc::Caller& caller, std::string* device) const;
  absl::StatusOr<store::Transaction::Condition> CheckCaller(const rpc::Caller& caller,
                                                            const CertificateBatch& batch) const;
  // These try once what the methods above repeat after a CONFLICT.
  absl::Status TryFound(const CertificateBatch& batch, const std::string& root, Credentials::IssueSpec spec,
                        trust::v1::FoundOrganisationResponse* response);
  absl::Status TryEnrol(const rpc::Caller& caller, const CertificateBatch& batch, Credentials::IssueSpec spec,
                        trust::v1::EnrolResponse* response);
  absl::Status TryAppend(const rpc::Caller& caller, const CertificateBatch& batch, const std::string& reason,
                         trust::v1::AppendCertificatesResponse* response);
  absl::Status TryRenew(const rpc::Caller& caller, Credentials::IssueSpec spec,
                        trust::v1::RenewCredentialResponse* response);
  absl::Status TryIssue(const key::v1::IssueCredentialRequest& request, Credentials::IssueSpec spec,
                        key::v1::IssueCredentialResponse* response);
  // Whether the chain has all of them. CHAIN_MOVED when it has others in their place.
  absl::StatusOr<bool> Has(const CertificateBatch& batch) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Returns the credential that the device of an enrolment got before. CHAIN_REVOKED.
  absl::StatusOr<Credentials::Issued> IssuedFor(const CertificateBatch& batch) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Stores the certificates of an enrolment, which the chain has from now on, and issues the credential of its device.
  // CONFLICT, and the errors of Credentials::TryIssueOnce.
  absl::Status CommitEnrolment(const CertificateBatch& batch, Credentials::IssueSpec spec,
                               key::v1::IssueCredentialResponse* response) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Returns the user of a live device ("devices/{id}"). DEVICE_UNKNOWN with this sentence.
  absl::StatusOr<const trust::User*> UserOf(absl::string_view device, absl::string_view otherwise) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Adds the conditions that none is issued meanwhile.
  absl::StatusOr<std::vector<std::string>> SerialsToRevoke(const CertificateBatch& batch,
                                                           std::vector<store::Transaction::Condition>* unchanged) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const KeyStore* const store_;
  const Organisation* const organisation_;
  Credentials* const credentials_;
  // One change at a time. Taken before that of Credentials.
  mutable Mutex mutex_;
  // What was read last; none before the founding, and after a commit that failed.
  mutable std::optional<trust::Chain> chain_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace parley::keyd

#endif  // PARLEY_SERVICES_KEYD_TRUST_TRUST_AUTHORITY_H_
