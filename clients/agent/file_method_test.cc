// Method files: what only it promises.
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <signal.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "clients/agent/installer_testing.h"
#include "clients/agent/namespace_testing.h"
#include "clients/agent/program_testing.h"
#include "lib/base/fd.h"
#include "lib/base/file.h"

namespace parley::agent {
namespace {

namespace fs = std::filesystem;

ino_t InodeOf(const std::string& path) {
  struct stat info;
  return lstat(path.c_str(), &info) == 0 ? info.st_ino : 0;
}

// With and without a file system that exchanges two names.
class FileMethodTest : public InstallerTest, public testing::WithParamInterface<bool> {
 protected:
  FileMethodTest() {
    options_.method = Method::kFiles;
    options_.can_exchange = GetParam();
  }
};
INSTANTIATE_TEST_SUITE_P(FileMethod, FileMethodTest, testing::Bool(),
                         [](const auto& info) { return info.param ? "Exchanging" : "Renaming"; });

TEST_P(FileMethodTest, LeavesWhatDoesNotChangeTheSameFile) {
  WriteTestFile(Target() + "/same", "same");
  chmod((Target() + "/same").c_str(), 0644);
  const ino_t same = InodeOf(Target() + "/same"), keep = InodeOf(Target() + "/keep"), folder = InodeOf(Target());
  Open();
  ASSERT_EQ(InstallAndCommit({{"same", "same"}, {"site.conf", "new"}}), absl::OkStatus());
  EXPECT_EQ(InodeOf(Target() + "/same"), same);
  EXPECT_EQ(InodeOf(Target() + "/keep"), keep);
  EXPECT_EQ(InodeOf(Target()), folder);
}

TEST_P(FileMethodTest, BringsTheSameFilesBack) {
  const ino_t site = InodeOf(Target() + "/site.conf");
  const Tree before = Installed();
  Open();
  ASSERT_TRUE(Install({{"new/folder/a", "1"}, {"site.conf", "new"}, {"link", "-> keep"}}).ok());
  EXPECT_EQ(Installed().at("new/folder/a"), "1");
  ASSERT_TRUE(RollBack().ok());
  EXPECT_EQ(Installed(), before);
  EXPECT_EQ(InodeOf(Target() + "/site.conf"), site);
}

TEST_P(FileMethodTest, BringsTheOldSetBackWhateverAProgramDidToTheNewOne) {
  Open();
  ASSERT_EQ(InstallAndCommit({{"a", "1"}, {"sub/b", "1"}, {"site.conf", "new"}}), absl::OkStatus());
  ASSERT_TRUE(Install({{"a", "2"}, {"new", "2"}}, 2).ok());
  fs::remove(Target() + "/a");
  fs::remove(Target() + "/new");
  fs::remove_all(Target() + "/sub");
  WriteTestFile(Target() + "/site.conf", "a program's");
  WriteTestFile(Target() + "/log", "a program's");
  ASSERT_TRUE(RollBack().ok());
  EXPECT_EQ(Installed(),
            (Tree{{"a", "1"}, {"keep", "mine"}, {"log", "a program's"}, {"site.conf", "new"}, {"sub/b", "1"}}));
}

TEST_P(FileMethodTest, DoesNotMindOtherFilesThatChangeMeanwhile) {
  Open();
  ASSERT_TRUE(Stage({{"site.conf", "new"}}).ok());
  WriteTestFile(Target() + "/log", "a line");
  ASSERT_TRUE(installer_->Swap().ok());
  EXPECT_EQ(Installed(), (Tree{{"keep", "mine"}, {"log", "a line"}, {"site.conf", "new"}}));
}

TEST_P(FileMethodTest, UndoesTheFirstStepsWhenALaterOneFails) {
  Open();
  ASSERT_TRUE(Stage({{"a", "1"}, {"keep", "new"}, {"site.conf", "new"}}).ok());
  WriteTestFile(Target() + "/site.conf", "a person's");
  EXPECT_EQ(Reason(installer_->Swap()), "TARGET_CHANGED");
  EXPECT_EQ(Installed(), (Tree{{"keep", "mine"}, {"site.conf", "a person's"}}));
  EXPECT_FALSE(installer_->pending().has_value());
}

// Commands and folders are what people typed, and that need not be UTF-8.
TEST_P(FileMethodTest, KeepsCommandsThatAreNotUtf8) {
  plan_.hooks.apply = "echo '\xff' > " + folder_ / "ran";
  plan_.state_folder = folder_ / "state-\xfe";
  plan_.variables["PARLEY_LABEL_site"] = "K\xf6ln";
  std::filesystem::create_directories(plan_.state_folder);
  Open();
  ASSERT_EQ(StageAndSwap({{"a", "1"}}), absl::OkStatus());
  Open();
  ASSERT_TRUE(installer_->pending().has_value());
  ASSERT_TRUE(installer_->RunApply().ok());
  EXPECT_EQ(ReadTestFile(folder_ / "ran"), "\xff\n");
}

class SingleFileTest : public InstallerTest {
 protected:
  SingleFileTest() { kind_ = TargetFolder::Kind::kFile; }
};

TEST_F(SingleFileTest, TakesTheOnlyFileOfAPayloadWhateverItsName) {
  plan_.hooks.check = "grep -q new site.conf && [ \"$PARLEY_TARGET\" = \"$PWD/site.conf\" ]";
  Open(Target() + "/site.conf");
  ASSERT_TRUE(Install({{"other.name", "new"}}).ok());
  EXPECT_EQ(Installed(), (Tree{{".parley-site.conf/journal", Installed().at(".parley-site.conf/journal")},
                               {".parley-site.conf/new/0", "old"},
                               {".parley-site.conf/old/", ""},
                               {"keep", "mine"},
                               {"site.conf", "new"}}));
  EXPECT_EQ(*installer_->PendingDigest(), installer_->pending()->digest);
  ASSERT_TRUE(installer_->Commit().ok());
  EXPECT_EQ(installer_->Read("tasks/t")->digest, installer_->view("tasks/t").digest);
  ASSERT_TRUE(Install({{"third.name", "newest"}}, 2).ok());
  EXPECT_EQ(ReadTestFile(Target() + "/site.conf"), "newest");
  ASSERT_TRUE(RollBack().ok());
  EXPECT_EQ(ReadTestFile(Target() + "/site.conf"), "new");
}

TEST_F(SingleFileTest, MakesAFileThatWasNotThereAndTakesItAwayAgain) {
  Open(Target() + "/motd");
  ASSERT_TRUE(Install({{"motd", "hello"}}).ok());
  EXPECT_EQ(ReadTestFile(Target() + "/motd"), "hello");
  ASSERT_TRUE(RollBack().ok());
  EXPECT_FALSE(fs::exists(Target() + "/motd"));
}

TEST_F(SingleFileTest, RefusesAFolderAndASetOfMoreThanOneFile) {
  fs::create_directories(Target() + "/folder");
  EXPECT_EQ(Reason(TargetFolder::Open(Target() + "/folder", kind_).status()), "TARGET_NOT_FOLDER");
  Open(Target() + "/motd");
  EXPECT_EQ(Reason(Stage({{"a", "1"}, {"b", "1"}})), "TARGET_SINGLE_FILE");
  EXPECT_EQ(Reason(Stage({{"a", "-> b"}})), "TARGET_SINGLE_FILE");
}

class ChoiceTest : public InstallerTest {};

TEST_F(ChoiceTest, ExchangesAPlainFolderThatNobodyUses) {
  Open();
  ASSERT_TRUE(Check({{"a", "1"}}).ok());
  EXPECT_EQ(installer_->method(), Method::kExchange);
  EXPECT_EQ(installer_->method_reason(), "");
  Close();
  EXPECT_TRUE(PlaceIsGone()) << "looking left something behind";
}

TEST_F(ChoiceTest, LeavesAFolderOverTheLimitsInPlace) {
  options_.limits.max_entries = 1;
  ExpectFiles("more than 1 entries");
}

TEST_F(ChoiceTest, LeavesTheFolderOfTheStateInPlace) {
  options_.fixed = {Target() + "/state/tasks"};
  ExpectFiles("state of the agent");
}

TEST_F(ChoiceTest, RefusesWhatWouldChangeTheStateOfTheClient) {
  const std::string state = Target() + "/own/state";
  WriteTestFile(state + "/tasks/t/membership", "me");
  fs::create_symlink(Target() + "/own", folder_ / "link");
  for (const Method method : {Method::kFiles, Method::kExchange, Method::kAutomatic}) {
    options_.method = method;
    for (const std::string& path : {state, folder_ / "link/state", Target() + "/own/state/"}) {
      options_.fixed = {path};
      Open();
      for (const char* entry : {"own/state/tasks/t/membership", "own/state/new", "own/state", "own"}) {
        const absl::Status status = Check({{"a", "1"}, {entry, "evil"}});
        EXPECT_EQ(Reason(status), "TARGET_CONFLICT") << entry;
        EXPECT_TRUE(absl::StrContains(status.message(), Target() + "/" + entry)) << status;
      }
    }
  }
  EXPECT_EQ(Check({{"own/stated", "1"}, {"own/other", "1"}}), absl::OkStatus());
  EXPECT_EQ(ReadTestFile(state + "/tasks/t/membership"), "me");
}

// An earlier version installed such a set.
TEST_F(ChoiceTest, LeavesTheStateThatASetNamedBefore) {
  const std::string member = "own/state/tasks/t/membership";
  for (const Method method : {Method::kFiles, Method::kAutomatic}) {
    options_.method = method;
    options_.fixed.clear();
    Open();
    const int64_t next = View().revision + 1;
    ASSERT_EQ(InstallAndCommit({{"a", "1"}, {"gone", "1"}, {member, "me"}}, next), absl::OkStatus());
    options_.fixed = {Target() + "/own/state"};
    Open();
    ASSERT_EQ(InstallAndCommit({{"a", "2"}}, next + 1), absl::OkStatus());
    EXPECT_EQ(ReadTestFile(Target() + "/" + member), "me");
    EXPECT_FALSE(fs::exists(Target() + "/gone"));
  }
}

TEST_F(ChoiceTest, RefusesAStateThatIsNotThereYet) {
  options_.fixed = {Target() + "/state"};
  fs::remove_all(Target());
  Open();
  EXPECT_EQ(Reason(Check({{"state/tasks/t/membership", "evil"}})), "TARGET_CONFLICT");
  EXPECT_EQ(Check({{"a", "1"}}), absl::OkStatus());
}

TEST_F(ChoiceTest, LeavesRoomForATargetBesideTheStateInItsFolder) {
  options_.fixed = {folder_.path()};
  Open();
  EXPECT_EQ(Check({{"a", "1"}}), absl::OkStatus());
  options_.fixed = {Target()};
  Open();
  EXPECT_EQ(Reason(Check({{"a", "1"}})), "TARGET_CONFLICT");
}

TEST_F(ChoiceTest, LeavesAFolderInPlaceInWhichAnotherTargetLies) {
  fs::create_directories(Target() + "/inner");
  const auto inner = TargetFolder::Open(Target() + "/inner");
  ASSERT_TRUE(inner.ok());
  ExpectFiles("another target");
}

TEST_F(ChoiceTest, RefusesFilesOfATargetInside) {
  WriteTestFile(Target() + "/.parley-inner/record", "");
  fs::create_directories(Target() + "/inner");
  Open();
  EXPECT_EQ(Reason(Check({{"inner/a", "1"}})), "TARGET_IN_USE");
  EXPECT_EQ(Reason(Check({{".parley-inner/record", "1"}})), "TARGET_CONFLICT");
}

// Another task has installed there since, as into a target of its own.
TEST_F(ChoiceTest, LeavesWhatIsAnotherTargetsByNow) {
  Open();
  ASSERT_EQ(InstallAndCommit({{"a", "1"}, {"inner/b", "1"}, {"motd", "1"}}), absl::OkStatus());
  for (const char* name : {"inner", "motd"}) WriteTestFile(Target() + "/.parley-" + name + "/record", "");
  Open();
  for (const char* path : {"inner/b", "motd"}) {
    const absl::Status status = Check({{"a", "2"}, {path, "2"}});
    EXPECT_EQ(Reason(status), "TARGET_IN_USE") << path;
    EXPECT_TRUE(absl::StrContains(status.message(), ".parley-")) << status;
  }
  ASSERT_EQ(InstallAndCommit({{"a", "2"}}, 2), absl::OkStatus());
  EXPECT_EQ(ReadTestFile(Target() + "/inner/b"), "1");
  EXPECT_EQ(ReadTestFile(Target() + "/motd"), "1");
}

// What such a program writes after an exchange would be gone.
TEST_F(ChoiceTest, LeavesAFolderInPlaceInWhichAProgramWrites) {
  const Program writer([this] { open((Target() + "/app.log").c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644); });
  ExpectFiles("app.log open for writing");
  const absl::Status status = Check({{"app.log", "1"}});
  EXPECT_EQ(Reason(status), "TARGET_BUSY");
  EXPECT_TRUE(absl::StrContains(status.message(), Target() + "/app.log")) << status;
}

// Its watch would stay with the folder that was moved away.
TEST_F(ChoiceTest, LeavesAFolderInPlaceThatAProgramWatches) {
  const Program watcher([this] {
    if (inotify_add_watch(inotify_init1(IN_CLOEXEC), Target().c_str(), IN_CREATE) < 0) abort();
  });
  ExpectFiles("watches it");
}

TEST_F(ChoiceTest, LeavesAFolderInPlaceInWhichAProgramWorks) {
  const Program worker([this] {
    if (chdir(Target().c_str()) != 0) abort();
  });
  ExpectFiles("works in");
}

TEST_F(ChoiceTest, RefusesAnExchangeInTheMiddleOfWhichAProgramBeginsToWrite) {
  Open();
  ASSERT_TRUE(Stage({{"a", "1"}}).ok());
  ASSERT_EQ(installer_->method(), Method::kExchange);
  const Program writer([this] { open((Target() + "/keep").c_str(), O_WRONLY); });
  EXPECT_EQ(Reason(installer_->Swap()), "TARGET_CHANGED");
  ASSERT_TRUE(Install({{"a", "1"}}).ok());
  EXPECT_EQ(installer_->method(), Method::kFiles);
}

TEST_F(ChoiceTest, GetsThroughBesideProgramsThatNeverStopWriting) {
  const auto scribble = [this](const std::string& name) {
    if (fork() != 0) return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    while (true) {
      WriteTestFile(Target() + "/" + name, "x");
      unlink((Target() + "/" + name).c_str());
    }
  };
  const Program writers([&] {
    scribble("one.tmp");
    scribble("two.tmp");
  });
  Open();
  absl::Status status;
  for (int tries = 0; tries < 3; ++tries) {
    status = Install({{"a", "1"}});
    if (Reason(status) != "TARGET_CHANGED") break;
  }
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(Installed().at("a"), "1");
}

// Only root of the machine may forbid changes by a flag, and not every file system can.
class FlagsTest : public InstallerTest {
 protected:
  FlagsTest() { fs::create_directories(Target() + "/conf"); }
  ~FlagsTest() override {
    Close();
    for (const std::string& path : flagged_) SetFlags(path, 0);
  }

  std::string Above() const { return fs::path(Target()).parent_path(); }
  // False where this user or the file system cannot.
  bool Protect(const std::string& path, unsigned flag) {
    flagged_.push_back(path);
    if (SetFlags(path, flag)) return true;
    EXPECT_FALSE(errno == EPERM && IsRealRoot()) << "root should be able to set a flag here";
    return false;
  }
  void Unprotect(const std::string& path) { ASSERT_TRUE(SetFlags(path, 0)); }
  bool Has(const std::string& path, unsigned flag) {
    unsigned flags = 0;
    const Fd file(open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
    return ioctl(file.get(), FS_IOC_GETFLAGS, &flags) == 0 && (flags & flag) != 0;
  }
  // By name, before anything was changed, whichever method was asked for.
  void ExpectRefused(const Tree& tree, const std::string& name, int64_t revision = 1) {
    const Tree before = Installed();
    for (const Method method : {Method::kAutomatic, Method::kFiles, Method::kExchange}) {
      options_.method = method;
      Open();
      const absl::Status status = Stage(tree, revision);
      EXPECT_EQ(Reason(status), "TARGET_IMMUTABLE") << status;
      EXPECT_TRUE(absl::StrContains(status.message(), name)) << status;
      EXPECT_FALSE(installer_->pending().has_value());
      EXPECT_EQ(Installed(), before);
      Close();
      EXPECT_FALSE(fs::exists(Place() + "/journal"));
    }
    options_.method = Method::kAutomatic;
    Open();
  }

 private:
  static bool SetFlags(const std::string& path, unsigned wanted) {
    constexpr unsigned kProtecting = FS_IMMUTABLE_FL | FS_APPEND_FL;
    unsigned flags = 0;
    const Fd file(open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
    if (ioctl(file.get(), FS_IOC_GETFLAGS, &flags) != 0) return false;
    flags = (flags & ~kProtecting) | wanted;
    return ioctl(file.get(), FS_IOC_SETFLAGS, &flags) == 0;
  }
  std::vector<std::string> flagged_;
};

TEST_F(FlagsTest, AProtectedFileOfTheSetIsRefusedAndOthersAreKept) {
  const std::string file = Target() + "/site.conf";
  for (const unsigned flag : {FS_IMMUTABLE_FL, FS_APPEND_FL}) {
    if (!Protect(file, flag)) GTEST_SKIP() << "no flags here";
    ExpectRefused({{"site.conf", "new"}}, file);
    ASSERT_EQ(Install({{"a", "1"}}), absl::OkStatus());
    EXPECT_EQ(installer_->method(), Method::kFiles);
    ASSERT_EQ(RollBack(), absl::OkStatus());
    EXPECT_TRUE(Has(file, flag));
  }
  Unprotect(file);
  EXPECT_EQ(Install({{"site.conf", "new"}}), absl::OkStatus());
}

// In one that is append-only a new file could not be taken back.
TEST_F(FlagsTest, AProtectedFolderOfTheSetIsRefused) {
  const std::string folder = Target() + "/conf";
  for (const unsigned flag : {FS_IMMUTABLE_FL, FS_APPEND_FL}) {
    if (!Protect(folder, flag)) GTEST_SKIP() << "no flags here";
    ExpectRefused({{"conf/new", "1"}}, folder);
    ASSERT_EQ(Install({{"a", "1"}}), absl::OkStatus());
    ASSERT_EQ(RollBack(), absl::OkStatus());
    EXPECT_TRUE(Has(folder, flag));
  }
}

TEST_F(FlagsTest, AProtectedTargetIsRefused) {
  for (const unsigned flag : {FS_IMMUTABLE_FL, FS_APPEND_FL}) {
    if (!Protect(Target(), flag)) GTEST_SKIP() << "no flags here";
    ExpectRefused({{"a", "1"}}, Target());
  }
}

TEST_F(FlagsTest, AFileThatTheSetDropsIsRefusedWhenItIsProtected) {
  Open();
  ASSERT_EQ(InstallAndCommit({{"a/one", "1"}, {"b", "2"}}), absl::OkStatus());
  if (!Protect(Target() + "/a/one", FS_IMMUTABLE_FL)) GTEST_SKIP() << "no flags here";
  ExpectRefused({{"b", "2"}}, Target() + "/a/one", 2);
  // A file takes the place of the folder that holds it.
  ExpectRefused({{"a", "1"}, {"b", "2"}}, Target() + "/a/one", 2);
}

TEST_F(FlagsTest, ATargetIsNotMadeWhereItCouldNotBeTakenBack) {
  fs::remove_all(Target());
  if (!Protect(Above(), FS_APPEND_FL)) GTEST_SKIP() << "no flags here";
  Open();
  const absl::Status status = Stage({{"a", "1"}});
  EXPECT_EQ(Reason(status), "TARGET_IMMUTABLE") << status;
  EXPECT_TRUE(absl::StrContains(status.message(), Target())) << status;
  EXPECT_FALSE(fs::exists(Target()));
}

TEST_F(FlagsTest, AFolderAboveThatIsProtectedIsNamed) {
  if (!Protect(Above(), FS_IMMUTABLE_FL)) GTEST_SKIP() << "no flags here";
  const auto target = TargetFolder::Open(Target(), kind_);
  EXPECT_EQ(Reason(target.status()), "TARGET_IMMUTABLE") << target.status();
  Unprotect(Above());
  ASSERT_TRUE(Protect(Above(), FS_APPEND_FL));
  Open();
  ASSERT_EQ(Install({{"site.conf", "new"}}), absl::OkStatus());
  EXPECT_EQ(installer_->method(), Method::kFiles);
  EXPECT_EQ(RollBack(), absl::OkStatus());
}

// Between the look and the rename.
TEST_F(FlagsTest, AFileThatIsProtectedInTheMiddleOfASwapLeavesTheWholeOldSet) {
  const Tree before = Installed();
  options_.method = Method::kFiles;
  Open();
  ASSERT_EQ(Stage({{"a", "1"}, {"site.conf", "new"}}), absl::OkStatus());
  if (!Protect(Target() + "/conf", FS_IMMUTABLE_FL)) GTEST_SKIP() << "no flags here";
  Unprotect(Target() + "/conf");
  ASSERT_TRUE(Protect(Target() + "/site.conf", FS_IMMUTABLE_FL));
  EXPECT_FALSE(installer_->Swap().ok());
  EXPECT_FALSE(installer_->pending().has_value());
  EXPECT_EQ(Installed(), before);
}

}  // namespace
}  // namespace parley::agent
