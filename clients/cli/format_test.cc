#include "clients/cli/format.h"

#include <gtest/gtest.h>

#include "clients/cli/command.h"

namespace parley::cli {
namespace {

TEST(Addresses, HaveAHostAndAPort) {
  for (const char* good : {"taskd.example:7443", "192.0.2.7:1", "[2001:db8::1]:65535", "localhost:7443",
                           "taskd-0.example:7443,[2001:db8::1]:7443"}) {
    EXPECT_TRUE(CheckAddress("--server", good).ok()) << good;
  }
  for (const char* bad : {"",
                          "taskd.example",
                          ":7443",
                          "taskd.example:",
                          "taskd.example:0",
                          "taskd.example:70000",
                          "taskd.example:-1",
                          "taskd.example:7443 ",
                          " taskd.example:7443",
                          "task d:7443",
                          "https://taskd.example:7443",
                          "taskd.example:7443/",
                          "user@taskd.example:7443",
                          "2001:db8::1:7443",
                          "[2001:db8::1]",
                          "taskd.example:https",
                          "a\x1b[2J:7443",
                          "a:1:2",
                          "a:1,",
                          "a:1, b:1"}) {
    const absl::Status status = CheckAddress("--server", bad);
    EXPECT_TRUE(IsUsageError(status)) << bad;
    EXPECT_EQ(status.message().find('\x1b'), absl::string_view::npos);
  }
}

TEST(Durations, AreReadWithTheirUnits) {
  EXPECT_EQ(*ParseDuration("--ttl", "90s"), absl::Seconds(90));
  EXPECT_EQ(*ParseDuration("--ttl", "1h30m"), absl::Minutes(90));
  EXPECT_EQ(*ParseDuration("--ttl", "7d"), absl::Hours(168));
  for (const char* bad : {"", "24", "h", "-1h", "1.5h", "1h ", "1y", "99999999999s", "1hh"}) {
    const absl::Status status = ParseDuration("--ttl", bad).status();
    EXPECT_TRUE(IsUsageError(status)) << bad;
    EXPECT_NE(status.message().find("--ttl"), absl::string_view::npos) << bad;
  }
}

TEST(Ttl, NamesTheBoundThatItBreaks) {
  EXPECT_EQ(*ParseTtl("--ttl", "1m", absl::Minutes(1), "a task stays open"), absl::Minutes(1));
  EXPECT_EQ(*ParseTtl("--ttl", "366d", absl::Minutes(1), "a task stays open"), absl::Hours(24 * 366));
  EXPECT_EQ(ParseTtl("--ttl", "0s", absl::Minutes(1), "a task stays open").status().message(),
            "--ttl 0s is too short; a task stays open 1 minute to 366 days, e.g. --ttl 24h");
  EXPECT_EQ(ParseTtl("--ttl", "3650d", absl::Minutes(1), "a task stays open").status().message(),
            "--ttl 3650d is too long; a task stays open 1 minute to 366 days, e.g. --ttl 24h");
}

TEST(Times, AreAbsoluteOrFromNow) {
  const absl::Time now = absl::FromUnixSeconds(1795389000);
  EXPECT_EQ(*ParseTime("--start", "2026-11-22T23:10:00Z", now), now);
  EXPECT_EQ(*ParseTime("--start", "2h", now), now + absl::Hours(2));
  EXPECT_TRUE(IsUsageError(ParseTime("--start", "tomorrow", now).status()));
}

TEST(Pairs, NeedAKey) {
  EXPECT_EQ(ParsePairs("--label", {"a=1", "b=c=d", "e="})->at("b"), "c=d");
  EXPECT_TRUE(IsUsageError(ParsePairs("--label", {"a"}).status()));
  EXPECT_TRUE(IsUsageError(ParsePairs("--label", {"=a"}).status()));
  EXPECT_TRUE(IsUsageError(ParsePairs("--label", {"a=1", "a=2"}).status()));
}

}  // namespace
}  // namespace parley::cli
