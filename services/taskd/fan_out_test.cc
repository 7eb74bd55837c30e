// What reaches many clients at once, in slices: each of them hears of it, once.
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "parley/task/v1/manifest.pb.h"
#include "services/taskd/testing/taskd_testing.h"

namespace parley::taskd {
namespace {

// More than two slices.
constexpr int kClients = 80;

class FanOutTest : public TaskdTest {
 protected:
  // Clients that have declared what they have, were offered the first revision, and wait.
  void JoinAll() {
    const auto task = Create(NewTask("fleet"));
    ASSERT_TRUE(task.ok()) << task.status();
    task_ = task->task().name();
    for (int i = 0; i < kClients; ++i) {
      const JoinedClient joined = Join(*task, absl::StrCat("client-", i));
      connections_.push_back(Connect(joined.key));
      clients_.push_back(std::make_unique<TestNegotiation>(connections_.back().get(), joined.task));
      EXPECT_EQ(clients_.back()->Declare().state(), Participant::STATE_OFFERED);
    }
  }

  // Reads until this revision is offered. Returns how many messages came up to it.
  static int ReadUntil(TestNegotiation* client, int revision) {
    int messages = 0;
    task::v1::Manifest manifest;
    while (manifest.revision() != revision) {
      const NegotiateResponse message = client->Read();
      if (message.state() == Participant::STATE_UNSPECIFIED) return -1;
      ++messages;
      EXPECT_TRUE(manifest.ParseFromString(message.offer().manifest().manifest()));
    }
    return messages;
  }

  std::string task_;
  std::vector<std::unique_ptr<TaskdTestClient>> connections_;
  std::vector<std::unique_ptr<TestNegotiation>> clients_;
};

TEST_F(FanOutTest, OffersARevisionToEveryClient) {
  JoinAll();
  ASSERT_TRUE(Publish(task_, "second").ok());
  for (const auto& client : clients_) EXPECT_EQ(ReadUntil(client.get(), 2), 1);
}

TEST_F(FanOutTest, BeginsAnewWithWhatComesInTheMiddle) {
  JoinAll();
  for (const char* content : {"second", "third", "fourth"}) ASSERT_TRUE(Publish(task_, content).ok());
  for (const auto& client : clients_) EXPECT_LE(ReadUntil(client.get(), 4), 3);
}

TEST_F(FanOutTest, GoesOnWhenOneOfManyIsGone) {
  JoinAll();
  ASSERT_TRUE(RevokeParticipant(task_, "client-40").ok());
  ASSERT_TRUE(Publish(task_, "second").ok());
  for (int i = 0; i < kClients; ++i) {
    if (i != 40) EXPECT_EQ(ReadUntil(clients_[i].get(), 2), 1) << i;
  }
}

}  // namespace
}  // namespace parley::taskd
