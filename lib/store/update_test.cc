#include "lib/store/update.h"

#include <stdlib.h>

#include <filesystem>
#include <memory>
#include <string>

#include "gmock/gmock.h"
#include "lib/base/error.h"
#include "lib/store/sqlite_store.h"

namespace parley::store {
namespace {

using Decided = absl::StatusOr<std::optional<Transaction>>;

class UpdateTest : public testing::Test {
 protected:
  UpdateTest() {
    EXPECT_NE(mkdtemp(folder_.data()), nullptr);
    store_ = *OpenSqliteStore({.path = folder_ + "/parley.db"});
    Set("old");
  }
  ~UpdateTest() override {
    store_ = nullptr;
    std::filesystem::remove_all(folder_);
  }
  void Set(const std::string& value) { EXPECT_TRUE(store_->Commit(Transaction().Set("key", value)).ok()); }
  std::string Value() { return store_->Get("key")->value; }

  std::string folder_ = testing::TempDir() + "/update.XXXXXX";
  std::unique_ptr<Store> store_;
};

TEST_F(UpdateTest, DecidesAgainAfterAConflict) {
  int told = 0;
  const auto revision = Update(store_.get(), "the key", [&](int conflicts) -> Decided {
    told = conflicts;
    ASSIGN_OR_RETURN(const Entry entry, store_->Get("key"));
    if (conflicts < 2) Set("another's");
    return Transaction().IfUnchanged(entry).Set("key", entry.value + " and mine");
  });
  EXPECT_EQ(told, 2);
  EXPECT_EQ(*revision, *store_->Revision());
  EXPECT_EQ(Value(), "another's and mine");
}

TEST_F(UpdateTest, CommitsNothingWhenNothingIsDecided) {
  EXPECT_EQ(*Update(store_.get(), "the key", [](int) -> Decided { return std::nullopt; }), 0);
  EXPECT_EQ(Value(), "old");
}

TEST_F(UpdateTest, DoesNotRepeatARefusal) {
  int asked = 0;
  const auto refuse = [&](int) -> Decided {
    ++asked;
    return absl::AbortedError("no");
  };
  EXPECT_EQ(Update(store_.get(), "the key", refuse).status().message(), "no");
  EXPECT_EQ(asked, 1);
}

TEST_F(UpdateTest, GivesUpInTheEnd) {
  const absl::Status status = Update(store_.get(), "the key", [](int) -> Decided {
                                return Transaction().IfAbsent("key").Set("key", "");
                              }).status();
  EXPECT_EQ(Reason(status), "CONFLICT");
  EXPECT_EQ(status.message(), "the key is being changed by others; try again");
}

}  // namespace
}  // namespace parley::store
