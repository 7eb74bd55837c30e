#include <fcntl.h>
#include <linux/capability.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "lib/base/error.h"
#include "lib/crypto/hash.h"
#include "lib/payload/fileset.h"

namespace parley::payload {
namespace {

namespace fs = std::filesystem;
using task::v1::FileEntry;

class ScanTest : public testing::Test {
 protected:
  ScanTest() {
    std::string name = absl::StrCat(testing::TempDir(), "/scan.XXXXXX");
    root_ = mkdtemp(name.data());
    chmod(root_.c_str(), 0755);
  }
  ~ScanTest() override { fs::remove_all(root_); }

  std::string Path(const std::string& name) { return absl::StrCat(root_, "/", name); }
  void Write(const std::string& name, const std::string& content, mode_t mode = 0644) {
    fs::create_directories(fs::path(Path(name)).parent_path());
    std::ofstream(Path(name), std::ios::binary) << content;
    chmod(Path(name).c_str(), mode);
  }
  std::string ReasonOfScan() { return Reason(ScanPayload(root_).status()); }

  std::string root_;
};

TEST_F(ScanTest, ReadsAFolderSortedWithModesLinksAndChunks) {
  const std::string large(static_cast<size_t>(kChunkBytes) + 10, 'L');
  Write("b/large", large, 0600);
  Write("b-2", "", 0755);
  Write("a b", "hello");
  fs::create_symlink("b/large", Path("link"));
  fs::create_directories(Path("empty"));
  std::string seen;
  const auto files = ScanPayload(root_ + "/", [&seen](absl::string_view digest, absl::string_view content) {
    EXPECT_EQ(crypto::Sha256(content), digest);
    absl::StrAppend(&seen, content);
    return absl::OkStatus();
  });
  ASSERT_TRUE(files.ok()) << files.status();
  ASSERT_EQ(files->size(), 4);
  EXPECT_EQ((*files)[0].path(), "a b");
  EXPECT_EQ((*files)[1].path(), "b-2");
  EXPECT_EQ((*files)[1].mode(), 0755u);
  EXPECT_EQ((*files)[1].sha256(), crypto::Sha256(""));
  EXPECT_EQ((*files)[2].path(), "b/large");
  EXPECT_EQ((*files)[2].mode(), 0600u);
  EXPECT_EQ((*files)[2].chunks_size(), 2);
  EXPECT_EQ((*files)[2].sha256(), crypto::Sha256(large));
  EXPECT_EQ((*files)[3].link_target(), "b/large");
  EXPECT_EQ(seen, "hello" + large);
}

TEST_F(ScanTest, ReadsOneFileAsItsName) {
  Write("site.conf", "hello");
  const auto files = ScanPayload(Path("site.conf"));
  ASSERT_TRUE(files.ok()) << files.status();
  ASSERT_EQ(files->size(), 1);
  EXPECT_EQ((*files)[0].path(), "site.conf");
}

TEST_F(ScanTest, NamesWhatIsMissingOrEmpty) {
  EXPECT_EQ(Reason(ScanPayload(Path("nothing")).status()), "PAYLOAD_MISSING");
  EXPECT_EQ(ReasonOfScan(), "PAYLOAD_EMPTY");
  fs::create_directories(Path("only/folders"));
  EXPECT_EQ(ReasonOfScan(), "PAYLOAD_EMPTY");
  const absl::Status status = ScanPayload(Path(std::string(10000, 'n'))).status();
  EXPECT_EQ(Reason(status), "PATH_TOO_LONG");
  EXPECT_LT(status.message().size(), size_t{300});
}

TEST_F(ScanTest, RefusesPipesSocketsAndDevices) {
  ASSERT_EQ(mkfifo(Path("pipe").c_str(), 0644), 0);
  EXPECT_EQ(ReasonOfScan(), "FILE_TYPE");
  EXPECT_EQ(Reason(ScanPayload(Path("pipe")).status()), "FILE_TYPE");
  EXPECT_EQ(Reason(ScanPayload("/dev/zero").status()), "FILE_TYPE");
}

TEST_F(ScanTest, RefusesLinksThatLeave) {
  fs::create_symlink("/etc/passwd", Path("link"));
  EXPECT_EQ(ReasonOfScan(), "LINK_ESCAPES");
}

TEST_F(ScanTest, DoesNotWalkThroughLinksToFolders) {
  Write("real/file", "x");
  fs::create_symlink("real", Path("alias"));
  const auto files = ScanPayload(root_);
  ASSERT_TRUE(files.ok()) << files.status();
  ASSERT_EQ(files->size(), 2);
  EXPECT_EQ((*files)[0].type(), FileEntry::TYPE_SYMLINK);
}

TEST_F(ScanTest, RefusesSetUserIdAndStrangeNames) {
  Write("file", "x", 04755);
  EXPECT_EQ(ReasonOfScan(), "FILE_MODE");
  fs::remove(Path("file"));
  Write("bad\xff", "x");
  EXPECT_EQ(ReasonOfScan(), "PATH_MALFORMED");
}

TEST_F(ScanTest, RefusesTooMuchBeforeItReadsIt) {
  Write("large", "");
  ASSERT_EQ(truncate(Path("large").c_str(), int64_t{2} << 30), 0);
  EXPECT_EQ(ReasonOfScan(), "PAYLOAD_TOO_LARGE");
  EXPECT_EQ(Reason(ScanPayload(Path("large")).status()), "PAYLOAD_TOO_LARGE");
}

TEST_F(ScanTest, NoticesAFileThatChangesWhileItIsRead) {
  Write("file", std::string(2 * kChunkBytes, 'x'));
  for (const char* how : {"grow", "shrink", "touch"}) {
    const auto files = ScanPayload(root_, [&](absl::string_view, absl::string_view) {
      if (std::string(how) == "grow") std::ofstream(Path("file"), std::ios::app) << "more";
      if (std::string(how) == "shrink") truncate(Path("file").c_str(), kChunkBytes + 1);
      if (std::string(how) == "touch") utimensat(AT_FDCWD, Path("file").c_str(), nullptr, 0);
      return absl::OkStatus();
    });
    EXPECT_EQ(Reason(files.status()), "FILE_CHANGED") << how;
  }
}

TEST_F(ScanTest, EndsWithTheErrorOfItsListener) {
  Write("file", "x");
  EXPECT_EQ(ScanPayload(root_, [](absl::string_view, absl::string_view) { return absl::CancelledError("no"); })
                .status()
                .code(),
            absl::StatusCode::kCancelled);
}

TEST_F(ScanTest, NamesAnUnreadableFile) {
  Write("file", "x", 0000);
  const pid_t child = fork();
  if (child == 0) {
    // Even root obeys modes without its capabilities.
    __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    __user_cap_data_struct none[2] = {};
    if (syscall(SYS_capset, &header, none) != 0) _exit(3);
    _exit(ReasonOfScan() == "FILE_PERMISSION" ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST_F(ScanTest, TellsWhatIsInstalled) {
  Write("same", "x");
  Write("changed", "x");
  Write("gone", "x");
  Write("folder/below", "x");
  Write("file", "x");
  const Files files = *ScanPayload(root_);
  EXPECT_EQ(DigestFiles(*ScanInstalled(root_, files)), DigestFiles(files));
  Write("extra", "not named by the set");
  EXPECT_EQ(DigestFiles(*ScanInstalled(root_, files)), DigestFiles(files));

  Write("changed", "y");
  fs::remove(Path("gone"));
  fs::rename(Path("folder"), Path("elsewhere"));
  fs::create_symlink("elsewhere", Path("folder"));  // The same bytes, but through a link.
  fs::remove(Path("file"));
  mkfifo(Path("file").c_str(), 0644);
  const auto installed = ScanInstalled(root_, files);
  ASSERT_TRUE(installed.ok()) << installed.status();
  ASSERT_EQ(installed->size(), 2);
  EXPECT_EQ((*installed)[0].path(), "changed");
  EXPECT_EQ((*installed)[0].sha256(), crypto::Sha256("y"));
  EXPECT_EQ((*installed)[1].path(), "same");
  EXPECT_TRUE(ScanInstalled(Path("nothing"), files)->empty());
}

}  // namespace
}  // namespace parley::payload
