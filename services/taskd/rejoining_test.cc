// Names that are taken back or free again, machines that use one name, and a server that has forgotten.
#include <filesystem>
#include <thread>

#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "lib/base/proto_time.h"
#include "services/taskd/testing/taskd_testing.h"

namespace parley::taskd {
namespace {

class RejoiningTest : public TaskdTest {
 protected:
  RejoiningTest() {
    task::v1::CreateTaskRequest request = NewTask("site");
    (*request.mutable_selector())["role"] = "web";
    task_ = *Create(request);
    Label("web-1", {{"role", "web"}});
  }

  // What a device sends that has no state, or a joiner.
  static task::v1::JoinRequest Request(const std::string& client) {
    task::v1::JoinRequest request = NewJoin(client);
    request.set_task("tasks/site");
    return request;
  }
  static absl::StatusOr<task::v1::JoinResponse> Try(TaskdTestClient* client, const task::v1::JoinRequest& request) {
    return client->Call(&client->participation(), &ParticipationService::Stub::Join, request);
  }
  static keys::Keyring::Minted KeyOf(const task::v1::JoinResponse& joined) {
    return {joined.identity(), Secret::CopyOf(joined.secret())};
  }
  std::unique_ptr<TaskdTestClient> Device(const std::string& name) { return Connect(access::v1::ROLE_DEVICE, name); }
  std::unique_ptr<TaskdTestClient> Joiner() {
    return Connect(TaskdTest::KeyOf(ParseJoinKey(task_.join_key().pasted())));
  }
  Participant Client() { return GetParticipant("tasks/site", "web-1"); }

  task::v1::CreateTaskResponse task_;
};

TEST_F(RejoiningTest, ADeviceThatHasLostItsStateTakesItsNameBack) {
  const auto device = Device("web-1");
  const auto first = Try(device.get(), Request("web-1"));
  ASSERT_TRUE(first.ok()) << first.status();
  const auto old = Connect(KeyOf(*first));
  TestNegotiation negotiation(old.get(), "tasks/site");
  negotiation.CarryOn();
  const auto fresh = Connect(KeyOf(*first));
  ASSERT_TRUE(Confirm(fresh.get(), "tasks/site", task_.task().payload_digest()).ok());
  const Participant before = Client();

  const task::v1::JoinRequest request = Request("web-1");
  const auto second = Try(device.get(), request);
  ASSERT_TRUE(second.ok()) << second.status();
  const absl::Time answered = absl::Now();
  EXPECT_NE(second->identity(), first->identity());
  // The live stream of the former key ends, because its connection does.
  EXPECT_FALSE(negotiation.Finish().ok());
  EXPECT_LT(absl::Now() - answered, absl::Seconds(1));
  EXPECT_EQ(Client().state(), Participant::STATE_JOINED);
  EXPECT_GT(Client().version(), before.version());
  EXPECT_EQ(Client().confirmed_revision(), 0);
  EXPECT_TRUE(Client().has_duplicate_time());
  EXPECT_TRUE(audit_.Has("participant.rejoined", "ok"));
  EXPECT_EQ(Get("tasks/site").counts().joined(), 1);
  EXPECT_EQ(Get("tasks/site").counts().confirmed(), 0);
  // Repeated, it gives the same key; the former nonce is nobody's any more, but the device's own name still is.
  EXPECT_EQ(Try(device.get(), request)->identity(), second->identity());

  // The former key is refused from now on, also over a connection of before and after a restart.
  EXPECT_FALSE(Confirm(fresh.get(), "tasks/site", task_.task().payload_digest()).ok());
  Restart();
  const auto replayed = Connect(KeyOf(*first));
  EXPECT_FALSE(Confirm(replayed.get(), "tasks/site", task_.task().payload_digest()).ok());
  TestNegotiation refused(replayed.get(), "tasks/site");
  EXPECT_EQ(refused.Declare().state(), Participant::STATE_UNSPECIFIED);
  EXPECT_EQ(Client().state(), Participant::STATE_JOINED);

  const auto client = Connect(KeyOf(*second));
  TestNegotiation again(client.get(), "tasks/site");
  again.CarryOn();
  const auto other = Connect(KeyOf(*second));
  EXPECT_TRUE(Confirm(other.get(), "tasks/site", task_.task().payload_digest()).ok());
}

TEST_F(RejoiningTest, IsForTheDeviceOfThatNameAlone) {
  const auto device = Device("web-1");
  const auto first = Try(device.get(), Request("web-1"));
  ASSERT_TRUE(first.ok()) << first.status();
  const int64_t version = Client().version();
  const auto other = Device("web-2");
  EXPECT_EQ(Reason(Try(other.get(), Request("web-1")).status()), "OTHER_CLIENT");
  // Nor with a join key of the task, which many hold.
  const auto joiner = Joiner();
  EXPECT_EQ(Reason(Try(joiner.get(), Request("web-1")).status()), "CLIENT_ALREADY_JOINED");
  // Nor when the device is no longer meant, nor after the task's end.
  Label("web-1", {{"role", "db"}});
  EXPECT_EQ(Reason(Try(device.get(), Request("web-1")).status()), "SELECTOR_DIFFERS");
  Label("web-1", {{"role", "web"}});
  ASSERT_TRUE(Abort("tasks/site", "").ok());
  EXPECT_EQ(Reason(Try(device.get(), Request("web-1")).status()), "TASK_ENDED");
  EXPECT_GE(Client().version(), version);
  EXPECT_FALSE(audit_.Has("participant.rejoined", "ok"));
}

// What the former stream still has to say is not taken for the new client's.
TEST_F(RejoiningTest, LeavesNothingToTheFormerStream) {
  const auto device = Device("web-1");
  const auto first = Try(device.get(), Request("web-1"));
  const auto old = Connect(KeyOf(*first));
  TestNegotiation negotiation(old.get(), "tasks/site");
  ASSERT_EQ(negotiation.Declare().state(), Participant::STATE_OFFERED);
  ASSERT_TRUE(Try(device.get(), Request("web-1")).ok());
  EXPECT_EQ(negotiation.Declare().state(), Participant::STATE_UNSPECIFIED);
  EXPECT_EQ(Client().state(), Participant::STATE_JOINED);
}

TEST_F(RejoiningTest, WithAJoinKeyIsFreeAfterARevocation) {
  const auto joiner = Joiner();
  const task::v1::JoinRequest request = Request("web-1");
  const auto first = Try(joiner.get(), request);
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_EQ(Reason(Try(joiner.get(), Request("web-1")).status()), "CLIENT_ALREADY_JOINED");
  ASSERT_TRUE(RevokeParticipant("tasks/site", "web-1").ok());
  // The one that was revoked stays so.
  EXPECT_EQ(Reason(Try(joiner.get(), request).status()), "PARTICIPANT_REVOKED");
  const auto second = Try(joiner.get(), Request("web-1"));
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_TRUE(audit_.Has("participant.rejoined", "ok"));
  EXPECT_FALSE(Client().has_revoke_time());
  EXPECT_EQ(Reason(Try(joiner.get(), request).status()), "CLIENT_ALREADY_JOINED");
  Restart();
  const auto client = Connect(KeyOf(*second));
  TestNegotiation negotiation(client.get(), "tasks/site");
  EXPECT_EQ(negotiation.Declare().state(), Participant::STATE_OFFERED);
  const auto old = Connect(KeyOf(*first));
  EXPECT_FALSE(Confirm(old.get(), "tasks/site", task_.task().payload_digest()).ok());
  EXPECT_EQ(Get("tasks/site").counts().joined(), 1);
  EXPECT_EQ(Get("tasks/site").counts().canceled(), 0);
}

TEST_F(RejoiningTest, OfADeviceThatWasShutOutOfTheTaskIsRefused) {
  const auto device = Device("web-1");
  ASSERT_TRUE(Try(device.get(), Request("web-1")).ok());
  ASSERT_TRUE(RevokeParticipant("tasks/site", "web-1").ok());
  EXPECT_EQ(Reason(Try(device.get(), Request("web-1")).status()), "PARTICIPANT_REVOKED");
  Restart();
  const auto again = Device("web-1");
  EXPECT_EQ(Reason(Try(again.get(), Request("web-1")).status()), "PARTICIPANT_REVOKED");
  EXPECT_TRUE(Client().has_revoke_time());
}

TEST_F(RejoiningTest, TakesAPlaceOfItsJoinKey) {
  task::v1::CreateTaskRequest request = NewTask("small");
  request.set_join_key_max_members(1);
  const auto task = Create(request);
  const JoinedClient member = Join(*task, "web-1");
  ASSERT_TRUE(RevokeParticipant("tasks/small", "web-1").ok());
  const auto joiner = Connect(TaskdTest::KeyOf(ParseJoinKey(task->join_key().pasted())));
  EXPECT_EQ(Reason(Try(joiner.get(), NewJoin("web-1")).status()), "MAX_MEMBERS");
}

TEST_F(RejoiningTest, AtTheSameTimeLeavesOneGoodKey) {
  const auto device = Device("web-1");
  ASSERT_TRUE(Try(device.get(), Request("web-1")).ok());
  std::vector<std::thread> threads;
  std::vector<absl::StatusOr<task::v1::JoinResponse>> joined(8, absl::UnknownError(""));
  for (auto& result : joined) {
    threads.emplace_back([&, result = &result] {
      const auto own = Device("web-1");
      *result = Try(own.get(), Request("web-1"));
    });
  }
  for (std::thread& thread : threads) thread.join();
  int good = 0;
  for (const auto& result : joined) {
    ASSERT_TRUE(result.ok()) << result.status();
    const auto client = Connect(KeyOf(*result));
    TestNegotiation negotiation(client.get(), "tasks/site");
    if (negotiation.Declare().state() == Participant::STATE_OFFERED) ++good;
  }
  EXPECT_EQ(good, 1);
}

// Two clones of one machine, state folder and all: they end one another's streams, in turn.
TEST_F(RejoiningTest, IsNotNeededByACloneWhichIsSeenAllTheSame) {
  const auto device = Device("web-1");
  const auto joined = Try(device.get(), Request("web-1"));
  const auto one = Connect(KeyOf(*joined));
  const auto two = Connect(KeyOf(*joined));
  const auto declare = [](TaskdTestClient* client, char instance) {
    auto negotiation = std::make_unique<TestNegotiation>(client, "tasks/site");
    task::v1::Declaration declaration;
    declaration.set_instance(std::string(16, instance));
    negotiation->Declare(declaration);
    return negotiation;
  };
  auto first = declare(one.get(), 'a');
  auto second = declare(two.get(), 'b');
  EXPECT_EQ(Reason(first->Finish()), "STREAM_REPLACED");
  // So far it may be an agent that was started anew.
  EXPECT_FALSE(Client().has_duplicate_time());
  Restart();
  const auto back = Connect(KeyOf(*joined));
  clock_.Advance(absl::Minutes(1));
  first = declare(back.get(), 'a');
  EXPECT_EQ(ToTime(Client().duplicate_time()), clock_.Now());
}

// The server was put back from a backup that does not know the client.
TEST_F(RejoiningTest, AfterARestoreIsAJoinLikeTheFirst) {
  const std::string backup = folder_ + "/backup";
  Stop();
  std::filesystem::create_directory(backup);
  const auto copy = [](const std::filesystem::path& from, const std::filesystem::path& to) {
    for (const auto& entry : std::filesystem::directory_iterator(from)) {
      if (!entry.is_regular_file()) continue;
      std::filesystem::copy_file(entry.path(), to / entry.path().filename(),
                                 std::filesystem::copy_options::overwrite_existing);
    }
  };
  copy(folder_, backup);
  Start();
  const task::v1::JoinRequest request = Request("web-1");
  const auto first = Try(Device("web-1").get(), request);
  ASSERT_TRUE(first.ok()) << first.status();
  Stop();
  for (const auto& entry : std::filesystem::directory_iterator(folder_)) {
    if (entry.is_regular_file()) std::filesystem::remove(entry.path());
  }
  copy(backup, folder_);
  Start();
  const auto stranger = Connect(KeyOf(*first));
  TestNegotiation unknown(stranger.get(), "tasks/site");
  EXPECT_EQ(unknown.Declare().state(), Participant::STATE_UNSPECIFIED);
  EXPECT_EQ(Reason(unknown.Finish()), "PARTICIPANT_NOT_FOUND");
  // The same request again, as the client has kept its nonce.
  const auto second = Try(Device("web-1").get(), request);
  ASSERT_TRUE(second.ok()) << second.status();
  const auto client = Connect(KeyOf(*second));
  TestNegotiation negotiation(client.get(), "tasks/site");
  EXPECT_EQ(negotiation.Declare().state(), Participant::STATE_OFFERED);
  // The key of before is not the client's.
  EXPECT_EQ(Reason(Confirm(stranger.get(), "tasks/site", task_.task().payload_digest()).status()), "KEY_REVOKED");
}

}  // namespace
}  // namespace parley::taskd
