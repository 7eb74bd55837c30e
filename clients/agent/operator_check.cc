#include "clients/agent/operator_check.h"

#include <memory>
#include <utility>

#include "lib/base/error.h"

namespace parley::agent {

absl::Status CheckOptions(const Options& options) {
  if (!options.require_operator_signature || options.chain) return absl::OkStatus();
  return Error(absl::StatusCode::kInvalidArgument, "NO_CHAIN",
               "an operator's signature is verified by the chain of trust, of which this client knows nothing; enrol "
               "the device with `parley claim`");
}

absl::StatusOr<std::optional<trust::Operator>> CheckOperator(const Options& options,
                                                             const task::v1::SignedManifest& manifest) {
  if (!options.chain) return std::nullopt;
  if (!manifest.has_operator_signature() && !options.require_operator_signature) return std::nullopt;
  ASSIGN_OR_RETURN(const std::shared_ptr<const trust::Chain> chain, options.chain());
  ASSIGN_OR_RETURN(trust::Operator signer, trust::VerifyOperator(manifest, *chain, options.clock->Now()));
  return std::optional<trust::Operator>(std::move(signer));
}

}  // namespace parley::agent
