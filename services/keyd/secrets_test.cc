// What keyd leaves behind: an audit log of all that it does, and no secret in any place but its own.
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "lib/base/encoding.h"
#include "services/keyd/store/sealer.h"
#include "services/keyd/testing/keyd_testing.h"

namespace parley::keyd {
namespace {

using access::v1::ROLE_ADMIN;
using access::v1::ROLE_AUDITOR;
using access::v1::ROLE_DEVICE;
using access::v1::ROLE_OPERATOR;
using Stub = KeyClient::Stub;

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
  // What a thief would find, while keyd runs.
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
