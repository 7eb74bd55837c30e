#include "lib/keyd_client/contact.h"

#include <utility>

#include "lib/base/error.h"
#include "lib/base/log.h"

namespace parley::keyd_client {
namespace {

constexpr absl::Duration kSayAgain = absl::Minutes(10);

}  // namespace

Contact::Contact(absl::Duration limit, Clock* clock, Steady steady, OnChange on_change)
    : limit_(limit),
      clock_(clock),
      steady_(std::move(steady)),
      on_change_(std::move(on_change)),
      until_(steady_() + limit),
      last_(clock->Now()) {}

bool Contact::PastLimit() const { return steady_() >= until_; }

void Contact::Enter(State state) {
  if (std::exchange(state_, state) != state && on_change_) on_change_(state);
}

void Contact::Established() {
  MutexLock lock(&mutex_);
  if (!leased_) until_ = absl::InfiniteDuration();
  if (state_ == State::kFollowing) return;
  if (ever_) LogInfo("keyd is heard again; all that it has revoked is known");
  ever_ = true;
  said_ = absl::InfinitePast();
  Enter(State::kFollowing);
}

void Contact::Renewed(absl::Duration asked) {
  {
    MutexLock lock(&mutex_);
    leased_ = true;
    until_ = asked + limit_;
  }
  Established();
}

void Contact::Failed(const absl::Status& why) {
  MutexLock lock(&mutex_);
  // Before the first time the service does not serve, and its start says why.
  if (!ever_) return;
  const absl::Time now = clock_->Now();
  if (state_ == State::kFollowing) {
    last_ = now;
    if (!leased_) until_ = steady_() + limit_;
    Enter(State::kAway);
  }
  const bool news = PastLimit() && state_ != State::kAwayTooLong;
  if (news) Enter(State::kAwayTooLong);
  if (!news && now - said_ < kSayAgain) return;
  said_ = now;
  const LogFields fields = {{"since", absl::FormatTime(absl::RFC3339_sec, last_, absl::UTCTimeZone())},
                            {"error", std::string(why.message())}};
  if (state_ == State::kAwayTooLong) {
    LogError("keyd has not been heard for too long: nobody is admitted", fields);
  } else {
    LogWarning("keyd is not heard: this service goes on with the keys and revocations that it knows", fields);
  }
}

absl::Status Contact::CheckAdmits() const {
  MutexLock lock(&mutex_);
  if (!PastLimit()) return absl::OkStatus();
  return Unavailable("KEYD_AWAY", "keyd has not been heard for too long");
}

absl::Duration Contact::left() const {
  MutexLock lock(&mutex_);
  return until_ - steady_();
}

absl::Time Contact::last() const {
  MutexLock lock(&mutex_);
  return state_ == State::kFollowing ? clock_->Now() : last_;
}

}  // namespace parley::keyd_client
