#include "clients/operator/quantities.h"

#include <gtest/gtest.h>

namespace parley::ops {
namespace {

TEST(Quantities, AreWrittenForPeople) {
  EXPECT_EQ(BytesText(0), "0 B");
  EXPECT_EQ(BytesText(1023), "1023 B");
  EXPECT_EQ(BytesText(4301), "4.2 KiB");
  EXPECT_EQ(BytesText(1048575), "1.0 MiB");
  EXPECT_EQ(BytesText(int64_t{1} << 30), "1.0 GiB");
  EXPECT_EQ(Count(1, "file"), "1 file");
  EXPECT_EQ(Count(0, "file"), "0 files");
  EXPECT_EQ(DurationText(absl::Milliseconds(31)), "31 ms");
  EXPECT_EQ(DurationText(absl::Milliseconds(2400)), "2.4 s");
  EXPECT_EQ(DurationText(absl::Minutes(3)), "3 min");
  EXPECT_EQ(TimeText(absl::FromUnixSeconds(1795389000)), "2026-11-22 23:10 UTC");
  EXPECT_EQ(TimeText(absl::InfiniteFuture()), "never");
}

}  // namespace
}  // namespace parley::ops
