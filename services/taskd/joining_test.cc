// Join keys and what they buy.
#include <atomic>
#include <thread>

#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "services/taskd/testing/taskd_testing.h"

namespace parley::taskd {
namespace {

class JoiningTest : public TaskdTest {
 protected:
  static absl::StatusOr<task::v1::JoinResponse> Try(TaskdTestClient* joiner, const task::v1::JoinRequest& request) {
    return joiner->Call(&joiner->participation(), &ParticipationService::Stub::Join, request);
  }
  absl::StatusOr<task::v1::JoinKey> Revoke(const std::string& name) {
    task::v1::RevokeJoinKeyRequest request;
    request.set_name(name);
    return op().Call(&op().tasks(), &TaskService::Stub::RevokeJoinKey, request);
  }
};

TEST_F(JoiningTest, TwiceAsTheSameClientGivesTheSameKey) {
  const auto task = Create(NewTask("site"));
  const auto joiner = Connect(KeyOf(ParseJoinKey(task->join_key().pasted())));
  const task::v1::JoinRequest request = NewJoin("web-1");
  const auto first = Try(joiner.get(), request);
  ASSERT_TRUE(first.ok()) << first.status();
  Restart();
  const auto again = Connect(KeyOf(ParseJoinKey(task->join_key().pasted())));
  const auto second = Try(again.get(), request);
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_EQ(first->identity(), second->identity());
  EXPECT_EQ(first->secret(), second->secret());
  EXPECT_EQ(Get(task->task().name()).counts().joined(), 1);

  const auto other = Try(again.get(), NewJoin("web-1"));
  EXPECT_EQ(other.status().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(Reason(other.status()), "CLIENT_ALREADY_JOINED");
}

TEST_F(JoiningTest, AtTheSameTimeCountsEveryClientOnce) {
  task::v1::CreateTaskRequest request = NewTask("site");
  request.set_join_key_max_members(10);
  const auto task = Create(request);
  const keys::JoinKey key = ParseJoinKey(task->join_key().pasted());
  std::atomic<int> joined = 0, refused = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      const auto joiner = Connect(KeyOf(key));
      for (int j = 0; j < 5; ++j) {
        const auto response = Try(joiner.get(), NewJoin(absl::StrCat("web-", i, "-", j)));
        if (response.ok()) ++joined;
        if (Reason(response.status()) == "MAX_MEMBERS") ++refused;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(joined, 10);
  EXPECT_EQ(refused, 10);
  EXPECT_EQ(Get(task->task().name()).counts().joined(), 10);
  task::v1::ListJoinKeysRequest list;
  list.set_parent(task->task().name());
  const auto keys = op().Call(&op().tasks(), &TaskService::Stub::ListJoinKeys, list);
  EXPECT_EQ(keys->join_keys(0).members(), 10);
}

TEST_F(JoiningTest, EndsWithTheKeysTime) {
  task::v1::CreateTaskRequest request = NewTask("site");
  request.mutable_join_key_ttl()->set_seconds(60);
  const auto task = Create(request);
  const keys::JoinKey key = ParseJoinKey(task->join_key().pasted());
  const auto joiner = Connect(KeyOf(key));
  EXPECT_TRUE(Try(joiner.get(), NewJoin("web-1")).ok());
  clock_.Advance(absl::Seconds(61));
  const auto late = Connect(KeyOf(key));
  EXPECT_FALSE(Try(late.get(), NewJoin("web-2")).ok());
  EXPECT_EQ(Get(task->task().name()).counts().joined(), 1);
}

TEST_F(JoiningTest, EndsWithARevocationAlsoAfterARestart) {
  const auto task = Create(NewTask("site"));
  const JoinedClient member = Join(*task, "web-1");
  const keys::JoinKey key = ParseJoinKey(task->join_key().pasted());
  const auto joiner = Connect(KeyOf(key));
  ASSERT_TRUE(Try(joiner.get(), NewJoin("web-2")).ok());
  const auto revoked = Revoke(task->join_key().join_key().name());
  ASSERT_TRUE(revoked.ok()) << revoked.status();
  EXPECT_TRUE(revoked->has_revoke_time());
  EXPECT_EQ(Revoke(task->join_key().join_key().name())->revoke_time().seconds(), revoked->revoke_time().seconds());
  EXPECT_TRUE(audit_.Has("join_key.revoked", "ok"));
  EXPECT_FALSE(Try(joiner.get(), NewJoin("web-3")).ok());
  Restart();
  const auto again = Connect(KeyOf(key));
  EXPECT_FALSE(Try(again.get(), NewJoin("web-4")).ok());
  // Who has joined stays.
  const auto client = Connect(member.key);
  TestNegotiation negotiation(client.get(), member.task);
  EXPECT_EQ(negotiation.Declare().state(), Participant::STATE_OFFERED);
}

TEST_F(JoiningTest, OfOneClientCanBeRevokedAlone) {
  const auto task = Create(NewTask("site"));
  const JoinedClient one = Join(*task, "web-1");
  const JoinedClient two = Join(*task, "web-2");
  const auto first = Connect(one.key);
  const auto second = Connect(two.key);
  TestNegotiation negotiation(first.get(), one.task);
  TestNegotiation other(second.get(), two.task);
  ASSERT_EQ(negotiation.Declare().state(), Participant::STATE_OFFERED);
  ASSERT_EQ(other.Declare().state(), Participant::STATE_OFFERED);
  const auto revoked = RevokeParticipant(one.task, "web-1");
  ASSERT_TRUE(revoked.ok()) << revoked.status();
  EXPECT_EQ(revoked->state(), Participant::STATE_CANCELED);
  // The live stream ends, because its connection does. The clock stands still: nothing else can have ended it.
  EXPECT_FALSE(negotiation.Finish().ok());
  EXPECT_EQ(other.Accept().state(), Participant::STATE_ACCEPTED);
  Restart();
  const auto again = Connect(one.key);
  TestNegotiation refused(again.get(), one.task);
  EXPECT_EQ(refused.Declare().state(), Participant::STATE_UNSPECIFIED);
  EXPECT_EQ(GetParticipant(one.task, "web-1").state(), Participant::STATE_CANCELED);
}

TEST_F(JoiningTest, OfATaskOfAYearCanBeRevokedAtOnce) {
  task::v1::CreateTaskRequest request = NewTask("site");
  request.mutable_ttl()->set_seconds(absl::ToInt64Seconds(absl::Hours(24 * 366)));
  const auto task = Create(request);
  ASSERT_TRUE(task.ok()) << task.status();
  const JoinedClient member = Join(*task, "web-1");
  const auto revoked = RevokeParticipant(member.task, "web-1");
  ASSERT_TRUE(revoked.ok()) << revoked.status();
  const auto key = Revoke(task->join_key().join_key().name());
  ASSERT_TRUE(key.ok()) << key.status();
}

TEST_F(JoiningTest, IsRefusedOnceTheTaskHasEnded) {
  const auto task = Create(NewTask("site"));
  const auto joiner = Connect(KeyOf(ParseJoinKey(task->join_key().pasted())));
  ASSERT_TRUE(Abort(task->task().name(), "").ok());
  EXPECT_EQ(Reason(Try(joiner.get(), NewJoin("web-1")).status()), "TASK_ENDED");
}

TEST_F(JoiningTest, NeedsAProperNameAndNonce) {
  const auto task = Create(NewTask("site"));
  const auto joiner = Connect(KeyOf(ParseJoinKey(task->join_key().pasted())));
  for (const char* name : {"", "../x", "A", "web 1"}) {
    EXPECT_EQ(Reason(Try(joiner.get(), NewJoin(name)).status()), "CLIENT_MALFORMED") << name;
  }
  task::v1::JoinRequest request = NewJoin("web-1");
  request.set_nonce("short");
  EXPECT_EQ(Reason(Try(joiner.get(), request).status()), "NONCE_MALFORMED");
}

TEST_F(JoiningTest, WithAFurtherKeyIsIdempotentByRequest) {
  const auto task = Create(NewTask("site"));
  task::v1::CreateJoinKeyRequest request;
  request.set_request_id("6f1b0a34-0c5e-4f0c-9f53-0f7c6c9a3a11");
  request.set_parent(task->task().name());
  request.mutable_ttl()->set_seconds(600);
  const auto key = op().Call(&op().tasks(), &TaskService::Stub::CreateJoinKey, request);
  ASSERT_TRUE(key.ok()) << key.status();
  const auto same = op().Call(&op().tasks(), &TaskService::Stub::CreateJoinKey, request);
  EXPECT_EQ(same->pasted(), key->pasted());
  request.set_max_members(1);
  EXPECT_EQ(Reason(op().Call(&op().tasks(), &TaskService::Stub::CreateJoinKey, request).status()), "REQUEST_ID_REUSED");
  const auto joiner = Connect(KeyOf(ParseJoinKey(key->pasted())));
  EXPECT_TRUE(Try(joiner.get(), NewJoin("web-1")).ok());
}

}  // namespace
}  // namespace parley::taskd
