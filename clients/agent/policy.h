// What to answer to an offer, as a pure function of what the client's owner wants.
#ifndef PARLEY_CLIENTS_AGENT_POLICY_H_
#define PARLEY_CLIENTS_AGENT_POLICY_H_

#include <string>

#include "absl/time/time.h"
#include "clients/agent/options.h"

namespace parley::agent {

// What an offer says about time.
struct OfferTerms {
  absl::Time deadline = absl::InfiniteFuture();
  bool forced = false;
  int deferrals_left = 0;
  // A window of the client's was granted.
  bool has_window = false;
  // The client asked for another window and got the same offer again.
  bool counter_refused = false;
};

struct Answer {
  enum class Kind { kAccept, kDefer, kCounter, kDecline, kRefuseForced };
  Kind kind = Kind::kAccept;
  // kDefer: until; kCounter: the window.
  absl::Time until;
  Window window;
  // For people: kDefer, kCounter, kDecline.
  std::string reason;
};

// A forced task may not be declined: kRefuseForced when the policy is to decline; otherwise the client puts it off
// while it may, and then accepts. One that is not forced is declined when it can be put off no more.
Answer AnswerTo(const Policy& policy, const OfferTerms& terms, absl::Time now);

}  // namespace parley::agent

#endif  // PARLEY_CLIENTS_AGENT_POLICY_H_
