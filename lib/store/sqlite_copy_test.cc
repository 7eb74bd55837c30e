#include "lib/store/sqlite_copy.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <thread>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/store/sqlite_store.h"

namespace parley::store {
namespace {

class SqliteCopy : public testing::Test {
 protected:
  SqliteCopy() : folder_(std::filesystem::path(testing::TempDir()) / "copy.XXXXXX") {
    EXPECT_NE(mkdtemp(folder_.data()), nullptr);
  }
  ~SqliteCopy() override { std::filesystem::remove_all(folder_); }

  std::string From() const { return folder_ + "/from.db"; }
  std::string To(int number = 0) const {
    const std::string path = absl::StrCat(folder_, "/to-", number, ".db");
    EXPECT_TRUE(WriteFileAtomically(path, "", 0600).ok());
    return path;
  }

  std::string folder_;
};

// Two keys that every commit changes together, and a running number: what a moment is.
TEST_F(SqliteCopy, IsOfOneMomentWhileCommitsGoOn) {
  const auto store = *OpenSqliteStore({.path = From(), .keep_revisions = 50});
  std::atomic<bool> stop = false;
  std::atomic<int> committed = 0;
  std::thread writer([&] {
    for (int i = 1; !stop; ++i) {
      const std::string value = absl::StrCat(i, std::string(2000, 'v'));
      ASSERT_TRUE(store->Commit(Transaction().Set("left", value).Set("right", value).Set(absl::StrCat(i), "")).ok());
      committed = i;
    }
  });
  for (int number = 0; number < 20; ++number) {
    while (committed <= 10 * number) std::this_thread::yield();
    const int before = committed;
    const std::string to = To(number);
    ASSERT_TRUE(CopySqliteStore(From(), to).ok());
    const auto copy = *OpenSqliteStore({.path = to});
    const Entry left = *copy->Get("left"), right = *copy->Get("right");
    EXPECT_EQ(left.value, right.value);
    EXPECT_EQ(left.mod_revision, *copy->Revision());
    EXPECT_GE(left.mod_revision, before);
    EXPECT_TRUE(copy->Get(absl::StrCat(left.mod_revision)).ok());
    // It is a store like any other.
    EXPECT_TRUE(copy->Commit(Transaction().Set("left", "1")).ok());
  }
  stop = true;
  writer.join();
}

TEST_F(SqliteCopy, OfAStoreThatNobodyHasOpen) {
  { ASSERT_TRUE((*OpenSqliteStore({.path = From()}))->Commit(Transaction().Set("a", "1")).ok()); }
  const std::string to = To();
  ASSERT_TRUE(CopySqliteStore(From(), to).ok());
  EXPECT_EQ((*OpenSqliteStore({.path = to}))->Get("a")->value, "1");
}

TEST_F(SqliteCopy, OfADamagedStoreFails) {
  {
    const auto store = *OpenSqliteStore({.path = From()});
    for (int i = 0; i < 20; ++i) {
      Transaction transaction;
      for (int j = 0; j < 100; ++j) transaction.Set(absl::StrCat("key/", i, "/", j), std::string(200, 'v'));
      ASSERT_TRUE(store->Commit(std::move(transaction)).ok());
    }
  }
  // One page of an index: no reader of values would find it.
  const int fd = open(From().c_str(), O_RDWR);
  const std::string noise(64, '\xA5');
  for (int page = 20; page < 30; ++page) {
    ASSERT_EQ(pwrite(fd, noise.data(), noise.size(), page * 4096), ssize_t{64});
  }
  close(fd);
  const absl::Status status = CopySqliteStore(From(), To());
  EXPECT_EQ(Reason(status), "STORE_DAMAGED") << status;
  EXPECT_THAT(std::string(status.message()), testing::HasSubstr(From()));
}

TEST_F(SqliteCopy, OfAFileThatIsNotThereFails) {
  EXPECT_EQ(Reason(CopySqliteStore(From(), To())), "STORE_UNAVAILABLE");
}

}  // namespace
}  // namespace parley::store
