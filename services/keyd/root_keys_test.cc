// Root keys over gRPC: rotated, retired, and followed by the services.
#include <filesystem>
#include <string>
#include <thread>

#include "gmock/gmock.h"
#include "lib/base/file.h"
#include "lib/store/sqlite_store.h"
#include "services/keyd/testing/keyd_testing.h"

namespace parley::keyd {
namespace {

using access::v1::ROLE_ADMIN;
using access::v1::ROLE_DEVICE;
using Stub = KeyClient::Stub;

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

TEST_F(KeydTest, ServicesGetTheirNewCredentialsLaterIfTheyCannotBeWritten) {
  const std::string folder = keyd_.options.data + "/credentials", aside = folder + ".aside";
  const std::string old_serial = keyd_.CredentialOf("taskd").serial;
  const auto admin = keyd_.ConnectAs("admin");
  std::filesystem::rename(folder, aside);
  ASSERT_EQ(WriteFileAtomically(folder, "in the way", 0600), absl::OkStatus());
  ASSERT_EQ(*admin->Rotate(0), 2);
  std::filesystem::remove(folder);
  std::filesystem::rename(aside, folder);
  // Long before the upkeep of every hour.
  keyd_.clock.Advance(absl::Seconds(10));
  while (keyd_.CredentialOf("taskd").serial == old_serial) std::this_thread::yield();
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

}  // namespace
}  // namespace parley::keyd
