// The labels of devices: who sets them, to which credentials they belong, how long they last, and how services hear.
#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "lib/keys/labels.h"
#include "lib/store/sqlite_store.h"
#include "services/keyd/store/store_layout.h"
#include "services/keyd/testing/trust_testing.h"

namespace parley::keyd {
namespace {

using access::v1::ROLE_ADMIN;
using access::v1::ROLE_AUDITOR;
using access::v1::ROLE_DEVICE;
using access::v1::ROLE_OPERATOR;
using key::v1::IssueCredentialRequest;
using key::v1::IssueCredentialResponse;
using Pairs = std::map<std::string, std::string>;
using Stub = KeyClient::Stub;

keys::Labels ToLabels(const Pairs& pairs) { return {pairs.begin(), pairs.end()}; }

class DeviceLabelsTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(keyd_.Start(), absl::OkStatus());
    admin_ = keyd_.ConnectAs("admin");
  }
  void Restart() {
    keyd_.Stop();
    ASSERT_EQ(keyd_.Start(), absl::OkStatus());
    admin_ = keyd_.ConnectAs("admin");
  }
  static IssueCredentialRequest NewRequest(const std::string& subject, const Pairs& labels = {}) {
    IssueCredentialRequest request;
    request.set_request_id(crypto::RandomUuid());
    request.set_role(ROLE_DEVICE);
    request.set_subject(subject);
    *request.mutable_labels() = ToLabels(labels);
    return request;
  }
  absl::StatusOr<IssueCredentialResponse> Issue(const IssueCredentialRequest& request) {
    IssueCredentialResponse response;
    RETURN_IF_ERROR(admin_->Call(&Stub::IssueCredential, request, &response));
    return response;
  }
  std::string Name(const IssueCredentialRequest& request) {
    const auto issued = Issue(request);
    EXPECT_EQ(issued.status(), absl::OkStatus());
    return issued.ok() ? issued->record().name() : "";
  }
  // "role=web, site=berlin": those that a credential's record shows.
  std::string LabelsOf(const std::string& name) {
    key::v1::GetCredentialRequest request;
    request.set_name(name);
    key::v1::CredentialRecord record;
    EXPECT_EQ(admin_->Call(&Stub::GetCredential, request, &record), absl::OkStatus());
    return keys::ShowLabels(record.labels());
  }
  static absl::StatusOr<std::string> Label(KeyClient& client, const std::string& subject, const Pairs& set,
                                           const std::vector<std::string>& remove = {}) {
    key::v1::LabelDeviceRequest request;
    request.set_name("deviceLabels/" + subject);
    *request.mutable_set() = ToLabels(set);
    for (const std::string& key : remove) request.add_remove(key);
    key::v1::DeviceLabels response;
    RETURN_IF_ERROR(client.Call(&Stub::LabelDevice, request, &response));
    EXPECT_EQ(response.name(), request.name());
    return keys::ShowLabels(response.labels());
  }
  std::string RefusalToLabel(const std::string& subject, const Pairs& set,
                             const std::vector<std::string>& remove = {}) {
    return Reason(Label(*admin_, subject, set, remove).status());
  }
  // What the log tells of this action, in order.
  std::vector<std::string> Details(const std::string& action) {
    key::v1::ListAuditEventsRequest request;
    request.set_page_size(1000);
    key::v1::ListAuditEventsResponse page;
    EXPECT_EQ(admin_->Call(&Stub::ListAuditEvents, request, &page), absl::OkStatus());
    std::vector<std::string> details;
    for (const key::v1::AuditEntry& entry : page.entries()) {
      key::v1::AuditEvent event;
      event.ParseFromString(entry.event_bytes());
      if (event.action() == action) details.push_back(absl::StrCat(event.actor(), " ", event.detail()));
    }
    return details;
  }

  TestKeyd keyd_;
  std::unique_ptr<KeyClient> admin_;
};

TEST_F(DeviceLabelsTest, AreGivenWithTheCredentialAndShown) {
  const IssueCredentialRequest request = NewRequest("web-1", {{"site", "berlin"}, {"role", "web"}});
  const auto issued = Issue(request);
  ASSERT_EQ(issued.status(), absl::OkStatus());
  EXPECT_EQ(keys::ShowLabels(issued->record().labels()), "role=web, site=berlin");
  EXPECT_EQ(LabelsOf(issued->record().name()), "role=web, site=berlin");
  key::v1::ListCredentialsResponse list;
  ASSERT_EQ(admin_->Call(&Stub::ListCredentials, key::v1::ListCredentialsRequest(), &list), absl::OkStatus());
  EXPECT_EQ(list.credentials().rbegin()->labels().at("role"), "web");
  EXPECT_THAT(Details("credential.issued").back(),
              testing::AllOf(testing::StartsWith("admin/admin device/web-1 until "),
                             testing::EndsWith(" with role=web, site=berlin")));
  Restart();
  EXPECT_EQ(LabelsOf(issued->record().name()), "role=web, site=berlin");

  EXPECT_EQ(Name(request), issued->record().name()) << "the same request once more";
  IssueCredentialRequest other = request;
  (*other.mutable_labels())["role"] = "db";
  EXPECT_EQ(Reason(Issue(other).status()), "REQUEST_ID_REUSED");
  // Others that read the same.
  other = request;
  *other.mutable_labels() = ToLabels({{"role", "web, site=berlin"}});
  EXPECT_EQ(Reason(Issue(other).status()), "REQUEST_ID_REUSED");
}

TEST_F(DeviceLabelsTest, AreADevicesOnlyAndBounded) {
  const auto refusal = [&](access::v1::Role role, const Pairs& labels) {
    IssueCredentialRequest request = NewRequest("someone", labels);
    request.set_role(role);
    return Reason(Issue(request).status());
  };
  for (const access::v1::Role role : {ROLE_ADMIN, ROLE_OPERATOR, ROLE_AUDITOR}) {
    EXPECT_EQ(refusal(role, {{"site", "berlin"}}), "LABEL_ROLE");
  }
  EXPECT_EQ(refusal(ROLE_DEVICE, {{"", "x"}}), "LABEL_MALFORMED");
  EXPECT_EQ(refusal(ROLE_DEVICE, {{"k", std::string(257, 'v')}}), "LABEL_MALFORMED");
  EXPECT_EQ(refusal(ROLE_DEVICE, {{"fact:os", "debian"}}), "LABEL_MALFORMED");
  Pairs many;
  for (int i = 0; i < 65; ++i) many[absl::StrCat("k", i)] = "v";
  EXPECT_EQ(refusal(ROLE_DEVICE, many), "TOO_MANY_LABELS");
  many.erase("k0");
  EXPECT_EQ(refusal(ROLE_DEVICE, many), "");
}

TEST_F(DeviceLabelsTest, BelongToTheNameAndPassToSuccessors) {
  const std::string first = Name(NewRequest("web-1", {{"role", "web"}}));
  const std::string second = Name(NewRequest("web-1"));
  EXPECT_EQ(LabelsOf(second), "role=web");
  const std::string third = Name(NewRequest("web-1", {{"site", "berlin"}}));
  for (const std::string& name : {first, second, third}) EXPECT_EQ(LabelsOf(name), "site=berlin");
  EXPECT_EQ(LabelsOf(Name(NewRequest("web-2"))), "");
  // Another role under the same name has nothing to do with it.
  const auto operator_record = admin_->Issue(ROLE_OPERATOR, "web-1")->record();
  EXPECT_TRUE(operator_record.labels().empty());
  EXPECT_EQ(LabelsOf(operator_record.name()), "");
  ASSERT_EQ(admin_->Rotate(0).status(), absl::OkStatus());
  EXPECT_EQ(LabelsOf(Name(NewRequest("web-1"))), "site=berlin");
}

TEST_F(DeviceLabelsTest, EndWithTheLastGoodCredentialThatIsRevoked) {
  const std::string first = Name(NewRequest("web-1", {{"role", "web"}}));
  const std::string second = Name(NewRequest("web-1"));
  ASSERT_EQ(admin_->Revoke(second), absl::OkStatus());
  EXPECT_EQ(LabelsOf(first), "role=web");
  EXPECT_EQ(LabelsOf(second), "") << "a revoked credential shows none";
  ASSERT_EQ(admin_->Revoke(first), absl::OkStatus());
  EXPECT_EQ(RefusalToLabel("web-1", {{"role", "web"}}), "DEVICE_NAME_UNKNOWN");
  EXPECT_EQ(LabelsOf(Name(NewRequest("web-1"))), "") << "it may be another machine";
}

TEST_F(DeviceLabelsTest, OutliveACredentialThatHasExpired) {
  const std::string first = Name(NewRequest("web-1", {{"role", "web"}}));
  keyd_.clock.Advance(absl::Hours(24 * 91));
  admin_ = keyd_.ConnectAs("admin");
  EXPECT_EQ(LabelsOf(first), "role=web");
  const std::string second = Name(NewRequest("web-1"));
  EXPECT_EQ(LabelsOf(second), "role=web");
  // What has expired is not good: it does not hold the labels.
  ASSERT_EQ(admin_->Revoke(second), absl::OkStatus());
  EXPECT_EQ(LabelsOf(Name(NewRequest("web-1"))), "");
}

TEST_F(DeviceLabelsTest, AnAdminChangesThemAndNobodyElse) {
  const auto device = *Issue(NewRequest("web-1"));
  EXPECT_EQ(*Label(*admin_, "web-1", {{"role", "web"}, {"site", "berlin"}}), "role=web, site=berlin");
  EXPECT_EQ(*Label(*admin_, "web-1", {{"role", "db"}}, {"site", "never-there"}), "role=db");
  EXPECT_EQ(LabelsOf(device.record().name()), "role=db");
  EXPECT_EQ(*Label(*admin_, "web-1", {{"role", "db"}}), "role=db") << "changes nothing";
  EXPECT_THAT(Details("device.labelled"),
              testing::ElementsAre("admin/admin role=web, site=berlin", "admin/admin role=db, site-, never-there-"));
  std::vector<std::unique_ptr<KeyClient>> others;
  others.push_back(keyd_.Connect(ToCredential(device)));
  others.push_back(keyd_.ConnectAs("operator"));
  others.push_back(keyd_.ConnectAs("taskd"));
  for (const auto& client : others) {
    EXPECT_EQ(Reason(Label(*client, "web-1", {{"role", "web"}}).status()), "ROLE_NOT_ALLOWED");
  }
  EXPECT_EQ(LabelsOf(device.record().name()), "role=db");
}

TEST_F(DeviceLabelsTest, AChangeThatReadsTheSameIsOne) {
  const std::string name = Name(NewRequest("web-1", {{"a", "b, c=d"}}));
  ASSERT_EQ(*Label(*admin_, "web-1", {{"a", "b"}, {"c", "d"}}), "a=b, c=d");
  key::v1::GetCredentialRequest request;
  request.set_name(name);
  key::v1::CredentialRecord record;
  ASSERT_EQ(admin_->Call(&Stub::GetCredential, request, &record), absl::OkStatus());
  EXPECT_TRUE(keys::AreSame(record.labels(), ToLabels({{"a", "b"}, {"c", "d"}})));
}

TEST_F(DeviceLabelsTest, RefusesWhatIsNoChange) {
  Name(NewRequest("web-1", {{"role", "web"}}));
  ASSERT_EQ(admin_->Issue(ROLE_OPERATOR, "olga").status(), absl::OkStatus());
  for (const std::string name : {"web-2", "olga", "", "web-1/x", "../credential"}) {
    EXPECT_EQ(RefusalToLabel(name, {{"role", "web"}}), "DEVICE_NAME_UNKNOWN") << name;
  }
  EXPECT_EQ(RefusalToLabel("web-1", {{"role", "web"}}, {"role"}), "LABEL_TWICE");
  EXPECT_EQ(RefusalToLabel("web-1", {{"", "web"}}), "LABEL_MALFORMED");
  EXPECT_EQ(RefusalToLabel("web-1", {{"fact:os", "debian"}}), "LABEL_MALFORMED");
  Pairs many;
  for (int i = 0; i < 64; ++i) many[absl::StrCat("k", i)] = "v";
  EXPECT_EQ(RefusalToLabel("web-1", many), "TOO_MANY_LABELS") << "with the one that it has";
  EXPECT_EQ(RefusalToLabel("web-1", many, {"role"}), "");
  EXPECT_EQ(RefusalToLabel("web-1", {}, std::vector<std::string>(65, "k1")), "TOO_MANY_LABELS");
}

TEST_F(DeviceLabelsTest, ServicesGetThePresentStateAndThenEachChange) {
  Name(NewRequest("web-1", {{"role", "web"}}));
  const std::string second = Name(NewRequest("web-2", {{"role", "db"}}));
  Name(NewRequest("web-3"));
  const auto taskd = keyd_.ConnectAs("taskd");
  grpc::ClientContext context;
  const auto stream = taskd->stub()->WatchDeviceLabels(&context, key::v1::WatchDeviceLabelsRequest());
  const auto read = [&] {
    key::v1::WatchDeviceLabelsResponse message;
    EXPECT_TRUE(stream->Read(&message));
    EXPECT_TRUE(message.caught_up());
    std::string text;
    for (const key::v1::DeviceLabels& device : message.devices()) {
      absl::StrAppend(&text, device.name(), ": ", keys::ShowLabels(device.labels()), "; ");
    }
    return text;
  };
  EXPECT_EQ(read(), "deviceLabels/web-1: role=web; deviceLabels/web-2: role=db; ");
  ASSERT_EQ(Label(*admin_, "web-1", {}, {"role"}).status(), absl::OkStatus());
  EXPECT_EQ(read(), "deviceLabels/web-1: ; ");
  ASSERT_EQ(Label(*admin_, "web-3", {{"role", "web"}}).status(), absl::OkStatus());
  EXPECT_EQ(read(), "deviceLabels/web-3: role=web; ");
  ASSERT_EQ(admin_->Revoke(second), absl::OkStatus());
  EXPECT_EQ(read(), "deviceLabels/web-2: ; ");
  context.TryCancel();
  stream->Finish();

  grpc::ClientContext refused;
  const auto none = admin_->stub()->WatchDeviceLabels(&refused, key::v1::WatchDeviceLabelsRequest());
  key::v1::WatchDeviceLabelsResponse message;
  EXPECT_FALSE(none->Read(&message));
  EXPECT_EQ(none->Finish().error_code(), grpc::StatusCode::PERMISSION_DENIED);
}

TEST_F(DeviceLabelsTest, ALargePresentStateComesInSeveralMessages) {
  Pairs large;
  for (int i = 0; i < 64; ++i) large[absl::StrCat(std::string(250, 'k'), i)] = std::string(256, 'v');
  constexpr int kDevices = 40;
  for (int i = 0; i < kDevices; ++i) Name(NewRequest(absl::StrCat("web-", i), large));
  const auto taskd = keyd_.ConnectAs("taskd");
  grpc::ClientContext context;
  const auto stream = taskd->stub()->WatchDeviceLabels(&context, key::v1::WatchDeviceLabelsRequest());
  key::v1::WatchDeviceLabelsResponse message;
  int messages = 0, devices = 0;
  do {
    ASSERT_TRUE(stream->Read(&message));
    ++messages;
    devices += message.devices_size();
  } while (!message.caught_up());
  EXPECT_EQ(devices, kDevices);
  EXPECT_GT(messages, 1);
  context.TryCancel();
  stream->Finish();
}

TEST_F(DeviceLabelsTest, DevicesOfAnEarlierVersionAreKnownByName) {
  const std::string good = Name(NewRequest("web-1"));
  const std::string revoked = Name(NewRequest("web-2"));
  ASSERT_EQ(admin_->Revoke(revoked), absl::OkStatus());
  keyd_.Stop();
  {
    const auto store = *store::OpenSqliteStore({.path = keyd_.options.data + "/keyd.db"});
    store::Transaction former;
    former.Delete(kDeviceNamesFilledKey).Delete(std::string(kDeviceNamePrefix) + "web-1");
    ASSERT_EQ(store->Commit(std::move(former)).status(), absl::OkStatus());
  }
  Restart();
  EXPECT_EQ(*Label(*admin_, "web-1", {{"role", "web"}}), "role=web");
  EXPECT_EQ(LabelsOf(good), "role=web");
  EXPECT_EQ(RefusalToLabel("web-2", {{"role", "web"}}), "DEVICE_NAME_UNKNOWN");
  Restart();
  EXPECT_EQ(LabelsOf(good), "role=web");
}

TEST_F(DeviceLabelsTest, AnEnrolledDeviceKeepsThemWhenItRenewsItsCredential) {
  const trust::TestMember alice("alice", ROLE_ADMIN), web("web-1", ROLE_DEVICE);
  const auto founding = trust::Founding::Make(alice.user, alice.device, keyd_.clock.Now());
  const auto founded = Found(*admin_, founding);
  ASSERT_EQ(founded.status(), absl::OkStatus());
  const auto alice_client = keyd_.Connect(ToCredential(founded->credential()));
  const auto chain = ReadChain(*alice_client, founding.root_verification_key, keyd_.clock.Now());
  const auto enrolled = Enrol(*alice_client, web.EnrolledBy(alice, *chain, keyd_.clock.Now()));
  ASSERT_EQ(enrolled.status(), absl::OkStatus());
  ASSERT_EQ(*Label(*admin_, "web-1", {{"role", "web"}}), "role=web");
  trust::v1::RenewCredentialRequest renew;
  renew.set_request_id(crypto::RandomUuid());
  trust::v1::RenewCredentialResponse renewed;
  const auto device = keyd_.Connect(ToCredential(enrolled->credential()));
  ASSERT_EQ(device->CallTrust(&KeyClient::TrustStub::RenewCredential, renew, &renewed), absl::OkStatus());
  EXPECT_EQ(keys::ShowLabels(renewed.credential().record().labels()), "role=web");
  ASSERT_EQ(admin_->Revoke(enrolled->credential().record().name()), absl::OkStatus());
  EXPECT_EQ(LabelsOf(renewed.credential().record().name()), "role=web");
}

}  // namespace
}  // namespace parley::keyd
