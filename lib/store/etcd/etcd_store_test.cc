#include "lib/store/etcd/etcd_store.h"

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "lib/store/conformance_test.h"
#include "lib/store/etcd/testing/etcd_servers.h"

namespace parley::store {
namespace {

// One member for all tests of the process: each has a prefix of its own.
EtcdServers* Server() {
  static EtcdServers* const server = [] {
    auto* const made = new EtcdServers({});
    made->StartAll();
    atexit([] { Server()->~EtcdServers(); });
    return made;
  }();
  return server;
}

std::string NewPrefix() {
  static std::atomic<int> made = 0;
  return absl::StrCat("test/", ++made);
}

class EtcdEngine final : public Engine {
 public:
  absl::StatusOr<std::unique_ptr<Store>> Open(Clock*) override { return OpenEtcdStore(options_); }
  // etcd counts by its own clock, and takes no lease below two seconds.
  absl::Duration LeaseTime() const override { return absl::Seconds(2); }
  absl::Duration Patience() const override { return absl::Milliseconds(500); }

 private:
  const EtcdOptions options_ = Server()->ClientOptions(NewPrefix());
};
std::unique_ptr<Engine> MakeEtcdEngine() { return std::make_unique<EtcdEngine>(); }

INSTANTIATE_TEST_SUITE_P(Etcd, StoreConformance, testing::Values(&MakeEtcdEngine));

// One that was filled from elsewhere, and counts on above the revisions there.
class FilledEtcdEngine final : public Engine {
 public:
  FilledEtcdEngine() {
    EtcdOptions filling = options_;
    filling.purpose = {StorePurpose::Use::kFill, /*after=*/5'000'000};
    EXPECT_TRUE(FinishEtcdStore(OpenEtcdStore(filling)->get()).ok());
  }
  absl::StatusOr<std::unique_ptr<Store>> Open(Clock*) override { return OpenEtcdStore(options_); }
  absl::Duration LeaseTime() const override { return absl::Seconds(2); }
  absl::Duration Patience() const override { return absl::Milliseconds(500); }

 private:
  const EtcdOptions options_ = Server()->ClientOptions(NewPrefix());
};
std::unique_ptr<Engine> MakeFilledEtcdEngine() { return std::make_unique<FilledEtcdEngine>(); }

INSTANTIATE_TEST_SUITE_P(FilledEtcd, StoreConformance, testing::Values(&MakeFilledEtcdEngine));

std::string OpenError(const EtcdOptions& options) { return Reason(OpenEtcdStore(options).status()); }

TEST(EtcdStore, StoresOfOneEtcdAreApart) {
  const std::string prefix = NewPrefix();
  const auto store = *OpenEtcdStore(Server()->ClientOptions(prefix));
  EtcdOptions options = Server()->ClientOptions(prefix);
  options.service = "other";
  const auto other = *OpenEtcdStore(options);
  Seen seen;
  const auto watch = *other->WatchRange(KeyRange::Prefix(""), *other->Revision(), seen.Callback());
  ASSERT_TRUE(store->Commit(Transaction().Set("a", "1")).ok());
  ASSERT_TRUE(other->Commit(Transaction().Set("b", "2")).ok());
  EXPECT_EQ(seen.Wait(1)[0].key, "b");
  EXPECT_EQ(Reason(other->Get("a").status()), "KEY_NOT_FOUND");
  EXPECT_EQ(other->List(KeyRange::Prefix(""))->entries.size(), 1);
  EXPECT_EQ(other->List({"", ""})->entries.size(), 1);
}

TEST(EtcdStore, CommitsAtTheSameTimeShareCallsAndNothingElse) {
  constexpr int kThreads = 32, kRounds = 30;
  const auto store = *OpenEtcdStore(Server()->ClientOptions(NewPrefix()));
  const int64_t before = *store->Revision();
  std::atomic<int> won = 0, refused = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, i] {
      for (int round = 0; round < kRounds; ++round) {
        const std::string own = absl::StrCat("own/", i, "/", round);
        ASSERT_TRUE(store->Commit(Transaction().IfAbsent(own).Set(own, own)).ok());
        EXPECT_EQ(store->Get(own)->value, own);
        // One of them all makes it.
        const std::string common = absl::StrCat("common/", round);
        const auto made = store->Commit(Transaction().IfAbsent(common).Set(common, own));
        if (made.ok()) ++won;
        if (!made.ok()) EXPECT_EQ(Reason(made.status()), "CONFLICT");
        if (i != 0) continue;
        // A lease that is not there fails its own commit.
        const auto leased = store->Commit(Transaction().Set(absl::StrCat("leased/", i), "x", 4711));
        if (Reason(leased.status()) == "LEASE_NOT_FOUND") ++refused;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(won, kRounds);
  EXPECT_EQ(refused, kRounds);
  EXPECT_EQ(store->List(KeyRange::Prefix("own/"))->entries.size(), kThreads * kRounds);
  EXPECT_EQ(store->List(KeyRange::Prefix("leased/"))->entries.size(), 0);
  EXPECT_LT(*store->Revision() - before, kThreads * kRounds + kRounds) << "fewer revisions than commits";
}

TEST(EtcdStore, TwoReplicasMakeOneStore) {
  const EtcdOptions options = Server()->ClientOptions(NewPrefix());
  std::vector<std::thread> replicas;
  std::vector<std::unique_ptr<Store>> stores(4);
  for (auto& store : stores) {
    replicas.emplace_back([&] {
      auto opened = OpenEtcdStore(options);
      ASSERT_TRUE(opened.ok()) << opened.status();
      store = *std::move(opened);
    });
  }
  for (std::thread& replica : replicas) replica.join();
  ASSERT_TRUE(stores[0]->Commit(Transaction().Set("a", "1")).ok());
  for (const auto& store : stores) EXPECT_EQ(store->Get("a")->value, "1");
}

TEST(EtcdStore, RefusesWhatIsNotItsOwnAndWritesNothing) {
  const std::string prefix = NewPrefix();
  EtcdOptions options = Server()->ClientOptions(prefix);
  const auto everything = [&] { return Server()->Control(0, absl::StrCat("get --prefix ", prefix, " -w fields")); };
  // "Revision" is in the answer's header and moves with any write.
  Server()->Control(0, absl::StrCat("put ", prefix, "/test/theirs x"));
  std::string before = everything();
  EXPECT_EQ(OpenError(options), "STORE_FOREIGN");
  EXPECT_EQ(everything(), before);
  Server()->Control(0, absl::StrCat("del ", prefix, "/test/theirs"));
  Server()->Control(0, absl::StrCat("put ", prefix, "/test/format theirs"));
  before = everything();
  EXPECT_EQ(OpenError(options), "STORE_FOREIGN");
  EXPECT_EQ(everything(), before);
  Server()->Control(0, absl::StrCat("put ", prefix, "/test/format 'parley store 3'"));
  before = everything();
  EXPECT_EQ(OpenError(options), "STORE_NEWER");
  EXPECT_EQ(everything(), before);
}

TEST(EtcdStore, KnowsItsOrganisation) {
  EtcdOptions options = Server()->ClientOptions(NewPrefix());
  ASSERT_TRUE(OpenEtcdStore(options).ok());
  options.organisation = "Example Ltd";
  ASSERT_TRUE(OpenEtcdStore(options).ok()) << "the first that knows it";
  ASSERT_TRUE(OpenEtcdStore(options).ok());
  options.organisation = "Other Ltd";
  const absl::Status other = OpenEtcdStore(options).status();
  EXPECT_EQ(Reason(other), "STORE_FOREIGN");
  EXPECT_THAT(std::string(other.message()), testing::HasSubstr("Example Ltd"));
  options.organisation = "";
  EXPECT_TRUE(OpenEtcdStore(options).ok());
}

// Somebody has deleted it under a service, and restored a backup: its revisions are not those that the service knows.
TEST(EtcdStore, NoticesThatItWasReplaced) {
  const EtcdOptions options = Server()->ClientOptions(NewPrefix());
  const auto store = *OpenEtcdStore(options);
  const LeaseId lease = *store->GrantLease(absl::Minutes(1));
  EXPECT_TRUE(store->KeepLeaseAlive(lease).ok());
  Server()->Control(0, absl::StrCat("del --prefix ", options.prefix, "/"));
  const auto other = *OpenEtcdStore(options);
  const absl::Status replaced = store->KeepLeaseAlive(lease);
  EXPECT_EQ(Reason(replaced), "STORE_REPLACED");
  EXPECT_EQ(Reason(store->Commit(Transaction().Set("a", "1")).status()), "STORE_REPLACED");
  EXPECT_EQ(Reason(store->GrantLease(absl::Minutes(1)).status()), "STORE_REPLACED");
  EXPECT_TRUE(other->KeepLeaseAlive(lease).ok());
  EXPECT_EQ(Reason(other->Get("a").status()), "KEY_NOT_FOUND");
}

TEST(EtcdStore, ChecksItsOptions) {
  const EtcdOptions good = Server()->ClientOptions(NewPrefix());
  ASSERT_TRUE(CheckEtcdOptions(good).ok());
  for (const char* const endpoint : {"http://192.0.2.1:2379", "http://etcd.example:2379", "https://etcd.example:2379",
                                     "ftp://127.0.0.1:1", "127.0.0.1:2379", "", "unix:relative"}) {
    EtcdOptions options = good;
    options.endpoints = {endpoint};
    EXPECT_EQ(Reason(CheckEtcdOptions(options)), "STORE_OPTIONS") << endpoint;
  }
  for (const std::string& prefix : {"", "/a", "a/", "a//b", "a b", "a\n"}) {
    EtcdOptions options = good;
    options.prefix = prefix;
    EXPECT_EQ(Reason(CheckEtcdOptions(options)), "STORE_OPTIONS") << prefix;
  }
  EtcdOptions options = good;
  options.endpoints = {"unix:/" + std::string(106, 's')};
  EXPECT_TRUE(CheckEtcdOptions(options).ok());
  options.endpoints = {"unix:/" + std::string(107, 's')};
  EXPECT_EQ(Reason(CheckEtcdOptions(options)), "STORE_OPTIONS");
  options = good;
  options.prefix = std::string(65, 'a');
  EXPECT_EQ(Reason(CheckEtcdOptions(options)), "STORE_OPTIONS");
  options = good;
  options.service = "Taskd";
  EXPECT_EQ(Reason(CheckEtcdOptions(options)), "STORE_OPTIONS");
}

TEST(EtcdStore, SaysThatNobodyIsThere) {
  EtcdOptions options = Server()->ClientOptions(NewPrefix());
  options.endpoints = {"http://127.0.0.1:1"};
  const absl::Status nobody = OpenEtcdStore(options).status();
  EXPECT_EQ(Reason(nobody), "STORE_UNAVAILABLE");
  EXPECT_THAT(std::string(nobody.message()), testing::HasSubstr("127.0.0.1:1"));
}

}  // namespace
}  // namespace parley::store
