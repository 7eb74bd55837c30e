#include "lib/base/file.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "lib/base/error.h"

namespace parley {
namespace {

class FileTest : public testing::Test {
 protected:
  FileTest() : folder_(absl::StrCat(testing::TempDir(), "/file_test.XXXXXX")) {
    EXPECT_NE(mkdtemp(folder_.data()), nullptr);
  }
  ~FileTest() override { std::filesystem::remove_all(folder_); }

  std::string Path(absl::string_view name) const { return absl::StrCat(folder_, "/", name); }
  int Entries() const {
    int count = 0;
    for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(folder_)) ++count;
    return count;
  }
  mode_t ModeOf(const std::string& path) const {
    struct stat info {};
    EXPECT_EQ(stat(path.c_str(), &info), 0) << path;
    return info.st_mode & 07777;
  }

  std::string folder_;
};

TEST_F(FileTest, ComesBackAsWritten) {
  const std::string content(100'000, 'x');
  ASSERT_TRUE(WriteFileAtomically(Path("a"), content, 0640).ok());
  EXPECT_EQ(*ReadFile(Path("a"), content.size()), content);
  EXPECT_EQ(ModeOf(Path("a")), 0640u);
  ASSERT_TRUE(WriteFileAtomically(Path("a"), "", 0600).ok());
  EXPECT_EQ(*ReadFile(Path("a"), 0), "");
  EXPECT_EQ(Entries(), 1);
}

TEST_F(FileTest, SaysWhatIsWrongWithAPath) {
  EXPECT_EQ(Reason(ReadFile(Path("missing"), 10).status()), "FILE_NOT_FOUND");
  ASSERT_TRUE(WriteFileAtomically(Path("a"), "12345678901", 0600).ok());
  EXPECT_EQ(Reason(ReadFile(Path("a"), 10).status()), "FILE_TOO_LARGE");
  EXPECT_EQ(Reason(ReadFile(Path("a/b"), 10).status()), "FILE_NOT_FOUND");
  EXPECT_TRUE(absl::StrContains(ReadFile(Path("missing"), 10).status().message(), Path("missing")));
}

TEST_F(FileTest, RefusesWhatIsNotARegularFileWithoutHanging) {
  ASSERT_EQ(mkfifo(Path("fifo").c_str(), 0600), 0);
  EXPECT_EQ(Reason(ReadFile(Path("fifo"), 10).status()), "FILE_IO");
  EXPECT_EQ(Reason(ReadSecretFile(Path("fifo"), 10).status()), "FILE_IO");
  EXPECT_EQ(Reason(ReadFile(folder_, 10).status()), "FILE_IO");
  EXPECT_EQ(Reason(ReadFile("/dev/zero", 10).status()), "FILE_IO");
}

TEST_F(FileTest, RefusesASecretThatOthersMayOpen) {
  for (const mode_t mode : {0601, 0602, 0604, 0610, 0620, 0640, 0644, 0666, 0777}) {
    ASSERT_TRUE(WriteFileAtomically(Path("key"), "secret", mode).ok());
    const absl::Status status = ReadSecretFile(Path("key"), 10).status();
    EXPECT_EQ(Reason(status), "FILE_EXPOSED") << mode;
    EXPECT_TRUE(absl::StrContains(status.message(), absl::StrCat("chmod 600 ", Path("key")))) << status;
  }
  for (const mode_t mode : {0400, 0600, 0700}) {
    ASSERT_TRUE(WriteFileAtomically(Path("key"), "secret", mode).ok());
    EXPECT_EQ(ReadSecretFile(Path("key"), 10)->Expose(), "secret") << mode;
  }
  EXPECT_EQ(Reason(ReadSecretFile(Path("key"), 5).status()), "FILE_TOO_LARGE");
}

TEST_F(FileTest, WritesSecretsForTheirOwnerAloneWhateverTheUmask) {
  const mode_t before = umask(0);
  ASSERT_TRUE(WriteSecretFile(Path("key"), Secret::CopyOf("secret")).ok());
  umask(before);
  EXPECT_EQ(ModeOf(Path("key")), 0600u);
}

TEST_F(FileTest, ReplacesAFileThatOthersCouldOpenByOneTheyCannot) {
  ASSERT_TRUE(WriteFileAtomically(Path("key"), "old", 0644).ok());
  ASSERT_TRUE(WriteSecretFile(Path("key"), Secret::CopyOf("new")).ok());
  EXPECT_EQ(ModeOf(Path("key")), 0600u);
}

TEST_F(FileTest, LeavesTheOldFileAndNothingElseWhenWritingFails) {
  ASSERT_TRUE(WriteFileAtomically(Path("a"), "old", 0600).ok());
  // A limit on the size of files stands in for a full disk: the write fails in its middle.
  signal(SIGXFSZ, SIG_IGN);
  struct rlimit before {};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const struct rlimit small = {1000, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  const absl::Status status = WriteFileAtomically(Path("a"), std::string(5000, 'n'), 0600);
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
  EXPECT_EQ(Reason(status), "FILE_IO") << status;
  EXPECT_EQ(*ReadFile(Path("a"), 10), "old");
  EXPECT_EQ(Entries(), 1);
}

TEST_F(FileTest, LeavesNothingWhenTheTargetIsAFolder) {
  ASSERT_TRUE(MakeFolders(Path("taken"), 0700).ok());
  EXPECT_FALSE(WriteFileAtomically(Path("taken"), "x", 0600).ok());
  EXPECT_EQ(Entries(), 1);
}

TEST_F(FileTest, MakesFoldersAndLeavesExistingOnesAsTheyAre) {
  ASSERT_EQ(mkdir(Path("a").c_str(), 0755), 0);
  ASSERT_EQ(chmod(Path("a").c_str(), 0755), 0);
  ASSERT_TRUE(MakeFolders(Path("a/b/c"), 0700).ok());
  EXPECT_EQ(ModeOf(Path("a")), 0755u);
  EXPECT_EQ(ModeOf(Path("a/b/c")), 0700u);
  EXPECT_TRUE(MakeFolders(Path("a/b/c"), 0700).ok());
  ASSERT_TRUE(WriteFileAtomically(Path("file"), "", 0600).ok());
  EXPECT_FALSE(MakeFolders(Path("file/below"), 0700).ok());
}

TEST(FileError, TellsDiskTroubleApart) {
  EXPECT_EQ(Reason(FileError("write", "/x", ENOSPC)), "DISK_FULL");
  EXPECT_EQ(Reason(FileError("write", "/x", EROFS)), "DISK_READ_ONLY");
  EXPECT_EQ(Reason(FileError("write", "/x", EACCES)), "FILE_PERMISSION");
  EXPECT_EQ(Reason(FileError("write", "/x", EIO)), "FILE_IO");
  EXPECT_EQ(FileError("write", "/x", EACCES).message(), "cannot write /x: Permission denied");
}

}  // namespace
}  // namespace parley
