#include "services/testing/service_test.h"

#include <stdlib.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "lib/crypto/kdf.h"
#include "lib/keys/dial.h"
#include "lib/store/sqlite_store.h"
#include "lib/transport/grpc_poller.h"

namespace parley {

void FakeAuditLog::Record(key::v1::AuditEvent event) {
  MutexLock lock(&mutex_);
  events_.push_back(std::move(event));
}

bool FakeAuditLog::Has(absl::string_view action, absl::string_view outcome) const {
  MutexLock lock(&mutex_);
  for (const auto& event : events_) {
    if (event.action() == action && event.outcome() == outcome) return true;
  }
  return false;
}

int FakeAuditLog::Count(absl::string_view action) const {
  MutexLock lock(&mutex_);
  return static_cast<int>(
      std::count_if(events_.begin(), events_.end(), [&](const auto& event) { return event.action() == action; }));
}

std::string FakeAuditLog::Text() const {
  MutexLock lock(&mutex_);
  std::string text;
  for (const auto& event : events_) absl::StrAppend(&text, event.SerializeAsString());
  return text;
}

ServiceClient::ServiceClient(const std::string& address, const keys::Keyring::Minted& key, Clock* clock)
    : connection_(*transport::Channel::Create(keys::DialOptions(address, key.identity, key.secret,
                                                                /*not_after=*/absl::InfiniteFuture(), clock))) {}

void ServiceClient::SetDeadline(grpc::ClientContext* context) {
  context->set_deadline(absl::ToChronoTime(absl::Now() + absl::Seconds(30)));
}

absl::Status ServiceClient::Explain(const grpc::Status& status) const { return connection_->Explain(status); }

ServiceTest::ServiceTest(const std::string& audience) : folder_(testing::TempDir() + "/service.XXXXXX") {
  // A service's own process does so, too.
  EXPECT_TRUE(transport::PollGrpcInLoop());
  EXPECT_NE(mkdtemp(folder_.data()), nullptr);
  std::map<uint32_t, Secret> epochs;
  epochs.emplace(1, keys::DeriveAudienceKey(crypto::RandomSecret(32), audience));
  EXPECT_TRUE(keyring_.Replace(std::move(epochs), 1).ok());
}

ServiceTest::~ServiceTest() { std::filesystem::remove_all(folder_); }

keys::Keyring::Minted ServiceTest::Mint(access::v1::Role role, const std::string& subject, absl::Duration ttl) {
  return MintAgain(role, subject, crypto::RandomBytes(keys::kSerialBytes), ttl);
}

keys::Keyring::Minted ServiceTest::MintAgain(access::v1::Role role, const std::string& subject,
                                             const std::string& serial, absl::Duration ttl) {
  return *keyring_.Mint({role, subject, serial, clock_.Now() + ttl});
}

void ServiceTest::Open() {
  auto store = store::OpenSqliteStore({.path = folder_ + "/store.db", .clock = &clock_});
  ASSERT_TRUE(store.ok()) << store.status();
  store_ = *std::move(store);
  key_source_ = std::make_unique<keys::AudienceKeySource>(&keyring_, &clock_);
  transport::Listener::Options listener;
  listener.address = address_;
  listener.clock = &clock_;
  auto door = transport::GrpcDoor::Create(std::move(listener), key_source_.get());
  ASSERT_TRUE(door.ok()) << door.status();
  door_ = *std::move(door);
  address_ = door_->listener().address();
}

void ServiceTest::RevokeAtDoor(const std::string& serial, absl::Time not_after) {
  key_source_->Revoke(serial, not_after);
  door_->listener().CloseKey(HexEncode(serial));
}

void ServiceTest::Serve(grpc::ServerBuilder* builder) { ASSERT_TRUE(door_->Serve(builder).ok()); }

void ServiceTest::Shutdown(absl::Duration grace) {
  door_->Shutdown(absl::Now() + grace);
  door_->Wait();
}

void ServiceTest::Close() {
  door_ = nullptr;
  store_ = nullptr;
}

}  // namespace parley
