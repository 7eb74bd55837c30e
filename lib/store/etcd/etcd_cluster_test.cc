// What happens to a store while members of its etcd die, stand still, are cut off, fill up or go back in time.
#include <signal.h>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "lib/base/error.h"
#include "lib/store/etcd/etcd_store.h"
#include "lib/store/etcd/testing/commit_loop.h"
#include "lib/store/etcd/testing/etcd_servers.h"
#include "lib/store/seen_testing.h"

namespace parley::store {
namespace {

using testing::AnyOf;
using testing::HasSubstr;

std::unique_ptr<Store> Open(const EtcdOptions& options) {
  auto store = OpenEtcdStore(options);
  EXPECT_TRUE(store.ok()) << store.status();
  return store.ok() ? *std::move(store) : nullptr;
}

absl::Status OpenError(const EtcdOptions& options) { return OpenEtcdStore(options).status(); }

class EtcdClusterTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    servers_ = new EtcdServers({.members = 3, .tls = true, .flags = {}});
    servers_->StartAll();
  }
  static void TearDownTestSuite() { delete servers_; }
  EtcdOptions Options(int first = 0) { return servers_->ClientOptions(prefix_, first); }

  static EtcdServers* servers_;
  const std::string prefix_ = absl::StrCat("test/", testing::UnitTest::GetInstance()->current_test_info()->name());
};
EtcdServers* EtcdClusterTest::servers_ = nullptr;

TEST_F(EtcdClusterTest, ReadsAreLinearizableAtEveryMember) {
  std::vector<std::unique_ptr<Store>> stores;
  for (int i = 0; i < 3; ++i) stores.push_back(Open(Options(i)));
  for (int i = 0; i < 60; ++i) {
    const int64_t revision = *stores[i % 3]->Commit(Transaction().Set("a", absl::StrCat(i)));
    for (const auto& store : stores) {
      EXPECT_EQ(store->Get("a")->value, absl::StrCat(i));
      EXPECT_GE(*store->Revision(), revision);
      // A transaction that only asks reads as well as any other.
      EXPECT_GE(*store->Commit(Transaction().IfUnchanged(*store->Get("a"))), revision);
    }
  }
}

TEST_F(EtcdClusterTest, RefusesAMemberThatIsNotGenuine) {
  servers_->MakeCertificates("other", "etcd.example");
  EtcdOptions wrong_ca = Options();
  wrong_ca.ca_file = servers_->folder() + "/other-ca.pem";
  EXPECT_EQ(Reason(OpenError(wrong_ca)), "SERVER_NOT_GENUINE");
  EtcdOptions wrong_name = Options();
  wrong_name.server_name = "other.example";
  const absl::Status name = OpenError(wrong_name);
  EXPECT_EQ(Reason(name), "SERVER_NOT_GENUINE");
  EXPECT_THAT(std::string(name.message()), HasSubstr("mismatch"));
  EtcdOptions right_name = Options();
  right_name.server_name = "etcd.example";
  EXPECT_NE(Open(right_name), nullptr);
  EtcdOptions wrong_client = Options();
  wrong_client.certificate_file = servers_->folder() + "/other-client.pem";
  EXPECT_EQ(Reason(OpenError(wrong_client)), "CERTIFICATE_INVALID") << "with the key of another";
  wrong_client.key_file = servers_->folder() + "/other-client.key";
  EXPECT_EQ(Reason(OpenError(wrong_client)), "KEY_REFUSED");
  EtcdOptions no_tls = Options();
  no_tls.call_timeout = absl::Seconds(1);
  for (std::string& endpoint : no_tls.endpoints) endpoint.replace(0, 5, "http");
  EXPECT_EQ(Reason(OpenError(no_tls)), "STORE_UNAVAILABLE");
}

TEST_F(EtcdClusterTest, NothingIsMissedWhenTheLeaderIsKilledUnderLoad) {
  const auto writing = Open(Options());
  const int64_t begin = *writing->Revision();
  std::vector<std::unique_ptr<Store>> stores;
  std::vector<std::unique_ptr<Seen>> seen;
  std::vector<std::unique_ptr<Watch>> watches;
  for (int i = 0; i < 3; ++i) {
    stores.push_back(Open(Options(i)));
    seen.push_back(std::make_unique<Seen>());
    watches.push_back(*stores[i]->WatchRange(KeyRange::Prefix("w"), begin, seen[i]->Callback()));
  }
  CommitLoop writer(writing.get());
  writer.Await(100);
  for (int round = 0; round < 2; ++round) {
    const int leader = servers_->Leader();
    ASSERT_GE(leader, 0);
    servers_->Kill(leader);
    writer.Await(100);
    servers_->Start(leader);
    servers_->AwaitServing(leader);
    writer.Await(50);
  }
  writer.Stop();
  const int64_t last = *writing->Commit(Transaction().Set("w", "last"));
  for (const auto& each : seen) ExpectComplete(*each, last, writer.acknowledged());
}

// Stands still for as long as this lives.
class Still {
 public:
  Still(const EtcdServers* servers, int member) : servers_(servers), member_(member) {
    servers_->Signal(member_, SIGSTOP);
  }
  ~Still() { servers_->Signal(member_, SIGCONT); }

 private:
  const EtcdServers* const servers_;
  const int member_;
};

TEST_F(EtcdClusterTest, GoesOnWhenItsMemberStandsStill) {
  const int leader = servers_->Leader();
  ASSERT_GE(leader, 0);
  const auto other = Open(Options(leader));
  const auto store = Open(Options(leader + 1));
  Seen seen;
  const auto watch = *store->WatchRange(KeyRange::Prefix("w"), *store->Revision(), seen.Callback());
  ASSERT_TRUE(store->Commit(Transaction().Set("w", "1")).ok());
  seen.Wait(1);
  const Still still(servers_, (leader + 1) % 3);
  const absl::Time stopped = absl::Now();
  ASSERT_TRUE(other->Commit(Transaction().Set("w", "2")).ok());
  EXPECT_EQ(store->Get("w")->value, "2");
  EXPECT_LT(absl::Now() - stopped, absl::Seconds(7)) << "a read takes the next member after one try";
  ASSERT_TRUE(store->Commit(Transaction().Set("w", "3")).ok());
  EXPECT_EQ(seen.Wait(3).size(), 3);
  EXPECT_LT(absl::Now() - stopped, absl::Seconds(20)) << "the sign of life is missed";
}

TEST_F(EtcdClusterTest, NothingIsMissedWhenTheLeaderStandsStillUnderLoad) {
  const auto store = Open(Options());
  Seen seen;
  const auto watch = *store->WatchRange(KeyRange::Prefix("w"), *store->Revision(), seen.Callback());
  CommitLoop writer(store.get());
  writer.Await(50);
  {
    const Still still(servers_, servers_->Leader());
    writer.Await(50);
  }
  writer.Await(50);
  writer.Stop();
  const int64_t last = *store->Commit(Transaction().Set("w", "last"));
  ExpectComplete(seen, last, writer.acknowledged());
}

TEST_F(EtcdClusterTest, SaysThatThereIsNoMajorityAndGoesOnAfterwards) {
  EtcdOptions options = Options();
  options.call_timeout = absl::Seconds(3);
  options.try_timeout = absl::Seconds(1);
  const auto store = Open(options);
  ASSERT_TRUE(store->Commit(Transaction().Set("a", "1")).ok());
  const LeaseId lease = *store->GrantLease(absl::Seconds(60));
  ASSERT_TRUE(store->Commit(Transaction().Set("l", "1", lease)).ok());
  Seen seen;
  const auto watch = *store->WatchRange(KeyRange::Prefix(""), *store->Revision(), seen.Callback());
  servers_->Kill(1);
  servers_->Kill(2);
  const absl::Time begin = absl::Now();
  const absl::Status read = store->Get("a").status();
  EXPECT_EQ(Reason(read), "STORE_UNAVAILABLE");
  const absl::Status write = store->Commit(Transaction().Set("a", "2")).status();
  EXPECT_EQ(Reason(write), "STORE_UNAVAILABLE");
  EXPECT_EQ(Reason(store->KeepLeaseAlive(lease)), "STORE_UNAVAILABLE");
  EXPECT_EQ(Reason(OpenError(options)), "STORE_UNAVAILABLE");
  EXPECT_LT(absl::Now() - begin, absl::Seconds(20));
  servers_->Start(1);
  servers_->Start(2);
  servers_->AwaitServing(1);
  servers_->AwaitServing(2);
  EXPECT_THAT(store->Get("a")->value, AnyOf("1", "2"));
  ASSERT_TRUE(store->KeepLeaseAlive(lease).ok());
  ASSERT_TRUE(store->Commit(Transaction().Set("a", "3")).ok());
  std::vector<Change> changes;
  while (changes.empty() || changes.back().value != "3") changes = seen.Wait(changes.size() + 1);
  EXPECT_LE(changes.size(), 2);
}

TEST_F(EtcdClusterTest, AWatchThatCompactionOvertakesWhileItIsBrokenSaysSo) {
  const auto store = Open(Options());
  const int64_t begin = *store->Revision();
  Seen quiet, busy;
  // A callback that is held up holds its stream, which breaks meanwhile.
  Mutex mutex;
  CondVar changed;
  bool held = true;
  std::vector<std::unique_ptr<Watch>> watches;
  watches.push_back(*store->WatchRange(KeyRange::Prefix("busy"), begin, [&](auto changes, int64_t revision) {
    busy.Callback()(std::move(changes), revision);
    MutexLock lock(&mutex);
    while (held) changed.Wait(&mutex);
  }));
  watches.push_back(*store->WatchRange(KeyRange::Prefix("quiet"), begin, quiet.Callback()));
  ASSERT_TRUE(store->Commit(Transaction().Set("busy", "1")).ok());
  busy.Wait(1);
  for (int i = 0; i < 3; ++i) servers_->Kill(i);
  servers_->StartAll();
  const auto other = Open(Options());
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(other->Commit(Transaction().Set("busy", absl::StrCat(i))).ok());
  ASSERT_TRUE(other->Compact(*other->Revision()).ok());
  {
    MutexLock lock(&mutex);
    held = false;
    changed.NotifyAll();
  }
  EXPECT_EQ(Reason(busy.WaitForError()), "STORE_COMPACTED");
  EXPECT_EQ(Reason(quiet.WaitForError()), "STORE_COMPACTED") << "it can not know that nothing in its range has changed";
  EXPECT_EQ(busy.Wait(1).size(), 1);
  EXPECT_TRUE(quiet.Wait(0).empty());
}

TEST_F(EtcdClusterTest, LeasesAreKeptAliveOverAChangeOfLeader) {
  const int leader = servers_->Leader();
  const auto store = Open(Options(leader));
  const LeaseId lease = *store->GrantLease(absl::Seconds(30));
  ASSERT_TRUE(store->Commit(Transaction().Set("a", "1", lease)).ok());
  servers_->Kill(leader);
  EXPECT_TRUE(store->KeepLeaseAlive(lease).ok()) << "at another member, once there is a leader";
  EXPECT_EQ(store->Get("a")->value, "1");
  servers_->Start(leader);
  servers_->AwaitServing(leader);
  EXPECT_TRUE(store->KeepLeaseAlive(lease).ok());
  EXPECT_TRUE(store->RevokeLease(lease).ok());
  EXPECT_EQ(Reason(store->KeepLeaseAlive(lease)), "LEASE_NOT_FOUND");
}

TEST_F(EtcdClusterTest, LeasesOutliveALeader) {
  const auto store = Open(Options());
  const LeaseId lease = *store->GrantLease(absl::Seconds(5));
  ASSERT_TRUE(store->Commit(Transaction().Set("a", "1", lease).Set("b", "1", lease)).ok());
  Seen seen;
  const auto watch = *store->WatchRange(KeyRange::Prefix(""), *store->Revision(), seen.Callback());
  const int leader = servers_->Leader();
  const absl::Time killed = absl::Now();
  servers_->Kill(leader);
  const std::vector<Change> changes = seen.Wait(2);
  EXPECT_GE(absl::Now() - killed, absl::Seconds(4.5)) << "never earlier than granted";
  EXPECT_EQ(changes.size(), 2);
  EXPECT_EQ(changes[0].mod_revision, changes[1].mod_revision);
  EXPECT_EQ(Reason(store->KeepLeaseAlive(lease)), "LEASE_NOT_FOUND");
  servers_->Start(leader);
  servers_->AwaitServing(leader);
}

}  // namespace
}  // namespace parley::store
