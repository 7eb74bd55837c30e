// Typed reads and writes of what keyd stores (store_layout.h). What is written goes into a transaction of the caller's,
// mostly that of the audit log, and is dated by one clock.
//
// Errors, besides the store's: DATA_LOSS (STORE_DAMAGED) for an entry that cannot be read.
// Threads: all methods may be called from any thread; they block on the store.
#ifndef PARLEY_SERVICES_KEYD_STORE_KEY_STORE_H_
#define PARLEY_SERVICES_KEYD_STORE_KEY_STORE_H_

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "lib/base/clock.h"
#include "lib/store/store.h"
#include "lib/trust/chain.h"
#include "parley/key/v1/key_service.pb.h"
#include "parley/trust/v1/trust_service.pb.h"
#include "services/keyd/store/audit_trail.h"
#include "services/keyd/store/records.pb.h"
#include "services/keyd/store/store_layout.h"

namespace parley::keyd {

class KeyStore {
 public:
  // Both must outlive this.
  KeyStore(store::Store* store, const Clock* clock) : store_(store), clock_(clock), trail_(store, clock) {}
  store::Store* store() const { return store_; }
  AuditTrail* trail() const { return &trail_; }
  absl::Time Now() const { return clock_->Now(); }

  absl::StatusOr<Versioned<records::Organisation>> FindOrganisation() const {
    return FindRecord<records::Organisation>(store_, kOrganisationKey);
  }
  static void PutFounding(const records::Organisation& organisation, const records::RootSet& roots,
                          store::Transaction* transaction);
  // Returns true from the founding until FoundingDone: the first credentials may not be on disk yet.
  absl::StatusOr<bool> IsFounding() const;
  absl::Status FoundingDone() const { return store_->Commit(store::Transaction().Delete(kFoundingKey)).status(); }

  absl::StatusOr<Versioned<records::RootSet>> Roots() const { return ReadRecord<records::RootSet>(store_, kRootsKey); }
  // Returns the epochs under which keys are still good.
  absl::StatusOr<std::set<uint32_t>> LiveEpochs() const;

  // `name`: "credentials/{serial}". NOT_FOUND (CREDENTIAL_NOT_FOUND).
  absl::StatusOr<Versioned<key::v1::CredentialRecord>> GetCredential(absl::string_view name) const;
  // `sequence` is that of the audit entry, and gives the order of issue.
  static void PutIssued(const key::v1::CredentialRecord& record, int64_t sequence, store::Transaction* transaction);
  // The record, which says that it is revoked, takes the place of the one of `revision`.
  static void PutRevoked(const key::v1::CredentialRecord& record, int64_t revision, store::Transaction* transaction);
  // Returns serials in hex, in the order of issue. `after` is empty or a `next`, which is set when there are more.
  // INVALID_ARGUMENT (PAGE_TOKEN).
  absl::StatusOr<std::vector<std::string>> ListIssued(absl::string_view after, size_t limit, std::string* next) const;
  // The serials of the credentials that were issued to a device ("devices/{id}"), oldest first, and a condition that
  // holds for as long as these are all.
  struct DeviceCredentials {
    std::vector<std::string> serials;
    store::Transaction::Condition unchanged;
  };
  absl::StatusOr<DeviceCredentials> CredentialsOfDevice(absl::string_view device) const;
  // Returns the revision by which all of these (in hex) are revoked, of those whose revocation is remembered; or 0.
  absl::StatusOr<int64_t> RevokedBy(const std::vector<std::string>& serials) const;

  // Returns the request that `hash` (hex) stands for. One whose time is over is empty, and keeps its revision.
  absl::StatusOr<Versioned<records::IssueRequest>> FindRequest(absl::string_view hash) const;
  // The request takes the place of what FindRequest returned at `revision`.
  static void PutRequest(absl::string_view hash, int64_t revision, const records::IssueRequest& request,
                         store::Transaction* transaction);
  // Forgets revocations and requests whose time is over.
  absl::Status Sweep() const;

  // Brings a chain up to date, verified; there is none before its founding. After an error it must not be used.
  absl::Status UpdateChain(std::optional<trust::Chain>* chain) const;
  // `root`: the root verification key, 32 bytes.
  static void PutTrustRoot(const std::string& root, store::Transaction* transaction) {
    transaction->IfAbsent(kTrustRootKey).Set(kTrustRootKey, root);
  }
  // Adds the certificates after a sequence up to another to the response, at most `limit`.
  absl::Status ListCertificates(int64_t after, int64_t last, size_t limit,
                                trust::v1::ListCertificatesResponse* response) const;
  // `first` is the sequence of the first of them. The condition is that the chain ends before it.
  static void PutCertificates(const std::vector<trust::v1::SignedCertificate>& certificates, int64_t first,
                              store::Transaction* transaction);
  // Adds the condition that the chain ends with this sequence.
  static void KeepChainAt(int64_t last, store::Transaction* transaction);

 private:
  // Deletes the records below a prefix that are over.
  template <typename Record, typename IsOver>
  absl::Status SweepBelow(absl::string_view prefix, const IsOver& is_over) const;

  store::Store* const store_;
  const Clock* const clock_;
  mutable AuditTrail trail_;
};

}  // namespace parley::keyd

#endif  // PARLEY_SERVICES_KEYD_STORE_KEY_STORE_H_
