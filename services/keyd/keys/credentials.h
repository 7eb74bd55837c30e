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
#include "lib/keys/credential.h"
#include "lib/keys/labels.h"
#include "lib/rpc/gate.h"
#include "parley/key/v1/key_service.pb.h"
#include "services/keyd/domain/credential_rules.h"
#include "services/keyd/keys/organisation.h"
#include "services/keyd/keys/root_keys.h"
#include "services/keyd/store/key_store.h"

namespace parley::keyd {

class Credentials {
 public:
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

  // `addresses`: host:port by audience, as credentials say them. The others must outlive this.
  Credentials(const KeyStore* store, const Organisation* organisation, RootKeys* roots,
              std::map<std::string, std::string> addresses)
      : store_(store), organisation_(organisation), roots_(roots), addresses_(std::move(addresses)) {}

  // Before the first credential is issued, and before another thread calls.
  void SetAddress(absl::string_view audience, const std::string& address) {
    addresses_[std::string(audience)] = address;
  }
  const std::map<std::string, std::string>& addresses() const { return addresses_; }

  // Returns what a caller asks for, but for the holder. `content` tells a repetition from another request with the same
  // id. INVALID_ARGUMENT (REQUEST_ID).
  static absl::StatusOr<IssueSpec> Requested(const rpc::Caller& caller, absl::string_view request_id,
                                             absl::Duration ttl, absl::string_view content);
  static absl::StatusOr<IssueSpec> Requested(const rpc::Caller& caller, const key::v1::IssueCredentialRequest& request);
  // Issues the credential that an admin asks for. FAILED_PRECONDITION: REQUEST_ID_REUSED, EPOCH_RETIRED (the first
  // answer's root is gone meanwhile); INVALID_ARGUMENT (REQUEST_ID), and the errors of CheckIssue.
  absl::Status Issue(const rpc::Caller& caller, const key::v1::IssueCredentialRequest& request,
                     key::v1::IssueCredentialResponse* response);
  // Issues the credential, or answers a repetition as the first time. The errors of Issue.
  absl::StatusOr<Issued> IssueOnce(const IssueSpec& spec);
  // Tries that once. The errors of Issue, and CONFLICT when the roots, the name or the request have changed meanwhile,
  // or a condition of `also` does not hold: the caller reads again, and decides again.
  absl::StatusOr<Issued> TryIssueOnce(const IssueSpec& spec);
  // Returns what IssueOnce answered to this request; nothing when it did not, or not within 24 hours.
  // FAILED_PRECONDITION: REQUEST_ID_REUSED, EPOCH_RETIRED.
  absl::StatusOr<std::optional<Issued>> IssuedBefore(const IssueSpec& spec) const {
    int64_t revision = 0;
    return FindIssued(spec, &revision);
  }
  // Returns the credential of a serial (hex) once more. FAILED_PRECONDITION (EPOCH_RETIRED).
  absl::StatusOr<Issued> IssuedAs(absl::string_view serial) const;
  // Fills in the answer to the holder, with the secrets. Returns the error of `issued`.
  static absl::Status Answer(const absl::StatusOr<Issued>& issued, key::v1::IssueCredentialResponse* response);

  // NOT_FOUND (CREDENTIAL_NOT_FOUND).
  absl::StatusOr<key::v1::CredentialRecord> Get(absl::string_view name) const;
  // INVALID_ARGUMENT: PAGE_SIZE, PAGE_TOKEN.
  absl::Status List(const key::v1::ListCredentialsRequest& request, key::v1::ListCredentialsResponse* response) const;

  // `actor` as in the audit log. NOT_FOUND (CREDENTIAL_NOT_FOUND), INVALID_ARGUMENT (REVOCATION_REASON).
  absl::StatusOr<key::v1::CredentialRecord> Revoke(absl::string_view actor,
                                                   const key::v1::RevokeCredentialRequest& request);
  // Revokes all of them, in one commit with `also`; those that are revoked already stay as they are. When there are
  // more than a commit takes, the others are revoked before that. Returns the records of those that were not revoked.
  // The errors of Revoke, and CONFLICT when one of them or its name has changed meanwhile, or a condition of `also`
  // does not hold.
  absl::StatusOr<std::vector<key::v1::CredentialRecord>> TryRevokeTogether(const RevokeSpec& spec);

  // Changes the labels of a device, and answers with all of them. NOT_FOUND
  // (DEVICE_NAME_UNKNOWN); INVALID_ARGUMENT: LABEL_MALFORMED, TOO_MANY_LABELS, LABEL_TWICE.
  absl::Status Label(const rpc::Caller& caller, const key::v1::LabelDeviceRequest& request,
                     key::v1::DeviceLabels* response);

 private:
  // `revision` gets the one of the stored request, 0 without one.
  absl::StatusOr<std::optional<Issued>> FindIssued(const IssueSpec& spec, int64_t* revision) const;
  absl::StatusOr<Issued> IssueNew(const IssueSpec& spec, int64_t request_revision);
  absl::StatusOr<std::vector<key::v1::CredentialRecord>> RevokeSome(const RevokeSpec& spec);
  absl::Status TryLabel(const rpc::Caller& caller, const key::v1::LabelDeviceRequest& request,
                        key::v1::DeviceLabels* response);
  absl::StatusOr<keys::Credential> Mint(const key::v1::CredentialRecord& record) const;

  const KeyStore* const store_;
  const Organisation* const organisation_;
  RootKeys* const roots_;
  std::map<std::string, std::string> addresses_;
};

}  // namespace parley::keyd

#endif  // PARLEY_SERVICES_KEYD_KEYS_CREDENTIALS_H_
