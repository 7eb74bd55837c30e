// The organisation's keys: its root epochs, its CA, the credentials that were issued and revoked, the audit log.
//
// Guarantees: no secret is stored that is not sealed under the key-encryption key, and no credential's secret at all;
// every operation and its audit entry are one commit, durable before the answer. Knows no gRPC and no sockets.
//
// Errors, besides the store's: each carries a reason named below.
// Threads: all methods may be called from any thread.
#ifndef PARLEY_SERVICES_KEYD_DOMAIN_KEY_AUTHORITY_H_
#define PARLEY_SERVICES_KEYD_DOMAIN_KEY_AUTHORITY_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "lib/base/clock.h"
#include "lib/base/mutex.h"
#include "lib/base/secret.h"
#include "lib/crypto/certificate.h"
#include "lib/keys/credential.h"
#include "lib/keys/identity.h"
#include "lib/keys/labels.h"
#include "lib/store/store.h"
#include "parley/key/v1/key_service.pb.h"
#include "services/keyd/domain/audit_trail.h"
#include "services/keyd/domain/records.pb.h"
#include "services/keyd/domain/sealer.h"

namespace parley::keyd {

// Longest life of a credential, and of one whose request names none.
inline constexpr absl::Duration kMaxTtl = absl::Hours(24 * 366);
inline constexpr absl::Duration kDefaultTtl = absl::Hours(24 * 90);
// Short, because a server certificate cannot be revoked; services renew it by themselves.
inline constexpr absl::Duration kServerCertificateTtl = absl::Hours(24 * 90);

class KeyAuthority {
 public:
  struct Options {
    // Must outlive the authority, as must the clock.
    store::Store* store = nullptr;
    Clock* clock = Clock::System();
    Secret kek;
    // Of an organisation that has yet to be founded. 1 to 64 printable characters.
    std::string organisation;
    // host:port by audience: what credentials say.
    std::map<std::string, std::string> addresses;
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
    // Of the record and of the audit log: "alice", "admin/alice".
    std::string issuer;
    std::string actor;
    // "devices/{id}" or empty.
    std::string device;
    // The labels of a device, which take the place of those that its name has; none keeps those.
    keys::Labels labels = {};
    // Identifies a repetition within 24 hours; empty: it is not to be repeated. What it asks for.
    std::string request_key = {};
    std::string request_digest = {};
    std::vector<key::v1::AuditEvent> events = {};
    std::function<void(store::Transaction*)> also = nullptr;
  };

  // Credentials to be revoked, and what else happens in the same commit.
  struct RevokeSpec {
    std::string actor;
    // Hex.
    std::vector<std::string> serials;
    std::string reason;
    std::vector<key::v1::AuditEvent> events;
    std::function<void(store::Transaction*)> also;
  };

  // Whether the store has an organisation.
  static absl::StatusOr<bool> IsFounded(store::Store* store);
  // Loads the organisation, founding it first when the store has none. KEK_WRONG.
  static absl::StatusOr<std::unique_ptr<KeyAuthority>> Open(Options options);

  // True until FoundingDone: the first credentials may not be on disk yet.
  absl::StatusOr<bool> Founding() const;
  absl::Status FoundingDone();

  // Before credentials are issued that should name it.
  void SetAddress(absl::string_view audience, absl::string_view address);
  std::map<std::string, std::string> addresses() const;

  // `caller`: subject of the admin. INVALID_ARGUMENT: REQUEST_ID, ROLE, SUBJECT, TTL, LABEL_ROLE (labels for another
  // role than device), LABEL_MALFORMED, TOO_MANY_LABELS. FAILED_PRECONDITION: REQUEST_ID_REUSED, EPOCH_RETIRED (the
  // first answer's root is gone meanwhile).
  absl::StatusOr<Issued> Issue(absl::string_view caller, const key::v1::IssueCredentialRequest& request);
  // INVALID_ARGUMENT (TTL).
  static absl::Status CheckTtl(absl::Duration ttl);
  // As it is asked for. The errors of Issue, and CONFLICT when a condition of `also` does not hold.
  absl::StatusOr<Issued> IssueOnce(const IssueSpec& spec);
  // What IssueOnce answered to this request; nothing when it did not, or not within 24 hours. REQUEST_ID_REUSED,
  // EPOCH_RETIRED.
  absl::StatusOr<std::optional<Issued>> IssuedBefore(const IssueSpec& spec) const;
  // The credential of a record once more. EPOCH_RETIRED.
  absl::StatusOr<Issued> IssuedAs(absl::string_view serial) const;
  // Fills in request_key and request_digest. INVALID_ARGUMENT (REQUEST_ID).
  static absl::Status SetRequest(absl::string_view caller, absl::string_view request_id, absl::string_view content,
                                 IssueSpec* spec);
  // By keyd itself, for its own host.
  absl::StatusOr<Issued> IssueOwn(access::v1::Role role, absl::string_view subject, absl::Duration ttl);
  // CREDENTIAL_NOT_FOUND.
  absl::StatusOr<key::v1::CredentialRecord> Get(absl::string_view name) const;
  // INVALID_ARGUMENT: PAGE_SIZE, PAGE_TOKEN.
  absl::StatusOr<key::v1::ListCredentialsResponse> List(const key::v1::ListCredentialsRequest& request) const;
  // `actor` as in the audit log. CREDENTIAL_NOT_FOUND, INVALID_ARGUMENT (REVOCATION_REASON).
  absl::StatusOr<key::v1::CredentialRecord> Revoke(absl::string_view actor,
                                                   const key::v1::RevokeCredentialRequest& request);
  // In one commit; those that are revoked already stay as they are. The records of those that were not.
  absl::StatusOr<std::vector<key::v1::CredentialRecord>> RevokeTogether(const RevokeSpec& spec);
  // Changes the labels of a device, and returns all of them. `actor` as in the audit log. NOT_FOUND
  // (DEVICE_NAME_UNKNOWN); INVALID_ARGUMENT: LABEL_MALFORMED, TOO_MANY_LABELS, LABEL_TWICE.
  absl::StatusOr<key::v1::DeviceLabels> Label(absl::string_view actor, const key::v1::LabelDeviceRequest& request);
  // Serials of the credentials that were issued to a device, oldest first.
  absl::StatusOr<std::vector<std::string>> SerialsOfDevice(absl::string_view device) const;

  // INVALID_ARGUMENT (RETIRE_BEFORE).
  absl::StatusOr<uint32_t> RotateRoot(absl::string_view actor, uint32_t retire_before);
  uint32_t primary_epoch() const;
  // Under which keys are still good.
  absl::StatusOr<std::set<uint32_t>> LiveEpochs() const { return LiveEpochsOf(options_.store); }
  static absl::StatusOr<std::set<uint32_t>> LiveEpochsOf(store::Store* store);
  // keyd's own audience's, kept up to date. Lives as long as the authority.
  const keys::Keyring* keyring() const { return keyrings_.at("keyd").get(); }
  // The message of the roots as stored under kRootsKey. NOT_FOUND (AUDIENCE_UNKNOWN).
  absl::StatusOr<key::v1::AudienceKeys> AudienceKeysOf(absl::string_view audience,
                                                       absl::string_view stored_roots) const;

  // INVALID_ARGUMENT (SERVER_NAMES, SERVER_KEY).
  absl::StatusOr<key::v1::IssueServerCertificateResponse> IssueServerCertificate(
      absl::string_view actor, const key::v1::IssueServerCertificateRequest& request);
  const std::string& ca_pem() const { return organisation_.ca_pem(); }
  const std::string& organisation() const { return organisation_.name(); }

  // INVALID_ARGUMENT (AUDIT_EVENTS).
  absl::Status AppendAuditEvents(absl::string_view service, const key::v1::AppendAuditEventsRequest& request);
  // INVALID_ARGUMENT (PAGE_SIZE, AFTER_SEQUENCE).
  absl::StatusOr<key::v1::ListAuditEventsResponse> ListAuditEvents(
      const key::v1::ListAuditEventsRequest& request) const;

  // Forgets revocations and request ids whose time is over.
  absl::Status Sweep();

  store::Store* store() const { return options_.store; }

 private:
  KeyAuthority(Options options, Sealer sealer);
  absl::Status Found();
  absl::Status Load();
  absl::Status UseRoots(const store::Entry& stored) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::StatusOr<std::map<uint32_t, Secret>> OpenRoots(const records::RootSet& roots) const;
  std::string RootPurpose(uint32_t epoch) const;
  std::string CaPurpose() const;
  absl::StatusOr<records::RootSet> Roots() const;
  absl::StatusOr<Issued> IssueNew(const IssueSpec& spec) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::StatusOr<keys::Credential> Mint(const key::v1::CredentialRecord& record) const;
  absl::StatusOr<store::Entry> Record(absl::string_view name) const;

  const Options options_;
  const Sealer sealer_;
  AuditTrail trail_;
  records::Organisation organisation_;
  std::unique_ptr<crypto::EcKey> ca_key_;
  std::map<std::string, std::unique_ptr<keys::Keyring>> keyrings_;

  // One operation at a time: each reads, decides and commits.
  mutable Mutex mutex_;
  int64_t roots_revision_ ABSL_GUARDED_BY(mutex_) = 0;

  mutable Mutex addresses_mutex_;
  std::map<std::string, std::string> addresses_ ABSL_GUARDED_BY(addresses_mutex_);
};

// "credentials/{serial}" → serial in hex; empty when malformed.
std::string SerialOfName(absl::string_view name);
// Of a request: `ttl` or kDefaultTtl.
absl::Duration TtlOf(bool has_ttl, const google::protobuf::Duration& ttl);

}  // namespace parley::keyd

#endif  // PARLEY_SERVICES_KEYD_DOMAIN_KEY_AUTHORITY_H_
