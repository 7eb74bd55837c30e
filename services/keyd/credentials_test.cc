// Credentials over gRPC: issued, listed, revoked, and who may do that.
#include <chrono>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "lib/base/encoding.h"
#include "lib/transport/grpc_status.h"
#include "services/keyd/testing/keyd_testing.h"

namespace parley::keyd {
namespace {

using access::v1::ROLE_AUDITOR;
using access::v1::ROLE_DEVICE;
using access::v1::ROLE_OPERATOR;
using access::v1::ROLE_SERVICE;
using Stub = KeyClient::Stub;

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
      note("Keys", transport::FromGrpc(stream->Finish()));
    }
    grpc::ClientContext context;
    const auto stream = client.stub()->WatchRevocations(&context, key::v1::WatchRevocationsRequest());
    key::v1::Revocations message;
    if (stream->Read(&message)) context.TryCancel();
    note("Revocations", transport::FromGrpc(stream->Finish()));
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

}  // namespace
}  // namespace parley::keyd
