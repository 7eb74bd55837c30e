// What a device gets by the labels that operators gave it, and what it does not get by naming others.
#include <future>
#include <memory>
#include <set>
#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "lib/base/error.h"
#include "lib/keys/labels.h"
#include "parley/task/v1/manifest.pb.h"
#include "services/taskd/testing/taskd_testing.h"

namespace parley::taskd {
namespace {

using task::v1::Declaration;
using task::v1::LabelValues;
using task::v1::WatchAssignmentsRequest;
using task::v1::WatchAssignmentsResponse;

// What a device says that would like to be selected.
template <typename Request>
void Claim(const std::string& key, const std::string& value, Request* request) {
  (*request->mutable_labels())[key] = value;
  (*request->mutable_facts())[key] = value;
  (*request->mutable_facts())["label:" + key] = value;
}

class DeviceLabelsTest : public TaskdTest {
 protected:
  task::v1::CreateTaskResponse CreateFor(const std::string& id, const std::string& key, const std::string& value) {
    task::v1::CreateTaskRequest request = NewTask(id);
    (*request.mutable_selector())[key] = value;
    const auto created = Create(request);
    EXPECT_TRUE(created.ok()) << created.status();
    return *created;
  }
  absl::StatusOr<task::v1::JoinResponse> TryToJoin(const std::string& device, const std::string& task,
                                                   const std::string& claim = "", const std::string& value = "") {
    const auto client = Connect(access::v1::ROLE_DEVICE, device);
    task::v1::JoinRequest request = NewJoin("");
    request.set_task(task);
    if (!claim.empty()) Claim(claim, value, &request);
    return client->Call(&client->participation(), &ParticipationService::Stub::Join, request);
  }
  keys::Keyring::Minted JoinAs(const std::string& device, const std::string& task) {
    const auto joined = TryToJoin(device, task);
    EXPECT_TRUE(joined.ok()) << joined.status();
    if (!joined.ok()) return {};
    return {joined->identity(), Secret::CopyOf(joined->secret())};
  }
  // A request for all that the offered revision holds.
  static task::v1::FetchChunksRequest AllOf(const std::string& task, const NegotiateResponse& offered) {
    task::v1::Manifest manifest;
    EXPECT_TRUE(manifest.ParseFromString(offered.offer().manifest().manifest()));
    task::v1::FetchChunksRequest request;
    request.set_task(task);
    request.set_revision(1);
    for (const std::string& digest : manifest.files(0).chunks()) request.add_chunks()->set_digest(digest);
    return request;
  }
  // The reason why it ended, and how many bytes came before.
  static std::string Fetch(TaskdTestClient* client, const task::v1::FetchChunksRequest& request, size_t* bytes) {
    grpc::ClientContext context;
    TaskdTestClient::SetDeadline(&context);
    const auto reader = client->artifacts().FetchChunks(&context, request);
    task::v1::FetchChunksResponse piece;
    while (reader->Read(&piece)) *bytes += piece.data().size();
    return Reason(client->Explain(reader->Finish()));
  }
};

// The tasks that a device is told of.
class Assignments {
 public:
  Assignments(TaskdTestClient* client, const WatchAssignmentsRequest& request) {
    TaskdTestClient::SetDeadline(&context_);
    stream_ = client->participation().WatchAssignments(&context_, request);
    stream_->WaitForInitialMetadata();
  }
  ~Assignments() { context_.TryCancel(); }
  std::string Next() {
    WatchAssignmentsResponse response;
    return stream_->Read(&response) ? response.task().name() : "";
  }

 private:
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReader<WatchAssignmentsResponse>> stream_;
};

TEST_F(DeviceLabelsTest, ADeviceThatNamesTheLabelsOfAnotherIsToldOfNothing) {
  Label("db-1", {{"role", "db"}});
  Label("web-1", {{"role", "web"}});
  CreateFor("secrets", "role", "db");
  const auto device = Connect(access::v1::ROLE_DEVICE, "web-1");
  WatchAssignmentsRequest claims;
  Claim("role", "db", &claims);
  Assignments told(device.get(), claims);
  CreateFor("site", "role", "web");
  EXPECT_EQ(told.Next(), "tasks/site") << "tasks come in order, so the other one was held back";
  EXPECT_EQ(Reason(TryToJoin("web-1", "tasks/secrets", "role", "db").status()), "SELECTOR_DIFFERS");
  EXPECT_EQ(Reason(TryToJoin("unknown", "tasks/secrets", "role", "db").status()), "SELECTOR_DIFFERS");
  EXPECT_TRUE(TryToJoin("db-1", "tasks/secrets").ok());
}

TEST_F(DeviceLabelsTest, NoRpcGivesThePayloadToADeviceThatOnlyClaims) {
  Label("db-1", {{"role", "db"}});
  Label("web-1", {{"role", "web"}});
  CreateFor("secrets", "role", "db");
  CreateFor("site", "role", "web");
  const auto honest = Connect(JoinAs("db-1", "tasks/secrets"));
  TestNegotiation right(honest.get(), "tasks/secrets");
  const task::v1::FetchChunksRequest request = AllOf("tasks/secrets", right.Declare());
  // With the device's own key, and with its key of a task that it is in.
  const auto device = Connect(access::v1::ROLE_DEVICE, "web-1");
  const auto member = Connect(JoinAs("web-1", "tasks/site"));
  size_t bytes = 0;
  EXPECT_EQ(Fetch(device.get(), request, &bytes), "ROLE_NOT_ALLOWED");
  EXPECT_EQ(Fetch(member.get(), request, &bytes), "OTHER_TASK");
  for (TaskdTestClient* const client : {device.get(), member.get()}) {
    TestNegotiation wrong(client, "tasks/secrets");
    Declaration claims;
    Claim("role", "db", &claims);
    EXPECT_EQ(wrong.Declare(claims).state(), Participant::STATE_UNSPECIFIED);
  }
  EXPECT_EQ(bytes, 0u);
}

TEST_F(DeviceLabelsTest, ADeviceThatIsLabelledAwayLosesWhatItHasNotBegunToApply) {
  Label("web-1", {{"role", "db"}});
  CreateFor("secrets", "role", "db");
  const auto member = Connect(JoinAs("web-1", "tasks/secrets"));
  TestNegotiation negotiation(member.get(), "tasks/secrets");
  const NegotiateResponse offered = negotiation.Declare();
  ASSERT_EQ(offered.state(), Participant::STATE_OFFERED);
  EXPECT_EQ(keys::ShowLabels(offered.labels()), "role=db");
  const task::v1::FetchChunksRequest request = AllOf("tasks/secrets", offered);
  ASSERT_EQ(negotiation.Accept().state(), Participant::STATE_ACCEPTED);

  Label("web-1", {{"role", "web"}});
  size_t bytes = 0;
  // One or the other, as the state follows on a thread of its own.
  EXPECT_THAT(Fetch(member.get(), request, &bytes), testing::AnyOf("NOT_SELECTED", "NOTHING_ACCEPTED"));
  NegotiateResponse pushed = negotiation.Read();
  EXPECT_EQ(pushed.state(), Participant::STATE_INELIGIBLE);
  EXPECT_FALSE(pushed.has_offer());
  Declaration claims;
  Claim("role", "db", &claims);
  const NegotiateResponse declared = negotiation.Declare(claims);
  EXPECT_EQ(declared.state(), Participant::STATE_INELIGIBLE);
  EXPECT_FALSE(declared.has_offer());
  EXPECT_EQ(keys::ShowLabels(declared.labels()), "role=web");
  EXPECT_EQ(Fetch(member.get(), request, &bytes), "NOTHING_ACCEPTED");
  EXPECT_EQ(bytes, 0u);
  EXPECT_EQ(GetParticipant("tasks/secrets", "web-1").reason(), "not_selected");
  // An operator that asks for another attempt does not change which devices are selected.
  ASSERT_TRUE(Retry("tasks/secrets", {"web-1"}).ok());
  do {
    pushed = negotiation.Read();
  } while (pushed.state() == Participant::STATE_QUEUED);
  EXPECT_EQ(pushed.state(), Participant::STATE_INELIGIBLE);

  Label("web-1", {{"role", "db"}});
  EXPECT_EQ(negotiation.Read().state(), Participant::STATE_OFFERED);
}

TEST_F(DeviceLabelsTest, WhatADeviceHasBegunToApplyItCarriesToItsEnd) {
  Label("web-1", {{"role", "db"}});
  const auto task = CreateFor("secrets", "role", "db");
  const auto key = JoinAs("web-1", "tasks/secrets");
  const auto member = Connect(key), fresh = Connect(key);
  TestNegotiation negotiation(member.get(), "tasks/secrets");
  negotiation.CarryOn();
  Label("web-1", {});
  const auto confirmed = Confirm(fresh.get(), "tasks/secrets", task.task().payload_digest());
  ASSERT_TRUE(confirmed.ok()) << confirmed.status();
  EXPECT_EQ(confirmed->state(), Participant::STATE_CONFIRMED);
  // The next revision is not for it.
  ASSERT_TRUE(Publish("tasks/secrets", "new").ok());
  NegotiateResponse pushed;
  do {
    pushed = negotiation.Read();
  } while (pushed.state() == Participant::STATE_CONFIRMED);
  EXPECT_EQ(pushed.state(), Participant::STATE_INELIGIBLE);
  EXPECT_FALSE(pushed.has_offer());
}

TEST_F(DeviceLabelsTest, ADeviceIsToldOfTasksAsItsLabelsChange) {
  CreateFor("site", "role", "web");
  CreateFor("secrets", "role", "db");
  // Tasks are looked at by name: when this one comes, the two have been.
  CreateFor("vault", "role", "db");
  const auto device = Connect(access::v1::ROLE_DEVICE, "web-1");
  Assignments told(device.get(), WatchAssignmentsRequest());
  Label("web-1", {{"role", "web"}});
  EXPECT_EQ(told.Next(), "tasks/site");
  Label("web-2", {{"role", "db"}});
  Label("web-1", {{"role", "web"}, {"site", "berlin"}});
  Label("web-1", {{"role", "db"}});
  // Two changes in a row are told by two workers, in whichever order they come to the tasks.
  const std::string first = told.Next();
  EXPECT_EQ((std::set<std::string>{first, told.Next()}), (std::set<std::string>{"tasks/secrets", "tasks/vault"}));
  Label("web-1", {{"role", "web"}});
  EXPECT_EQ(told.Next(), "tasks/site") << "again, as it was not selected in between";
}

TEST_F(DeviceLabelsTest, NothingMatchesBeforeKeydIsHeard) {
  Label("web-1", {{"role", "web"}});
  CreateFor("site", "role", "web");
  CreateFor("other", "fact:os", "debian");
  const auto key = JoinAs("web-1", "tasks/site");
  RestartWithoutKeyd();
  const absl::Status status = TryToJoin("web-1", "tasks/other", "os", "debian").status();
  EXPECT_EQ(Reason(status), "LABELS_UNKNOWN");
  EXPECT_TRUE(absl::IsUnavailable(status)) << "so that the device tries again";
  const auto member = Connect(key);
  TestNegotiation negotiation(member.get(), "tasks/site");
  Declaration claims;
  Claim("role", "web", &claims);
  const NegotiateResponse waits = negotiation.Declare(claims);
  EXPECT_EQ(waits.state(), Participant::STATE_QUEUED);
  EXPECT_FALSE(waits.has_offer());
  const auto device = Connect(access::v1::ROLE_DEVICE, "web-1");
  WatchAssignmentsRequest watch;
  Claim("role", "web", &watch);
  Assignments told(device.get(), watch);
  HearFromKeyd();
  EXPECT_EQ(negotiation.Read().state(), Participant::STATE_INELIGIBLE);
  Label("web-1", {{"role", "web"}});
  EXPECT_EQ(told.Next(), "tasks/site");
  EXPECT_EQ(negotiation.Read().state(), Participant::STATE_OFFERED);
}

// A view that lags behind: the store's watches show nothing while this is there.
class WatchesHeldBack {
 public:
  explicit WatchesHeldBack(store::Store* store) {
    const int64_t revision = *store->Commit(store::Transaction().Set("held", ""));
    auto watch = store->WatchRange({"held", "hele"}, revision - 1, [this](const auto&, int64_t) {
      reached_.set_value();
      released_.get_future().wait();
    });
    EXPECT_TRUE(watch.ok());
    watch_ = *std::move(watch);
    reached_.get_future().wait();
  }
  ~WatchesHeldBack() { released_.set_value(); }

 private:
  std::promise<void> reached_, released_;
  std::unique_ptr<store::Watch> watch_;
};

TEST_F(DeviceLabelsTest, CountBeforeTheWatchShowsWhatTheLastOnesChanged) {
  Label("web-1", {{"role", "web"}});
  CreateFor("site", "role", "web");
  const auto key = JoinAs("web-1", "tasks/site");
  RestartWithoutKeyd();
  const auto member = Connect(key);
  TestNegotiation negotiation(member.get(), "tasks/site");
  EXPECT_EQ(negotiation.Declare().state(), Participant::STATE_QUEUED);
  WatchesHeldBack held(store_.get());
  // The stream itself has changed the client last, and then the task's fan-out does.
  HearFromKeyd();
  EXPECT_EQ(negotiation.Read().state(), Participant::STATE_INELIGIBLE);
  Label("web-1", {{"role", "web"}});
  EXPECT_EQ(negotiation.Read().state(), Participant::STATE_OFFERED);
}

TEST_F(DeviceLabelsTest, FactsAreLookedAtByTasksThatSayIt) {
  task::v1::CreateTaskRequest request = NewTask("patch");
  LabelValues& systems = (*request.mutable_selector_any())["fact:os"];
  systems.add_values("debian");
  systems.add_values("ubuntu");
  ASSERT_TRUE(Create(request).ok());
  CreateFor("site", "os", "debian");
  EXPECT_EQ(Reason(TryToJoin("web-1", "tasks/patch", "os", "bsd").status()), "SELECTOR_DIFFERS");
  EXPECT_EQ(Reason(TryToJoin("web-1", "tasks/site", "os", "debian").status()), "SELECTOR_DIFFERS");
  EXPECT_TRUE(TryToJoin("web-1", "tasks/patch", "os", "ubuntu").ok());
  // A device of an earlier version says it in the field that was for labels.
  const auto device = Connect(access::v1::ROLE_DEVICE, "web-2");
  WatchAssignmentsRequest watch;
  (*watch.mutable_labels())["os"] = "debian";
  EXPECT_EQ(Assignments(device.get(), watch).Next(), "tasks/patch");
  request = NewTask("nothing");
  (*request.mutable_selector())["fact:"] = "x";
  EXPECT_EQ(Reason(Create(request).status()), "SELECTOR_MALFORMED");
}

TEST_F(DeviceLabelsTest, LabelsAndFactsAreShownApart) {
  Label("web-1", {{"role", "web"}});
  const auto task = CreateFor("site", "role", "web");
  const auto member = Connect(JoinAs("web-1", "tasks/site"));
  Declaration claims;
  Claim("site", "claimed", &claims);
  TestNegotiation negotiation(member.get(), "tasks/site");
  ASSERT_EQ(negotiation.Declare(claims).state(), Participant::STATE_OFFERED);
  Label("web-1", {{"role", "web"}, {"site", "berlin"}});
  Participant shown = GetParticipant("tasks/site", "web-1");
  EXPECT_EQ(keys::ShowLabels(shown.labels()), "role=web, site=berlin");
  EXPECT_EQ(shown.facts().at("site"), "claimed");
  // A client that joined with a join key has no labels, whatever there is under its name.
  Label("web-2", {{"role", "web"}});
  const JoinedClient joined = Join(task, "web-2");
  const auto other = Connect(joined.key);
  TestNegotiation second(other.get(), "tasks/site");
  const NegotiateResponse offered = second.Declare(claims);
  EXPECT_EQ(offered.state(), Participant::STATE_OFFERED) << "its key is its right";
  EXPECT_TRUE(offered.labels().empty());
  shown = GetParticipant("tasks/site", "web-2");
  EXPECT_TRUE(shown.labels().empty());
  EXPECT_EQ(shown.facts().at("site"), "claimed");
}

TEST_F(DeviceLabelsTest, WhatADeviceSaysIsBounded) {
  Label("web-1", {{"role", "web"}});
  CreateFor("site", "role", "web");
  const std::string large(257, 'x');
  EXPECT_EQ(Reason(TryToJoin("web-1", "tasks/site", "k", large).status()), "LABEL_MALFORMED");
  const auto device = Connect(access::v1::ROLE_DEVICE, "web-1");
  WatchAssignmentsRequest watch;
  for (int i = 0; i < 65; ++i) (*watch.mutable_facts())[absl::StrCat("k", i)] = "v";
  grpc::ClientContext context;
  TaskdTestClient::SetDeadline(&context);
  const auto stream = device->participation().WatchAssignments(&context, watch);
  WatchAssignmentsResponse response;
  EXPECT_FALSE(stream->Read(&response));
  EXPECT_EQ(Reason(device->Explain(stream->Finish())), "TOO_MANY_LABELS");
}

}  // namespace
}  // namespace parley::taskd
