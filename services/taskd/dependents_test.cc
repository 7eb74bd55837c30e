// What depends on a credential ends with it: attacked by who holds a credential that has ended, and keys made with it.
#include "absl/strings/str_cat.h"
#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/base/proto_time.h"
#include "lib/crypto/kdf.h"
#include "services/taskd/testing/taskd_testing.h"

namespace parley::taskd {
namespace {

using task::v1::AwaitEndedKeysRequest;
using task::v1::AwaitEndedKeysResponse;
using task::v1::JoinKey;
using task::v1::JoinResponse;

class DependentsTest : public TaskdTest {
 protected:
  DependentsTest() {
    task_ = *Create(Selecting("site"));
    for (const char* const name : {"web-1", "web-3"}) Label(name, {{"role", "web"}});
  }

  static task::v1::CreateTaskRequest Selecting(const std::string& id) {
    task::v1::CreateTaskRequest request = NewTask(id);
    (*request.mutable_selector())["role"] = "web";
    return request;
  }
  static task::v1::JoinRequest Request(const std::string& task, const std::string& client) {
    task::v1::JoinRequest request = NewJoin(client);
    request.set_task(task);
    return request;
  }
  static absl::StatusOr<JoinResponse> Try(TaskdTestClient* client, const task::v1::JoinRequest& request) {
    return client->Call(&client->participation(), &ParticipationService::Stub::Join, request);
  }
  static keys::Keyring::Minted KeyOf(const JoinResponse& joined) {
    return {joined.identity(), Secret::CopyOf(joined.secret())};
  }
  // Whether the service still talks to who has this key.
  bool Serves(const keys::Keyring::Minted& key, const std::string& task = "tasks/site") {
    const auto client = Connect(key);
    TestNegotiation negotiation(client.get(), task);
    return negotiation.Declare().state() != Participant::STATE_UNSPECIFIED;
  }
  std::unique_ptr<TaskdTestClient> Device(const std::string& serial, absl::Duration life = absl::Hours(24 * 90)) {
    return Connect(MintAgain(access::v1::ROLE_DEVICE, "web-1", serial, life));
  }
  std::unique_ptr<TaskdTestClient> Operator(const std::string& serial, absl::Duration life = absl::Hours(24 * 90)) {
    return Connect(MintAgain(access::v1::ROLE_OPERATOR, "oscar", serial, life));
  }
  absl::StatusOr<AwaitEndedKeysResponse> Await(const std::vector<std::string>& serials) {
    AwaitEndedKeysRequest request;
    for (const std::string& serial : serials) request.add_credentials(absl::StrCat("credentials/", HexEncode(serial)));
    return op().Call(&op().tasks(), &TaskService::Stub::AwaitEndedKeys, request);
  }
  JoinKey KeyNamed(const std::string& name) {
    task::v1::ListJoinKeysRequest request;
    request.set_parent(name.substr(0, name.find("/joinKeys")));
    const auto listed = op().Call(&op().tasks(), &TaskService::Stub::ListJoinKeys, request);
    for (const JoinKey& key : listed->join_keys()) {
      if (key.name() == name) return key;
    }
    return {};
  }

  const std::string serial_ = crypto::RandomBytes(keys::kSerialBytes);
  const std::string other_serial_ = crypto::RandomBytes(keys::kSerialBytes);
  task::v1::CreateTaskResponse task_;
};

TEST_F(DependentsTest, MemberKeysEndWithTheirDevicesCredential) {
  const auto device = Device(serial_);
  const auto joined = Try(device.get(), Request("tasks/site", "web-1"));
  ASSERT_TRUE(joined.ok()) << joined.status();
  ASSERT_TRUE(Create(Selecting("other")).ok());
  ASSERT_TRUE(Try(device.get(), Request("tasks/other", "web-1")).ok());
  const auto client = Connect(KeyOf(*joined));
  TestNegotiation negotiation(client.get(), "tasks/site");
  ASSERT_EQ(negotiation.Declare().state(), Participant::STATE_OFFERED);

  RevokeCredential(serial_);
  // What was open is closed, and nothing new opens; also after a restart.
  EXPECT_FALSE(negotiation.Finish().ok());
  EXPECT_FALSE(Serves(KeyOf(*joined)));
  const Participant ended = GetParticipant("tasks/site", "web-1");
  EXPECT_TRUE(ended.has_revoke_time());
  EXPECT_EQ(ended.state(), Participant::STATE_CANCELED);
  EXPECT_TRUE(audit_.Has("participant.revoked", "ok"));
  auto counted = Await({serial_});
  ASSERT_TRUE(counted.ok()) << counted.status();
  EXPECT_EQ(counted->member_keys(), 2);
  EXPECT_EQ(counted->join_keys(), 0);

  Restart();
  EXPECT_FALSE(Serves(KeyOf(*joined)));
  // keyd says it again to a service that was started anew: that counts nothing twice.
  RevokeCredential(serial_);
  EXPECT_EQ(Await({serial_})->member_keys(), 2);
}

TEST_F(DependentsTest, ADeviceGoesOnUnderItsNextCredential) {
  const task::v1::JoinRequest request = Request("tasks/site", "web-1");
  const auto first = Try(Device(serial_).get(), request);
  ASSERT_TRUE(first.ok()) << first.status();
  // A renewal ends nothing by itself, and the next key depends on the next credential.
  const auto renewed = Device(other_serial_);
  const auto second = Try(renewed.get(), request);
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_NE(second->identity(), first->identity());
  EXPECT_FALSE(Serves(KeyOf(*first)));
  RevokeCredential(serial_);
  EXPECT_EQ(Await({serial_})->member_keys(), 0);
  EXPECT_TRUE(Serves(KeyOf(*second)));

  // Neither is a device shut out that had not joined under its next one yet.
  RevokeCredential(other_serial_);
  EXPECT_EQ(Await({other_serial_})->member_keys(), 1);
  EXPECT_FALSE(Serves(KeyOf(*second)));
  const auto third = Try(Connect(access::v1::ROLE_DEVICE, "web-1").get(), request);
  ASSERT_TRUE(third.ok()) << third.status();
  EXPECT_TRUE(Serves(KeyOf(*third)));
  // But one that an operator has taken out stays out, whatever becomes of its credentials.
  ASSERT_TRUE(RevokeParticipant("tasks/site", "web-1").ok());
  EXPECT_EQ(Reason(Try(Connect(access::v1::ROLE_DEVICE, "web-1").get(), Request("tasks/site", "web-1")).status()),
            "PARTICIPANT_REVOKED");
}

TEST_F(DependentsTest, AMemberKeyEndsNoLaterThanItsCredential) {
  const auto device = Device(serial_, absl::Seconds(10));
  const task::v1::JoinRequest request = Request("tasks/site", "web-1");
  const auto joined = Try(device.get(), request);
  ASSERT_TRUE(joined.ok()) << joined.status();
  EXPECT_LE(ToTime(joined->expire_time()), clock_.Now() + absl::Seconds(10));
  const auto client = Connect(KeyOf(*joined));
  TestNegotiation negotiation(client.get(), "tasks/site");
  ASSERT_EQ(negotiation.CarryOn().state(), Participant::STATE_CHECKING);
  clock_.Advance(absl::Seconds(11));
  EXPECT_FALSE(negotiation.Finish().ok());
  EXPECT_FALSE(Serves(KeyOf(*joined)));
  // It goes on where it stood: it had applied, and confirms.
  const auto renewed = Try(Device(other_serial_).get(), request);
  ASSERT_TRUE(renewed.ok()) << renewed.status();
  EXPECT_EQ(GetParticipant("tasks/site", "web-1").state(), Participant::STATE_CHECKING);
  const auto again = Connect(KeyOf(*renewed));
  EXPECT_TRUE(Confirm(again.get(), "tasks/site", task_.task().payload_digest()).ok());
}

TEST_F(DependentsTest, JoinKeysEndWithTheirMakersCredentialAndMembersGoOn) {
  const auto maker = Operator(serial_);
  const auto created = maker->Call(&maker->tasks(), &TaskService::Stub::CreateTask, NewTask("made"));
  ASSERT_TRUE(created.ok()) << created.status();
  task::v1::CreateJoinKeyRequest further;
  further.set_request_id(crypto::RandomUuid());
  further.set_parent("tasks/made");
  const auto second = maker->Call(&maker->tasks(), &TaskService::Stub::CreateJoinKey, further);
  ASSERT_TRUE(second.ok()) << second.status();
  const JoinedClient member = Join(*created, "web-1");
  const keys::Keyring::Minted join_key = TaskdTest::KeyOf(ParseJoinKey(second->pasted()));

  RevokeCredential(serial_);
  EXPECT_TRUE(KeyNamed(created->join_key().join_key().name()).has_revoke_time());
  EXPECT_FALSE(Try(Connect(join_key).get(), NewJoin("web-2")).ok());
  EXPECT_TRUE(Serves(member.key, "tasks/made"));
  const auto counted = Await({serial_});
  ASSERT_TRUE(counted.ok()) << counted.status();
  EXPECT_EQ(counted->join_keys(), 2);
  EXPECT_EQ(counted->member_keys(), 0);
  ASSERT_EQ(counted->open_tasks_size(), 1);
  EXPECT_EQ(counted->open_tasks(0), "tasks/made");
  ASSERT_TRUE(Abort("tasks/made", "").ok());
  EXPECT_EQ(Await({serial_})->open_tasks_size(), 0);
}

TEST_F(DependentsTest, AJoinKeyEndsNoLaterThanItsMakersCredential) {
  const auto maker = Operator(serial_, absl::Hours(1));
  const auto created = maker->Call(&maker->tasks(), &TaskService::Stub::CreateTask, NewTask("made"));
  ASSERT_TRUE(created.ok()) << created.status();
  EXPECT_LE(ToTime(created->join_key().join_key().expire_time()), clock_.Now() + absl::Hours(1));
}

TEST_F(DependentsTest, MembersOfAJoinKeyEndWhenThatIsAskedFor) {
  const JoinedClient one = Join(task_, "web-1");
  const JoinedClient two = Join(task_, "web-2");
  const auto device = Device(serial_);
  const auto other = Connect(access::v1::ROLE_DEVICE, "web-3");
  const auto third = Try(other.get(), Request("tasks/site", "web-3"));
  ASSERT_TRUE(third.ok()) << third.status();
  task::v1::RevokeJoinKeyRequest request;
  request.set_name(task_.join_key().join_key().name());
  auto revoked = op().Call(&op().tasks(), &TaskService::Stub::RevokeJoinKey, request);
  ASSERT_TRUE(revoked.ok()) << revoked.status();
  EXPECT_EQ(revoked->ended_members(), 0);
  EXPECT_TRUE(Serves(one.key));
  request.set_with_members(true);
  revoked = op().Call(&op().tasks(), &TaskService::Stub::RevokeJoinKey, request);
  ASSERT_TRUE(revoked.ok()) << revoked.status();
  EXPECT_EQ(revoked->ended_members(), 2);
  EXPECT_FALSE(Serves(one.key));
  EXPECT_FALSE(Serves(two.key));
  EXPECT_TRUE(Serves(KeyOf(*third))) << "who has not joined with that key";
}

// A connection that was accepted before the revocation, and whose calls come behind it.
TEST_F(DependentsTest, NothingIsMadeWithACredentialThatHasEnded) {
  const auto device = Device(serial_);
  ASSERT_TRUE(Try(device.get(), Request("tasks/site", "web-1")).ok());
  const auto maker = Operator(other_serial_);
  ASSERT_TRUE(maker->Call(&maker->tasks(), &TaskService::Stub::CreateTask, NewTask("made")).ok());
  for (const std::string& serial : {serial_, other_serial_}) {
    ended_credentials().OnRevoked(serial, clock_.Now() + absl::Hours(1));
  }
  ASSERT_EQ(ended_credentials().CatchUp(), absl::OkStatus());
  EXPECT_EQ(Reason(Try(device.get(), Request("tasks/site", "web-1")).status()), "KEY_REVOKED");
  EXPECT_EQ(Reason(maker->Call(&maker->tasks(), &TaskService::Stub::CreateTask, NewTask("late")).status()),
            "KEY_REVOKED");
  task::v1::CreateJoinKeyRequest request;
  request.set_request_id(crypto::RandomUuid());
  request.set_parent("tasks/site");
  EXPECT_EQ(Reason(maker->Call(&maker->tasks(), &TaskService::Stub::CreateJoinKey, request).status()), "KEY_REVOKED");
}

TEST_F(DependentsTest, AwaitsOnlyWhatIsNamedRightly) {
  AwaitEndedKeysRequest request;
  EXPECT_EQ(Reason(op().Call(&op().tasks(), &TaskService::Stub::AwaitEndedKeys, request).status()), "CREDENTIALS");
  request.add_credentials("tasks/site");
  EXPECT_EQ(Reason(op().Call(&op().tasks(), &TaskService::Stub::AwaitEndedKeys, request).status()), "CREDENTIAL_NAME");
  // One that has not been revoked, as far as is known here.
  EXPECT_EQ(Reason(Await({serial_}).status()), "REVOCATION_UNKNOWN");
}

}  // namespace
}  // namespace parley::taskd
