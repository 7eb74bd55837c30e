#include "lib/base/backoff.h"

#include <algorithm>
#include <limits>

#include "gtest/gtest.h"

namespace parley {
namespace {

constexpr absl::Duration kLeast = absl::Seconds(1);
constexpr absl::Duration kMost = absl::Seconds(30);

TEST(BackoffTest, DoublesUpToTheLimit) {
  EXPECT_EQ(DoubledPause(kLeast, kMost, 0), absl::Seconds(1));
  EXPECT_EQ(DoubledPause(kLeast, kMost, 1), absl::Seconds(2));
  EXPECT_EQ(DoubledPause(kLeast, kMost, 4), absl::Seconds(16));
  EXPECT_EQ(DoubledPause(kLeast, kMost, 5), absl::Seconds(30));
  EXPECT_EQ(DoubledPause(kLeast, kMost, std::numeric_limits<int>::max()), absl::Seconds(30));
  EXPECT_EQ(DoubledPause(kMost, kLeast, 0), kLeast);
}

TEST(BackoffTest, EachPauseIsBetweenNothingAndTwiceItsLength) {
  for (uint32_t seed = 1; seed <= 100; ++seed) {
    Backoff backoff(kLeast, kMost, seed);
    for (int failures = 0; failures < 10; ++failures) {
      const absl::Duration pause = backoff.Next();
      EXPECT_GE(pause, absl::ZeroDuration());
      EXPECT_LE(pause, DoubledPause(kLeast, kMost, failures) * 2);
    }
  }
}

TEST(BackoffTest, PausesGrowToTheirLimitAndNoFurther) {
  Backoff backoff(kLeast, kMost, 1);
  absl::Duration sum, longest;
  for (int i = 0; i < 200; ++i) {
    const absl::Duration pause = backoff.Next();
    longest = std::max(longest, pause);
    sum += pause;
  }
  EXPECT_LE(longest, kMost * 2);
  EXPECT_GT(sum / 200, absl::Seconds(20));
  backoff.Reset();
  EXPECT_LE(backoff.Next(), kLeast * 2);
}

TEST(BackoffTest, TwoDoNotPauseTogether) {
  Backoff one(kLeast, kMost, 1), other(kLeast, kMost, 2), like_one(kLeast, kMost, 1);
  const absl::Duration pause = one.Next();
  EXPECT_NE(pause, other.Next());
  EXPECT_EQ(pause, like_one.Next());
}

}  // namespace
}  // namespace parley
