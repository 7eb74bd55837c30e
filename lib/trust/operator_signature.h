// Operators' signatures on manifests: who of the organisation wants this update, proven without a server.
//
// docs/protocol/manifest.md. The signature binds the manifest to the operator's device, and to the newest certificate
// that the device knew: a chain in which that is missing has been cut.
#ifndef PARLEY_LIB_TRUST_OPERATOR_SIGNATURE_H_
#define PARLEY_LIB_TRUST_OPERATOR_SIGNATURE_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "lib/crypto/signature.h"
#include "lib/trust/chain.h"
#include "parley/task/v1/manifest.pb.h"

namespace parley::trust {

// `manifest`: the bytes of SignedManifest.manifest. `seen`: the chain's end as the device knows it.
task::v1::OperatorSignature SignAsOperator(absl::string_view manifest, absl::string_view device,
                                           const crypto::SigningKey& key, const Head& seen, absl::Time now);

// Whether it could be one at all. INVALID_ARGUMENT (OPERATOR_MALFORMED).
absl::Status CheckForm(const task::v1::OperatorSignature& signature);

struct Operator {
  std::string user_name;
  std::string device_label;
};

// Who signed, when everything about it holds by the chain as it is now: a revocation counts from when it is known, for
// every manifest of its user or device, because a signature's time can be made up. Checks in this order:
// OPERATOR_SIGNATURE_MISSING, OPERATOR_MALFORMED, OPERATOR_UNKNOWN, OPERATOR_SIGNATURE, OPERATOR_REVOKED,
// OPERATOR_ROLE, OPERATOR_TIME (more than 5 minutes ahead of `now`), OPERATOR_CHAIN (the chain does not have what the
// signer has seen).
absl::StatusOr<Operator> VerifyOperator(const task::v1::SignedManifest& manifest, const Chain& chain, absl::Time now);

}  // namespace parley::trust

#endif  // PARLEY_LIB_TRUST_OPERATOR_SIGNATURE_H_
