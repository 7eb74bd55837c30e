// How long an update has been undecided, and what a killed process has left running.
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "clients/agent/hook_group.h"
#include "clients/agent/installer_testing.h"

namespace parley::agent {
namespace {

class WaitingTest : public InstallerTest {
 protected:
  WaitingTest() {
    options_.boot_clock = &boot_clock_;
    options_.clock = &clock_;
    plan_.confirm_timeout = absl::Minutes(7);
  }
  absl::Duration Undecided() const { return installer_->pending()->undecided; }

  FakeBootClock boot_clock_;
  FakeClock clock_;
};

TEST_F(WaitingTest, IsMeasuredByTheMachinesUptimeAndNotByTheWallClock) {
  Open();
  ASSERT_TRUE(Install({{"a", "1"}}).ok());
  EXPECT_EQ(Undecided(), absl::ZeroDuration());
  EXPECT_EQ(installer_->pending()->confirm_timeout, absl::Minutes(7));
  clock_.Advance(absl::Hours(24));
  EXPECT_EQ(Undecided(), absl::ZeroDuration());
  boot_clock_.Advance(absl::Minutes(2));
  EXPECT_EQ(Undecided(), absl::Minutes(2));
  Open();
  EXPECT_EQ(Undecided(), absl::Minutes(2)) << "the time in which no agent ran counts too";
}

TEST_F(WaitingTest, GoesOnAfterABootWithWhatWasNotedAndTenSecondsForTheBoot) {
  Open();
  ASSERT_TRUE(Install({{"a", "1"}}).ok());
  boot_clock_.Advance(absl::Minutes(2));
  ASSERT_TRUE(installer_->RecordWaiting().ok());
  boot_clock_.Advance(absl::Minutes(1));
  boot_clock_.Reboot("boot-2");
  Open();
  EXPECT_EQ(Undecided(), absl::Minutes(2) + absl::Seconds(10));
  boot_clock_.Advance(absl::Minutes(1));
  EXPECT_EQ(Undecided(), absl::Minutes(3) + absl::Seconds(10));
}

TEST_F(WaitingTest, EndsOnAMachineThatNeverStaysUp) {
  Open();
  ASSERT_TRUE(Install({{"a", "1"}}).ok());
  int boots = 0;
  for (; Undecided() <= plan_.confirm_timeout && boots < 1000; ++boots) {
    boot_clock_.Reboot(absl::StrCat("boot ", boots + 2));
    Open();
  }
  EXPECT_LE(boots, 43);
}

class LeftTest : public InstallerTest {
 protected:
  // The shell dies with its parent, and what it had started by `prefix` does not.
  void ExpectEnded(const std::string& prefix) {
    plan_.hooks.apply =
        prefix + "sh -c 'echo $$ > " + folder_ / "pid" + "; sleep 1000' && touch " + folder_ / "went-on";
    ASSERT_EQ(mkfifo((folder_ / "pid").c_str(), 0600), 0);
    const pid_t child = fork();
    if (child == 0) {
      Open();
      Install({{"a", "1"}}).IgnoreError();
      _exit(0);
    }
    int left = 0;
    ASSERT_TRUE(absl::SimpleAtoi(ReadTestFile(folder_ / "pid"), &left));  // A pipe: it waits for the command.
    kill(child, SIGKILL);
    ASSERT_EQ(waitpid(child, nullptr, 0), child);
    ASSERT_EQ(kill(left, 0), 0) << "nothing was left running, so that this shows nothing";
    Open();
    const std::string state = ReadTestFile(absl::StrCat("/proc/", left, "/stat"));
    EXPECT_TRUE(state.empty() || absl::StrContains(state, ") Z ")) << state;
    EXPECT_TRUE(installer_->pending().has_value());
    EXPECT_FALSE(std::filesystem::exists(folder_ / "went-on"));
  }
};

TEST_F(LeftTest, WhatAKilledProcessLeftRunningIsEndedBeforeAnythingElse) { ExpectEnded(""); }

TEST_F(LeftTest, SoIsWhatHasMadeAGroupOfItsOwn) { ExpectEnded("timeout 1000 "); }

TEST(HookGroup, IsLeftAloneWhenItsNumberIsAnothersNow) {
  const pid_t other = fork();
  if (other == 0) {
    setpgid(0, 0);
    while (true) pause();
  }
  setpgid(other, other);
  Journal::HookGroup group = DescribeGroup(other, "boot-1");
  EXPECT_TRUE(EndGroup(group, "boot-2").ok());
  group.set_start_ticks(group.start_ticks() + 1);
  EXPECT_TRUE(EndGroup(group, "boot-1").ok());
  EXPECT_EQ(waitpid(other, nullptr, WNOHANG), 0) << "it was ended";
  group.set_start_ticks(group.start_ticks() - 1);
  EXPECT_TRUE(EndGroup(group, "boot-1").ok());
  EXPECT_EQ(waitpid(other, nullptr, WNOHANG), other);
}

}  // namespace
}  // namespace parley::agent
