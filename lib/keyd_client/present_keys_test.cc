// The follower against a keyd that tells what the test wants it to.
#include <stdlib.h>

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "grpcpp/server_builder.h"
#include "lib/base/clock.h"
#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/base/mutex.h"
#include "lib/crypto/kdf.h"
#include "lib/keyd_client/contact.h"
#include "lib/keyd_client/key_follower.h"
#include "lib/keys/credential.h"
#include "lib/keys/identity.h"
#include "lib/keys/key_source.h"
#include "lib/transport/grpc_door.h"
#include "parley/key/v1/key_service.grpc.pb.h"

namespace parley::keyd_client {
namespace {

using grpc::Status;

constexpr absl::Duration kLimit = absl::Hours(1);

class FakeKeyd final : public key::v1::KeyService::Service {
 public:
  // While it is away it answers nothing; without keys it does everything but tell them.
  void Set(bool away, bool without_keys) {
    MutexLock lock(&mutex_);
    away_ = away;
    without_keys_ = without_keys;
    changed_.NotifyAll();
  }
  void AwaitRevocationsStream() {
    MutexLock lock(&mutex_);
    while (!follows_revocations_) changed_.Wait(&mutex_);
  }
  // Waits until the lease was asked for once more.
  void AwaitKept() {
    MutexLock lock(&mutex_);
    for (const int before = kept_; kept_ == before;) changed_.Wait(&mutex_);
  }

 private:
  Status KeepReplica(grpc::ServerContext*, const key::v1::KeepReplicaRequest*,
                     key::v1::KeepReplicaResponse* response) override {
    MutexLock lock(&mutex_);
    if (away_) return Away();
    ++kept_;
    changed_.NotifyAll();
    response->set_revision(1);
    return Status::OK;
  }
  Status WatchRevocations(grpc::ServerContext* context, const key::v1::WatchRevocationsRequest*,
                          grpc::ServerWriter<key::v1::Revocations>* writer) override {
    MutexLock lock(&mutex_);
    if (away_) return Away();
    key::v1::Revocations message;
    message.set_cursor(1);
    message.set_caught_up(true);
    writer->Write(message);
    follows_revocations_ = true;
    changed_.NotifyAll();
    while (!away_ && !context->IsCancelled()) changed_.WaitFor(&mutex_, kLook);
    follows_revocations_ = false;
    return Away();
  }
  Status WatchAudienceKeys(grpc::ServerContext* context, const key::v1::WatchAudienceKeysRequest*,
                           grpc::ServerWriter<key::v1::AudienceKeys>* writer) override {
    MutexLock lock(&mutex_);
    if (away_ || without_keys_) return Away();
    key::v1::AudienceKeys message;
    message.add_epochs()->set_epoch(1);
    message.mutable_epochs(0)->set_key(std::string(keys::kSecretBytes, 'k'));
    message.set_primary_epoch(1);
    writer->Write(message);
    while (!away_ && !context->IsCancelled()) changed_.WaitFor(&mutex_, kLook);
    return Away();
  }
  static Status Away() { return Status(grpc::StatusCode::UNAVAILABLE, "away"); }

  // Nothing wakes a stream when its caller has gone.
  static constexpr absl::Duration kLook = absl::Milliseconds(50);
  Mutex mutex_;
  CondVar changed_;
  bool away_ ABSL_GUARDED_BY(mutex_) = false;
  bool without_keys_ ABSL_GUARDED_BY(mutex_) = false;
  bool follows_revocations_ ABSL_GUARDED_BY(mutex_) = false;
  int kept_ ABSL_GUARDED_BY(mutex_) = 0;
};

class PresentKeysTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_NE(mkdtemp(folder_.data()), nullptr);
    ASSERT_EQ(keyring_.Replace(OneKey(), 1), absl::OkStatus());
    transport::Listener::Options listener;
    listener.address = "127.0.0.1:0";
    listener.clock = &clock_;
    door_ = *transport::GrpcDoor::Create(std::move(listener), &source_);
    grpc::ServerBuilder builder;
    builder.RegisterService(&keyd_);
    ASSERT_EQ(door_->Serve(&builder), absl::OkStatus());
    WriteCredential();
    KeyFollower::Options options;
    options.credential_path = folder_ + "/taskd.credential";
    options.away_limit = kLimit;
    options.on_contact = [this](Contact::State state) {
      MutexLock lock(&mutex_);
      contact_ = state;
      changed_.NotifyAll();
    };
    options.clock = &clock_;
    options.steady = [this] { return clock_.Now() - absl::UnixEpoch(); };
    follower_ = *KeyFollower::Create(std::move(options));
  }
  void TearDown() override {
    follower_ = nullptr;
    keyd_.Set(/*away=*/true, /*without_keys=*/false);
    door_->Shutdown(absl::Now());
    door_->Wait();
    std::filesystem::remove_all(folder_);
  }

  static std::map<uint32_t, Secret> OneKey() {
    std::map<uint32_t, Secret> keys;
    keys[1] = crypto::RandomSecret(keys::kSecretBytes);
    return keys;
  }
  void WriteCredential() {
    const std::string serial(16, 's');
    keys::Credential credential{access::v1::ROLE_SERVICE, "taskd", HexEncode(serial), clock_.Now() + absl::Hours(99)};
    auto minted = *keyring_.Mint({credential.role, credential.subject, serial, credential.not_after});
    credential.keys.push_back(
        {std::string(keys::kKeyd), door_->listener().address(), std::move(minted.identity), std::move(minted.secret)});
    ASSERT_EQ(keys::WriteCredentialFile(folder_ + "/taskd.credential", credential), absl::OkStatus());
  }
  void AwaitContact(Contact::State state) {
    MutexLock lock(&mutex_);
    while (contact_ != state) changed_.Wait(&mutex_);
  }

  std::string folder_ = testing::TempDir() + "/present_keys.XXXXXX";
  FakeClock clock_;
  keys::Keyring keyring_;
  keys::AudienceKeySource source_{&keyring_, &clock_, nullptr};
  FakeKeyd keyd_;
  std::unique_ptr<transport::GrpcDoor> door_;
  Mutex mutex_;
  CondVar changed_;
  Contact::State contact_ ABSL_GUARDED_BY(mutex_) = Contact::State::kAway;
  std::unique_ptr<KeyFollower> follower_;
};

// A root may have been retired while keyd was away.
TEST_F(PresentKeysTest, AreKnownBeforeAnybodyIsAdmittedAgain) {
  AwaitContact(Contact::State::kFollowing);
  keyd_.Set(/*away=*/true, /*without_keys=*/true);
  AwaitContact(Contact::State::kAway);
  clock_.Advance(kLimit + absl::Seconds(1));
  AwaitContact(Contact::State::kAwayTooLong);
  keyd_.Set(/*away=*/false, /*without_keys=*/true);
  keyd_.AwaitRevocationsStream();
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(Reason(follower_->CheckAdmits()), "KEYD_AWAY");
    clock_.Advance(kLimit / 3);
    keyd_.AwaitKept();
  }
  keyd_.Set(/*away=*/false, /*without_keys=*/false);
  AwaitContact(Contact::State::kFollowing);
  EXPECT_EQ(follower_->CheckAdmits(), absl::OkStatus());
}

}  // namespace
}  // namespace parley::keyd_client
