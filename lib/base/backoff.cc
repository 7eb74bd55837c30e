#include "lib/base/backoff.h"

#include <algorithm>

namespace parley {

absl::Duration DoubledPause(absl::Duration least, absl::Duration most, int failures) {
  absl::Duration pause = least;
  for (int i = 0; i < failures && pause < most; ++i) pause *= 2;
  return std::min(pause, most);
}

absl::Duration Backoff::Next() {
  return DoubledPause(least_, most_, failures_++) * std::uniform_real_distribution<>(0, 2)(random_);
}

}  // namespace parley
