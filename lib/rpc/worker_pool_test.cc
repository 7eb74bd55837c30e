#include "lib/rpc/worker_pool.h"

#include <atomic>
#include <latch>
#include <memory>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace parley::rpc {
namespace {

// A pool whose only worker begins when everything is queued, and what it does in which order.
class Turns {
 public:
  Turns() {
    pool_->Run([this] {
      busy_.count_down();
      begin_.wait();
    });
    busy_.wait();
  }

  void Add(uint64_t flow, bool preferred, const std::string& name) {
    pool_->Run({flow, preferred}, [this, name] { order_.push_back(name); });
  }
  bool Try(uint64_t flow) {
    std::function<void()> work = [this] { order_.push_back("tried"); };
    const bool taken = pool_->TryRun({flow, false}, &work);
    EXPECT_EQ(taken, work == nullptr);
    return taken;
  }
  std::vector<std::string> Run() {
    begin_.count_down();
    pool_ = nullptr;
    return order_;
  }

 private:
  std::latch busy_{1}, begin_{1};
  std::vector<std::string> order_;
  std::unique_ptr<WorkerPool> pool_ = std::make_unique<WorkerPool>(1);
};

using Names = std::vector<std::string>;

TEST(WorkerPool, FinishesWhatItWasGiven) {
  std::atomic<int> done = 0;
  {
    WorkerPool pool(4);
    for (int i = 0; i < 1000; ++i) pool.Run([&done] { ++done; });
  }
  EXPECT_EQ(done, 1000);
}

TEST(WorkerPool, FlowsTakeTurns) {
  Turns turns;
  for (const char* name : {"a1", "a2", "a3"}) turns.Add(1, false, name);
  for (const char* name : {"b1", "b2"}) turns.Add(2, false, name);
  turns.Add(3, false, "c1");
  EXPECT_EQ(turns.Run(), (Names{"a1", "b1", "c1", "a2", "b2", "a3"}));
}

TEST(WorkerPool, APersonComesBeforeAThousandMachines) {
  Turns turns;
  for (int i = 0; i < 1000; ++i) turns.Add(1 + i, false, "machine");
  turns.Add(5000, true, "person");
  EXPECT_EQ(turns.Run().front(), "person");
}

TEST(WorkerPool, OneTurnInEightIsTheMachines) {
  Turns turns;
  for (int i = 0; i < 16; ++i) turns.Add(1, true, "person");
  for (int i = 0; i < 2; ++i) turns.Add(2, false, "machine");
  const Names order = turns.Run();
  ASSERT_EQ(order.size(), 18);
  for (size_t i = 0; i < order.size(); ++i) EXPECT_EQ(order[i], i == 7 || i == 15 ? "machine" : "person") << i;
}

TEST(WorkerPool, WhatWaitsOfOneFlowIsBounded) {
  Turns turns;
  for (size_t i = 0; i < WorkerPool::kMaxWaiting; ++i) ASSERT_TRUE(turns.Try(1)) << i;
  EXPECT_FALSE(turns.Try(1));
  EXPECT_TRUE(turns.Try(2));
  EXPECT_EQ(turns.Run().size(), WorkerPool::kMaxWaiting + 1);
}

TEST(Strand, KeepsOrderWhilePoolsAreParallel) {
  std::vector<int> order;
  {
    WorkerPool pool(4);
    Strand strand(&pool, Flow());
    for (int i = 0; i < 1000; ++i) strand.Run([&order, i] { order.push_back(i); });
  }
  ASSERT_EQ(order.size(), 1000);
  for (int i = 0; i < 1000; ++i) EXPECT_EQ(order[i], i);
}

TEST(Strand, DoesNotHoldBackAnother) {
  // Before the pool: its threads may touch them until it is gone.
  std::latch blocked(1), ran(1);
  WorkerPool pool(2);
  Strand first(&pool, Flow()), second(&pool, Flow());
  first.Run([&] { blocked.wait(); });
  second.Run([&] { ran.count_down(); });
  ran.wait();
  blocked.count_down();
}

}  // namespace
}  // namespace parley::rpc
