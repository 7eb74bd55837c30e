#include "lib/backup/store_copy.h"

#include <stdio.h>
#include <stdlib.h>

#include <atomic>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "lib/base/error.h"
#include "lib/store/etcd/testing/etcd_servers.h"
#include "lib/store/replicas.h"
#include "lib/store/seen_testing.h"

namespace parley::backup {
namespace {

using store::Entry;
using store::KeyRange;
using store::LeaseId;
using store::OpenStore;
using store::Replicas;
using store::Store;
using store::StoreOptions;
using store::Transaction;
using testing::HasSubstr;
using Source = StoreCopy::Source;

store::EtcdServers* Server() {
  static store::EtcdServers* const server = [] {
    auto* const made = new store::EtcdServers({});
    made->StartAll();
    atexit([] { Server()->~EtcdServers(); });
    return made;
  }();
  return server;
}

class StoreCopyTest : public testing::Test {
 protected:
  StoreCopyTest() : folder_(std::filesystem::path(testing::TempDir()) / "copy.XXXXXX") {
    EXPECT_NE(mkdtemp(folder_.data()), nullptr);
  }
  ~StoreCopyTest() override { std::filesystem::remove_all(folder_); }

  StoreOptions Sqlite(const std::string& name, const std::string& service = "taskd") const {
    return {.url = absl::StrCat("sqlite:", folder_, "/", name), .service = service};
  }
  static StoreOptions Etcd(const std::string& prefix, const std::string& service = "taskd") {
    return {.url = absl::StrCat("etcd:", absl::StrJoin(Server()->ClientOptions(prefix).endpoints, ","), "/", prefix),
            .service = service};
  }
  static std::string NewPrefix() {
    static std::atomic<int> made = 0;
    return absl::StrCat("copy/", ++made);
  }
  static std::unique_ptr<Store> Open(const StoreOptions& options) {
    absl::StatusOr<std::unique_ptr<Store>> store = OpenStore(options);
    EXPECT_TRUE(store.ok()) << store.status();
    return *std::move(store);
  }
  static std::string OpenError(const StoreOptions& options) { return Reason(OpenStore(options).status()); }
  static StoreCopy::Summary Copy(const StoreOptions& from, const StoreOptions& to, Source source = Source::kStopped) {
    const auto copy = StoreCopy::Make(from, to, source);
    EXPECT_TRUE(copy.ok()) << copy.status();
    if (!copy.ok()) return {};
    EXPECT_TRUE((*copy)->Finish().ok());
    return (*copy)->summary();
  }
  static absl::Status CopyError(const StoreOptions& from, const StoreOptions& to) {
    return StoreCopy::Make(from, to, Source::kStopped).status();
  }
  static std::vector<std::pair<std::string, std::string>> Everything(Store* store) {
    std::vector<std::pair<std::string, std::string>> all;
    store::Page page = *store->List(KeyRange::Prefix(""));
    for (Entry& entry : page.entries) {
      all.emplace_back(std::move(entry.key), std::move(entry.value));
    }
    return all;
  }
  static int64_t EtcdRevision() {
    const std::string header = Server()->Control(0, "get none -w fields");
    int64_t revision = 0;
    EXPECT_EQ(sscanf(header.substr(header.find("\"Revision\"")).c_str(), "\"Revision\" : %ld", &revision), 1) << header;
    return revision;
  }
  // Small ones that fill several commits, large ones of which each fills one, and odd ones. Some were changed.
  static void Fill(Store* store) {
    for (int i = 0; i < 300; ++i) {
      ASSERT_TRUE(store->Commit(Transaction().Set(absl::StrCat("t/", i), absl::StrCat("value ", i))).ok());
    }
    for (int i = 0; i < 50; ++i) ASSERT_TRUE(store->Commit(Transaction().Delete(absl::StrCat("t/", i * 2))).ok());
    for (char c : {'a', 'b', 'c'}) {
      ASSERT_TRUE(store->Commit(Transaction().Set(std::string("c/") + c, std::string(1'400'000, c))).ok());
    }
    const std::string odd("\0\xFF", 2);
    ASSERT_TRUE(store->Commit(Transaction().Set(odd, odd).Set("empty", "").Set(std::string(512, 'k'), odd)).ok());
  }

  std::string folder_;
};

TEST_F(StoreCopyTest, GoesToEtcdAndBackUnchanged) {
  const StoreOptions first = Sqlite("taskd.db"), etcd = Etcd(NewPrefix()), second = Sqlite("back.db");
  Fill(Open(first).get());
  const auto before = Everything(Open(first).get());
  const StoreCopy::Summary there = Copy(first, etcd);
  EXPECT_EQ(there.owner.service, "taskd");
  EXPECT_EQ(there.entries, 256);
  EXPECT_EQ(there.leased, 0);
  EXPECT_EQ(Everything(Open(etcd).get()), before);
  const StoreCopy::Summary back = Copy(etcd, second);
  EXPECT_EQ(Everything(Open(second).get()), before);
  EXPECT_EQ(back.digest, there.digest);
  EXPECT_EQ(back.bytes, there.bytes);
  EXPECT_EQ(Everything(Open(first).get()), before) << "the source stays";
}

// Who remembers a revision, such as a watcher or the holder of an etag, is told to read anew, and nothing is taken for
// what it was.
TEST_F(StoreCopyTest, RevisionsGoOnAboveTheFormerOnes) {
  const StoreOptions sqlite = Sqlite("taskd.db"), back = Sqlite("back.db"), etcd = Etcd(NewPrefix());
  // More than the etcd has made.
  StoreOptions large = sqlite;
  large.purpose = {store::StorePurpose::Use::kFill, 5'000'000};
  ASSERT_TRUE(store::FinishStore(large, Open(large)).ok());
  Fill(Open(sqlite).get());
  for (const auto& [from, to] : {std::pair(sqlite, etcd), std::pair(etcd, back)}) {
    const int64_t former = *Open(from)->Revision();
    const Entry old = *Open(from)->Get("t/299");
    ASSERT_GT(former, 5'000'000);
    Copy(from, to);
    const auto store = Open(to);
    const store::Page page = *store->List(KeyRange::Prefix(""));
    for (const Entry& entry : page.entries) {
      EXPECT_GT(entry.mod_revision, former);
      EXPECT_GT(entry.create_revision, former);
    }
    EXPECT_EQ(Reason(store->Get("t/299", old.mod_revision).status()), "STORE_COMPACTED");
    EXPECT_EQ(Reason(store->WatchRange(KeyRange::Prefix(""), old.mod_revision, [](auto, auto) {}).status()),
              "STORE_COMPACTED");
    EXPECT_EQ(Reason(store->WatchRange(KeyRange::Prefix(""), former + 1'000'000, [](auto, auto) {}).status()),
              "STORE_FUTURE_REVISION");
    EXPECT_EQ(Reason(store->Commit(Transaction().IfUnchanged(old).Set("t/299", "late")).status()), "CONFLICT");
    // The one at which etcd's own count would begin must not turn into "is absent" either.
    for (int64_t revision : {former, former - 1, *store->Revision() - EtcdRevision(), int64_t{1}}) {
      Transaction late = Transaction().Set("absent", "x");
      late.conditions.push_back({"absent", revision});
      EXPECT_EQ(Reason(store->Commit(late).status()), "CONFLICT") << revision;
    }
    EXPECT_TRUE(store->Commit(Transaction().IfUnchanged(*store->Get("t/299")).Set("t/299", "on time")).ok());
  }
}

TEST_F(StoreCopyTest, LeasesBeginAnew) {
  const StoreOptions sqlite = Sqlite("taskd.db"), etcd = Etcd(NewPrefix()), back = Sqlite("back.db");
  {
    const auto store = Open(sqlite);
    const LeaseId day = *store->GrantLease(absl::Hours(24)), soon = *store->GrantLease(absl::Seconds(2));
    ASSERT_TRUE(store->Commit(Transaction().Set("q/1", "request", day).Set("q/2", "request", day)).ok());
    ASSERT_TRUE(store->Commit(Transaction().Set("x/1", "soon", soon).Set("kept", "for ever")).ok());
  }
  EXPECT_EQ(Copy(sqlite, etcd).leased, 3);
  EXPECT_EQ(Copy(etcd, back).leased, 3);
  for (const StoreOptions& options : {etcd, back}) {
    const auto store = Open(options);
    const LeaseId day = store->Get("q/1")->lease;
    EXPECT_EQ(day, store->Get("q/2")->lease);
    EXPECT_EQ(*store->LeaseTime(day), absl::Hours(24));
    // It ends by itself.
    store::Seen seen;
    const auto watch = *store->WatchRange(KeyRange::Prefix("x/"), *store->Revision(), seen.Callback());
    if (store->Get("x/1").ok()) seen.Wait(1);
    ASSERT_TRUE(store->RevokeLease(day).ok());
    EXPECT_EQ(Everything(store.get()).size(), 1) << "no entry is left behind without its lease";
  }
}

// What keyd is told by taskd stays in force, and both go on with it; what keyd's own processes keep up does not go
// along.
TEST_F(StoreCopyTest, ProcessesOfOthersStayAndThoseOfItsOwnDoNotGoAlong) {
  const StoreOptions etcd = Etcd(NewPrefix(), "keyd"), sqlite = Sqlite("keyd.db", "keyd");
  const std::string taskd = "replica/taskd/1";
  const auto serving = Open(etcd);
  ASSERT_TRUE(serving->Commit(Transaction().Set("roots", "r")).ok());
  ASSERT_TRUE(Replicas::Keep(serving.get(), taskd, absl::Minutes(1), 0).ok());
  auto keyd = *Replicas::Join({.store = serving.get(), .service = "keyd"});
  ASSERT_TRUE(serving->Commit(Transaction().Set("lead", keyd->name(), keyd->lease())).ok());

  const absl::Status refused = CopyError(etcd, sqlite);
  EXPECT_EQ(Reason(refused), "STORE_IN_USE");
  EXPECT_THAT(std::string(refused.message()), HasSubstr("keyd serves from"));
  EXPECT_EQ(OpenError({.url = sqlite.url, .purpose = {store::StorePurpose::Use::kRead}}), "STORE_ABSENT");

  EXPECT_EQ(Copy(etcd, Sqlite("backup.db", "keyd"), Source::kServing).entries, 2);
  EXPECT_EQ(Reason(Open(Sqlite("backup.db", "keyd"))->Get("lead").status()), "KEY_NOT_FOUND");

  keyd = nullptr;
  ASSERT_TRUE(serving->Commit(Transaction().Delete("lead")).ok());
  EXPECT_EQ(Copy(etcd, sqlite).entries, 2);
  const auto store = Open(sqlite);
  const int64_t revision = *store->Commit(Transaction().Set("revocation/1", ""));
  EXPECT_EQ(Reason(Replicas::Await(store.get(), Replicas::kPrefix, revision, absl::ZeroDuration())), "REPLICAS_BEHIND")
      << "taskd may still admit";
  // It says so under the lease that the entry has now.
  EXPECT_TRUE(Replicas::Keep(store.get(), taskd, absl::Minutes(1), revision).ok());
  EXPECT_TRUE(Replicas::Await(store.get(), Replicas::kPrefix, revision, absl::ZeroDuration()).ok());
}

TEST_F(StoreCopyTest, AnInterruptedCopyOpensForNobodyAndIsBegunAnew) {
  const StoreOptions from = Sqlite("from.db"), other = Sqlite("other.db");
  Fill(Open(from).get());
  ASSERT_TRUE(Open(other)->Commit(Transaction().Set("only", "this")).ok());
  for (const StoreOptions& to : {Etcd(NewPrefix()), Sqlite("to.db")}) {
    ASSERT_TRUE(StoreCopy::Make(from, to, Source::kStopped).ok()) << "never finished";
    const absl::Status unfinished = OpenStore(to).status();
    EXPECT_EQ(Reason(unfinished), "STORE_UNFINISHED");
    EXPECT_THAT(std::string(unfinished.message()), HasSubstr("parley store copy"));
    EXPECT_EQ(Reason(store::ReadStoreOwner(to).status()), "STORE_UNFINISHED");
    EXPECT_EQ(Reason(CopyError(to, Sqlite("third.db"))), "STORE_UNFINISHED");
    EXPECT_EQ(Reason(CopyError(Sqlite("absent.db"), to)), "STORE_ABSENT");
    Copy(other, to);
    EXPECT_EQ(Everything(Open(to).get()), (std::vector<std::pair<std::string, std::string>>{{"only", "this"}}));
  }
}

TEST_F(StoreCopyTest, OfTwoCopiesToOnePlaceTheLaterOneCounts) {
  const StoreOptions from = Sqlite("from.db"), other = Sqlite("other.db"), to = Etcd(NewPrefix());
  Fill(Open(from).get());
  ASSERT_TRUE(Open(other)->Commit(Transaction().Set("only", "this")).ok());
  const auto first = *StoreCopy::Make(from, to, Source::kStopped);
  const auto second = *StoreCopy::Make(other, to, Source::kStopped);
  EXPECT_EQ(Reason(first->Finish()), "STORE_FILLED_TWICE");
  EXPECT_EQ(OpenError(to), "STORE_UNFINISHED");
  EXPECT_TRUE(second->Finish().ok());
  EXPECT_EQ(Everything(Open(to).get()).size(), 1);
}

TEST_F(StoreCopyTest, RefusesWhatIsNotItsOwn) {
  const StoreOptions from = Sqlite("from.db");
  Fill(Open(from).get());
  for (const StoreOptions& to : {Etcd(NewPrefix()), Sqlite("to.db")}) {
    ASSERT_TRUE(Open(to)->Commit(Transaction().Set("precious", "1")).ok());
    EXPECT_EQ(Reason(CopyError(from, to)), "STORE_NOT_EMPTY");
    EXPECT_EQ(Reason(CopyError(to, to)), to.url[0] == 's' ? "STORE_LOCKED" : "STORE_NOT_EMPTY");
    EXPECT_EQ(Everything(Open(to).get()).size(), 1);
    StoreOptions as_other = to;
    as_other.service = "enrolld";
    const std::string error = Reason(CopyError(as_other, Sqlite("new.db", "")));
    // In an etcd, another service has keys of its own.
    EXPECT_EQ(error, to.url[0] == 's' ? "STORE_FOREIGN" : "STORE_ABSENT");
  }
  const std::string theirs = NewPrefix();
  Server()->Control(0, absl::StrCat("put ", theirs, "/taskd/theirs x"));
  EXPECT_EQ(Reason(CopyError(from, Etcd(theirs))), "STORE_FOREIGN");

  const auto open = Open(from);
  EXPECT_EQ(Reason(CopyError(from, Etcd(NewPrefix()))), "STORE_LOCKED");
  EXPECT_EQ(Reason(CopyError(Sqlite("absent.db"), Etcd(NewPrefix()))), "STORE_ABSENT");
  EXPECT_FALSE(std::filesystem::exists(folder_ + "/absent.db"));
}

TEST_F(StoreCopyTest, KnowsWhoseTheDataAre) {
  // One that no service of this version has opened.
  const StoreOptions nobody = Sqlite("old.db", "");
  ASSERT_TRUE(Open(nobody)->Commit(Transaction().Set("a", "1")).ok());
  EXPECT_EQ(Reason(CopyError(nobody, Sqlite("new.db", ""))), "STORE_OWNER_UNKNOWN");
  EXPECT_EQ(Copy(Sqlite("old.db", "enrolld"), Sqlite("new.db", "")).owner.service, "enrolld");
  EXPECT_EQ(OpenError(Sqlite("new.db", "taskd")), "STORE_FOREIGN");

  // The organisation goes along, there and back, and is compared with that of the services beside it.
  const std::string ours = NewPrefix(), others = NewPrefix();
  StoreOptions taskd = Etcd(ours), enrolld = Etcd(others, "enrolld");
  taskd.organisation = "Example Ltd";
  enrolld.organisation = "Other Ltd";
  Open(taskd);
  Open(enrolld);
  EXPECT_EQ(Copy(taskd, Sqlite("ours.db")).owner.organisation, "Example Ltd");
  const absl::Status foreign = CopyError(Sqlite("ours.db"), Etcd(others));
  EXPECT_EQ(Reason(foreign), "STORE_FOREIGN");
  EXPECT_THAT(std::string(foreign.message()), HasSubstr("Other Ltd"));
  StoreOptions back = Etcd(NewPrefix());
  Copy(Sqlite("ours.db"), back);
  back.organisation = "Other Ltd";
  EXPECT_EQ(OpenError(back), "STORE_FOREIGN");
}

}  // namespace
}  // namespace parley::backup
