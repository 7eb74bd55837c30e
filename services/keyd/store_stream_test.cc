#include "services/keyd/service/store_stream.h"

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <latch>
#include <memory>
#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "lib/audit/audit_log.h"
#include "lib/rpc/start_stream.h"
#include "lib/store/sqlite_store.h"
#include "lib/transport/peer.h"
#include "parley/key/v1/key_service.grpc.pb.h"

namespace parley::keyd {
namespace {

using key::v1::Revocations;

constexpr int kEntries = 5000;
constexpr size_t kEntryBytes = 5000;

class NoAuditLog final : public audit::AuditLog {
 public:
  void Record(key::v1::AuditEvent) override {}
};

// Tells a revocation for each entry, and counts what it was asked to add.
class CountingSource final : public StreamSource<Revocations> {
 public:
  explicit CountingSource(std::atomic<int>* added) : added_(added) {}
  absl::StatusOr<store::KeyRange> Start(int64_t) override { return store::KeyRange::Prefix("entry/"); }
  absl::StatusOr<bool> Add(const store::Change& change, bool, Revocations* message) override {
    if (!change.value.has_value()) return false;
    message->add_revocations()->set_serial(*change.value);
    ++*added_;
    return true;
  }
  void Complete(std::optional<int64_t> revision, Revocations* message) override {
    message->set_caught_up(revision.has_value());
  }

 private:
  std::atomic<int>* const added_;
};

class StoreStreamTest : public testing::Test, private key::v1::KeyService::CallbackService {
 protected:
  StoreStreamTest() {
    std::string folder = testing::TempDir() + "/store_stream.XXXXXX";
    folder_ = mkdtemp(folder.data());
    store_ = *store::OpenSqliteStore({.path = folder_ + "/db"});
    grpc::ServerBuilder builder;
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
    stub_ = key::v1::KeyService::NewStub(server_->InProcessChannel(grpc::ChannelArguments()));
  }
  ~StoreStreamTest() override {
    context_.TryCancel();
    reader_.reset();
    server_->Shutdown();
    server_->Wait();
    std::filesystem::remove_all(folder_);
  }

  // Puts this many entries, each named by its number.
  void Put(int begin, int end, char content = 'x', size_t bytes = kEntryBytes) {
    for (int i = begin; i < end;) {
      store::Transaction transaction;
      for (int n = 0; n < 100 && i < end; ++n, ++i) {
        transaction.Set(absl::StrCat("entry/", 1'000'000 + i), std::string(bytes, content));
      }
      ASSERT_TRUE(store_->Commit(std::move(transaction)).ok());
    }
  }
  void Watch() { reader_ = stub_->WatchRevocations(&context_, key::v1::WatchRevocationsRequest()); }
  bool Read() {
    if (!reader_->Read(&message_)) return false;
    told_ += message_.revocations_size();
    ++messages_;
    return true;
  }

  std::string folder_;
  std::unique_ptr<store::Store> store_;
  std::atomic<int> added_ = 0;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReader<Revocations>> reader_;
  Revocations message_;
  int told_ = 0, messages_ = 0;

 private:
  grpc::ServerWriteReactor<Revocations>* WatchRevocations(grpc::CallbackServerContext* context,
                                                          const key::v1::WatchRevocationsRequest*) override {
    return rpc::StartStream(gate_, context, "parley.key.v1.KeyService.WatchRevocations", [&](const auto& caller) {
      return std::make_shared<StoreStream<Revocations>>(store_.get(), &workers_, &streams_, caller,
                                                        std::make_unique<CountingSource>(&added_));
    });
  }
  static std::shared_ptr<const transport::Peer> Service() {
    auto peer = std::make_shared<transport::Peer>();
    peer->key.role = access::v1::ROLE_SERVICE;
    return peer;
  }

  NoAuditLog audit_;
  rpc::WorkerPool workers_{2};
  const rpc::Gate gate_{[](const grpc::ServerContextBase&) { return Service(); }, &audit_, &workers_};
  rpc::LiveStreams streams_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<key::v1::KeyService::Stub> stub_;
};

// What the client has not taken lies in the store, but for a few messages that gRPC has taken already.
TEST_F(StoreStreamTest, ReadsNoMoreThanTheClientTakes) {
  Put(0, kEntries);
  Watch();
  do {
    ASSERT_TRUE(Read());
    EXPECT_LE(added_, told_ + 5 * 500'000 / static_cast<int>(kEntryBytes));
  } while (!message_.caught_up());
  EXPECT_EQ(told_, kEntries);
  EXPECT_GE(messages_, 25);
  Put(kEntries, kEntries + 3);
  while (told_ < kEntries + 3) ASSERT_TRUE(Read());
  EXPECT_TRUE(message_.caught_up());
}

TEST_F(StoreStreamTest, MissesNothingThatChangesWhileItTellsThePresent) {
  Put(0, 500);
  Watch();
  ASSERT_TRUE(Read());
  EXPECT_FALSE(message_.caught_up());
  Put(0, 500, 'y');
  int changed = 0;
  while (changed < 500) {
    ASSERT_TRUE(Read());
    for (const auto& revocation : message_.revocations()) changed += revocation.serial()[0] == 'y' ? 1 : 0;
  }
  EXPECT_EQ(told_, 1000);
  EXPECT_TRUE(message_.caught_up());
}

TEST_F(StoreStreamTest, EndsForAClientThatLetsTooMuchWait) {
  Put(0, 1);
  Watch();
  ASSERT_TRUE(Read());
  // The store tells its watches of a commit in turn, and this one comes after that of the stream.
  std::latch all_told(4 * kEntries);
  const auto watch =
      store_->WatchRange(store::KeyRange::Prefix("entry/"), *store_->Revision(),
                         [&](auto changes, int64_t) { all_told.count_down(static_cast<ptrdiff_t>(changes->size())); });
  for (int i = 0; i < 4; ++i) Put(0, kEntries, 'y', 1);
  all_told.wait();
  while (Read()) {
  }
  EXPECT_EQ(reader_->Finish().error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  reader_.reset();
}

}  // namespace
}  // namespace parley::keyd
