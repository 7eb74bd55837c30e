#include "services/keyd/keyd.h"

#include <sys/stat.h>

#include <chrono>
#include <fstream>
#include <iterator>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "lib/audit/audit_chain.h"
#include "lib/base/encoding.h"
#include "lib/base/file.h"
#include "lib/rpc/errors.h"
#include "lib/store/sqlite_store.h"
#include "services/keyd/domain/key_authority.h"
#include "services/keyd/testing/keyd_testing.h"

namespace parley::keyd {
namespace {

using access::v1::ROLE_ADMIN;
using access::v1::ROLE_AUDITOR;
using access::v1::ROLE_DEVICE;
using access::v1::ROLE_OPERATOR;
using access::v1::ROLE_SERVICE;
using Stub = KeyClient::Stub;

class KeydTest : public testing::Test {
 protected:
  void SetUp() override {
    const absl::Status started = keyd_.Start();
    ASSERT_TRUE(started.ok()) << started;
  }
  std::string StartError() {
    keyd_.Stop();
    const absl::Status status = keyd_.Start();
    EXPECT_FALSE(status.ok());
    message_ = std::string(status.message());
    return Reason(status);
  }
  std::vector<key::v1::AuditEvent> VerifiedLog() {
    const auto admin = keyd_.ConnectAs("admin");
    audit::AuditVerifier verifier;
    std::vector<key::v1::AuditEvent> events;
    key::v1::ListAuditEventsResponse page;
    do {
      key::v1::ListAuditEventsRequest request;
      request.set_after_sequence(static_cast<int64_t>(events.size()));
      request.set_page_size(7);
      const absl::Status status = admin->Call(&Stub::ListAuditEvents, request, &page);
      EXPECT_TRUE(status.ok()) << status;
      for (const key::v1::AuditEntry& entry : page.entries()) {
        EXPECT_TRUE(verifier.Add(entry).ok());
        events.emplace_back().ParseFromString(entry.event_bytes());
      }
    } while (!page.entries().empty());
    EXPECT_TRUE(verifier.Finish(page.last_sequence()).ok());
    return events;
  }
  static int CountOf(const std::vector<key::v1::AuditEvent>& events, const std::string& action) {
    return static_cast<int>(
        std::count_if(events.begin(), events.end(), [&action](const auto& event) { return event.action() == action; }));
  }

  TestKeyd keyd_;
  std::string message_;
};

TEST_F(KeydTest, TheFirstStartMakesTheCredentials) {
  const std::vector<std::pair<std::string, std::vector<std::string>>> expected = {
      {"admin", {"taskd", "enrolld", "keyd"}},
      {"operator", {"taskd", "enrolld", "keyd"}},
      {"taskd", {"keyd"}},
      {"enrolld", {"keyd"}}};
  for (const auto& [name, audiences] : expected) {
    struct stat info;
    ASSERT_EQ(stat(keyd_.CredentialPath(name).c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777, 0600);
    const keys::Credential credential = keyd_.CredentialOf(name);
    EXPECT_EQ(credential.subject, name);
    EXPECT_THAT(credential.ca_pem, testing::HasSubstr("BEGIN CERTIFICATE"));
    std::vector<std::string> found;
    for (const keys::AudienceKey& key : credential.keys) found.push_back(key.audience);
    EXPECT_EQ(found, audiences);
  }
  struct stat info;
  ASSERT_EQ(stat((keyd_.options.data + "/kek").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600);
  ASSERT_EQ(stat((keyd_.options.data + "/credentials").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0700);
  EXPECT_TRUE(keyd_.ConnectAs("admin")->Issue(ROLE_DEVICE, "web-1").ok());
}

TEST(KeydStart, FinishesAFoundingThatWasCutShort) {
  TestKeyd keyd;
  ASSERT_TRUE(MakeFolders(keyd.options.data, 0700).ok());
  {
    const auto store = *store::OpenSqliteStore({.path = keyd.options.data + "/keyd.db"});
    KeyAuthority::Options options;
    options.store = store.get();
    options.kek = *MakeKek(keyd.options.data + "/kek");
    options.organisation = "parley";
    ASSERT_TRUE(KeyAuthority::Open(std::move(options)).ok());
  }
  ASSERT_TRUE(keyd.Start().ok());
  EXPECT_TRUE(keyd.ConnectAs("admin")->Issue(ROLE_DEVICE, "web-1").ok());
}

TEST_F(KeydTest, ARestartKeepsTheKeysAndMakesNoNewAdmin) {
  const keys::Credential admin = keyd_.CredentialOf("admin");
  const keys::Credential taskd = keyd_.CredentialOf("taskd");
  keyd_.Stop();
  std::filesystem::remove(keyd_.CredentialPath("admin"));
  std::filesystem::remove(keyd_.CredentialPath("enrolld"));
  ASSERT_TRUE(keyd_.Start().ok());
  EXPECT_TRUE(keyd_.Connect(admin)->Issue(ROLE_DEVICE, "web-1").ok());
  EXPECT_FALSE(std::filesystem::exists(keyd_.CredentialPath("admin"))) << "it was taken elsewhere";
  EXPECT_TRUE(std::filesystem::exists(keyd_.CredentialPath("enrolld")));
  EXPECT_EQ(keyd_.CredentialOf("taskd").serial, taskd.serial);

  keyd_.Stop();
  keyd_.options.new_admin = true;
  ASSERT_TRUE(keyd_.Start().ok());
  EXPECT_NE(keyd_.CredentialOf("admin").serial, admin.serial);
  EXPECT_TRUE(keyd_.ConnectAs("admin")->Issue(ROLE_DEVICE, "web-2").ok());
}

TEST_F(KeydTest, ServiceCredentialsAreReplacedBeforeTheyEndAndWhenAddressesChange) {
  const std::string serial = keyd_.CredentialOf("taskd").serial;
  keyd_.Stop();
  keyd_.options.taskd_address = "taskd.example:7443";
  ASSERT_TRUE(keyd_.Start().ok());
  EXPECT_EQ(keyd_.CredentialOf("taskd").serial, serial);
  EXPECT_EQ((*keyd_.CredentialOf("operator").KeyFor("taskd"))->address, "taskd.example:7443");
  keyd_.Stop();
  keyd_.clock.Advance(absl::Hours(24 * 300));
  ASSERT_TRUE(keyd_.Start().ok());
  EXPECT_NE(keyd_.CredentialOf("taskd").serial, serial);
}

TEST_F(KeydTest, RefusesToStartOnFilesThatOthersMayRead) {
  for (const std::string& path : {keyd_.options.data + "/kek", keyd_.options.data + "/keyd.db",
                                  keyd_.CredentialPath("admin"), keyd_.CredentialPath("taskd")}) {
    keyd_.Stop();
    ASSERT_EQ(chmod(path.c_str(), 0640), 0);
    EXPECT_EQ(StartError(), "FILE_EXPOSED");
    EXPECT_THAT(message_, testing::HasSubstr(path));
    ASSERT_EQ(chmod(path.c_str(), 0600), 0);
  }
  EXPECT_TRUE(keyd_.Start().ok());
}

TEST_F(KeydTest, RefusesToStartWithoutItsKek) {
  const std::string path = keyd_.options.data + "/kek";
  const Secret kek = *ReadKek(path);
  ASSERT_TRUE(MakeKek(path).ok());
  EXPECT_EQ(StartError(), "KEK_WRONG");
  EXPECT_THAT(message_, testing::HasSubstr(path));
  std::filesystem::remove(path);
  EXPECT_EQ(StartError(), "KEK_MISSING");
  ASSERT_TRUE(WriteSecretFile(path, Secret::CopyOf("not a key")).ok());
  EXPECT_EQ(StartError(), "KEK_MALFORMED");
  // The same in its other form.
  ASSERT_TRUE(WriteSecretFile(path, kek).ok());
  EXPECT_TRUE(keyd_.Start().ok());
}

TEST_F(KeydTest, FoundsNoOtherOrganisationBesideWhatIsLeftOfOne) {
  const std::string& data = keyd_.options.data;
  // By another process, because closing the file in this one would give up its locks.
  ASSERT_EQ(system(absl::StrCat("cp ", data, "/keyd.db ", data, "/alone.db").c_str()), 0);
  keyd_.Stop();
  std::filesystem::remove(data + "/keyd.db");
  EXPECT_EQ(StartError(), "DATABASE_MISSING");
  EXPECT_THAT(message_, testing::HasSubstr("admin.credential"));
  std::filesystem::remove_all(data + "/credentials");
  EXPECT_EQ(StartError(), "DATABASE_MISSING");
  EXPECT_THAT(message_, testing::HasSubstr("/kek"));
  // The file alone has the founding, whatever had not been copied to it yet.
  std::filesystem::rename(data + "/alone.db", data + "/keyd.db");
  ASSERT_TRUE(keyd_.Start().ok());
  EXPECT_TRUE(keyd_.ConnectAs("taskd") != nullptr);
}

TEST_F(KeydTest, OneKeydPerFolder) {
  Keyd::Options second = keyd_.options;
  second.listen = "127.0.0.1:0";
  const absl::Status status = Keyd::Start(second).status();
  EXPECT_EQ(Reason(status), "STORE_LOCKED");
}

TEST_F(KeydTest, IssuesListsAndGets) {
  const auto admin = keyd_.ConnectAs("admin");
  std::vector<std::string> names;
  for (int i = 0; i < 5; ++i) {
    const auto issued = admin->Issue(ROLE_DEVICE, absl::StrCat("web-", i));
    ASSERT_TRUE(issued.ok()) << issued.status();
    EXPECT_EQ(issued->record().issuer(), "admin");
    EXPECT_EQ(issued->secrets_size(), 2);
    EXPECT_EQ(issued->secrets(0).secret().size(), 32);
    names.push_back(issued->record().name());
  }
  std::vector<std::string> listed;
  key::v1::ListCredentialsRequest request;
  request.set_page_size(4);
  do {
    key::v1::ListCredentialsResponse page;
    ASSERT_TRUE(admin->Call(&Stub::ListCredentials, request, &page).ok());
    for (const key::v1::CredentialRecord& record : page.credentials()) listed.push_back(record.name());
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  ASSERT_EQ(listed.size(), 9) << "four of the first start, and ours";
  EXPECT_EQ(std::vector<std::string>(listed.begin() + 4, listed.end()), names);

  key::v1::GetCredentialRequest get;
  get.set_name(names[2]);
  key::v1::CredentialRecord record;
  ASSERT_TRUE(admin->Call(&Stub::GetCredential, get, &record).ok());
  EXPECT_EQ(record.subject(), "web-2");
  EXPECT_EQ(record.expire_time().seconds() - record.create_time().seconds(), 90 * 24 * 3600);
  for (const char* name : {"", "credentials/", "credentials/00", "credentials/ffffffffffffffffffffffffffffffff", "x"}) {
    get.set_name(name);
    EXPECT_EQ(Reason(admin->Call(&Stub::GetCredential, get, &record)), "CREDENTIAL_NOT_FOUND");
  }
  request.set_page_token("no such token");
  key::v1::ListCredentialsResponse page;
  EXPECT_EQ(Reason(admin->Call(&Stub::ListCredentials, request, &page)), "PAGE_TOKEN");
}

TEST_F(KeydTest, ARepeatedRequestGetsTheSameCredential) {
  const auto admin = keyd_.ConnectAs("admin");
  const std::string id = crypto::RandomUuid();
  const auto first = *admin->Issue(ROLE_DEVICE, "web-1", id);
  EXPECT_EQ(admin->Issue(ROLE_DEVICE, "web-1", id)->SerializeAsString(), first.SerializeAsString());
  EXPECT_EQ(Reason(admin->Issue(ROLE_DEVICE, "web-2", id).status()), "REQUEST_ID_REUSED");
  EXPECT_EQ(Reason(admin->Issue(ROLE_OPERATOR, "web-1", id).status()), "REQUEST_ID_REUSED");
  keyd_.Stop();
  ASSERT_TRUE(keyd_.Start().ok());
  EXPECT_EQ(keyd_.ConnectAs("admin")->Issue(ROLE_DEVICE, "web-1", id)->SerializeAsString(), first.SerializeAsString());
  EXPECT_EQ(CountOf(VerifiedLog(), "credential.issued"), 5);
}

TEST_F(KeydTest, RefusesBadRequests) {
  const auto admin = keyd_.ConnectAs("admin");
  EXPECT_EQ(Reason(admin->Issue(ROLE_DEVICE, "web-1", "1").status()), "REQUEST_ID");
  EXPECT_EQ(Reason(admin->Issue(access::v1::ROLE_JOINER, "task").status()), "ROLE");
  EXPECT_EQ(Reason(admin->Issue(access::v1::ROLE_UNSPECIFIED, "task").status()), "ROLE");
  for (const std::string& subject : {std::string(), std::string("Alice"), std::string("a/b"), std::string(49, 'a')}) {
    EXPECT_EQ(Reason(admin->Issue(ROLE_DEVICE, subject).status()), "SUBJECT");
  }
  EXPECT_EQ(Reason(admin->Issue(ROLE_SERVICE, "keyd").status()), "SUBJECT");
  for (const int64_t seconds : {int64_t{0}, int64_t{-1}, int64_t{367 * 24 * 3600}, INT64_MAX}) {
    key::v1::IssueCredentialRequest request;
    request.set_request_id(crypto::RandomUuid());
    request.set_role(ROLE_DEVICE);
    request.set_subject("web-1");
    request.mutable_ttl()->set_seconds(seconds);
    key::v1::IssueCredentialResponse response;
    EXPECT_EQ(Reason(admin->Call(&Stub::IssueCredential, request, &response)), "TTL");
  }
  const auto taskd = keyd_.ConnectAs("taskd");
  key::v1::IssueServerCertificateResponse certificate;
  EXPECT_EQ(taskd->Call(&Stub::IssueServerCertificate, key::v1::IssueServerCertificateRequest(), &certificate).code(),
            absl::StatusCode::kInvalidArgument);
  key::v1::AppendAuditEventsResponse appended;
  EXPECT_EQ(Reason(taskd->Call(&Stub::AppendAuditEvents, key::v1::AppendAuditEventsRequest(), &appended)),
            "AUDIT_EVENTS");
}

// Each RPC of KeyService with each role that can reach keyd at all; the others have no key for it.
TEST_F(KeydTest, RolesMayCallWhatTheirRpcsNameAndNothingElse) {
  const auto admin = keyd_.ConnectAs("admin");
  const auto auditor = keyd_.Connect(ToCredential(*admin->Issue(ROLE_AUDITOR, "ann")));
  const auto service = keyd_.ConnectAs("taskd");
  const auto operator_client = keyd_.ConnectAs("operator");
  const auto device = keyd_.Connect(ToCredential(*admin->Issue(ROLE_DEVICE, "web-1")));
  const auto refusals = [](KeyClient& client) {
    std::string refused;
    const auto note = [&refused](const char* method, const absl::Status& status) {
      if (Reason(status) == "ROLE_NOT_ALLOWED") absl::StrAppend(&refused, method, " ");
    };
    key::v1::IssueCredentialResponse issued;
    note("Issue", client.Call(&Stub::IssueCredential, key::v1::IssueCredentialRequest(), &issued));
    key::v1::CredentialRecord record;
    note("Get", client.Call(&Stub::GetCredential, key::v1::GetCredentialRequest(), &record));
    key::v1::ListCredentialsResponse list;
    note("List", client.Call(&Stub::ListCredentials, key::v1::ListCredentialsRequest(), &list));
    note("Revoke", client.Call(&Stub::RevokeCredential, key::v1::RevokeCredentialRequest(), &record));
    note("Rotate", client.Rotate(999).status());
    key::v1::IssueServerCertificateResponse certificate;
    note("Certify", client.Call(&Stub::IssueServerCertificate, key::v1::IssueServerCertificateRequest(), &certificate));
    key::v1::AppendAuditEventsResponse appended;
    note("Append", client.Call(&Stub::AppendAuditEvents, key::v1::AppendAuditEventsRequest(), &appended));
    key::v1::ListAuditEventsResponse events;
    note("Audit", client.Call(&Stub::ListAuditEvents, key::v1::ListAuditEventsRequest(), &events));
    {
      grpc::ClientContext context;
      const auto stream = client.stub()->WatchAudienceKeys(&context, key::v1::WatchAudienceKeysRequest());
      key::v1::AudienceKeys message;
      if (stream->Read(&message)) context.TryCancel();
      note("Keys", rpc::FromGrpc(stream->Finish()));
    }
    grpc::ClientContext context;
    const auto stream = client.stub()->WatchRevocations(&context, key::v1::WatchRevocationsRequest());
    key::v1::Revocations message;
    if (stream->Read(&message)) context.TryCancel();
    note("Revocations", rpc::FromGrpc(stream->Finish()));
    return refused;
  };
  EXPECT_EQ(refusals(*admin), "Certify Append Keys Revocations ");
  EXPECT_EQ(refusals(*auditor), "Issue Revoke Rotate Certify Append Keys Revocations ");
  EXPECT_EQ(refusals(*service), "Issue Get List Revoke Rotate Audit ");
  const char* const all = "Issue Get List Revoke Rotate Certify Append Audit Keys Revocations ";
  EXPECT_EQ(refusals(*operator_client), all);
  EXPECT_EQ(refusals(*device), all);
  keyd_.Stop();  // Which writes what waits for the log.
  ASSERT_TRUE(keyd_.Start().ok());
  EXPECT_EQ(CountOf(VerifiedLog(), "rpc.refused"), 37);
}

TEST_F(KeydTest, RevocationClosesLiveConnectionsWithinASecondAndForGood) {
  const auto admin = keyd_.ConnectAs("admin");
  const auto issued = *admin->Issue(ROLE_SERVICE, "taskd");
  const auto victim = keyd_.Connect(ToCredential(issued));
  const auto bystander = keyd_.ConnectAs("taskd");
  grpc::ClientContext context;
  const auto stream = victim->stub()->WatchRevocations(&context, key::v1::WatchRevocationsRequest());
  key::v1::Revocations message;
  ASSERT_TRUE(stream->Read(&message));
  EXPECT_TRUE(message.caught_up());
  const auto began = std::chrono::steady_clock::now();
  ASSERT_TRUE(admin->Revoke(issued.record().name()).ok());
  while (stream->Read(&message)) {
  }
  EXPECT_FALSE(stream->Finish().ok());
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(1));
  ASSERT_TRUE(admin->Revoke(issued.record().name()).ok()) << "twice changes nothing";

  const auto call = [](KeyClient& client) {
    key::v1::AppendAuditEventsResponse appended;
    return Reason(client.Call(&Stub::AppendAuditEvents, key::v1::AppendAuditEventsRequest(), &appended));
  };
  EXPECT_EQ(call(*victim), "KEY_REFUSED");
  EXPECT_EQ(call(*bystander), "AUDIT_EVENTS");
  keyd_.Stop();
  ASSERT_TRUE(keyd_.Start().ok());
  EXPECT_EQ(call(*keyd_.Connect(ToCredential(issued))), "KEY_REFUSED");
  EXPECT_EQ(CountOf(VerifiedLog(), "credential.revoked"), 1);
}

TEST_F(KeydTest, WhoRevokesItselfStillGetsTheAnswer) {
  const keys::Credential credential = keyd_.CredentialOf("admin");
  const auto admin = keyd_.Connect(credential);
  EXPECT_TRUE(admin->Revoke("credentials/" + credential.serial).ok());
  key::v1::ListCredentialsResponse list;
  absl::Status status;
  while ((status = admin->Call(&Stub::ListCredentials, key::v1::ListCredentialsRequest(), &list)).ok()) {
  }
  EXPECT_FALSE(keyd_.ConnectAs("admin")->Issue(ROLE_DEVICE, "web-1").ok());
}

TEST_F(KeydTest, RevocationsAreFollowedFromACursor) {
  const auto admin = keyd_.ConnectAs("admin");
  const auto taskd = keyd_.ConnectAs("taskd");
  std::vector<key::v1::IssueCredentialResponse> issued;
  for (int i = 0; i < 3; ++i) issued.push_back(*admin->Issue(ROLE_DEVICE, absl::StrCat("web-", i)));
  const auto serial_of = [](const key::v1::IssueCredentialResponse& response) {
    return *HexDecode(ToCredential(response).serial);
  };
  ASSERT_TRUE(admin->Revoke(issued[0].record().name()).ok());
  key::v1::WatchRevocationsRequest request;
  key::v1::Revocations message;
  {
    grpc::ClientContext context;
    const auto stream = taskd->stub()->WatchRevocations(&context, request);
    ASSERT_TRUE(stream->Read(&message));
    ASSERT_EQ(message.revocations_size(), 1);
    EXPECT_EQ(message.revocations(0).serial(), serial_of(issued[0]));
    EXPECT_TRUE(message.caught_up());
    ASSERT_TRUE(admin->Revoke(issued[1].record().name()).ok());
    ASSERT_TRUE(stream->Read(&message));
    EXPECT_EQ(message.revocations(0).serial(), serial_of(issued[1]));
    context.TryCancel();
    stream->Finish();
  }
  ASSERT_TRUE(admin->Revoke(issued[2].record().name()).ok());
  request.set_cursor(message.cursor());
  {
    grpc::ClientContext context;
    const auto stream = taskd->stub()->WatchRevocations(&context, request);
    ASSERT_TRUE(stream->Read(&message));
    ASSERT_EQ(message.revocations_size(), 1);
    EXPECT_EQ(message.revocations(0).serial(), serial_of(issued[2]));
    context.TryCancel();
    stream->Finish();
  }
  request.set_cursor(1'000'000);
  grpc::ClientContext context;
  const auto stream = taskd->stub()->WatchRevocations(&context, request);
  EXPECT_FALSE(stream->Read(&message));
  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::OUT_OF_RANGE);
}

TEST_F(KeydTest, RotationKeepsOldKeysUntilTheyAreRetired) {
  const auto admin = keyd_.ConnectAs("admin");
  const keys::Credential old_taskd = keyd_.CredentialOf("taskd");
  const auto taskd = keyd_.Connect(old_taskd);
  grpc::ClientContext context;
  const auto stream = taskd->stub()->WatchAudienceKeys(&context, key::v1::WatchAudienceKeysRequest());
  key::v1::AudienceKeys message;
  ASSERT_TRUE(stream->Read(&message));
  EXPECT_EQ(message.epochs_size(), 1);
  EXPECT_EQ(message.primary_epoch(), 1);
  const std::string first_key = message.epochs(0).key();
  EXPECT_EQ(first_key.size(), 32);

  EXPECT_EQ(Reason(admin->Rotate(2).status()), "RETIRE_BEFORE");
  EXPECT_EQ(*admin->Rotate(0), 2);
  ASSERT_TRUE(stream->Read(&message));
  EXPECT_EQ(message.epochs_size(), 2);
  EXPECT_EQ(message.primary_epoch(), 2);
  EXPECT_EQ(message.epochs(0).key(), first_key);
  EXPECT_NE(message.epochs(1).key(), first_key);
  EXPECT_NE(keyd_.CredentialOf("taskd").serial, old_taskd.serial) << "a new one for the services";
  const auto issued = *admin->Issue(ROLE_ADMIN, "bob");
  EXPECT_EQ(issued.record().epoch(), 2);

  // The old admin's last word.
  EXPECT_EQ(*admin->Rotate(2), 3);
  while (stream->Read(&message)) {
  }
  EXPECT_FALSE(stream->Finish().ok()) << "the stream's key came from epoch 1";
  EXPECT_EQ(Reason(keyd_.ConnectAs("admin")->Issue(ROLE_DEVICE, "web-1").status()), "KEY_REFUSED");
  const auto bob = keyd_.Connect(ToCredential(issued));
  EXPECT_TRUE(bob->Issue(ROLE_DEVICE, "web-1").ok());
  keyd_.Stop();
  ASSERT_TRUE(keyd_.Start().ok());
  EXPECT_TRUE(keyd_.Connect(ToCredential(issued))->Issue(ROLE_DEVICE, "web-2").ok());
}

TEST_F(KeydTest, StreamsBeginOnAStoreThatWasCompacted) {
  keyd_.Stop();
  {
    const auto store = *store::OpenSqliteStore({.path = keyd_.options.data + "/keyd.db"});
    ASSERT_TRUE(store->Compact(*store->Revision()).ok());
  }
  ASSERT_TRUE(keyd_.Start().ok());
  const auto taskd = keyd_.ConnectAs("taskd");
  grpc::ClientContext context;
  const auto stream = taskd->stub()->WatchAudienceKeys(&context, key::v1::WatchAudienceKeysRequest());
  key::v1::AudienceKeys message;
  ASSERT_TRUE(stream->Read(&message));
  ASSERT_TRUE(keyd_.ConnectAs("admin")->Rotate(0).ok());
  ASSERT_TRUE(stream->Read(&message));
  EXPECT_EQ(message.primary_epoch(), 2);
  context.TryCancel();
  stream->Finish();
}

TEST(KeydStart, RefusesAWildcardAsTheAddressOfCredentials) {
  for (const char* listen : {"0.0.0.0:0", "[::]:0", ":0"}) {
    TestFolder folder;
    Keyd::Options options;
    options.data = folder.path();
    options.listen = listen;
    EXPECT_EQ(Reason(Keyd::Start(options).status()), "PUBLIC_ADDRESS_MISSING");
  }
}

TEST_F(KeydTest, AServiceGetsItsOwnAudiencesKeysOnly) {
  std::string keys[2];
  for (const int i : {0, 1}) {
    const auto client = keyd_.ConnectAs(i == 0 ? "taskd" : "enrolld");
    grpc::ClientContext context;
    const auto stream = client->stub()->WatchAudienceKeys(&context, key::v1::WatchAudienceKeysRequest());
    key::v1::AudienceKeys message;
    ASSERT_TRUE(stream->Read(&message));
    keys[i] = message.epochs(0).key();
    context.TryCancel();
    stream->Finish();
  }
  EXPECT_NE(keys[0], keys[1]);
}

TEST_F(KeydTest, TheAuditLogTellsEveryOperationOnce) {
  const auto admin = keyd_.ConnectAs("admin");
  const auto issued = *admin->Issue(ROLE_DEVICE, "web-1");
  ASSERT_TRUE(admin->Revoke(issued.record().name()).ok());
  ASSERT_TRUE(admin->Rotate(0).ok());
  const auto taskd = keyd_.ConnectAs("taskd");
  key::v1::AppendAuditEventsRequest request;
  for (int i = 0; i < 3; ++i) {
    key::v1::AuditEvent* const event = request.add_events();
    event->set_id(crypto::RandomUuid());
    event->set_action("join_key.revoked");
    event->set_service("keyd");  // A lie.
    event->set_sequence(1);
  }
  key::v1::AppendAuditEventsResponse appended;
  ASSERT_TRUE(taskd->Call(&Stub::AppendAuditEvents, request, &appended).ok());
  ASSERT_TRUE(taskd->Call(&Stub::AppendAuditEvents, request, &appended).ok()) << "repeated";
  // Another service cannot take an event's place by using its id first.
  ASSERT_TRUE(keyd_.ConnectAs("enrolld")->Call(&Stub::AppendAuditEvents, request, &appended).ok());

  const std::vector<key::v1::AuditEvent> events = VerifiedLog();
  EXPECT_EQ(events[0].action(), "organisation.created");
  EXPECT_EQ(CountOf(events, "credential.revoked"), 1);
  EXPECT_EQ(CountOf(events, "root.rotated"), 1);
  EXPECT_EQ(CountOf(events, "join_key.revoked"), 6);
  for (const key::v1::AuditEvent& event : events) {
    if (event.action() == "credential.revoked") {
      EXPECT_EQ(event.actor(), "admin/admin");
      EXPECT_EQ(event.resource(), issued.record().name());
    }
    if (event.action() == "join_key.revoked") EXPECT_NE(event.service(), "keyd");
  }
}

TEST_F(KeydTest, ForgetsRevocationsADayAfterTheirKeysHaveEnded) {
  const auto admin = keyd_.ConnectAs("admin");
  ASSERT_TRUE(admin->Revoke(admin->Issue(ROLE_DEVICE, "web-1")->record().name()).ok());
  const auto revocations = [this] {
    keyd_.Stop();
    EXPECT_TRUE(keyd_.Start().ok());  // Which sweeps.
    grpc::ClientContext context;
    const auto taskd = keyd_.ConnectAs("taskd");
    const auto stream = taskd->stub()->WatchRevocations(&context, key::v1::WatchRevocationsRequest());
    key::v1::Revocations message;
    EXPECT_TRUE(stream->Read(&message));
    context.TryCancel();
    stream->Finish();
    return message.revocations_size();
  };
  EXPECT_EQ(revocations(), 1);
  keyd_.clock.Advance(absl::Hours(24 * 90 + 1));
  EXPECT_EQ(revocations(), 1);
  keyd_.clock.Advance(absl::Hours(24));
  EXPECT_EQ(revocations(), 0);
}

std::string BytesOf(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

// A secret in any form that a careless program gives it.
void ExpectAbsent(const Secret& secret, const std::string& bytes, const std::string& what) {
  const std::string raw(secret.Expose());
  ASSERT_GE(raw.size(), 16);
  for (const std::string& form : {raw, HexEncode(raw), Base64UrlEncode(raw), Base32Encode(raw)}) {
    // A part is as bad as the whole.
    EXPECT_EQ(bytes.find(form.substr(0, 12)), std::string::npos) << what;
  }
}

TEST_F(KeydTest, AStolenDatabaseAndTheLogsHoldNoSecret) {
  keyd_.Stop();
  testing::internal::CaptureStderr();
  ASSERT_TRUE(keyd_.Start().ok());
  std::vector<keys::Credential> credentials;
  {
    const auto admin = keyd_.ConnectAs("admin");
    for (const access::v1::Role role : {ROLE_ADMIN, ROLE_OPERATOR, ROLE_AUDITOR, ROLE_DEVICE}) {
      credentials.push_back(ToCredential(*admin->Issue(role, "someone")));
    }
    ASSERT_TRUE(admin->Rotate(0).ok());
    ASSERT_TRUE(admin->Revoke("credentials/" + credentials[0].serial).ok());
    EXPECT_FALSE(keyd_.Connect(credentials[0])->Issue(ROLE_DEVICE, "x").ok());
  }
  std::vector<std::string> audience_keys;
  {
    const auto taskd = keyd_.ConnectAs("taskd");
    grpc::ClientContext context;
    const auto stream = taskd->stub()->WatchAudienceKeys(&context, key::v1::WatchAudienceKeysRequest());
    key::v1::AudienceKeys message;
    ASSERT_TRUE(stream->Read(&message));
    for (const auto& epoch : message.epochs()) audience_keys.push_back(epoch.key());
    context.TryCancel();
    stream->Finish();
  }
  // As a thief would find them: while keyd runs.
  const std::string database = BytesOf(keyd_.options.data + "/keyd.db") + BytesOf(keyd_.options.data + "/keyd.db-wal");
  for (const char* name : {"admin", "operator", "taskd", "enrolld"}) credentials.push_back(keyd_.CredentialOf(name));
  keyd_.Stop();
  const std::string log = testing::internal::GetCapturedStderr();
  ASSERT_THAT(log, testing::HasSubstr("wrote a credential"));
  ASSERT_THAT(database, testing::HasSubstr("credential.issued")) << "the search does find what is there";
  for (const std::string* const place : {&database, &log}) {
    for (const keys::Credential& credential : credentials) {
      for (const keys::AudienceKey& key : credential.keys) {
        ExpectAbsent(key.secret, *place, "a secret");
        ExpectAbsent(keys::DerivePsk(key.secret), *place, "a pre-shared key");
        ExpectAbsent(Secret::CopyOf(key.identity), *place, "an identity");
      }
    }
    for (const std::string& key : audience_keys) ExpectAbsent(Secret::CopyOf(key), *place, "an audience key");
    ExpectAbsent(*ReadKek(keyd_.options.data + "/kek"), *place, "the key-encryption key");
    EXPECT_EQ(place->find("PRIVATE KEY"), std::string::npos);
  }
}

}  // namespace
}  // namespace parley::keyd
