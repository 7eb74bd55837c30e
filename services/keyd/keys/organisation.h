// The organisation that a store belongs to: its name, its CA, and what is sealed for it under the key-encryption key.
//
// Threads: const methods may be called from any thread; IssueServerCertificate blocks on the store.
#ifndef PARLEY_SERVICES_KEYD_KEYS_ORGANISATION_H_
#define PARLEY_SERVICES_KEYD_KEYS_ORGANISATION_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "lib/base/secret.h"
#include "lib/crypto/certificate.h"
#include "parley/key/v1/key_service.pb.h"
#include "services/keyd/store/key_store.h"
#include "services/keyd/store/sealer.h"

namespace parley::keyd {

// Short, because a server certificate cannot be revoked; services renew it by themselves.
inline constexpr absl::Duration kServerCertificateTtl = absl::Hours(24 * 90);

class Organisation {
 public:
  // Loads the organisation, founding it under this name first when the store has none. `store` must outlive it.
  // INVALID_ARGUMENT: KEK_MALFORMED, ORGANISATION (the name has not 1 to 64 printable characters); FAILED_PRECONDITION
  // (KEK_WRONG).
  static absl::StatusOr<std::unique_ptr<Organisation>> Open(const KeyStore* store, const Secret& kek,
                                                            const std::string& name);

  const std::string& name() const { return record_.name(); }
  const std::string& ca_pem() const { return record_.ca_pem(); }
  // Makes a certificate for the server of a service. `actor` as in the audit log. INVALID_ARGUMENT: SERVER_NAMES,
  // SERVER_KEY.
  absl::Status IssueServerCertificate(absl::string_view actor, const key::v1::IssueServerCertificateRequest& request,
                                      key::v1::IssueServerCertificateResponse* response) const;
  // Opens the key of a root. FAILED_PRECONDITION (KEK_WRONG).
  absl::StatusOr<Secret> RootKey(const records::RootSet::Root& root) const;
  // Makes the root of an epoch, sealed.
  records::RootSet::Root NewRoot(uint32_t epoch) const;

 private:
  Organisation(const KeyStore* store, Sealer sealer) : store_(store), sealer_(std::move(sealer)) {}
  absl::Status Found(const std::string& name);
  std::string RootPurpose(uint32_t epoch) const;
  std::string CaPurpose() const;

  const KeyStore* const store_;
  const Sealer sealer_;
  records::Organisation record_;
  std::optional<crypto::EcKey> ca_key_;
};

}  // namespace parley::keyd

#endif  // PARLEY_SERVICES_KEYD_KEYS_ORGANISATION_H_
