#include "clients/agent/policy.h"

#include "absl/strings/str_cat.h"

namespace parley::agent {
namespace {

std::string Show(absl::Time time) { return absl::FormatTime("%Y-%m-%d %H:%M UTC", time, absl::UTCTimeZone()); }

Answer Decline(std::string reason) { return {.kind = Answer::Kind::kDecline, .reason = std::move(reason)}; }

// Puts the offer off, or says what is left when it cannot be.
Answer PutOff(const Policy& policy, const OfferTerms& terms, absl::Time until) {
  if (until < terms.deadline && terms.deferrals_left > 0) {
    const std::string reason =
        policy.defer_reason.empty() ? absl::StrCat("not before ", Show(until)) : policy.defer_reason;
    return {.kind = Answer::Kind::kDefer, .until = until, .reason = reason};
  }
  if (terms.forced) return {};
  return Decline(absl::StrCat("this client applies nothing before ", Show(until), ", and the offer can not wait"));
}

// The window that is open, or else the next to open; null when all are over.
const Window* NextWindow(const Policy& policy, absl::Time now) {
  const Window* next = nullptr;
  for (const Window& window : policy.windows) {
    if (window.end <= now || window.start >= window.end) continue;
    if (next == nullptr || window.start < next->start) next = &window;
  }
  return next;
}

}  // namespace

Answer AnswerTo(const Policy& policy, const OfferTerms& terms, absl::Time now) {
  if (policy.decline.has_value()) {
    if (terms.forced) return {.kind = Answer::Kind::kRefuseForced};
    return Decline(*policy.decline);
  }
  if (now < policy.defer_until) return PutOff(policy, terms, policy.defer_until);
  if (policy.windows.empty() || terms.has_window) return {};
  const Window* const window = NextWindow(policy, now);
  if (window == nullptr) return terms.forced ? Answer() : Decline("no window of this client's is left");
  if (window->start <= now) return {};
  if (window->start < terms.deadline && !terms.counter_refused) {
    return {.kind = Answer::Kind::kCounter, .window = *window, .reason = "outside this client's windows"};
  }
  return PutOff(policy, terms, window->start);
}

}  // namespace parley::agent
