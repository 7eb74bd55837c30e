// What happens to a store while the disk of a member of its etcd stands still. The member is alive all the while: it
// answers pings, and knows no better than that it leads, or is led.
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "lib/base/error.h"
#include "lib/store/etcd/etcd_store.h"
#include "lib/store/etcd/testing/commit_loop.h"
#include "lib/store/etcd/testing/etcd_servers.h"
#include "lib/store/etcd/testing/private_machine.h"
#include "lib/store/seen_testing.h"

namespace parley::store {
namespace {

// Far above what it takes, and far below for ever.
constexpr absl::Duration kWatchLimit = absl::Seconds(60);

class EtcdDiskTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    servers_ = new EtcdServers({.members = 3, .tls = true, .flags = {}});
    disks_ = new std::vector<std::unique_ptr<Disk>>;
    for (int i = 0; i < 3; ++i) disks_->push_back(std::make_unique<Disk>(servers_->DataFolder(i)));
    servers_->StartAll();
  }
  static void TearDownTestSuite() {
    for (int i = 0; i < 3; ++i) servers_->Kill(i);
    delete disks_;
    delete servers_;
  }
  void TearDown() override {
    for (auto& disk : *disks_) disk->Thaw();
    servers_->AwaitHealthy();
  }

  std::unique_ptr<Store> Open(int first) {
    auto store = OpenEtcdStore(servers_->ClientOptions(prefix_, first));
    EXPECT_TRUE(store.ok()) << store.status();
    return store.ok() ? *std::move(store) : nullptr;
  }

  void ExpectToGoOn(int member) {
    const auto store = Open(member);
    const auto other = Open(member + 1);
    const LeaseId lease = *store->GrantLease(absl::Seconds(20));
    Seen seen;
    const auto watch = *store->WatchRange(KeyRange::Prefix("w"), *store->Revision(), seen.Callback());
    ASSERT_TRUE(store->Commit(Transaction().Set("w", "1").Set("leased", "1", lease)).ok());
    seen.Wait(1);
    (*disks_)[member]->Freeze();
    while (!other->Commit(Transaction().Set("w", "2")).ok()) {
    }
    EXPECT_EQ(store->Get("w")->value, "2") << "what the majority knows";
    EXPECT_TRUE(store->KeepLeaseAlive(lease).ok());
    ASSERT_TRUE(seen.WaitFor(2, kWatchLimit)) << "a watch at the member whose disk stands still is not silent";
    EXPECT_EQ(seen.Wait(2).back().value, "2");
    EXPECT_TRUE(store->Commit(Transaction().Set("w", "3")).ok());
    EXPECT_EQ(seen.Wait(3).back().value, "3");
    (*disks_)[member]->Thaw();
    EXPECT_TRUE(Open(member)->Commit(Transaction().Set("w", "4")).ok());
    EXPECT_EQ(seen.Wait(4).back().value, "4");
    EXPECT_EQ(store->Get("leased")->value, "1");
  }

  static EtcdServers* servers_;
  static std::vector<std::unique_ptr<Disk>>* disks_;
  const std::string prefix_ = absl::StrCat("test/", testing::UnitTest::GetInstance()->current_test_info()->name());
};
EtcdServers* EtcdDiskTest::servers_ = nullptr;
std::vector<std::unique_ptr<Disk>>* EtcdDiskTest::disks_ = nullptr;

TEST_F(EtcdDiskTest, GoesOnWhenTheDiskOfAFollowerStandsStill) { ExpectToGoOn((servers_->Leader() + 1) % 3); }
TEST_F(EtcdDiskTest, GoesOnWhenTheDiskOfTheLeaderStandsStill) { ExpectToGoOn(servers_->Leader()); }

TEST_F(EtcdDiskTest, NothingIsMissedWhenDisksStandStillInTurnUnderLoad) {
  ExpectNothingMissed([this](int member) { return Open(member); }, [](int member) { (*disks_)[member]->Freeze(); },
                      [](int member) { (*disks_)[member]->Thaw(); });
}

TEST_F(EtcdDiskTest, WithoutAMajorityItSaysSoAndGoesOn) {
  EtcdOptions options = servers_->ClientOptions(prefix_);
  options.call_timeout = absl::Seconds(3);
  options.try_timeout = absl::Seconds(1);
  const auto store = *OpenEtcdStore(options);
  ASSERT_TRUE(store->Commit(Transaction().Set("a", "1")).ok());
  (*disks_)[0]->Freeze();
  (*disks_)[1]->Freeze();
  const absl::Time begin = absl::Now();
  // What is on its way needs no disk any more; what is asked after that does.
  while (store->Commit(Transaction().Set("a", "2")).ok()) ASSERT_LT(absl::Now() - begin, absl::Seconds(20));
  EXPECT_EQ(Reason(store->Commit(Transaction().Set("a", "2")).status()), "STORE_UNAVAILABLE");
  EXPECT_EQ(Reason(OpenEtcdStore(options).status()), "STORE_UNAVAILABLE");
  (*disks_)[0]->Thaw();
  while (!store->Commit(Transaction().Set("a", "3")).ok()) ASSERT_LT(absl::Now() - begin, absl::Seconds(60));
  EXPECT_EQ(store->Get("a")->value, "3");
}

}  // namespace
}  // namespace parley::store
