// What happens to a store while members of its etcd are cut off by the network, and answer those who call or do not.
#include <fstream>
#include <set>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "lib/base/error.h"
#include "lib/store/etcd/etcd_store.h"
#include "lib/store/etcd/testing/commit_loop.h"
#include "lib/store/etcd/testing/etcd_servers.h"
#include "lib/store/etcd/testing/private_machine.h"
#include "lib/store/seen_testing.h"

namespace parley::store {
namespace {

using testing::AnyOf;
using testing::HasSubstr;

// Far above what it takes, and far below for ever.
constexpr absl::Duration kWatchLimit = absl::Seconds(60);

class EtcdNetworkTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    servers_ = new EtcdServers({.members = 3, .tls = true, .apart = true, .flags = {}});
    servers_->StartAll();
  }
  static void TearDownTestSuite() { delete servers_; }
  void TearDown() override {
    servers_->hosts()->HealAll();
    servers_->AwaitHealthy();
  }

  std::unique_ptr<Store> Open(int first) {
    auto store = OpenEtcdStore(servers_->ClientOptions(prefix_, first));
    EXPECT_TRUE(store.ok()) << store.status();
    return store.ok() ? *std::move(store) : nullptr;
  }

  // Two reads, of which one begins while the other waits, and a watch, through a member that is cut off.
  void ExpectToGoOn(Hosts::From from, int cut_off) {
    const auto store = Open(cut_off);
    const auto other = Open(cut_off + 1);
    const LeaseId lease = *store->GrantLease(absl::Seconds(20));
    Seen seen;
    const auto watch = *store->WatchRange(KeyRange::Prefix("w"), *store->Revision(), seen.Callback());
    ASSERT_TRUE(store->Commit(Transaction().Set("w", "1").Set("leased", "1", lease)).ok());
    seen.Wait(1);
    servers_->hosts()->CutOff(cut_off, from);
    while (!other->Commit(Transaction().Set("w", "2")).ok()) {
    }
    const auto read = [&store] { EXPECT_EQ(store->Get("w")->value, "2") << "what the majority knows"; };
    std::thread first(read), second(read);
    first.join();
    second.join();
    EXPECT_TRUE(store->KeepLeaseAlive(lease).ok());
    EXPECT_EQ(store->Get("leased")->value, "1");
    ASSERT_TRUE(seen.WaitFor(2, kWatchLimit)) << "a watch at the member that is cut off is not silent";
    EXPECT_EQ(seen.Wait(2).back().value, "2");
    EXPECT_TRUE(store->Commit(Transaction().Set("w", "3")).ok());
    EXPECT_EQ(seen.Wait(3).back().value, "3");
  }

  static EtcdServers* servers_;
  const std::string prefix_ = absl::StrCat("test/", testing::UnitTest::GetInstance()->current_test_info()->name());
};
EtcdServers* EtcdNetworkTest::servers_ = nullptr;

TEST_F(EtcdNetworkTest, GoesOnWhenAFollowerIsCutOffFromTheOthers) {
  ExpectToGoOn(Hosts::From::kOtherHosts, (servers_->Leader() + 1) % 3);
}
TEST_F(EtcdNetworkTest, GoesOnWhenTheLeaderIsCutOffFromTheOthers) {
  ExpectToGoOn(Hosts::From::kOtherHosts, servers_->Leader());
}
TEST_F(EtcdNetworkTest, GoesOnWhenTheLeaderIsCutOffFromAll) {
  ExpectToGoOn(Hosts::From::kEverybody, servers_->Leader());
}

TEST_F(EtcdNetworkTest, AChangeOfUnknownOutcomeIsNotMadeTwiceAfterTheHeal) {
  for (const int cut_off : {(servers_->Leader() + 1) % 3, servers_->Leader()}) {
    const std::string key = absl::StrCat("k", cut_off);
    const auto store = Open(cut_off);
    const auto other = Open(cut_off + 1);
    Seen seen;
    const auto watch = *other->WatchRange(KeyRange::Prefix(key), *other->Revision(), seen.Callback());
    servers_->hosts()->CutOff(cut_off, Hosts::From::kOtherHosts);
    const absl::Status unknown = store->Commit(Transaction().IfAbsent(key).Set(key, "first")).status();
    EXPECT_EQ(Reason(unknown), "STORE_UNAVAILABLE");
    EXPECT_THAT(std::string(unknown.message()), HasSubstr("may or may not have been made"));
    servers_->hosts()->HealAll();
    // Whoever asks again on the same condition knows.
    absl::Status again;
    do {
      again = store->Commit(Transaction().IfAbsent(key).Set(key, "second")).status();
    } while (Reason(again) == "STORE_UNAVAILABLE");
    EXPECT_THAT(Reason(again), AnyOf("", "CONFLICT"));
    // A commit through each member, so that nothing is on its way any more.
    for (int i = 0; i < 3; ++i) {
      ASSERT_TRUE(Open(i)->Commit(Transaction().Set(absl::StrCat(key, "/", i), "")).ok());
    }
    const std::vector<Change> changes = seen.Wait(4);
    EXPECT_EQ(changes.size(), 4) << "one of the two, once";
    EXPECT_EQ(*changes[0].value, again.ok() ? "second" : "first");
    RecordProperty(absl::StrCat("made_after_the_heal_", cut_off), again.ok() ? 0 : 1);
  }
}

TEST_F(EtcdNetworkTest, AMemberThatLagsBehindAWatchIsNotTakenForARestoredOne) {
  const int leader = servers_->Leader();
  const int lagging = (leader + 1) % 3;
  // Goes to the leader, and then to the one that lags.
  EtcdOptions options = servers_->ClientOptions(prefix_, leader);
  options.endpoints.pop_back();
  const auto store = *OpenEtcdStore(options);
  Seen seen;
  const auto watch = *store->WatchRange(KeyRange::Prefix("w"), *store->Revision(), seen.Callback());
  servers_->hosts()->CutOff(lagging, Hosts::From::kOtherHosts);
  std::map<int64_t, int> acknowledged;
  for (int i = 0; i < 50; ++i) acknowledged[*store->Commit(Transaction().Set("w", absl::StrCat(i)))] = i;
  seen.Wait(50);
  servers_->hosts()->HealAll();
  servers_->Kill(leader);
  int64_t last = 0;
  while (last == 0) last = store->Commit(Transaction().Set("w", "last")).value_or(0);
  ExpectComplete(seen, last, acknowledged);
  servers_->Start(leader);
  servers_->AwaitServing(leader);
}

TEST_F(EtcdNetworkTest, NothingIsMissedWhenMembersAreCutOffInTurnUnderLoad) {
  ExpectNothingMissed([this](int member) { return Open(member); },
                      [](int member) {
                        servers_->hosts()->CutOff(member,
                                                  member == 1 ? Hosts::From::kEverybody : Hosts::From::kOtherHosts);
                      },
                      [](int) { servers_->hosts()->HealAll(); });
}

// The connections of this process to a port, by their own ports.
std::set<std::string> ConnectionsTo(int port) {
  std::set<std::string> found;
  // gRPC speaks IPv4 by sockets of IPv6 too.
  for (const char* const path : {"/proc/self/net/tcp", "/proc/self/net/tcp6"}) {
    std::ifstream table(path);
    for (std::string line; std::getline(table, line);) {
      const std::vector<std::string> fields = absl::StrSplit(line, ' ', absl::SkipEmpty());
      // The state 01 is an established connection.
      if (absl::EndsWith(fields[2], absl::StrFormat(":%04X", port)) && fields[3] == "01") found.insert(fields[1]);
    }
  }
  return found;
}

// etcd ends a connection by the third sign of life that comes less than five seconds after the one before.
TEST_F(EtcdNetworkTest, AQuietWatchKeepsItsConnection) {
  EtcdServers server({});
  server.StartAll();
  const auto store = *OpenEtcdStore(server.ClientOptions("test"));
  Seen seen;
  const auto watch = *store->WatchRange(KeyRange::Prefix(""), *store->Revision(), seen.Callback());
  ASSERT_TRUE(store->Commit(Transaction().Set("a", "1")).ok());
  seen.Wait(1);
  const std::set<std::string> before = ConnectionsTo(server.ClientPort(0));
  EXPECT_FALSE(before.empty());
  // The length of the silence is what is tried.
  EXPECT_FALSE(seen.WaitFor(2, absl::Seconds(21)));
  EXPECT_EQ(ConnectionsTo(server.ClientPort(0)), before);
}

}  // namespace
}  // namespace parley::store
