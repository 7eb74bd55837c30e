// Pauses between tries that double from one bound to another.
#ifndef PARLEY_LIB_BASE_BACKOFF_H_
#define PARLEY_LIB_BASE_BACKOFF_H_

#include <cstdint>
#include <random>

#include "absl/time/time.h"

namespace parley {

// Returns `least`, doubled once for each failure, at most `most`.
absl::Duration DoubledPause(absl::Duration least, absl::Duration most, int failures);

// Draws each pause at random from nothing to twice its length, so that what failed together does not come back
// together. Threads: not thread-safe.
class Backoff {
 public:
  Backoff(absl::Duration least, absl::Duration most, uint32_t seed = std::random_device()())
      : least_(least), most_(most), random_(seed) {}

  // Returns the pause after one more failure.
  absl::Duration Next();
  // Begins with short pauses again.
  void Reset() { failures_ = 0; }

 private:
  const absl::Duration least_;
  const absl::Duration most_;
  int failures_ = 0;
  std::minstd_rand random_;
};

}  // namespace parley

#endif  // PARLEY_LIB_BASE_BACKOFF_H_
