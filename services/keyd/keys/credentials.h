// The credentials that were issued and revoked, and the labels of the devices that hold them.
//
// Guarantees: no secret of a credential is stored; every operation and its audit entry are one commit, durable before
// the answer.
//
// Errors, besides the store's: each carries a reason named below.
// Threads: all methods may be called from any thread; they block on the store.
#ifndef PARLEY_SERVICES_KEYD_KEYS_CREDENTIALS_H_
#define PARLEY_SERVICES_KEYD_KEYS_CREDENTIALS_H_

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "lib/base/clock.h"
#include "lib/base/mutex.h"
#include "lib/keys/credential.h"
#include "lib/keys/labels.h"
#include "parley/key/v1/key_service.pb.h"
#include "services/keyd/domain/credential_rules.h"
#include "services/keyd/keys/organisation.h"
#include "services/keyd/keys/root_keys.h"
#include "services/keyd/store/audit_trail.h"
#include "services/keyd/store/key_store.h"

namespace parley::keyd {

class Credentials {
 public:
  // All must outlive this.
  struct Parts {
    const KeyStore* store;
    const Organisation* organisation;
    const RootKeys* roots;
    AuditTrail* trail;
    const Clock* clock;
  };

  struct Issued {
    key::v1::CredentialRecord record;
    keys::Credential credential;
  };

  // A credential to be issued, and what else happens in the same commit.
  struct IssueSpec {
    access::v1::Role role = access::v1::ROLE_UNSPECIFIED;
    std::string subject;
    absl::Duration ttl = kDefaultTtl;
    // Who issues it, as the record says ("alice"), and as the audit log says ("admin/alice").
    std::string issuer;
    std::string actor;
    // "devices/{id}" or empty.
    std::string device;
    // The labels of a device, which take the place of those that its name has; none keeps those.
    keys::Labels labels = {};
    // What identifies a repetition within 24 hours, in hex; empty: it is not to be repeated. What it asks for.
    std::string request_hash = {};
    std::string request_digest = {};
    std::vector<key::v1::AuditEvent> events = {};
    std::function<void(store::Transaction*)> also = nullptr;
  };

  // Credentials to be revoked, and what else happens in the same commit.
  struct RevokeSpec {
    std::string actor;
    // In hex.
    std::vector<std::string> serials;
    std::string reason;
    std::vector<key::v1::AuditEvent> events;
    std::function<void(store::Transaction*)> also;
  };

  // `addresses`: host:port by audience, as credentials say them.
  Credentials(Parts parts, std::map<std::string, std::string> addresses)
      : parts_(parts), addresses_(std::move(addresses)) {}

  // Before credentials are issued that should name it.
  void SetAddress(absl::string_view audience, absl::string_view address);
  std::map<std::string, std::string> addresses() const;

  // Issues the credential that an admin asks for. `caller` is its subject. FAILED_PRECONDITION: REQUEST_ID_REUSED,
  // EPOCH_RETIRED (the first answer's root is gone meanwhile); INVALID_ARGUMENT (REQUEST_ID), and the errors of
  // CheckIssue.
  absl::StatusOr<Issued> Issue(absl::string_view caller, const key::v1::IssueCredentialRequest& request);
  // Issues the credential, or answers a repetition as the first time. The errors of Issue, and CONFLICT when a
  // condition of `also` does not hold.
  absl::StatusOr<Issued> IssueOnce(const IssueSpec& spec);
  // Issues a credential of keyd's own host. The errors of CheckIssue.
  absl::StatusOr<Issued> IssueOwn(access::v1::Role role, absl::string_view subject, absl::Duration ttl);
  // Returns what IssueOnce answered to this request; nothing when it did not, or not within 24 hours.
  // FAILED_PRECONDITION: REQUEST_ID_REUSED, EPOCH_RETIRED.
  absl::StatusOr<std::optional<Issued>> IssuedBefore(const IssueSpec& spec) const;
  // Returns the credential of a serial (hex) once more. FAILED_PRECONDITION (EPOCH_RETIRED).
  absl::StatusOr<Issued> IssuedAs(absl::string_view serial) const;
  // Fills in request_hash and request_digest. INVALID_ARGUMENT (REQUEST_ID).
  static absl::Status SetRequest(absl::string_view caller, absl::string_view request_id, absl::string_view content,
                                 IssueSpec* spec);

  // NOT_FOUND (CREDENTIAL_NOT_FOUND).
  absl::StatusOr<key::v1::CredentialRecord> Get(absl::string_view name) const;
  // INVALID_ARGUMENT: PAGE_SIZE, PAGE_TOKEN.
  absl::StatusOr<key::v1::ListCredentialsResponse> List(const key::v1::ListCredentialsRequest& request) const;
  // Returns the serials of the credentials that were issued to a device ("devices/{id}"), oldest first.
  absl::StatusOr<std::vector<std::string>> SerialsOfDevice(absl::string_view device) const {
    return parts_.store->SerialsOfDevice(device);
  }

  // `actor` as in the audit log. NOT_FOUND (CREDENTIAL_NOT_FOUND), INVALID_ARGUMENT (REVOCATION_REASON).
  absl::StatusOr<key::v1::CredentialRecord> Revoke(absl::string_view actor,
                                                   const key::v1::RevokeCredentialRequest& request);
  // Revokes all of them in one commit; those that are revoked already stay as they are. Returns the records of those
  // that were not. The errors of Revoke, and CONFLICT when a condition of `also` does not hold.
  absl::StatusOr<std::vector<key::v1::CredentialRecord>> RevokeTogether(const RevokeSpec& spec);

  // Changes the labels of a device, and returns all of them. `actor` as in the audit log. NOT_FOUND
  // (DEVICE_NAME_UNKNOWN); INVALID_ARGUMENT: LABEL_MALFORMED, TOO_MANY_LABELS, LABEL_TWICE.
  absl::StatusOr<key::v1::DeviceLabels> Label(absl::string_view actor, const key::v1::LabelDeviceRequest& request);

 private:
  absl::StatusOr<Issued> IssueNew(const IssueSpec& spec) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status CommitNew(const IssueSpec& spec, const store::Transaction::Condition& roots, Issued* issued)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::StatusOr<keys::Credential> Mint(const key::v1::CredentialRecord& record) const;

  const Parts parts_;
  // One operation at a time: each reads, decides and commits. Taken before that of RootKeys.
  Mutex mutex_;

  mutable Mutex addresses_mutex_;
  std::map<std::string, std::string> addresses_ ABSL_GUARDED_BY(addresses_mutex_);
};

}  // namespace parley::keyd

#endif  // PARLEY_SERVICES_KEYD_KEYS_CREDENTIALS_H_
