// Two replicas of taskd on one store: what one has acknowledged holds at the other, and nothing is done twice.
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "lib/base/proto_time.h"
#include "parley/task/v1/manifest.pb.h"
#include "services/taskd/store/keys.h"
#include "services/taskd/testing/replicas_testing.h"

namespace parley::taskd {
namespace {

// Less than the session lease of a minute.
constexpr absl::Duration kStep = absl::Seconds(20);

class TwoReplicasTest : public ReplicasTest {
 protected:
  TwoReplicasTest() {
    one_ = StartReplica();
    two_ = StartReplica();
  }

  JoinedClient JoinAt(size_t replica, const task::v1::CreateTaskResponse& task, const std::string& client) {
    TalkToReplica(replica);
    return Join(task, client);
  }
  // The revision that a message offers; 0 if it is no offer.
  static int64_t OfferOf(const NegotiateResponse& message) {
    task::v1::Manifest manifest;
    EXPECT_TRUE(manifest.ParseFromString(message.offer().manifest().manifest()));
    return manifest.revision();
  }
  // Reads until this revision is offered.
  static void ReadUntil(TestNegotiation* client, int64_t revision) {
    for (NegotiateResponse message; OfferOf(message) != revision;) {
      message = client->Read();
      ASSERT_NE(message.state(), Participant::STATE_UNSPECIFIED) << client->Finish();
    }
  }

  size_t one_ = 0;
  size_t two_ = 0;
};

TEST_F(TwoReplicasTest, APublishAtOneReachesTheClientsOfBoth) {
  const auto task = Create(NewTask("fleet"));
  ASSERT_TRUE(task.ok()) << task.status();
  const JoinedClient here = JoinAt(one_, *task, "web-1");
  const JoinedClient there = JoinAt(two_, *task, "web-2");
  const auto connection_here = ConnectTo(one_, here.key);
  const auto connection_there = ConnectTo(two_, there.key);
  TestNegotiation negotiation_here(connection_here.get(), here.task);
  TestNegotiation negotiation_there(connection_there.get(), there.task);
  EXPECT_EQ(OfferOf(negotiation_here.Declare()), 1);
  EXPECT_EQ(OfferOf(negotiation_there.Declare()), 1);

  TalkToReplica(one_);
  ASSERT_TRUE(Publish(here.task, "second").ok());
  ReadUntil(&negotiation_here, 2);
  ReadUntil(&negotiation_there, 2);
}

TEST_F(TwoReplicasTest, AClientIsConnectedForBothWhereverItIs) {
  const auto task = Create(NewTask("fleet"));
  ASSERT_TRUE(task.ok()) << task.status();
  const JoinedClient client = JoinAt(two_, *task, "web-1");
  auto connection = ConnectTo(two_, client.key);
  TestNegotiation negotiation(connection.get(), client.task);
  negotiation.CarryOn();
  WaitForPresence(two_, client, true);
  WaitForPresence(one_, client, true);

  // It is lost by neither while it is connected to one.
  for (int i = 0; i < 6; ++i) {
    clock_.Advance(kStep);
    for (const size_t replica : {one_, two_}) {
      TalkToReplica(replica);
      EXPECT_EQ(GetParticipant(client.task, client.client).state(), Participant::STATE_CHECKING);
    }
  }

  negotiation.Cancel();
  WaitForPresence(two_, client, false);
  WaitForPresence(one_, client, false);
  const absl::Time gone = clock_.Now();
  clock_.Advance(absl::Seconds(1));
  for (const size_t replica : {one_, two_}) {
    TalkToReplica(replica);
    EXPECT_EQ(ToTime(GetParticipant(client.task, client.client).disconnect_time()), gone);
  }
  AdvanceUntil(client.task, client.client, Participant::STATE_LOST, absl::Seconds(61));
}

TEST_F(TwoReplicasTest, TheNewestSessionOfAClientIsTheOnlyOne) {
  const auto task = Create(NewTask("fleet"));
  ASSERT_TRUE(task.ok()) << task.status();
  const JoinedClient client = JoinAt(one_, *task, "web-1");
  const auto connection_here = ConnectTo(one_, client.key);
  const auto connection_there = ConnectTo(two_, client.key);
  for (int i = 0; i < 3; ++i) {
    TestNegotiation former(connection_here.get(), client.task);
    EXPECT_EQ(former.Declare().state(), Participant::STATE_OFFERED);
    WaitForPresence(two_, client, true);
    TestNegotiation newer(connection_there.get(), client.task);
    EXPECT_EQ(newer.Declare().state(), Participant::STATE_OFFERED);
    EXPECT_EQ(Reason(former.Finish()), "STREAM_REPLACED");

    TalkToReplica(one_);
    ASSERT_TRUE(Publish(client.task, absl::StrCat("content ", i)).ok());
    ReadUntil(&newer, i + 2);
    EXPECT_TRUE(GetParticipant(client.task, client.client).connected());
    newer.Cancel();
    WaitForPresence(one_, client, false);
  }
}

TEST_F(TwoReplicasTest, ARestartedReplicaKnowsSinceWhenAClientIsGone) {
  const auto task = Create(NewTask("fleet"));
  ASSERT_TRUE(task.ok()) << task.status();
  const JoinedClient client = JoinAt(one_, *task, "web-1");
  const auto connection = ConnectTo(one_, client.key);
  TestNegotiation negotiation(connection.get(), client.task);
  negotiation.Declare();
  WaitForPresence(two_, client, true);
  negotiation.Cancel();
  WaitForPresence(two_, client, false);
  const absl::Time gone = clock_.Now();
  clock_.Advance(absl::Minutes(1));
  StopReplica(one_);
  StopReplica(two_);
  TalkToReplica(StartReplica());
  const Participant shown = GetParticipant(client.task, client.client);
  EXPECT_FALSE(shown.connected());
  EXPECT_EQ(ToTime(shown.disconnect_time()), gone);
}

}  // namespace
}  // namespace parley::taskd
