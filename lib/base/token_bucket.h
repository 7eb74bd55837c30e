// A budget that is refilled at a steady rate: up to `burst` at once, and `per_second` in the long run.
//
// The clock is read only when the tokens have run out, so taking one costs a subtraction. A bucket therefore allows up
// to twice the burst within a moment, when tokens that were saved up are followed by those of a long quiet time; it
// never allows less than its rate. A clock that goes backwards fills the bucket.
//
// Threads: one at a time.
#ifndef PARLEY_LIB_BASE_TOKEN_BUCKET_H_
#define PARLEY_LIB_BASE_TOKEN_BUCKET_H_

#include "absl/time/time.h"
#include "lib/base/clock.h"

namespace parley {

class TokenBucket {
 public:
  struct Rate {
    double per_second;
    double burst;
  };

  // The bucket begins full. `clock` must outlive it.
  TokenBucket(Rate rate, const Clock* clock) : rate_(rate), clock_(clock), tokens_(rate.burst), filled_(clock->Now()) {}

  // Takes `cost` tokens. Returns false, and takes none, when there are fewer.
  bool Take(double cost = 1) {
    if (tokens_ < cost) Refill();
    if (tokens_ < cost) return false;
    tokens_ -= cost;
    return true;
  }

 private:
  void Refill();

  const Rate rate_;
  const Clock* const clock_;
  double tokens_;
  absl::Time filled_;
};

}  // namespace parley

#endif  // PARLEY_LIB_BASE_TOKEN_BUCKET_H_
