// Who holds the files of a target without being a program that has them open: the kernel, with its loop devices and
// swap space, file systems that are made of folders of the target, locks, and other names of the same files. What it
// holds must stay the same file.
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/loop.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "clients/agent/installer_testing.h"
#include "clients/agent/kernel_users.h"
#include "clients/agent/mount_table.h"
#include "clients/agent/namespace_testing.h"
#include "clients/agent/program_testing.h"
#include "clients/agent/tree.h"
#include "lib/base/file.h"

namespace parley::agent {
namespace {

namespace fs = std::filesystem;

struct stat StatOf(const std::string& path) {
  struct stat info = {};
  EXPECT_EQ(lstat(path.c_str(), &info), 0) << path;
  return info;
}

class HoldersTest : public InstallerTest {
 protected:
  // The set would put another file in the place of the one that is held.
  void ExpectRefused(const std::string& path, const std::string& because) {
    const absl::Status status = Check({{path, "new"}});
    EXPECT_EQ(Reason(status), "TARGET_BUSY") << status;
    EXPECT_TRUE(absl::StrContains(status.message(), because)) << status;
    EXPECT_TRUE(absl::StrContains(status.message(), Target() + "/" + path)) << status;
  }
  // A machine without processes, which says what the test writes.
  void InventMachine() {
    options_.proc = folder_ / "proc";
    options_.sys = folder_ / "sys";
    fs::create_directories(options_.proc);
    fs::create_directories(options_.sys);
  }

  int64_t revision_ = 0;
};

TEST_F(HoldersTest, LeavesAFolderInPlaceWithADiskOfALoopDevice) {
  WriteTestFile(Target() + "/fs.img", "a disk");
  InventMachine();
  WriteTestFile(options_.sys + "/block/loop7/loop/backing_file", Target() + "/fs.img\n");
  WriteTestFile(options_.sys + "/block/loop7/ro", "0\n");
  WriteTestFile(options_.sys + "/block/sda/size", "1\n");
  ExpectFiles("/dev/loop7");
  ExpectRefused("fs.img", "/dev/loop7");
}

// Nothing is written to it, but whoever looks at it would look at the old one for ever.
TEST_F(HoldersTest, ADiskThatIsOnlyReadMayBeReplacedButNotExchangedWithItsFolder) {
  WriteTestFile(Target() + "/fs.img", "a disk");
  InventMachine();
  WriteTestFile(options_.sys + "/block/loop7/loop/backing_file", Target() + "/fs.img\n");
  WriteTestFile(options_.sys + "/block/loop7/ro", "1\n");
  ExpectFiles("/dev/loop7");
  EXPECT_EQ(Check({{"fs.img", "new"}}), absl::OkStatus());
}

TEST_F(HoldersTest, LeavesAFolderInPlaceWithSwapSpace) {
  WriteTestFile(Target() + "/swap file", "pages");
  InventMachine();
  WriteTestFile(options_.proc + "/swaps",
                absl::StrCat("Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n/dev/dm-1 partition 1 0 -1\n",
                             absl::StrReplaceAll(Target(), {{" ", "\\040"}}), "/swap\\040file file 1020 0 -2\n"));
  ExpectFiles("swap space");
  ExpectRefused("swap file", "swap space");
}

TEST_F(HoldersTest, LeavesAFolderInPlaceThatIsExported) {
  InventMachine();
  WriteTestFile(options_.proc + "/fs/nfs/exports", "# Version 1.1\n" + Target() + "\t*(rw,no_root_squash)\n");
  ExpectFiles("exported to other machines");
}

TEST_F(HoldersTest, LeavesAFolderInPlaceInWhichALockIsHeldByAReader) {
  const Program reader([this] {
    if (flock(open((Target() + "/keep").c_str(), O_RDONLY), LOCK_EX) != 0) abort();
  });
  ExpectFiles("holds a lock");
}

// No list shows it: as the kernel, or a program of another user or container.
TEST_F(HoldersTest, LeavesAFolderInPlaceWithAFileThatSomethingUnseenWrites) {
  InventMachine();
  Open();
  ASSERT_EQ(Check({{"a", "1"}}), absl::OkStatus());
  EXPECT_EQ(installer_->method(), Method::kExchange);
  const Program writer([this] { open((Target() + "/keep").c_str(), O_WRONLY); });
  ExpectFiles("keep is open for writing");
}

TEST_F(HoldersTest, NoticesAtTheLastMomentWhatSomethingUnseenWrites) {
  InventMachine();
  Open();
  ASSERT_EQ(Stage({{"a", "1"}}), absl::OkStatus());
  ASSERT_EQ(installer_->method(), Method::kExchange);
  const Program writer([this] { open((Target() + "/keep").c_str(), O_WRONLY); });
  EXPECT_EQ(Reason(installer_->Swap()), "TARGET_CHANGED");
  EXPECT_EQ(Installed(), (Tree{{"keep", "mine"}, {"site.conf", "old"}}));
}

// A program whose memory is the file needs no descriptor to write to it.
TEST_F(HoldersTest, RefusesAFileThatIsMappedIntoAProgram) {
  const Program writer([this] {
    const int fd = open((Target() + "/keep").c_str(), O_RDWR);
    if (mmap(nullptr, 4, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED) abort();
    close(fd);
  });
  ExpectFiles("keep is open for writing");
  ExpectRefused("keep", "mapped into its memory");
}

TEST_F(HoldersTest, NoticesInTheMiddleOfASwapInPlaceThatAProgramBeginsToWrite) {
  options_.method = Method::kFiles;
  for (const bool exchanges : {true, false}) {
    options_.can_exchange = exchanges;
    for (const Tree& tree : {Tree{{"a", "2"}, {"site.conf", "2"}}, Tree{{"site.conf", "2"}}}) {
      Open();
      ASSERT_EQ(InstallAndCommit({{"a", "1"}, {"site.conf", "1"}}, ++revision_), absl::OkStatus());
      ASSERT_EQ(Stage(tree, ++revision_), absl::OkStatus());
      const ino_t before = StatOf(Target() + "/a").st_ino;
      const Program writer([this] { open((Target() + "/a").c_str(), O_WRONLY); });
      EXPECT_EQ(Reason(installer_->Swap()), "TARGET_CHANGED");
      EXPECT_EQ(Installed(), (Tree{{"a", "1"}, {"keep", "mine"}, {"site.conf", "1"}}));
      EXPECT_EQ(StatOf(Target() + "/a").st_ino, before);
    }
  }
}

// With a loop device and what is written through it. Kernels without one have the tests above.
TEST_F(HoldersTest, WhatIsWrittenThroughALoopDeviceIsNotLost) {
  const int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
  if (control < 0) GTEST_SKIP() << "this kernel or this user has no loop devices: " << strerror(errno);
  const int number = ioctl(control, LOOP_CTL_GET_FREE);
  const int loop = open(absl::StrCat("/dev/loop", number).c_str(), O_RDWR | O_CLOEXEC);
  WriteTestFile(Target() + "/fs.img", std::string(1 << 16, '.'));
  const int image = open((Target() + "/fs.img").c_str(), O_RDWR | O_CLOEXEC);
  const bool attached = loop >= 0 && ioctl(loop, LOOP_SET_FD, image) == 0;
  close(image);
  close(control);
  if (!attached) GTEST_SKIP() << "no loop device can be had here: " << strerror(errno);
  ExpectFiles(absl::StrCat("/dev/loop", number));
  EXPECT_EQ(InstallAndCommit({{"a", "1"}}), absl::OkStatus());
  EXPECT_EQ(pwrite(loop, "customer", 8, 4096), 8);
  EXPECT_EQ(fsync(loop), 0);
  EXPECT_EQ(ioctl(loop, LOOP_CLR_FD, 0), 0);
  close(loop);
  EXPECT_EQ(ReadTestFile(Target() + "/fs.img").substr(4096, 8), "customer");
}

TEST_F(HoldersTest, WhatIsWrittenThroughAnOverlayIsNotLost) {
  fs::create_directories(folder_ / "mnt");
  for (const char* layer : {"lower", "upper", "work"}) fs::create_directories(Target() + "/layers/" + layer);
  InNamespace([this] {
    MountOverlay(Target() + "/layers", folder_ / "mnt");
    WriteTestFile(folder_ / "mnt/db", "first");
    ExpectFiles("is a layer of the file system that is mounted at " + folder_ / "mnt");
    EXPECT_EQ(InstallAndCommit({{"a", "1"}}), absl::OkStatus());
    WriteTestFile(folder_ / "mnt/db", "second");
    WriteTestFile(folder_ / "mnt/db2", "new");
    EXPECT_EQ(ReadTestFile(Target() + "/layers/upper/db"), "second");
    EXPECT_EQ(ReadTestFile(Target() + "/layers/upper/db2"), "new");
  });
}

TEST(MountLayers, AreReadFromTheOptionsOfTheMount) {
  const auto layers = [](const std::string& rest) { return ParseMounts("36 25 0:41 / /mnt rw - " + rest)[0].layers; };
  using List = std::vector<std::string>;
  EXPECT_EQ(layers("overlay overlay rw,lowerdir=/a:/b\\134:c::/d,upperdir=/up\\040per,workdir=work,index=off"),
            (List{"/a", "/b:c", "/d", "/up per", "work"}));
  EXPECT_EQ(layers("overlay x rw,lowerdir+=/a,lowerdir+=/b,datadir+=/c"), (List{"/a", "/b", "/c"}));
  EXPECT_EQ(layers("fuse.mergerfs /disk1:/disk2 rw,user_id=0"), (List{"/disk1", "/disk2"}));
  EXPECT_EQ(layers("ecryptfs /srv/.ecryptfs/a rw"), (List{"/srv/.ecryptfs/a"}));
  EXPECT_EQ(layers("fuse.sshfs user@host:/srv rw"), List());
  EXPECT_EQ(layers("ext4 /dev/sda1 rw,lowerdir=/a"), List());
  EXPECT_TRUE(ParseMounts("36 25 0:41 / /mnt rw -")[0].layers.empty());
}

// Those that a container has are seen by the place in the file system, and those of a relative path by what is there.
TEST_F(HoldersTest, FindsLayersByWhereTheyAre) {
  MountTables tables;
  tables.tables.push_back({0, "", ParseMounts("20 1 8:1 / / rw - ext4 /dev/sda1 rw\n")});
  const auto user = [&](const std::string& mounts) {
    tables.tables.resize(1);
    tables.tables.push_back({42, "containerd", ParseMounts(mounts)});
    return tables.UserOf(20, Target(), true);
  };
  const std::string other = "50 1 8:1 /elsewhere /x rw - ext4 /dev/sda1 rw\n";
  EXPECT_EQ(user(other), "");
  EXPECT_TRUE(absl::StrContains(user(other + "51 50 0:9 / /m rw - overlay o rw,upperdir=" + Target() + "/up\n"),
                                "mounted at /m for containerd (process 42)"));
  const std::string host = "50 1 8:1 " + fs::path(Target()).parent_path().string() + " /host rw - ext4 /dev/sda1 rw\n";
  EXPECT_NE(user(host + "51 50 0:9 / /m rw - overlay o rw,upperdir=/host/target/up\n"), "");
  EXPECT_EQ(user(other + "51 50 0:9 / /m rw - overlay o rw,upperdir=/x/target/up\n"), "");
  fs::create_directories(Target() + "/up");
  EXPECT_NE(user(other + "51 50 0:9 / /m rw - overlay o rw,upperdir=target/up\n"), "");
  EXPECT_EQ(user(other + "51 50 0:9 / /m rw - overlay o rw,upperdir=elsewhere/up\n"), "");
}

TEST_F(HoldersTest, LeavesOtherNamesOfAFileOnTheSameFile) {
  ASSERT_EQ(link((Target() + "/keep").c_str(), (folder_ / "outside").c_str()), 0);
  ExpectFiles("keep has other names");
  EXPECT_EQ(InstallAndCommit({{"a", "1"}}), absl::OkStatus());
  EXPECT_EQ(StatOf(Target() + "/keep").st_ino, StatOf(folder_ / "outside").st_ino);
  options_.method = Method::kExchange;
  Open();
  const absl::Status status = Check({{"a", "1"}});
  EXPECT_EQ(Reason(status), "TARGET_HARD_LINK");
  EXPECT_TRUE(absl::StrContains(status.message(), "--method files")) << status;
}

TEST_F(HoldersTest, KeepsHolesInFilesThatAreCopied) {
  constexpr off_t kSize = off_t{3} << 30;
  const int file = open((Target() + "/sparse").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  ASSERT_EQ(ftruncate(file, kSize), 0);
  ASSERT_EQ(pwrite(file, "middle", 6, 1 << 20), 6);
  close(file);
  const blkcnt_t before = StatOf(Target() + "/sparse").st_blocks;
  Open();
  ASSERT_EQ(Install({{"a", "1"}}), absl::OkStatus());
  ASSERT_EQ(installer_->method(), Method::kExchange);
  const struct stat copy = StatOf(Target() + "/sparse");
  EXPECT_EQ(copy.st_size, kSize);
  EXPECT_LE(copy.st_blocks, before + 64);
  const int copied = open((Target() + "/sparse").c_str(), O_RDONLY | O_CLOEXEC);
  char text[6];
  EXPECT_EQ(pread(copied, text, 6, 1 << 20), 6);
  EXPECT_EQ(std::string(text, 6), "middle");
  close(copied);
}

TEST_F(HoldersTest, KeepsTheFlagsOfFilesAndFoldersThatAreCopied) {
  fs::create_directories(Target() + "/data");
  const auto flags_of = [](const std::string& path) {
    const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    unsigned flags = 0;
    EXPECT_TRUE(ioctl(fd, FS_IOC_GETFLAGS, &flags) == 0 || flags == 0);
    close(fd);
    return flags & (FS_NODUMP_FL | FS_NOATIME_FL);
  };
  for (const char* name : {"keep", "data"}) {
    const int fd = open((Target() + "/" + name).c_str(), O_RDONLY | O_CLOEXEC);
    unsigned flags = 0;
    if (ioctl(fd, FS_IOC_GETFLAGS, &flags) == 0) flags |= FS_NODUMP_FL | FS_NOATIME_FL;
    if (flags == 0 || ioctl(fd, FS_IOC_SETFLAGS, &flags) != 0) {
      close(fd);
      GTEST_SKIP() << "this file system has no such flags: " << strerror(errno);
    }
    close(fd);
  }
  const unsigned file = flags_of(Target() + "/keep"), folder = flags_of(Target() + "/data");
  ASSERT_NE(file, 0u);
  Open();
  ASSERT_EQ(Install({{"a", "1"}}), absl::OkStatus());
  ASSERT_EQ(installer_->method(), Method::kExchange);
  EXPECT_EQ(flags_of(Target() + "/keep"), file);
  EXPECT_EQ(flags_of(Target() + "/data"), folder);
}

// By another name, through a link, and by a relative path.
TEST_F(HoldersTest, LeavesTheFolderOfTheStateInPlaceWhateverPathLeadsThere) {
  const std::string state = Target() + "/state";
  fs::create_directories(state);
  fs::create_symlink(Target(), folder_ / "link");
  const fs::path before = fs::current_path();
  fs::current_path(folder_.path());
  for (const std::string& path : {folder_ / "link/state", std::string("target/state"), folder_ / "srv/../target/state",
                                  folder_ / "link/state/not/yet/made"}) {
    options_.fixed = {path};
    ExpectFiles("holds the state of the agent");
  }
  options_.fixed = {folder_ / "state"};
  Open();
  EXPECT_EQ(Check({{"a", "1"}}), absl::OkStatus());
  EXPECT_EQ(installer_->method(), Method::kExchange);
  fs::current_path(before);
}

TEST_F(HoldersTest, LeavesWhatCannotBeCopiedInPlace) {
  // Deeper than any path may be long.
  const fs::path before = fs::current_path();
  fs::current_path(Target());
  const std::string name(200, 'd');
  for (int depth = 0; depth < 25; ++depth) {
    ASSERT_EQ(mkdir(name.c_str(), 0755), 0);
    ASSERT_EQ(chdir(name.c_str()), 0);
  }
  fs::current_path(before);
  Open();
  EXPECT_EQ(Install({{"a", "1"}}), absl::OkStatus());
  EXPECT_EQ(installer_->method(), Method::kFiles);
  EXPECT_TRUE(absl::StrContains(installer_->method_reason(), "File name too long")) << installer_->method_reason();
  EXPECT_LT(installer_->method_reason().size(), 1000u);
  EXPECT_EQ(installer_->Commit(), absl::OkStatus());
  EXPECT_EQ(system(absl::StrCat("rm -rf ", Target()).c_str()), 0);
}

TEST_F(HoldersTest, AFileThatMayNotBeReadIsLeftInPlaceByItself) {
  chmod((Target() + "/keep").c_str(), 0);
  const auto installs = [this] {
    Open();
    const bool installed = InstallAndCommit({{"a", "1"}}).ok();
    return installed && installer_->method() == Method::kFiles &&
           absl::StrContains(installer_->method_reason(), "cannot read " + Target() + "/keep");
  };
  ExpectWithoutPrivilege(installs);
  chmod((Target() + "/keep").c_str(), 0644);
  EXPECT_EQ(ReadTestFile(Target() + "/a"), "1");
  // The sentence for a person that has asked for an exchange names the way out.
  chmod((Target() + "/keep").c_str(), 0);
  options_.method = Method::kExchange;
  ExpectWithoutPrivilege([this] {
    Open();
    const absl::Status status = Install({{"a", "2"}}, 2);
    return Reason(status) == "TARGET_COPY" && absl::StrContains(status.message(), "--method files");
  });
}

TEST_F(HoldersTest, AFileWhoseOwnerCannotBeKeptIsLeftInPlaceByItself) {
  constexpr uid_t kNobody = 65534;
  if (chown((Target() + "/keep").c_str(), kNobody, kNobody) != 0) {
    EXPECT_FALSE(IsRealRoot()) << "root should be able to give a file away";
    GTEST_SKIP() << "only root can give a file away";
  }
  ExpectWithoutPrivilege([this] {
    Open();
    return Install({{"a", "1"}}).ok() && installer_->method() == Method::kFiles &&
           absl::StrContains(installer_->method_reason(), "cannot keep the owner of " + Target() + "/keep");
  });
}

TEST_F(HoldersTest, AFolderWhoseGroupCannotBeKeptIsLeftInPlaceByItself) {
  if (chown(Target().c_str(), geteuid(), 65534) != 0) {
    EXPECT_FALSE(IsRealRoot()) << "root should be able to give a folder away";
    GTEST_SKIP() << "only root can give a folder away";
  }
  ExpectWithoutPrivilege([this] {
    Open();
    return Install({{"a", "1"}}).ok() && installer_->method() == Method::kFiles &&
           absl::StrContains(installer_->method_reason(), "cannot keep the group of " + Target() + ":");
  });
}

}  // namespace
}  // namespace parley::agent
