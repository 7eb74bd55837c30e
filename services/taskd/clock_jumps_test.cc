// A server's clock that is set forward and back.
#include "services/taskd/tasks/clock_jumps.h"

#include <atomic>

#include "gtest/gtest.h"
#include "services/taskd/testing/taskd_testing.h"

namespace parley::taskd {
namespace {

class ClockJumpsTest : public testing::Test {
 protected:
  void Pass(absl::Duration time) {
    passed_ += time;
    clock_.Advance(time);
  }

  FakeClock clock_;
  absl::Duration passed_;
  ClockJumps jumps_{&clock_, [this] { return passed_; }};
};

TEST_F(ClockJumpsTest, TimeThatPassesIsNoJump) {
  const absl::Time begin = clock_.Now();
  Pass(absl::Hours(24 * 30));
  EXPECT_EQ(jumps_.Now(begin), clock_.Now());
  // A time service corrects the clock.
  clock_.Advance(absl::Seconds(30));
  EXPECT_EQ(jumps_.Now(begin), clock_.Now());
  EXPECT_EQ(jumps_.ahead(), absl::ZeroDuration());
}

TEST_F(ClockJumpsTest, WhatWasThereBeforeAJumpGoesByTheTimeThatPassed) {
  const absl::Time begin = clock_.Now();
  Pass(absl::Minutes(10));
  jumps_.Now(begin);
  clock_.Advance(absl::Hours(24));
  EXPECT_EQ(jumps_.Now(begin), begin + absl::Minutes(10));
  EXPECT_EQ(jumps_.ahead(), absl::Hours(24));
  const absl::Time later = clock_.Now();
  Pass(absl::Minutes(10));
  EXPECT_EQ(jumps_.Now(begin), begin + absl::Minutes(20));
  EXPECT_EQ(jumps_.Now(later), later + absl::Minutes(10));
}

TEST_F(ClockJumpsTest, WhatBeganBetweenTheLastLookAndTheJumpWasThereToo) {
  jumps_.Now(clock_.Now());
  const absl::Time begin = clock_.Now();
  clock_.Advance(absl::Hours(1));
  EXPECT_EQ(jumps_.Now(begin), begin);
}

TEST_F(ClockJumpsTest, AClockThatIsSetBackIsBelieved) {
  const absl::Time begin = clock_.Now();
  clock_.Advance(absl::Hours(24));
  jumps_.Now(begin);
  clock_.Advance(-absl::Hours(24));
  EXPECT_EQ(jumps_.Now(begin), begin);
  EXPECT_EQ(jumps_.ahead(), absl::ZeroDuration());
}

TEST_F(ClockJumpsTest, EachOfTwoJumpsIsTakenOff) {
  const absl::Time begin = clock_.Now();
  for (int i = 0; i < 2; ++i) {
    clock_.Advance(absl::Hours(1));
    EXPECT_EQ(jumps_.Now(begin), begin);
  }
  EXPECT_EQ(jumps_.ahead(), absl::Hours(2));
}

class ServerClockTest : public TaskdTest {};

TEST_F(ServerClockTest, SetForwardEndsNoTask) {
  std::atomic<int> hours = 0;
  Stop();
  steady_ = [&hours] { return absl::Hours(hours.load()); };
  Start();
  task::v1::CreateTaskRequest request = NewTask("site");
  request.mutable_ttl()->set_seconds(3600);
  const auto task = Create(request);
  ASSERT_TRUE(task.ok()) << task.status();
  clock_.Advance(absl::Hours(24));
  // What it is told now comes after what the jump has made due.
  EXPECT_TRUE(Pause(task->task().name()).ok());
  EXPECT_TRUE(Resume(task->task().name()).ok());
  EXPECT_EQ(Get(task->task().name()).state(), Task::STATE_OPEN);
  // Its own hour ends it.
  hours = 1;
  clock_.Advance(absl::Hours(1));
  WaitForTask(task->task().name(), Task::STATE_EXPIRED);
  Stop();
}

}  // namespace
}  // namespace parley::taskd
