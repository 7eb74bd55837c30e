#include "lib/base/token_bucket.h"

#include "gtest/gtest.h"

namespace parley {
namespace {

TEST(TokenBucket, AllowsABurstAndThenItsRate) {
  FakeClock clock;
  TokenBucket bucket({.per_second = 2, .burst = 3}, &clock);
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(bucket.Take());
  EXPECT_FALSE(bucket.Take());
  clock.Advance(absl::Milliseconds(500));
  EXPECT_TRUE(bucket.Take());
  EXPECT_FALSE(bucket.Take());
}

TEST(TokenBucket, SavesUpNoMoreThanABurst) {
  FakeClock clock;
  TokenBucket bucket({.per_second = 2, .burst = 3}, &clock);
  EXPECT_TRUE(bucket.Take(3));
  clock.Advance(absl::Hours(1));
  EXPECT_FALSE(bucket.Take(4));
  EXPECT_TRUE(bucket.Take(3));
  EXPECT_FALSE(bucket.Take());
}

TEST(TokenBucket, TakesNothingWhenThereIsTooLittle) {
  FakeClock clock;
  TokenBucket bucket({.per_second = 0, .burst = 3}, &clock);
  EXPECT_FALSE(bucket.Take(4));
  EXPECT_TRUE(bucket.Take(3));
}

TEST(TokenBucket, AClockThatGoesBackwardsFillsIt) {
  FakeClock clock;
  TokenBucket bucket({.per_second = 1, .burst = 2}, &clock);
  EXPECT_TRUE(bucket.Take(2));
  clock.Advance(-absl::Hours(1));
  EXPECT_TRUE(bucket.Take(2));
  EXPECT_FALSE(bucket.Take());
}

}  // namespace
}  // namespace parley
