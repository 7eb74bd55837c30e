// An etcd of one member that is full, or goes back in time.
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "lib/base/error.h"
#include "lib/store/etcd/etcd_store.h"
#include "lib/store/etcd/testing/etcd_servers.h"
#include "lib/store/seen_testing.h"

namespace parley::store {
namespace {

TEST(EtcdFault, AFullQuotaIsAnErrorWithAWayBack) {
  EtcdServers server({.members = 1, .tls = false, .flags = {"--quota-backend-bytes=16777216"}});
  server.StartAll();
  const EtcdOptions options = server.ClientOptions("test");
  const auto store = *OpenEtcdStore(options);
  const LeaseId lease = *store->GrantLease(absl::Seconds(60));
  ASSERT_TRUE(store->Commit(Transaction().Set("present", "1", lease)).ok());
  absl::Status full;
  int64_t newest = 0;
  for (int i = 0; full.ok(); ++i) {
    ASSERT_LT(i, 100);
    const auto revision = store->Commit(Transaction().Set("a", std::string(1'000'000, 'x')));
    full = revision.status();
    if (revision.ok()) newest = *revision;
  }
  EXPECT_EQ(Reason(full), "DISK_FULL");
  EXPECT_EQ(store->Get("a")->mod_revision, newest) << "a commit that was refused was not made";
  EXPECT_EQ(Reason(store->GrantLease(absl::Seconds(60)).status()), "DISK_FULL");
  EXPECT_TRUE(store->KeepLeaseAlive(lease).ok());
  EXPECT_TRUE(store->Commit(Transaction().Delete("present")).ok()) << "deleting goes on";
  EXPECT_EQ(Reason(OpenEtcdStore(options).status()), "DISK_FULL");

  ASSERT_TRUE(store->Compact(*store->Revision()).ok());
  server.Control(0, "defrag");
  EXPECT_EQ(Reason(store->Commit(Transaction().Set("a", "small")).status()), "DISK_FULL") << "the alarm stays";
  server.Control(0, "alarm disarm");
  EXPECT_TRUE(store->Commit(Transaction().Set("a", "small")).ok());
  EXPECT_TRUE(OpenEtcdStore(options).ok());
}

TEST(EtcdFault, AStoreThatWasRestoredTellsItsWatches) {
  EtcdServers server({});
  server.StartAll();
  const EtcdOptions options = server.ClientOptions("test");
  const auto store = *OpenEtcdStore(options);
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(store->Commit(Transaction().Set("a", absl::StrCat(i))).ok());
  const std::string snapshot = server.folder() + "/snapshot";
  server.Control(0, "snapshot save " + snapshot);
  Seen seen;
  const auto watch = *store->WatchRange(KeyRange::Prefix("a"), *store->Revision(), seen.Callback());
  for (int i = 5; i < 10; ++i) ASSERT_TRUE(store->Commit(Transaction().Set("a", absl::StrCat(i))).ok());
  seen.Wait(5);
  const int64_t lost = *store->Revision();
  server.Kill(0);
  server.UseData("-restored");
  server.Control(0, absl::StrCat("snapshot restore ", snapshot, " --data-dir=", server.DataFolder(0), " ",
                                 server.ClusterFlags(0)));
  server.StartAll();
  EXPECT_EQ(Reason(seen.WaitForError()), "STORE_FUTURE_REVISION");
  EXPECT_EQ(store->Get("a")->value, "4");
  EXPECT_EQ(Reason(store->Get("a", lost).status()), "STORE_FUTURE_REVISION");
  EXPECT_EQ(Reason(store->WatchRange(KeyRange::Prefix("a"), lost, seen.Callback()).status()), "STORE_FUTURE_REVISION");
}

TEST(EtcdFault, AUserOfACertificateHasItsPrefixAlone) {
  EtcdServers server({.members = 1, .tls = true, .flags = {}});
  server.StartAll();
  // The name in the certificates of the test is "parley".
  for (const char* const command :
       {"user add root --no-password", "user grant-role root root", "user add parley --no-password", "role add parley",
        "role grant-permission parley --prefix=true readwrite mine/", "user grant-role parley parley", "auth enable"}) {
    server.Control(0, command);
  }
  const auto opened = OpenEtcdStore(server.ClientOptions("mine"));
  ASSERT_TRUE(opened.ok()) << opened.status();
  Store& store = **opened;
  const LeaseId lease = *store.GrantLease(absl::Seconds(60));
  Seen seen;
  const auto watch = *store.WatchRange(KeyRange::Prefix(""), *store.Revision(), seen.Callback());
  ASSERT_TRUE(store.Commit(Transaction().IfAbsent("a").Set("a", "1", lease)).ok());
  EXPECT_EQ(seen.Wait(1)[0].key, "a");
  EXPECT_EQ(store.List(KeyRange::Prefix(""))->entries.size(), 1);
  ASSERT_TRUE(store.KeepLeaseAlive(lease).ok());
  ASSERT_TRUE(store.RevokeLease(lease).ok());
  EXPECT_EQ(Reason(OpenEtcdStore(server.ClientOptions("theirs")).status()), "STORE_REFUSED");
}

TEST(EtcdFault, NeedsNoPauseToBeRestarted) {
  EtcdServers server({});
  server.StartAll();
  const auto store = *OpenEtcdStore(server.ClientOptions("test"));
  const LeaseId lease = *store->GrantLease(absl::Seconds(60));
  ASSERT_TRUE(store->Commit(Transaction().Set("a", "1", lease)).ok());
  Seen seen;
  const auto watch = *store->WatchRange(KeyRange::Prefix(""), *store->Revision(), seen.Callback());
  for (int i = 0; i < 3; ++i) {
    server.Kill(0);
    server.StartAll();
    EXPECT_EQ(store->Get("a")->value, "1");
    EXPECT_TRUE(store->KeepLeaseAlive(lease).ok());
    ASSERT_TRUE(store->Commit(Transaction().Set("b", absl::StrCat(i))).ok());
  }
  const std::vector<Change> changes = seen.Wait(3);
  EXPECT_EQ(*changes[0].value + *changes[1].value + *changes[2].value, "012");
}

}  // namespace
}  // namespace parley::store
