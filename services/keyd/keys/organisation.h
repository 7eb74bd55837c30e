// The organisation that a store belongs to, and what is sealed for it under the key-encryption key.
//
// Threads: const methods may be called from any thread.
#ifndef PARLEY_SERVICES_KEYD_KEYS_ORGANISATION_H_
#define PARLEY_SERVICES_KEYD_KEYS_ORGANISATION_H_

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "lib/base/clock.h"
#include "lib/base/secret.h"
#include "lib/crypto/certificate.h"
#include "services/keyd/store/audit_trail.h"
#include "services/keyd/store/key_store.h"
#include "services/keyd/store/sealer.h"

namespace parley::keyd {

class Organisation {
 public:
  // Loads the organisation, founding it under this name first when the store has none. INVALID_ARGUMENT: KEK_MALFORMED,
  // ORGANISATION (the name has not 1 to 64 printable characters).
  static absl::StatusOr<std::unique_ptr<Organisation>> Open(const KeyStore& store, AuditTrail* trail,
                                                            const Clock& clock, const Secret& kek,
                                                            const std::string& name);

  const std::string& name() const { return record_.name(); }
  const std::string& ca_pem() const { return record_.ca_pem(); }
  // Opens what is sealed. FAILED_PRECONDITION (KEK_WRONG).
  absl::StatusOr<crypto::EcKey> CaKey() const;
  absl::StatusOr<Secret> RootKey(const records::RootSet::Root& root) const;
  // Makes the root of an epoch, sealed.
  records::RootSet::Root NewRoot(uint32_t epoch, absl::Time now) const;

 private:
  explicit Organisation(Sealer sealer) : sealer_(std::move(sealer)) {}
  absl::Status Found(const std::string& name, AuditTrail* trail, const Clock& clock);
  std::string RootPurpose(uint32_t epoch) const;
  std::string CaPurpose() const;

  const Sealer sealer_;
  records::Organisation record_;
};

}  // namespace parley::keyd

#endif  // PARLEY_SERVICES_KEYD_KEYS_ORGANISATION_H_
