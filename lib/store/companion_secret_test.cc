#include "lib/store/companion_secret.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>

#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "lib/base/file.h"

namespace parley::store {
namespace {

class CompanionSecretTest : public testing::Test {
 protected:
  CompanionSecretTest() {
    EXPECT_NE(mkdtemp(folder_.data()), nullptr);
    companion_.path = folder_ + "/key";
    companion_.database = folder_ + "/data.db";
    companion_.what = "the key";
    companion_.missing = "KEY_MISSING";
    companion_.read = [](const std::string& path) { return ReadSecretFile(path, 100); };
    companion_.make = [this](const std::string& path) -> absl::StatusOr<Secret> {
      Secret made = Secret::CopyOf(absl::StrCat("secret ", ++made_));
      RETURN_IF_ERROR(WriteSecretFile(path, made));
      return made;
    };
  }
  ~CompanionSecretTest() override { std::filesystem::remove_all(folder_); }

  std::string Find(bool has_data) {
    const auto secret = FindCompanionSecret(companion_, has_data);
    return secret.ok() ? std::string(secret->Expose()) : Reason(secret.status());
  }

  std::string folder_ = testing::TempDir() + "/companion.XXXXXX";
  CompanionSecret companion_;
  int made_ = 0;
};

TEST_F(CompanionSecretTest, IsMadeOnceWhateverAKillLeaves) {
  EXPECT_EQ(CheckCompanionSecret(companion_, false), absl::OkStatus());
  EXPECT_EQ(Find(false), "secret 1");
  // Killed before the database, then behind it, then behind the end.
  EXPECT_EQ(Find(false), "secret 1");
  EXPECT_EQ(Find(true), "secret 1");
  ASSERT_EQ(KeepCompanionSecret(companion_), absl::OkStatus());
  ASSERT_EQ(KeepCompanionSecret(companion_), absl::OkStatus());
  EXPECT_EQ(Find(true), "secret 1");
  EXPECT_EQ(made_, 1);
}

TEST_F(CompanionSecretTest, NeitherBeginsAnewWithoutTheOther) {
  ASSERT_EQ(Find(false), "secret 1");
  ASSERT_EQ(KeepCompanionSecret(companion_), absl::OkStatus());
  EXPECT_EQ(Find(false), "DATABASE_MISSING");
  EXPECT_EQ(Reason(CheckCompanionSecret(companion_, false)), "DATABASE_MISSING");
  std::filesystem::remove(companion_.path);
  EXPECT_EQ(Find(true), "KEY_MISSING");
  EXPECT_EQ(Reason(CheckCompanionSecret(companion_, true)), "KEY_MISSING");
  EXPECT_EQ(made_, 1);
}

TEST_F(CompanionSecretTest, OneThatCannotBeReadIsNotMadeAgain) {
  ASSERT_EQ(Find(false), "secret 1");
  ASSERT_EQ(KeepCompanionSecret(companion_), absl::OkStatus());
  std::filesystem::permissions(companion_.path, std::filesystem::perms::group_read, std::filesystem::perm_options::add);
  EXPECT_EQ(Find(true), "FILE_EXPOSED");
  EXPECT_EQ(made_, 1);
}

}  // namespace
}  // namespace parley::store
