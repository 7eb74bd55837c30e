// Whether an operator of the organisation stands behind a manifest, as far as this client asks for it.
//
// Threads: any thread may call the functions.
#ifndef PARLEY_CLIENTS_AGENT_OPERATOR_CHECK_H_
#define PARLEY_CLIENTS_AGENT_OPERATOR_CHECK_H_

#include <optional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "clients/agent/options.h"
#include "lib/trust/operator_signature.h"

namespace parley::agent {

// Returns NO_CHAIN (INVALID_ARGUMENT) if a signature is demanded and there is no chain of trust to verify it by.
absl::Status CheckOptions(const Options& options);

// Returns the operator that signed the manifest, or no value if no signature is asked for. It fetches the chain of
// trust, which blocks. Returns the errors of trust::VerifyOperator and of options.chain.
absl::StatusOr<std::optional<trust::Operator>> CheckOperator(const Options& options,
                                                             const task::v1::SignedManifest& manifest);

}  // namespace parley::agent

#endif  // PARLEY_CLIENTS_AGENT_OPERATOR_CHECK_H_
