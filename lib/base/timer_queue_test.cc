#include "lib/base/timer_queue.h"

#include <atomic>
#include <future>
#include <string>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace parley {
namespace {

class TimerQueueTest : public testing::Test {
 protected:
  // Returns when everything that is due has run: callbacks run in order of time, on one thread.
  void RunDue() {
    std::promise<void> done;
    queue_.Schedule(clock_.Now(), [&done] { done.set_value(); });
    done.get_future().wait();
  }
  absl::Time In(int seconds) const { return clock_.Now() + absl::Seconds(seconds); }

  FakeClock clock_;
  std::string ran_;  // Written on the queue's thread, read after RunDue.
  TimerQueue queue_{&clock_};
};

TEST_F(TimerQueueTest, RunsNothingBeforeItsTime) {
  queue_.Schedule(In(10), [this] { ran_ += "a"; });
  clock_.Advance(absl::Seconds(9));
  RunDue();
  EXPECT_EQ(ran_, "");
  clock_.Advance(absl::Seconds(1));
  RunDue();
  EXPECT_EQ(ran_, "a");
}

TEST_F(TimerQueueTest, RunsInOrderOfTimeThenOfScheduling) {
  queue_.Schedule(In(3), [this] { ran_ += "c"; });
  queue_.Schedule(In(1), [this] { ran_ += "a"; });
  queue_.Schedule(In(2), [this] { ran_ += "b"; });
  queue_.Schedule(In(3), [this] { ran_ += "d"; });
  clock_.Advance(absl::Seconds(5));
  RunDue();
  EXPECT_EQ(ran_, "abcd");
}

TEST_F(TimerQueueTest, RunsWhatIsLateAtOnce) {
  std::promise<void> done;
  queue_.Schedule(absl::InfinitePast(), [&done] { done.set_value(); });
  done.get_future().wait();
}

TEST_F(TimerQueueTest, CancelsOnceAndOnlyWhatHasNotRun) {
  const TimerQueue::TimerId kept = queue_.Schedule(In(1), [this] { ran_ += "a"; });
  const TimerQueue::TimerId canceled = queue_.Schedule(In(1), [this] { ran_ += "b"; });
  EXPECT_NE(kept, 0u);
  EXPECT_TRUE(queue_.Cancel(canceled));
  EXPECT_FALSE(queue_.Cancel(canceled));
  EXPECT_FALSE(queue_.Cancel(0));
  clock_.Advance(absl::Seconds(1));
  RunDue();
  EXPECT_EQ(ran_, "a");
  EXPECT_FALSE(queue_.Cancel(kept));
}

TEST_F(TimerQueueTest, LetsACallbackScheduleAndCancel) {
  const TimerQueue::TimerId doomed = queue_.Schedule(In(2), [this] { ran_ += "x"; });
  queue_.Schedule(In(1), [this, doomed] {
    ran_ += "a";
    queue_.Cancel(doomed);
    queue_.Schedule(clock_.Now(), [this] { ran_ += "b"; });
  });
  clock_.Advance(absl::Seconds(3));
  RunDue();
  RunDue();  // The first may have been scheduled before "b" was.
  EXPECT_EQ(ran_, "ab");
}

TEST_F(TimerQueueTest, WaitsForEverWithoutBusyTrouble) {
  EXPECT_TRUE(queue_.Cancel(queue_.Schedule(absl::InfiniteFuture(), [] {})));
}

TEST(TimerQueue, DropsWhatHasNotRunWhenItGoes) {
  FakeClock clock;
  bool ran = false;
  {
    TimerQueue queue(&clock);
    queue.Schedule(clock.Now() + absl::Hours(1), [&ran] { ran = true; });
  }
  clock.Advance(absl::Hours(2));
  EXPECT_FALSE(ran);
}

TEST(TimerQueue, MayBeUsedByACallbackWhileItStops) {
  FakeClock clock;
  TimerQueue queue(&clock);
  std::promise<void> running, stopping;
  bool again = false;
  queue.Schedule(clock.Now(), [&] {
    running.set_value();
    stopping.get_future().wait();
    queue.Schedule(clock.Now() + absl::Hours(1), [&again] { again = true; });
  });
  running.get_future().wait();
  std::thread stopper([&queue, &stopping] {
    stopping.set_value();
    queue.Stop();
  });
  stopper.join();
  queue.Schedule(clock.Now(), [&again] { again = true; });
  EXPECT_FALSE(again);
}

// The queue asks the clock for the time under its lock, and the clock wakes the queue: neither may wait for the other.
TEST(TimerQueue, SurvivesAClockThatIsMovedWhileItRuns) {
  FakeClock clock;
  TimerQueue queue(&clock);
  std::atomic<int> ran = 0;
  std::promise<void> all;
  constexpr int kTimers = 2000;
  std::vector<std::thread> threads;
  threads.emplace_back([&] {
    for (int i = 0; i < kTimers; ++i) {
      queue.Schedule(clock.Now() + absl::Milliseconds(i % 7), [&] {
        if (++ran == kTimers) all.set_value();
      });
    }
  });
  for (int i = 0; i < 2; ++i) {
    threads.emplace_back([&clock] {
      for (int step = 0; step < 2000; ++step) clock.Advance(absl::Milliseconds(1));
    });
  }
  for (std::thread& thread : threads) thread.join();
  clock.Advance(absl::Seconds(1));
  all.get_future().wait();
  EXPECT_EQ(ran, kTimers);
}

}  // namespace
}  // namespace parley
