#include "lib/store/etcd/shared_calls.h"

#include <latch>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "gtest/gtest.h"
#include "lib/base/error.h"

namespace parley::store {
namespace {

using etcdserverpb::RequestOp;
using etcdserverpb::TxnRequest;
using etcdserverpb::TxnResponse;

RequestOp Read(const std::string& key) {
  RequestOp request;
  request.mutable_request_range()->set_key(key);
  return request;
}

RequestOp Write(const std::string& key, const std::string& condition = "") {
  RequestOp request;
  request.mutable_request_txn()->add_success()->mutable_request_put()->set_key(key);
  if (!condition.empty()) request.mutable_request_txn()->add_compare()->set_key(condition);
  return request;
}

RequestOp WriteOf(size_t bytes, const std::string& key) {
  RequestOp request = Write(key);
  request.mutable_request_txn()->mutable_success(0)->mutable_request_put()->set_value(std::string(bytes, 'x'));
  return request;
}

// An etcd whose first call takes until it is told to answer. It refuses what names a key that begins with "bad",
// answers nothing that names "lost", and lets a condition on "stale" fail. A read of a key finds just that.
class FakeEtcd {
 public:
  absl::StatusOr<TxnResponse> Answer(const TxnRequest& request) {
    calls.push_back(request);
    if (calls.size() == 1) {
      begun.count_down();
      answers.wait();
    }
    const std::string text = request.ShortDebugString();
    if (absl::StrContains(text, "\"bad")) return NotFound("REFUSED", "one of them is bad");
    if (absl::StrContains(text, "\"lost")) return Unavailable("STORE_UNAVAILABLE", "nobody knows");
    TxnResponse response = Carry(request);
    response.mutable_header()->set_revision(static_cast<int64_t>(calls.size()));
    return response;
  }

  // Only one call is under way at a time.
  std::vector<TxnRequest> calls;
  std::latch begun{1}, answers{1};

 private:
  static TxnResponse Carry(const TxnRequest& request) {
    TxnResponse response;
    response.set_succeeded(true);
    for (const auto& compare : request.compare()) {
      if (compare.key() == "stale") response.set_succeeded(false);
    }
    for (const RequestOp& part : request.success()) {
      auto* const answer = response.add_responses();
      if (part.has_request_range()) answer->mutable_response_range()->add_kvs()->set_key(part.request_range().key());
      if (part.has_request_put()) answer->mutable_response_put();
      if (part.has_request_txn()) *answer->mutable_response_txn() = Carry(part.request_txn());
    }
    return response;
  }
};

class SharedCallsTest : public testing::Test {
 protected:
  // Returns the answers, in the order of the requests. The first is under way when the others come, one after the
  // other.
  std::vector<absl::StatusOr<SharedCalls::Answer>> RunAll(const std::vector<RequestOp>& requests) {
    std::vector<absl::StatusOr<SharedCalls::Answer>> answers(requests.size());
    std::vector<std::thread> threads;
    for (size_t i = 0; i < requests.size(); ++i) {
      threads.emplace_back([&, i] { answers[i] = calls_.Run(requests[i]); });
      if (i == 0) etcd_.begun.wait();
      while (calls_.waiting() < i) std::this_thread::yield();
    }
    etcd_.answers.count_down();
    for (std::thread& thread : threads) thread.join();
    return answers;
  }

  FakeEtcd etcd_;
  SharedCalls calls_{[this](const TxnRequest& request) { return etcd_.Answer(request); }};
};

TEST_F(SharedCallsTest, OneByItselfIsSentAsItIs) {
  const RequestOp request = Write("a", "b");
  const auto answers = RunAll({request});
  ASSERT_TRUE(answers[0].ok());
  EXPECT_TRUE(answers[0]->response.response_txn().succeeded());
  EXPECT_EQ(answers[0]->revision, 1);
  EXPECT_EQ(etcd_.calls[0].SerializeAsString(), request.request_txn().SerializeAsString());
}

TEST_F(SharedCallsTest, WhatComesMeanwhileGoesTogetherWithOneAnswerEach) {
  const auto answers = RunAll({Write("a"), Write("b"), Write("c", "stale"), Write("d")});
  ASSERT_EQ(etcd_.calls.size(), 2);
  EXPECT_EQ(etcd_.calls[1].success_size(), 3);
  EXPECT_TRUE(etcd_.calls[1].compare().empty());
  for (const int i : {1, 2, 3}) {
    ASSERT_TRUE(answers[i].ok());
    EXPECT_EQ(answers[i]->revision, 2);
    EXPECT_EQ(answers[i]->response.response_txn().succeeded(), i != 2);
  }
}

TEST_F(SharedCallsTest, ReadsGoAsTheyAre) {
  const auto answers = RunAll({Read("a"), Read("b"), Read("b"), Read("c")});
  ASSERT_EQ(etcd_.calls.size(), 2);
  EXPECT_EQ(etcd_.calls[1].success_size(), 3);
  EXPECT_TRUE(etcd_.calls[1].success(0).has_request_range()) << "a transaction within it would make it a write";
  const char* const found[] = {"a", "b", "b", "c"};
  for (int i = 0; i < 4; ++i) EXPECT_EQ(answers[i]->response.response_range().kvs(0).key(), found[i]);
}

TEST_F(SharedCallsTest, PartsThatChangeWhatAnotherNamesGoOneAfterTheOther) {
  RunAll({Write("first"), Write("a"), Write("a"), Write("b", "a"), Write("c"), Write("d", "c"), Write("e", "f"),
          Write("g", "f")});
  ASSERT_EQ(etcd_.calls.size(), 4);
  EXPECT_EQ(etcd_.calls[1].success_size(), 4) << "a, c, and e and g, which look at the same key";
  EXPECT_EQ(etcd_.calls[2].success_size(), 2) << "a again, and d";
  EXPECT_EQ(etcd_.calls[3].success(0).request_put().key(), "b");
}

TEST_F(SharedCallsTest, WhatIsRefusedTogetherIsAskedAlone) {
  const auto answers = RunAll({Write("first"), Write("a"), Write("bad"), Write("b")});
  EXPECT_EQ(etcd_.calls.size(), 5);
  EXPECT_TRUE(answers[1].ok());
  EXPECT_EQ(Reason(answers[2].status()), "REFUSED");
  EXPECT_TRUE(answers[3].ok());
}

TEST_F(SharedCallsTest, WhatMayHaveBeenMadeIsNotMadeAgain) {
  const auto answers = RunAll({Write("first"), Write("a"), Write("lost"), Write("b")});
  EXPECT_EQ(etcd_.calls.size(), 2);
  for (const int i : {1, 2, 3}) EXPECT_EQ(Reason(answers[i].status()), "STORE_UNAVAILABLE");
}

TEST_F(SharedCallsTest, LargeOnesAndSuchThatChangeNothingGoAlone) {
  RequestOp nothing;
  nothing.mutable_request_txn()->add_compare()->set_key("x");
  const auto answers = RunAll(
      {Write("first"), nothing, WriteOf(600'000, "large"), WriteOf(400'000, "a"), WriteOf(400'000, "b"), Write("c")});
  for (const auto& answer : answers) EXPECT_TRUE(answer.ok());
  ASSERT_EQ(etcd_.calls.size(), 5);
  EXPECT_TRUE(etcd_.calls[1].success().empty());
  EXPECT_TRUE(etcd_.calls[2].success(0).has_request_put());
  EXPECT_EQ(etcd_.calls[3].success_size(), 2) << "a and c, as b does not fit";
}

TEST_F(SharedCallsTest, ManyAreDivided) {
  std::vector<RequestOp> requests;
  for (int i = 0; i < 100; ++i) requests.push_back(Write(std::to_string(i)));
  for (const auto& answer : RunAll(requests)) EXPECT_TRUE(answer.ok());
  EXPECT_EQ(etcd_.calls.size(), 1 + 4);
}

}  // namespace
}  // namespace parley::store
