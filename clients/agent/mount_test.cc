// Mounts in, at and of a target: what belongs to somebody else is never copied, swapped or removed, and a program that
// looks through a mount sees the new set.
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "absl/strings/match.h"
#include "clients/agent/installer_testing.h"
#include "clients/agent/mount_table.h"
#include "clients/agent/namespace_testing.h"
#include "clients/agent/tree.h"
#include "lib/base/fd.h"
#include "lib/base/file.h"

namespace parley::agent {
namespace {

namespace fs = std::filesystem;

class MountTest : public InstallerTest {
 protected:
  MountTest() {
    WriteTestFile(Theirs() + "/db", "precious");
    fs::create_directories(Target() + "/data");
  }
  std::string Theirs() const { return folder_ / "srv"; }
  void ExpectTheirsWhole() { EXPECT_EQ(ReadTree(Theirs()), (Tree{{"db", "precious"}})); }
};

TEST_F(MountTest, LeavesAFolderThatIsMountedInsideAlone) {
  InNamespace([this] {
    Bind(Theirs(), Target() + "/data");
    Open();
    ASSERT_TRUE(Install({{"site.conf", "new"}}).ok());
    EXPECT_EQ(installer_->method(), Method::kFiles);
    EXPECT_TRUE(absl::StrContains(installer_->method_reason(), "/data")) << installer_->method_reason();
    ASSERT_TRUE(RollBack().ok());
    ASSERT_EQ(InstallAndCommit({{"site.conf", "new"}}), absl::OkStatus());
    ExpectTheirsWhole();
    Open();
    ExpectTheirsWhole();
    EXPECT_EQ(ReadTestFile(Target() + "/data/db"), "precious");
    EXPECT_EQ(ReadTestFile(Target() + "/site.conf"), "new");
  });
  ExpectTheirsWhole();
}

TEST_F(MountTest, RefusesAPathOfThePayloadThatIsMountedByItsName) {
  WriteTestFile(Target() + "/one.conf", "old");
  InNamespace([this] {
    Bind(Theirs() + "/db", Target() + "/one.conf");
    Bind(Theirs(), Target() + "/data");
    Open();
    for (const char* path : {"one.conf", "data/db", "data/new/file"}) {
      const absl::Status status = Check({{path, "new"}});
      EXPECT_EQ(Reason(status), "TARGET_MOUNT");
      EXPECT_TRUE(absl::StrContains(status.message(), path)) << status;
    }
    options_.method = Method::kExchange;
    Open();
    EXPECT_EQ(Reason(Check({{"a", "1"}})), "TARGET_MOUNT");
  });
  ExpectTheirsWhole();
}

TEST_F(MountTest, SetsATreeAsideInWhichACommandHasMountedSomething) {
  plan_.hooks.apply = "mount --bind " + Theirs() + " $PARLEY_TARGET/data; exit 1";
  InNamespace([this] {
    Open();
    EXPECT_FALSE(Install({{"site.conf", "new"}}).ok());
    ASSERT_EQ(installer_->method(), Method::kExchange);
    EXPECT_EQ(Reason(RollBack()), "ROLLBACK_FAILED");  // The command fails on the old set too.
    ExpectTheirsWhole();
    EXPECT_EQ(ReadTestFile(Target() + "/site.conf"), "old");
    EXPECT_EQ(ReadTestFile(Place() + "/aside-1/data/db"), "precious");
    ASSERT_EQ(umount((Target() + "/data").c_str()), 0) << strerror(errno);
    Open();
    ExpectTheirsWhole();
    EXPECT_TRUE(fs::exists(Place() + "/aside-1"));
    ASSERT_EQ(umount((Place() + "/aside-1/data").c_str()), 0) << strerror(errno);
    Open();
    EXPECT_FALSE(fs::exists(Place() + "/aside-1"));
    ExpectTheirsWhole();
  });
}

TEST_F(MountTest, RollsBackWhenWhatACommandMountedOverTheTargetIsGone) {
  plan_.hooks.apply = "[ -e " + folder_ / "once" + " ] || { touch " + folder_ / "once" + "; mount --bind " + Theirs() +
                      " $PARLEY_TARGET; exit 1; }";
  InNamespace([this] {
    Open();
    EXPECT_FALSE(Install({{"site.conf", "new"}}).ok());
    const absl::Status status = RollBack();
    EXPECT_EQ(Reason(status), "ROLLBACK_FAILED");
    EXPECT_TRUE(absl::StrContains(status.message(), "unmount it")) << status;
    Close();
    EXPECT_EQ(Reason(TargetFolder::Open(Target()).status()), "TARGET_MOUNT");
    ExpectTheirsWhole();
    ASSERT_EQ(umount(Target().c_str()), 0) << strerror(errno);
    Open();
    EXPECT_EQ(ReadTestFile(Target() + "/site.conf"), "old");
    EXPECT_FALSE(View().rollback->failed);
  });
  ExpectTheirsWhole();
}

// To the one it is a mount, with its place inside; to the other it has its place beside it.
TEST_F(MountTest, WaitsForAnUndecidedUpdateOfTheSameFolderByAnotherPath) {
  const std::string point = folder_ / "point";
  fs::create_directories(point);
  InNamespace([&] {
    Bind(Target(), point);
    for (const auto& [first, second] : {std::pair(Target(), point), std::pair(point, Target())}) {
      Open(first);
      ASSERT_TRUE(Install({{"site.conf", "new"}}).ok());
      auto target = TargetFolder::Open(second);
      ASSERT_TRUE(target.ok()) << target.status();
      auto other = Installer::Open(target->get(), options_);
      ASSERT_TRUE(other.ok()) << other.status();
      const task::v1::Manifest manifest = MakePayload({{"x", "1"}}).Manifest("tasks/other", 1);
      EXPECT_EQ(Reason(other->Check("tasks/other", manifest)), "TARGET_TURN");
      ASSERT_TRUE(RollBack().ok());
      EXPECT_EQ(other->Check("tasks/other", manifest), absl::OkStatus());
    }
  });
}

// Taking back what is not there any more would be nothing to do.
TEST_F(MountTest, DoesNotTakeWhatIsMountedOverATargetForIt) {
  InNamespace([this] {
    options_.method = Method::kFiles;
    Open();
    ASSERT_TRUE(Install({{"new", "new"}}).ok());
    Bind(Theirs(), Target());
    EXPECT_EQ(Reason(RollBack()), "ROLLBACK_FAILED");
    EXPECT_TRUE(installer_->pending().has_value());
    ExpectTheirsWhole();
    ASSERT_EQ(umount(Target().c_str()), 0) << strerror(errno);
    EXPECT_EQ(installer_->FinishRollback(), absl::OkStatus());
    EXPECT_FALSE(fs::exists(Target() + "/new"));
  });
  ExpectTheirsWhole();
}

TEST_F(MountTest, RemovesNoTreeInWhichSomethingIsMounted) {
  WriteTestFile(folder_ / "tree/a", "1");
  fs::create_directories(folder_ / "tree/z/data");
  WriteTestFile(folder_ / "tree/z/file", "");
  InNamespace([this] {
    const Fd parent(open(folder_.path().c_str(), O_RDONLY | O_DIRECTORY));
    Bind(Theirs(), folder_ / "tree/z/data");
    EXPECT_EQ(Reason(RemoveTree(parent.get(), "tree", folder_.path())), "TARGET_MOUNT");
    ASSERT_EQ(umount((folder_ / "tree/z/data").c_str()), 0);
    Bind(Theirs() + "/db", folder_ / "tree/z/file");
    EXPECT_EQ(Reason(RemoveTree(parent.get(), "tree", folder_.path())), "TARGET_MOUNT");
    EXPECT_TRUE(fs::exists(folder_ / "tree/a")) << "something was removed before the mount was seen";
    ASSERT_EQ(umount((folder_ / "tree/z/file").c_str()), 0);
    EXPECT_TRUE(RemoveTree(parent.get(), "tree", folder_.path()).ok());
  });
  ExpectTheirsWhole();
}

TEST_F(MountTest, UpdatesATargetThatIsAMountInPlace) {
  InNamespace([this] {
    ASSERT_EQ(mount("none", Target().c_str(), "tmpfs", 0, nullptr), 0);
    WriteTestFile(Target() + "/site.conf", "old");
    Open();
    ASSERT_TRUE(Install({{"a/b", "1"}, {"site.conf", "new"}}).ok());
    EXPECT_EQ(installer_->method(), Method::kFiles);
    EXPECT_EQ(Installed(), (Tree{{"a/b", "1"}, {"site.conf", "new"}}));
    Open();
    ASSERT_TRUE(installer_->pending().has_value());
    ASSERT_TRUE(RollBack().ok());
    EXPECT_EQ(Installed(), (Tree{{"site.conf", "old"}}));
    ASSERT_EQ(InstallAndCommit({{"site.conf", "new"}}), absl::OkStatus());
    Close();
    EXPECT_EQ(ReadTree(Target() + "/.parley").size(), 1u);
  });
  EXPECT_TRUE(PlaceIsGone());
}

TEST_F(MountTest, RefusesAnUpdateWhenSomethingWasMountedOverAnUnfinishedOne) {
  Open();
  ASSERT_TRUE(Install({{"site.conf", "new"}}).ok());
  Close();
  InNamespace([this] {
    ASSERT_EQ(mount("none", Target().c_str(), "tmpfs", 0, nullptr), 0);
    EXPECT_EQ(Reason(TargetFolder::Open(Target()).status()), "TARGET_MOUNT");
  });
}

// Another process's namespace in which the folder or file is mounted elsewhere, as a container has it.
class Container {
 public:
  Container(const std::string& source, const std::string& point) {
    int ready[2], ask[2], answer[2];
    if (pipe(ready) != 0 || pipe(ask) != 0 || pipe(answer) != 0) abort();
    process_ = fork();
    if (process_ == 0) {
      close(ask[1]);
      const bool inside = EnterNamespace() && mount(source.c_str(), point.c_str(), nullptr, MS_BIND, nullptr) == 0;
      if (write(ready[1], inside ? "y" : "n", 1) != 1) _exit(1);
      char byte;
      while (read(ask[0], &byte, 1) == 1) {
        const std::string found = ReadTestFile(byte == 'f' ? point : point + "/site.conf");
        if (write(answer[1], found.data(), found.size() + 1) < 0) _exit(1);
      }
      _exit(0);
    }
    char byte = 'n';
    if (read(ready[0], &byte, 1) != 1) abort();
    inside_ = byte == 'y';
    ask_ = ask[1];
    answer_ = answer[0];
  }
  ~Container() {
    close(ask_);
    kill(process_, SIGKILL);
    waitpid(process_, nullptr, 0);
  }
  bool inside() const { return inside_; }
  // What it reads there now.
  std::string Read(char what) {
    if (write(ask_, &what, 1) != 1) return "";
    char found[1000] = {};
    return read(answer_, found, sizeof(found) - 1) > 0 ? found : "";
  }

 private:
  pid_t process_;
  int ask_, answer_;
  bool inside_ = false;
};

TEST_F(MountTest, ShowsTheNewSetToAContainerThatHasTheTargetMounted) {
  fs::create_directories(folder_ / "volume");
  Container container(Target(), folder_ / "volume");
  ASSERT_TRUE(container.inside());
  ASSERT_EQ(container.Read('s'), "old");
  Open();
  ASSERT_TRUE(Install({{"site.conf", "new"}}).ok());
  EXPECT_EQ(installer_->method(), Method::kFiles);
  EXPECT_TRUE(absl::StrContains(installer_->method_reason(), folder_ / "volume")) << installer_->method_reason();
  EXPECT_EQ(container.Read('s'), "new");
  ASSERT_TRUE(installer_->Commit().ok());
  EXPECT_EQ(container.Read('s'), "new");
}

TEST_F(MountTest, RefusesAFileThatAContainerHasMountedByItself) {
  WriteTestFile(folder_ / "volume", "");
  Container container(Target() + "/site.conf", folder_ / "volume");
  ASSERT_TRUE(container.inside());
  ASSERT_EQ(container.Read('f'), "old");
  Open();
  EXPECT_EQ(Reason(Check({{"site.conf", "new"}})), "TARGET_MOUNT");
  EXPECT_TRUE(Check({{"a", "1"}}).ok());
}

TEST_F(MountTest, SeesWhatIsMountedInsideInAnotherNamespaceOnly) {
  Container container(Theirs(), Target() + "/data");
  ASSERT_TRUE(container.inside());
  Open();
  ASSERT_TRUE(Install({{"site.conf", "new"}}).ok());
  EXPECT_EQ(installer_->method(), Method::kFiles) << "the container would lose its mount";
}

TEST_F(MountTest, SeesThatTheTargetIsMountedElsewhereInItsOwnNamespace) {
  fs::create_directories(folder_ / "elsewhere");
  InNamespace([this] {
    Bind(Target(), folder_ / "elsewhere");
    Open();
    ASSERT_EQ(InstallAndCommit({{"site.conf", "new"}}), absl::OkStatus());
    EXPECT_EQ(ReadTestFile(folder_ / "elsewhere/site.conf"), "new");
  });
}

TEST_F(MountTest, UpdatesALayerOfAnImageInPlace) {
  for (const char* name : {"layers", "merged"}) fs::create_directories(folder_ / name);
  InNamespace([this] {
    ASSERT_EQ(mount("none", (folder_ / "layers").c_str(), "tmpfs", 0, nullptr), 0);
    for (const char* name : {"lower/app/sub", "upper", "work"}) {
      fs::create_directories(absl::StrCat(folder_ / "layers", "/", name));
    }
    WriteTestFile(folder_ / "layers/lower/app/site.conf", "old");
    WriteTestFile(folder_ / "layers/lower/app/sub/b", "old");
    MountOverlay(folder_ / "layers", folder_ / "merged");
    const std::string app = folder_ / "merged/app";
    Open(app);
    const Tree before = ReadTree(app);
    const absl::Status status = Install({{"new/a", "1"}, {"site.conf", "new"}, {"sub/b", "new"}});
    ASSERT_TRUE(status.ok()) << status;
    EXPECT_EQ(installer_->method(), Method::kFiles) << installer_->method_reason();
    EXPECT_EQ(ReadTree(app), (Tree{{"new/a", "1"}, {"site.conf", "new"}, {"sub/b", "new"}}));
    ASSERT_TRUE(RollBack().ok());
    EXPECT_EQ(ReadTree(app), before);
    ASSERT_EQ(InstallAndCommit({{"site.conf", "new"}}), absl::OkStatus());
    EXPECT_EQ(ReadTree(app), (Tree{{"site.conf", "new"}, {"sub/b", "old"}}));
    Close();
  });
}

TEST(MountTables, ReadsNamesWithSpaces) {
  const auto lines = ParseMounts("36 35 98:0 /mnt\\0401 /a\\134b rw,noatime master:1 - ext3 /dev/root rw\nnonsense\n");
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_EQ(lines[0].id, 36u);
  EXPECT_EQ(lines[0].parent, 35u);
  EXPECT_EQ(lines[0].device, "98:0");
  EXPECT_EQ(lines[0].root, "/mnt 1");
  EXPECT_EQ(lines[0].point, "/a\\b");
}

}  // namespace
}  // namespace parley::agent
