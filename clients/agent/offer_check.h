// Whether an offer may be applied here now: its signatures, what was applied before, the target and the clock.
//
// Threads: not thread-safe.
#ifndef PARLEY_CLIENTS_AGENT_OFFER_CHECK_H_
#define PARLEY_CLIENTS_AGENT_OFFER_CHECK_H_

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "clients/agent/hindrance.h"
#include "clients/agent/options.h"
#include "clients/agent/target_owner.h"
#include "lib/trust/operator_signature.h"
#include "parley/task/v1/participation_service.pb.h"

namespace parley::agent {

class OfferCheck {
 public:
  // `options` must outlive it. `task` is "tasks/{task}".
  OfferCheck(const Options* options, std::string task) : options_(*options), task_(std::move(task)) {}

  struct Verdict {
    absl::Status status;
    // Who is to blame for the error.
    Blame blame = Blame::kMoment;
  };
  // Verifies the offer. It blocks where it fetches the chain of trust, to verify an operator's signature. Errors:
  // MANIFEST_*, those of TargetOwner::Check and of CheckOperator.
  Verdict Judge(const task::v1::Offer& offer, const std::string& verification_key, const TargetOwner& owner);

  // Returns the manifest of the newest offer whose signature has proved good.
  const std::optional<task::v1::Manifest>& manifest() const { return manifest_; }
  // Returns the operator that signed the newest offer, if that was found good.
  const std::optional<trust::Operator>& signer() const { return signer_; }

 private:
  Verdict Verify(const task::v1::Offer& offer, const std::string& verification_key);

  const Options& options_;
  const std::string task_;
  std::optional<task::v1::Manifest> manifest_;
  std::string manifest_bytes_;
  std::optional<trust::Operator> signer_;
};

}  // namespace parley::agent

#endif  // PARLEY_CLIENTS_AGENT_OFFER_CHECK_H_
