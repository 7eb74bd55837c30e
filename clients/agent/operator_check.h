// Whether an operator of the organisation stands behind a manifest, as far as this client asks for it.
#ifndef PARLEY_CLIENTS_AGENT_OPERATOR_CHECK_H_
#define PARLEY_CLIENTS_AGENT_OPERATOR_CHECK_H_

#include <optional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "clients/agent/options.h"
#include "lib/trust/operator_signature.h"

namespace parley::agent {

// INVALID_ARGUMENT (NO_CHAIN).
absl::Status CheckOptions(const Options& options);

// Who signed; nobody where none is asked for. Fetches the chain of trust: blocks. The errors of trust::VerifyOperator,
// of the chain, and of fetching it.
absl::StatusOr<std::optional<trust::Operator>> CheckOperator(const Options& options,
                                                             const task::v1::SignedManifest& manifest);

}  // namespace parley::agent

#endif  // PARLEY_CLIENTS_AGENT_OPERATOR_CHECK_H_
