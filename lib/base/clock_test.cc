#include "lib/base/clock.h"

#include "absl/time/clock.h"
#include "gtest/gtest.h"

namespace parley {
namespace {

TEST(FakeClock, StandsStillUntilTold) {
  FakeClock clock(absl::FromUnixSeconds(100));
  EXPECT_EQ(clock.Now(), absl::FromUnixSeconds(100));
  clock.Advance(absl::Seconds(5));
  EXPECT_EQ(clock.Now(), absl::FromUnixSeconds(105));
  clock.Advance(-absl::Seconds(10));
  EXPECT_EQ(clock.Now(), absl::FromUnixSeconds(95));
}

TEST(FakeClock, TellsSubscribersUntilTheyLeave) {
  FakeClock clock;
  int told = 0;
  const uint64_t id = clock.Subscribe([&told] { ++told; });
  clock.Advance(absl::Seconds(1));
  EXPECT_EQ(told, 1);
  clock.Unsubscribe(id);
  clock.Advance(absl::Seconds(1));
  EXPECT_EQ(told, 1);
}

TEST(FakeClock, MayBeAskedByASubscriber) {
  FakeClock clock(absl::FromUnixSeconds(0));
  absl::Time seen;
  clock.Subscribe([&] { seen = clock.Now(); });
  clock.Advance(absl::Seconds(7));
  EXPECT_EQ(seen, absl::FromUnixSeconds(7));
}

TEST(SystemClock, IsTheSystemsTime) {
  const absl::Time before = absl::Now();
  const absl::Time now = Clock::System()->Now();
  EXPECT_LE(before, now);
  EXPECT_LE(now, absl::Now());
}

}  // namespace
}  // namespace parley
