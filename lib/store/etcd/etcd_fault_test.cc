// An etcd of one member that is new, full or damaged, refuses something, or goes back in time.
#include <fstream>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/security/credentials.h"
#include "gtest/gtest.h"
#include "lib/base/error.h"
#include "lib/store/etcd/etcd_cluster.h"
#include "lib/store/etcd/etcd_store.h"
#include "lib/store/etcd/etcd_upkeep.h"
#include "lib/store/etcd/key_space.h"
#include "lib/store/etcd/testing/etcd_servers.h"
#include "lib/store/seen_testing.h"
#include "third_party/etcd/rpc.grpc.pb.h"

namespace parley::store {
namespace {

TEST(EtcdFault, ANewOneIsWatchedFromItsFirstRevision) {
  EtcdServers server({});
  server.StartAll();
  const auto store = *OpenEtcdStore(server.ClientOptions("test"));
  const int64_t before = *store->Revision();
  EXPECT_TRUE(store->List(KeyRange::Prefix(""), 0, 1)->entries.empty()) << "the revision of an etcd without entries";
  Seen seen;
  const auto watch = *store->WatchRange(KeyRange::Prefix(""), 0, seen.Callback());
  const int64_t first = *store->Commit(Transaction().Set("a", "1"));
  EXPECT_EQ(first, before + 1);
  EXPECT_EQ(seen.Wait(1)[0].mod_revision, first);
  EXPECT_EQ(store->List(KeyRange::Prefix(""))->entries.size(), 1);
}

// The commands of the page for operators.
std::string WayBack() {
  std::ifstream page("docs/operations.md");
  std::stringstream text;
  text << page.rdbuf();
  const std::pair<std::string, std::string> parts =
      absl::StrSplit(text.str(), absl::MaxSplits("The way back:\n\n```\n", 1));
  return parts.second.substr(0, parts.second.find("```"));
}

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
  // etcd makes the change that finds the quota used up, and refuses it all the same, if the one before was not yet
  // counted.
  EXPECT_THAT(store->Get("a")->mod_revision, testing::AnyOf(newest, newest + 1));
  EXPECT_EQ(Reason(store->GrantLease(absl::Seconds(60)).status()), "DISK_FULL");
  EXPECT_TRUE(store->KeepLeaseAlive(lease).ok());
  EXPECT_TRUE(store->Commit(Transaction().Delete("present")).ok()) << "deleting goes on";
  EXPECT_EQ(Reason(OpenEtcdStore(options).status()), "DISK_FULL");

  server.Control(0, "defrag");
  EXPECT_EQ(Reason(store->Commit(Transaction().Set("a", "small")).status()), "DISK_FULL") << "the alarm stays";
  const std::string way_back = WayBack();
  EXPECT_THAT(way_back, testing::HasSubstr("alarm disarm"));
  RunCommand(absl::StrCat("set -e; export ETCDCTL_ENDPOINTS=", options.endpoints[0], "\n", way_back));
  EXPECT_TRUE(store->Commit(Transaction().Set("a", "small")).ok());
  EXPECT_TRUE(OpenEtcdStore(options).ok());
}

TEST(EtcdFault, DamagedDataAreAnError) {
  EtcdServers server({});
  server.StartAll();
  const EtcdOptions options = server.ClientOptions("test");
  const auto store = *OpenEtcdStore(options);
  const auto maintenance = etcdserverpb::Maintenance::NewStub(
      grpc::CreateChannel(options.endpoints[0].substr(strlen("http://")), grpc::InsecureChannelCredentials()));
  const auto alarm = [&](etcdserverpb::AlarmRequest::AlarmAction action) {
    etcdserverpb::StatusResponse about;
    grpc::ClientContext asking, raising;
    ASSERT_TRUE(maintenance->Status(&asking, {}, &about).ok());
    etcdserverpb::AlarmRequest request;
    request.set_action(action);
    request.set_memberid(about.header().member_id());
    request.set_alarm(etcdserverpb::CORRUPT);
    etcdserverpb::AlarmResponse response;
    ASSERT_TRUE(maintenance->Alarm(&raising, request, &response).ok());
  };
  // etcd raises it when its members find that they differ.
  alarm(etcdserverpb::AlarmRequest::ACTIVATE);
  EXPECT_EQ(Reason(store->Commit(Transaction().Set("a", "1")).status()), "STORE_DAMAGED");
  EXPECT_EQ(Reason(OpenEtcdStore(options).status()), "STORE_DAMAGED");
  EXPECT_EQ(Reason(OpenEtcdStore(server.ClientOptions("new")).status()), "STORE_DAMAGED");
  alarm(etcdserverpb::AlarmRequest::DEACTIVATE);
  EXPECT_TRUE(store->Commit(Transaction().IfAbsent("a").Set("a", "1")).ok()) << "it was not made";
  EXPECT_EQ(server.Control(0, "get --prefix --keys-only new"), "") << "nothing was written";
}

TEST(EtcdFault, WhatIsNeglectedIsSaid) {
  EtcdServers server({.members = 1, .tls = false, .flags = {"--quota-backend-bytes=67108864"}});
  server.StartAll();
  const EtcdOptions options = server.ClientOptions("test");
  const auto store = *OpenEtcdStore(options);
  const auto cluster = *EtcdCluster::Create(options);
  const KeySpace keys(options.prefix, options.service);
  const auto find = [&](const UpkeepLimits& limits) {
    const auto neglected = FindNeglected(cluster.get(), keys, limits);
    return neglected.empty() ? "" : neglected[0];
  };
  EXPECT_EQ(find({.revisions = 100, .free_bytes = 1 << 20}), "");
  for (int i = 0; i < 30; ++i) ASSERT_TRUE(store->Commit(Transaction().Set("a", std::string(300'000, 'x'))).ok());
  EXPECT_EQ(find({.revisions = 100, .free_bytes = 1 << 20}), "");
  EXPECT_THAT(find({.revisions = 20, .free_bytes = 1 << 20}), testing::HasSubstr("--auto-compaction-mode=periodic"));
  ASSERT_EQ(store->Compact(*store->Revision()), absl::OkStatus());
  // etcd frees what was compacted some time later, when it writes.
  std::string said;
  while (said.empty()) {
    ASSERT_TRUE(store->Commit(Transaction().Set("b", "")).ok());
    said = find({.revisions = 1'000'000, .free_bytes = 1 << 20});
  }
  EXPECT_THAT(said, testing::HasSubstr("etcdctl defrag"));
  server.Control(0, "defrag");
  EXPECT_EQ(find({.revisions = 1'000'000, .free_bytes = 1 << 20}), "");
  // Until 3.5 etcd does not tell its quota.
  EXPECT_THAT(find({.of_quota = 0}), testing::AnyOf("", testing::HasSubstr("of 64 MiB are used")));
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
  server.Restore(snapshot);
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

TEST(EtcdFault, OneThatServesAnybodyIsRefused) {
  EtcdServers server({.members = 1, .tls = true, .open = true, .flags = {}});
  server.StartAll();
  const absl::Status open = OpenEtcdStore(server.ClientOptions("test")).status();
  EXPECT_EQ(Reason(open), "CLIENTS_NOT_CHECKED");
  EXPECT_EQ(server.Control(0, "get --prefix ''"), "");
}

TEST(EtcdFault, AWatchThatIsNotPermittedSaysSo) {
  EtcdServers server({.members = 1, .tls = true, .flags = {}});
  server.StartAll();
  const auto store = *OpenEtcdStore(server.ClientOptions("mine"));
  for (const char* const command :
       {"user add root --no-password", "user grant-role root root", "user add parley --no-password", "role add parley",
        "role grant-permission parley readwrite mine/test/format", "user grant-role parley parley", "auth enable"}) {
    server.Control(0, command);
  }
  Seen seen;
  const auto watch = *store->WatchRange(KeyRange::Prefix(""), *store->Revision(), seen.Callback());
  EXPECT_EQ(Reason(seen.WaitForError()), "STORE_REFUSED");
  EXPECT_EQ(Reason(store->Commit(Transaction().Set("a", "1")).status()), "STORE_REFUSED");
  EXPECT_EQ(Reason(store->Get("a").status()), "STORE_REFUSED");
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
