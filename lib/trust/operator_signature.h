// Signs manifests as an operator, and verifies who of the organisation wants an update, without believing a server.
//
// The signature binds the manifest to the operator's device, and to the newest certificate that the device knew: a
// chain that lacks it has been cut (docs/protocol/manifest.md).
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

// `manifest` has the bytes of SignedManifest.manifest. `seen` is the chain's end in the device's eyes.
task::v1::OperatorSignature SignAsOperator(absl::string_view manifest, absl::string_view device,
                                           const crypto::SigningKey& key, const Head& seen, absl::Time now);

// Checks the form alone. Returns INVALID_ARGUMENT (OPERATOR_MALFORMED).
absl::Status CheckForm(const task::v1::OperatorSignature& signature);

struct Operator {
  std::string user_name;
  std::string device_label;
};

// Returns who signed, if everything about it holds by the present chain. A revocation counts from when it is known, for
// every manifest of its user or device, because a signature's time can be made up. Returns the first of these that is
// wrong: OPERATOR_SIGNATURE_MISSING, OPERATOR_MALFORMED, OPERATOR_UNKNOWN, OPERATOR_SIGNATURE, OPERATOR_REVOKED,
// OPERATOR_ROLE, OPERATOR_TIME (more than 5 minutes ahead of `now`), OPERATOR_CHAIN (the chain lacks what the signer
// has seen).
absl::StatusOr<Operator> VerifyOperator(const task::v1::SignedManifest& manifest, const Chain& chain, absl::Time now);

}  // namespace parley::trust

#endif  // PARLEY_LIB_TRUST_OPERATOR_SIGNATURE_H_
