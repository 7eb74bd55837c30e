// What a store makes of answers that no etcd of today gives, or not whenever a test likes: here the test is the etcd.
#include <atomic>
#include <functional>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "grpcpp/server.h"
#include "grpcpp/server_builder.h"
#include "gtest/gtest.h"
#include "lib/base/error.h"
#include "lib/store/etcd/etcd_store.h"
#include "lib/store/seen_testing.h"
#include "third_party/etcd/rpc.grpc.pb.h"

namespace parley::store {
namespace {

using testing::HasSubstr;
using WatchStream = grpc::ServerReaderWriter<etcdserverpb::WatchResponse, etcdserverpb::WatchRequest>;

// A member that holds nothing and takes everything.
class PlayedEtcd final : public etcdserverpb::KV::Service,
                         public etcdserverpb::Watch::Service,
                         public etcdserverpb::Maintenance::Service {
 public:
  std::string version = "3.4.0";
  // Plays a watch after it was created.
  std::function<void(WatchStream* stream)> play;
  std::atomic<int> transactions = 0;

  PlayedEtcd() {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port_);
    builder.RegisterService(static_cast<etcdserverpb::KV::Service*>(this));
    builder.RegisterService(static_cast<etcdserverpb::Watch::Service*>(this));
    builder.RegisterService(static_cast<etcdserverpb::Maintenance::Service*>(this));
    server_ = builder.BuildAndStart();
  }
  ~PlayedEtcd() { server_->Shutdown(std::chrono::system_clock::now()); }

  absl::StatusOr<std::unique_ptr<Store>> Open() const {
    EtcdOptions options;
    options.endpoints = {absl::StrCat("http://127.0.0.1:", port_)};
    options.service = "test";
    return OpenEtcdStore(options);
  }

 private:
  grpc::Status Range(grpc::ServerContext*, const etcdserverpb::RangeRequest*,
                     etcdserverpb::RangeResponse* response) override {
    response->mutable_header()->set_revision(42);
    return grpc::Status::OK;
  }
  grpc::Status Txn(grpc::ServerContext*, const etcdserverpb::TxnRequest*,
                   etcdserverpb::TxnResponse* response) override {
    ++transactions;
    response->set_succeeded(true);
    return grpc::Status::OK;
  }
  grpc::Status Status(grpc::ServerContext*, const etcdserverpb::StatusRequest*,
                      etcdserverpb::StatusResponse* response) override {
    response->set_version(version);
    return grpc::Status::OK;
  }
  grpc::Status Alarm(grpc::ServerContext*, const etcdserverpb::AlarmRequest*, etcdserverpb::AlarmResponse*) override {
    return grpc::Status::OK;
  }
  grpc::Status Watch(grpc::ServerContext*, WatchStream* stream) override {
    etcdserverpb::WatchRequest request;
    if (!stream->Read(&request)) return grpc::Status::OK;
    etcdserverpb::WatchResponse created;
    created.set_created(true);
    stream->Write(created);
    play(stream);
    // Until the client goes.
    while (stream->Read(&request)) {
    }
    return grpc::Status::OK;
  }

  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

TEST(PlayedEtcd, OneThatIsTooOldIsRefusedAndNothingIsWritten) {
  PlayedEtcd etcd;
  for (const char* const version : {"3.3.27", "2.3.8", "3", "", "new"}) {
    etcd.version = version;
    const absl::Status refused = etcd.Open().status();
    EXPECT_EQ(Reason(refused), "STORE_TOO_OLD") << version;
    EXPECT_THAT(std::string(refused.message()), HasSubstr("3.4 or newer"));
  }
  EXPECT_EQ(etcd.transactions, 0);
  for (const char* const version : {"3.4.0", "3.10.1", "4.0.0-rc.1"}) {
    etcd.version = version;
    EXPECT_TRUE(etcd.Open().ok()) << version;
  }
}

// The report of etcd 3.4 may come before changes that it includes.
TEST(PlayedEtcd, ReportsOfProgressMoveNoWatch) {
  PlayedEtcd etcd;
  etcd.play = [](WatchStream* stream) {
    etcdserverpb::WatchResponse progress;
    progress.mutable_header()->set_revision(42);
    stream->Write(progress);
    for (int64_t revision = 2; revision <= 42; ++revision) {
      etcdserverpb::WatchResponse changes;
      changes.mutable_header()->set_revision(42);
      mvccpb::KeyValue* const kv = changes.add_events()->mutable_kv();
      kv->set_key("parley/test/data/w");
      kv->set_mod_revision(revision);
      stream->Write(changes);
    }
  };
  const auto store = *etcd.Open();
  Seen seen;
  const auto watch = *store->WatchRange(KeyRange::Prefix("w"), 1, seen.Callback());
  EXPECT_EQ(seen.Wait(41).size(), 41);
  EXPECT_EQ(seen.calls(), 41) << "none for the report";
}

// A message ends within a revision, which has to be joined with the next one.
TEST(PlayedEtcd, ARevisionInFragmentsIsHandedOnWhole) {
  PlayedEtcd etcd;
  etcd.play = [](WatchStream* stream) {
    const auto send = [stream](std::initializer_list<int64_t> revisions, bool fragment) {
      etcdserverpb::WatchResponse changes;
      changes.set_fragment(fragment);
      for (const int64_t revision : revisions) {
        mvccpb::KeyValue* const kv = changes.add_events()->mutable_kv();
        kv->set_key("parley/test/data/w");
        kv->set_mod_revision(revision);
      }
      stream->Write(changes);
    };
    send({2, 2, 3}, true);
    send({3}, true);
    send({3, 4}, false);
  };
  const auto store = *etcd.Open();
  Seen seen;
  std::vector<int64_t> reached;
  const auto watch = *store->WatchRange(KeyRange::Prefix("w"), 1, [&](auto changes, int64_t revision) {
    reached.push_back(revision);
    seen.Callback()(std::move(changes), revision);
  });
  EXPECT_EQ(seen.Wait(6).size(), 6);
  EXPECT_THAT(reached, testing::ElementsAre(2, 4));
}

}  // namespace
}  // namespace parley::store
