// What to answer to an offer, by what the client's owner wants.
//
// Threads: pure functions.
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
  // The server has granted a window of the client's.
  bool has_window = false;
  // The client asked for another window and got the same offer again.
  bool counter_refused = false;
};

struct Answer {
  enum class Kind { kAccept, kDefer, kCounter, kDecline, kRefuseForced };
  Kind kind = Kind::kAccept;
  // Until when a kDefer puts the offer off, and the window that a kCounter asks for.
  absl::Time until;
  Window window;
  // Why it is a kDefer, kCounter or kDecline, for people.
  std::string reason;
};

// Returns the answer to an offer. While the time does not suit, the client asks for its next window or puts the offer
// off; when it may do neither, it declines, or accepts if the task is forced. A policy to decline everything declines,
// or is kRefuseForced if the task is forced.
Answer AnswerTo(const Policy& policy, const OfferTerms& terms, absl::Time now);

}  // namespace parley::agent

#endif  // PARLEY_CLIENTS_AGENT_POLICY_H_
