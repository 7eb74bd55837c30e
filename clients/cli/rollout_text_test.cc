#include "clients/cli/rollout_text.h"

#include <gtest/gtest.h>

#include <functional>

#include "lib/base/error.h"
#include "lib/base/proto_time.h"

namespace parley::cli {
namespace {

using task::v1::Rollout;

TEST(WaveText, IsReadAsItIsWritten) {
  for (const std::string text :
       {"1", "250", "10%", "all", "canary=true", "canary=true+site=berlin", "@web-1", "@web-1+web-2.example"}) {
    const auto wave = ParseWave(text);
    ASSERT_TRUE(wave.ok()) << wave.status();
    EXPECT_EQ(WaveText(*wave), text);
  }
}

TEST(WaveText, ThatSaysNothingIsRefused) {
  for (const std::string text : {"", "x", "ten%", "%", "-", "1o"}) {
    EXPECT_EQ(Reason(ParseWave(text).status()), "USAGE") << text;
  }
}

TEST(RolloutFlags, BecomeARollout) {
  EXPECT_FALSE((*ParseRollout({})).has_value());
  RolloutFlags flags;
  flags.waves = "1,10%,all";
  flags.success = "95%";
  flags.failures = "2";
  flags.soak = "10m";
  flags.approve_by = 2;
  const Rollout rollout = **ParseRollout(flags);
  EXPECT_EQ(WavesText(rollout), "1, 10%, all");
  EXPECT_EQ(GateText(rollout.gate()), "95 % have it, at most 2 failures, for 10 min, 2 approvals of others");
  EXPECT_EQ(rollout.on_failure(), Rollout::ON_FAILURE_HALT);
  flags.failures = "5%";
  flags.approve_by = 0;
  flags.approve = true;
  flags.on_failure = "pause";
  EXPECT_EQ((*ParseRollout(flags))->gate().max_failure_percent(), 5);
  EXPECT_TRUE((*ParseRollout(flags))->gate().author_may_approve());
  EXPECT_EQ((*ParseRollout(flags))->on_failure(), Rollout::ON_FAILURE_PAUSE);
}

TEST(RolloutFlags, NameTheOptionThatIsWrong) {
  const auto refused = [](const std::function<void(RolloutFlags*)>& spoil) {
    RolloutFlags flags;
    flags.waves = "1,all";
    spoil(&flags);
    const auto rollout = ParseRollout(flags);
    return rollout.ok() ? "nothing" : std::string(rollout.status().message());
  };
  EXPECT_NE(refused([](RolloutFlags* flags) { flags->success = "most"; }).find("--wave-success"), std::string::npos);
  EXPECT_NE(refused([](RolloutFlags* flags) { flags->success = "0%"; }).find("--wave-success"), std::string::npos);
  EXPECT_NE(refused([](RolloutFlags* flags) { flags->success = "101%"; }).find("--wave-success"), std::string::npos);
  EXPECT_NE(refused([](RolloutFlags* flags) { flags->failures = "-1"; }).find("--wave-failures"), std::string::npos);
  EXPECT_NE(refused([](RolloutFlags* flags) { flags->soak = "soon"; }).find("--soak"), std::string::npos);
  EXPECT_NE(refused([](RolloutFlags* flags) { flags->waves = "1,,all"; }).find("--waves"), std::string::npos);
}

}  // namespace
}  // namespace parley::cli
