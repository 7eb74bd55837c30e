#include "lib/base/token_bucket.h"

#include <algorithm>

namespace parley {

void TokenBucket::Refill() {
  const absl::Time now = clock_->Now();
  const double gained = now < filled_ ? rate_.burst : absl::ToDoubleSeconds(now - filled_) * rate_.per_second;
  tokens_ = std::min(rate_.burst, tokens_ + gained);
  filled_ = now;
}

}  // namespace parley
