#include "clients/agent/installer.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <vector>

#include "absl/strings/match.h"
#include "clients/agent/fake_payload.h"
#include "clients/agent/installer_testing.h"
#include "clients/agent/record.h"
#include "gtest/gtest.h"
#include "lib/base/error.h"
#include "lib/base/file.h"

namespace parley::agent {
namespace {

namespace fs = std::filesystem;

INSTANTIATE_TEST_SUITE_P(Installer, AnyMethodTest, testing::Values(Method::kExchange, Method::kFiles), MethodName);

TEST_P(AnyMethodTest, LaysThePayloadOverTheTarget) {
  Open();
  ASSERT_TRUE(Install({{"conf.d/a", "new"}, {"current", "-> conf.d/a"}, {"site.conf", "new"}}).ok());
  const Tree expected = {{"conf.d/a", "new"}, {"current", "-> conf.d/a"}, {"keep", "mine"}, {"site.conf", "new"}};
  EXPECT_EQ(Installed(), expected);
  ASSERT_TRUE(installer_->Commit().ok());
  EXPECT_EQ(Installed(), expected);
  EXPECT_EQ(View().revision, 1);
  Close();
  EXPECT_TRUE(PlaceIsClean());
}

TEST_P(AnyMethodTest, RemovesWhatAnEarlierRevisionInstalled) {
  Open();
  ASSERT_EQ(InstallAndCommit({{"a", "1"}, {"gone/deep/b", "1"}}), absl::OkStatus());
  ASSERT_TRUE(Install({{"a", "2"}, {"gone2", "2"}}, 2).ok());
  EXPECT_EQ(InstalledFiles(), (Tree{{"a", "2"}, {"gone2", "2"}, {"keep", "mine"}, {"site.conf", "old"}}));
  ASSERT_TRUE(RollBack().ok());
  EXPECT_EQ(Installed(), (Tree{{"a", "1"}, {"gone/deep/b", "1"}, {"keep", "mine"}, {"site.conf", "old"}}));
  ASSERT_TRUE(Install({{"gone", "now a file"}}, 2).ok());
  EXPECT_EQ(Installed(), (Tree{{"gone", "now a file"}, {"keep", "mine"}, {"site.conf", "old"}}));
  ASSERT_TRUE(installer_->Commit().ok());
  ASSERT_EQ(InstallAndCommit({{"gone/again/b", "3"}}, 3), absl::OkStatus());
  ASSERT_EQ(InstallAndCommit({{"a", "4"}}, 4), absl::OkStatus());
  EXPECT_EQ(Installed(), (Tree{{"a", "4"}, {"keep", "mine"}, {"site.conf", "old"}}));
}

TEST_P(AnyMethodTest, KeepsModesTimesAndEmptyFoldersOfWhatStays) {
  fs::create_directories(Target() + "/empty");
  chmod((Target() + "/keep").c_str(), 0640);
  const timespec times[2] = {{1000, 0}, {2000, 5}};
  utimensat(AT_FDCWD, (Target() + "/keep").c_str(), times, 0);
  chmod(Target().c_str(), 0750);
  Open();
  ASSERT_TRUE(Install({{"a", "1"}}).ok());
  struct stat info;
  ASSERT_EQ(stat((Target() + "/keep").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0640u);
  EXPECT_EQ(info.st_mtim.tv_sec, 2000);
  EXPECT_EQ(info.st_mtim.tv_nsec, 5);
  ASSERT_EQ(stat(Target().c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0750u);
  EXPECT_TRUE(fs::exists(Target() + "/empty"));
}

TEST_F(InstallerTest, CopiesSoThatWritingInPlaceDoesNotReachTheOldSet) {
  Open();
  ASSERT_TRUE(Install({{"a", "1"}}).ok());
  WriteTestFile(Target() + "/keep", "written in place");
  ASSERT_TRUE(RollBack().ok());
  EXPECT_EQ(Installed().at("keep"), "mine");
}

TEST_P(AnyMethodTest, MakesAMissingTargetAndTakesItAwayAgain) {
  fs::remove_all(Target());
  Open();
  ASSERT_TRUE(Install({{"a/b", "1"}}).ok());
  EXPECT_EQ(Installed(), (Tree{{"a/b", "1"}}));
  ASSERT_TRUE(RollBack().ok());
  EXPECT_FALSE(fs::exists(Target()));
  ASSERT_EQ(InstallAndCommit({{"a/b", "1"}}), absl::OkStatus());
  EXPECT_EQ(Installed(), (Tree{{"a/b", "1"}}));
}

TEST_F(InstallerTest, ResolvesALinkToTheTargetOnce) {
  fs::create_symlink(Target(), folder_ / "link");
  auto target = TargetFolder::Open(folder_ / "link/");
  ASSERT_TRUE(target.ok()) << target.status();
  EXPECT_EQ((*target)->target(), Target());
  fs::create_symlink("nowhere", folder_ / "dangling");
  EXPECT_EQ(Reason(TargetFolder::Open(folder_ / "dangling").status()), "TARGET_NOT_FOLDER");
}

TEST_P(AnyMethodTest, NeverWritesThroughALinkInTheTarget) {
  fs::create_directories(folder_ / "outside");
  fs::create_symlink(folder_ / "outside", Target() + "/sub");
  fs::create_symlink(folder_ / "outside/file", Target() + "/file");
  Open();
  EXPECT_EQ(Reason(Stage({{"sub/x", "1"}})), "TARGET_CONFLICT");
  // A link where the payload has a file is replaced, not followed.
  ASSERT_TRUE(Install({{"file", "1"}}).ok());
  EXPECT_EQ(Installed().at("file"), "1");
  EXPECT_TRUE(fs::is_empty(folder_ / "outside"));
}

TEST_P(AnyMethodTest, RefusesWhatIsInTheWayAndChangesNothing) {
  WriteTestFile(Target() + "/folder/theirs", "x");
  const Tree before = Installed();
  Open();
  EXPECT_EQ(Reason(Stage({{"keep/x", "1"}})), "TARGET_CONFLICT");
  EXPECT_EQ(Reason(Stage({{"folder", "1"}})), "TARGET_CONFLICT");
  EXPECT_EQ(Installed(), before);
  Close();
  EXPECT_TRUE(PlaceIsGone());
}

// Nobody fetches in vain.
TEST_P(AnyMethodTest, SaysWhatIsInTheWayBeforeItHasContent) {
  WriteTestFile(Target() + "/folder/theirs", "x");
  fs::create_directories(Target() + "/outer/folder");
  fs::create_symlink("keep", Target() + "/link");
  Open();
  for (const char* path : {"keep/x", "folder", "outer", "link/x"}) {
    EXPECT_EQ(Reason(Check({{path, "1"}})),
              path == std::string("outer") && GetParam() == Method::kFiles ? "" : "TARGET_CONFLICT")
        << path;
  }
  EXPECT_EQ(Check({{"folder/x", "1"}, {"new/x", "1"}, {"keep", "1"}, {"link", "1"}}), absl::OkStatus());
}

TEST_P(AnyMethodTest, WaitsForAnUndecidedUpdateAroundTheTarget) {
  Open();
  ASSERT_EQ(Install({{"inner/x", "1"}}), absl::OkStatus());
  const auto folder = TargetFolder::Open(Target() + "/inner");
  ASSERT_TRUE(folder.ok()) << folder.status();
  const auto inner = Installer::Open(folder->get(), options_);
  ASSERT_TRUE(inner.ok()) << inner.status();
  const task::v1::Manifest manifest = MakePayload({{"y", "2"}}).Manifest("tasks/inner", 1);
  EXPECT_EQ(Reason(inner->Check("tasks/inner", manifest)), "TARGET_TURN");
  ASSERT_EQ(installer_->Commit(), absl::OkStatus());
  EXPECT_EQ(inner->Check("tasks/inner", manifest), absl::OkStatus());
}

TEST_P(AnyMethodTest, LetsAFolderGoThatHoldsOnlyWhatTheTaskInstalled) {
  Open();
  ASSERT_EQ(InstallAndCommit({{"a/b/x", "1"}, {"a/y", "1"}, {"c", "1"}}), absl::OkStatus());
  ASSERT_EQ(InstallAndCommit({{"a", "2"}, {"c/x", "2"}}, 2), absl::OkStatus());
  EXPECT_EQ(Installed().at("a"), "2");
  EXPECT_EQ(Installed().at("c/x"), "2");
}

TEST_F(InstallerTest, RefusesTargetsThatCannotBeSwapped) {
  EXPECT_EQ(Reason(TargetFolder::Open("/").status()), "TARGET_ROOT");
  EXPECT_EQ(Reason(TargetFolder::Open("/proc").status()), "TARGET_MOUNT");
  EXPECT_EQ(Reason(TargetFolder::Open(folder_ / "no/such/target").status()), "TARGET_PARENT");
  EXPECT_EQ(Reason(TargetFolder::Open(Target() + "/keep").status()), "TARGET_NOT_FOLDER");
  EXPECT_EQ(Reason(TargetFolder::Open("").status()), "TARGET_ROOT");
  // Without a lock, and while another process has it.
  Open();
  EXPECT_EQ(TargetFolder::Examine(Target(), TargetFolder::Kind::kFolder), absl::OkStatus());
  EXPECT_EQ(Reason(TargetFolder::Examine(Target(), TargetFolder::Kind::kFile)), "TARGET_NOT_FOLDER");
  EXPECT_EQ(Reason(TargetFolder::Examine(Target() + "/keep", TargetFolder::Kind::kFolder)), "TARGET_NOT_FOLDER");
  EXPECT_EQ(Reason(TargetFolder::Examine("/proc/self", TargetFolder::Kind::kFolder)), "TARGET_MOUNT");
}

// It may hold an old set of theirs.
TEST_F(InstallerTest, NamesTheOtherUserThatAPlaceBelongsTo) {
  if (geteuid() != 0) GTEST_SKIP() << "only root gives folders away";
  ASSERT_EQ(mkdir(Place().c_str(), 0700), 0);
  ASSERT_EQ(chown(Place().c_str(), 65534, 65534), 0);
  const absl::Status status = TargetFolder::Open(Target()).status();
  EXPECT_EQ(Reason(status), "TARGET_PERMISSION");
  EXPECT_TRUE(absl::StrContains(status.message(), "another user (uid 65534); run as that user")) << status;
}

TEST_F(InstallerTest, LetsOneProcessAtATime) {
  Open();
  const absl::Status second = TargetFolder::Open(Target()).status();
  EXPECT_EQ(Reason(second), "TARGET_IN_USE");
  EXPECT_TRUE(absl::StrContains(second.message(), Target()));
  Close();
  EXPECT_TRUE(TargetFolder::Open(Target()).ok());
}

TEST_F(InstallerTest, ExchangesNothingThatIsTooLargeOrSpecial) {
  options_.method = Method::kExchange;
  options_.limits.max_entries = 3;
  WriteTree(Target(), {{"1", ""}, {"2", ""}});
  Open();
  EXPECT_EQ(Reason(Stage({{"a", "1"}})), "TARGET_TOO_LARGE");
  options_.limits = {.max_entries = 100, .max_bytes = 5};
  Open();
  EXPECT_EQ(Reason(Stage({{"a", "1"}})), "TARGET_TOO_LARGE");
  options_.limits = {};
  mkfifo((Target() + "/pipe").c_str(), 0644);
  Open();
  EXPECT_EQ(Reason(Stage({{"a", "1"}})), "TARGET_SPECIAL_FILE");
  options_.method = Method::kAutomatic;
  Open();
  ASSERT_TRUE(Stage({{"a", "1"}}).ok());
  EXPECT_EQ(installer_->method(), Method::kFiles);
  EXPECT_TRUE(absl::StrContains(installer_->method_reason(), "pipe")) << installer_->method_reason();
}

TEST_F(InstallerTest, NeedsPermissionAndSaysSo) {
  chmod(folder_.path().c_str(), 0555);
  ExpectWithoutPrivilege([this] { return Reason(TargetFolder::Open(Target()).status()) == "TARGET_PERMISSION"; });
  chmod(folder_.path().c_str(), 0755);
  chmod(Target().c_str(), 0555);
  ExpectWithoutPrivilege([this] {
    Open();
    return Reason(Stage({{"a", "1"}})) == "TARGET_PERMISSION";
  });
  chmod(Target().c_str(), 0755);
  EXPECT_EQ(Installed(), (Tree{{"keep", "mine"}, {"site.conf", "old"}}));
}

TEST_F(InstallerTest, SurvivesAFullDisk) {
  // The limit makes writes fail as a full disk does, after as many bytes; EFBIG instead of ENOSPC.
  const pid_t child = fork();
  if (child == 0) {
    signal(SIGXFSZ, SIG_IGN);
    Open();
    const rlimit limit = {100'000, 100'000};
    setrlimit(RLIMIT_FSIZE, &limit);
    const absl::Status status = Install({{"a", std::string(200'000, 'x')}});
    Close();
    _exit(!status.ok() && PlaceIsGone() ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(WEXITSTATUS(status), 0);
  EXPECT_EQ(Installed(), (Tree{{"keep", "mine"}, {"site.conf", "old"}}));
}

TEST_P(AnyMethodTest, RefusesContentThatIsNotWhatWasSigned) {
  Open();
  FakePayload payload = MakePayload({{"a", "1"}});
  const task::v1::Manifest manifest = payload.Manifest("tasks/t", 1);
  payload.chunks.begin()->second = "2";
  const auto read = [&payload](absl::string_view digest) { return payload.Read(digest); };
  EXPECT_EQ(Reason(installer_->Stage(plan_, manifest, read)), "FILE_DIGEST");
  payload.chunks.clear();
  EXPECT_EQ(Reason(installer_->Stage(plan_, manifest, read)), "CHUNK_MISSING");
  EXPECT_EQ(Installed(), (Tree{{"keep", "mine"}, {"site.conf", "old"}}));
}

TEST_P(AnyMethodTest, NeverGoesBackToAnOlderRevision) {
  Open();
  ASSERT_EQ(InstallAndCommit({{"a", "2"}}, 2), absl::OkStatus());
  Open();
  EXPECT_EQ(Reason(Stage({{"a", "1"}}, 1)), "REVISION_OLDER");
  EXPECT_EQ(Reason(Stage({{"a", "other"}}, 2)), "REVISION_CHANGED");
  EXPECT_TRUE(Stage({{"a", "2"}}, 2).ok());
}

TEST_F(InstallerTest, NoticesThatSomebodyWroteToTheTargetMeanwhile) {
  Open();
  ASSERT_TRUE(Stage({{"a", "1"}}).ok());
  WriteTestFile(Target() + "/log", "a line");
  EXPECT_EQ(Reason(installer_->Swap()), "TARGET_CHANGED");
  EXPECT_EQ(Installed(), (Tree{{"keep", "mine"}, {"log", "a line"}, {"site.conf", "old"}}));
  ASSERT_TRUE(Install({{"a", "1"}}).ok());
  EXPECT_EQ(Installed().at("log"), "a line");
}

TEST_F(InstallerTest, BringsTheOldSetBackWhenSomebodyMovedTheNewOne) {
  Open();
  ASSERT_TRUE(Install({{"a", "1"}}).ok());
  Close();
  fs::rename(Target(), folder_ / "moved");
  fs::create_directories(Target());
  Open();
  EXPECT_EQ(Installed(), (Tree{{"keep", "mine"}, {"site.conf", "old"}}));
  EXPECT_EQ(ReadTree(folder_ / "moved").at("a"), "1");
  ASSERT_TRUE(View().rollback.has_value());
  EXPECT_EQ(View().rollback->reason, "target_changed");
  EXPECT_TRUE(PlaceIsClean());
}

TEST_F(InstallerTest, SaysSoWhenTheOldSetIsNoLongerInItsPlace) {
  Open();
  ASSERT_TRUE(Install({{"a", "1"}}).ok());
  Close();
  fs::remove_all(Target());
  fs::rename(Place() + "/tree", folder_ / "taken");
  auto target = TargetFolder::Open(Target());
  ASSERT_TRUE(target.ok());
  const absl::Status status = Installer::Open(target->get(), options_).status();
  EXPECT_EQ(Reason(status), "ROLLBACK_FAILED");
  EXPECT_TRUE(absl::StrContains(status.message(), "put it at " + Target())) << status;
}

// Nobody can put it back there any more, and waiting would keep every later revision from the machine too.
TEST_F(InstallerTest, EndsARollbackWhosePlaceWasRemovedWithTheOldSet) {
  Open();
  ASSERT_TRUE(Install({{"a", "1"}}).ok());
  fs::remove_all(Target());
  fs::remove_all(Place());
  EXPECT_EQ(Reason(RollBack()), "ROLLBACK_FAILED");
  EXPECT_FALSE(installer_->pending().has_value());
  EXPECT_TRUE(View().rollback->failed);
  EXPECT_FALSE(View().applied);
  EXPECT_EQ(InstallAndCommit({{"a", "2"}}, 2), absl::OkStatus());
}

TEST_P(AnyMethodTest, RefusesADamagedJournal) {
  Open();
  ASSERT_TRUE(Install({{"a", "1"}}).ok());
  Close();
  WriteTestFile(folder_ / ".parley-target/journal", "damaged");
  auto target = TargetFolder::Open(Target());
  ASSERT_TRUE(target.ok());
  EXPECT_EQ(Reason(Installer::Open(target->get(), options_).status()), "STATE_DAMAGED");
}

// Leaves this process so many descriptors that are free.
class FewDescriptors {
 public:
  explicit FewDescriptors(rlim_t free) {
    getrlimit(RLIMIT_NOFILE, &before_);
    // Without holes below the limit.
    for (int fd = dup(0); fd >= 0; fd = dup(0)) {
      taken_.push_back(fd);
      if (fd >= kTaken) break;
    }
    const rlimit few = {static_cast<rlim_t>(taken_.back()) + 1 + free, before_.rlim_max};
    setrlimit(RLIMIT_NOFILE, &few);
  }
  ~FewDescriptors() {
    setrlimit(RLIMIT_NOFILE, &before_);
    for (const int fd : taken_) close(fd);
  }
  FewDescriptors(const FewDescriptors&) = delete;
  FewDescriptors& operator=(const FewDescriptors&) = delete;

 private:
  static constexpr int kTaken = 100;
  rlimit before_;
  std::vector<int> taken_;
};

class HookedInstallerTest : public AnyMethodTest {
 protected:
  HookedInstallerTest() { plan_.hooks.apply = absl::StrCat("cp $PARLEY_TARGET/site.conf ", Running()); }
  std::string Running() const { return folder_ / "running"; }
};
INSTANTIATE_TEST_SUITE_P(Installer, HookedInstallerTest, testing::Values(Method::kExchange, Method::kFiles),
                         MethodName);

TEST_P(HookedInstallerTest, AFailingCheckLeavesTheOldSetAndTheRunningProgramAlone) {
  plan_.hooks.check = "grep -q good $PARLEY_TARGET/site.conf || { echo line 14 is wrong; exit 1; }";
  Open();
  ASSERT_EQ(StageAndSwap({{"site.conf", "bad"}}), absl::OkStatus());
  const HookResult check = installer_->RunCheck();
  EXPECT_FALSE(check.status.ok());
  EXPECT_EQ(check.output, "line 14 is wrong\n");
  ASSERT_TRUE(RollBack().ok());
  EXPECT_EQ(Installed(), (Tree{{"keep", "mine"}, {"site.conf", "old"}}));
  EXPECT_FALSE(fs::exists(Running()));
  EXPECT_EQ(View().rollback->reason, "check_failed");
}

// A relative path in a command must not mean what stood there before.
TEST_P(HookedInstallerTest, CommandsRunInTheNewSet) {
  plan_.hooks.check = "grep -q new site.conf && [ \"$PWD\" = \"$PARLEY_TARGET\" ] && [ \"$PARLEY_FACT_os\" = linux ]";
  plan_.variables["PARLEY_FACT_os"] = "linux";
  const std::string before = std::filesystem::current_path();
  ASSERT_EQ(chdir(Target().c_str()), 0);
  Open();
  EXPECT_TRUE(Install({{"site.conf", "new"}}).ok());
  ASSERT_EQ(chdir(before.c_str()), 0);
}

TEST_P(HookedInstallerTest, AFirstInstallationThatFailsHasNothingToApplyAgain) {
  fs::remove_all(Target());
  plan_.hooks.apply = "cp $PARLEY_TARGET/site.conf /nowhere/at/all";
  for (const bool empty_folder : {false, true}) {
    if (empty_folder) fs::create_directories(Target());
    Open();
    EXPECT_FALSE(Install({{"site.conf", "new"}}).ok());
    EXPECT_TRUE(RollBack().ok());
    EXPECT_FALSE(View().rollback->failed);
    EXPECT_TRUE(Installed().empty());
  }
}

// Until an apply has passed, nothing is up to date.
TEST_P(HookedInstallerTest, DeclaresNothingAfterTheOldSetCouldNotBeAppliedAgain) {
  Open();
  ASSERT_EQ(InstallAndCommit({{"site.conf", "one"}}), absl::OkStatus());
  EXPECT_FALSE(installer_->Read("tasks/t")->digest.empty());
  plan_.hooks.apply = "exit 1";
  EXPECT_FALSE(Install({{"site.conf", "two"}}, 2).ok());
  EXPECT_EQ(Reason(RollBack()), "ROLLBACK_FAILED");
  ASSERT_TRUE(installer_->ForgetRollback("tasks/t").ok());
  Open();
  EXPECT_EQ(installer_->Read("tasks/t")->digest, "");
}

// While it is there, no file can be written, as on a disk that is full.
class NoRoom {
 public:
  NoRoom() {
    former_ = signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &limit_);
    const rlimit none = {0, limit_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &none);
  }
  ~NoRoom() {
    setrlimit(RLIMIT_FSIZE, &limit_);
    signal(SIGXFSZ, former_);
  }

 private:
  rlimit limit_;
  sighandler_t former_;
};

TEST_P(HookedInstallerTest, TheNextProcessDeclaresNothingEitherWhenThatCouldNotBeNoted) {
  Open();
  ASSERT_EQ(InstallAndCommit({{"site.conf", "one"}}), absl::OkStatus());
  plan_.hooks.apply = "exit 1";
  EXPECT_FALSE(Install({{"site.conf", "two"}}, 2).ok());
  {
    const NoRoom no_room;
    EXPECT_EQ(Reason(RollBack()), "ROLLBACK_FAILED");
  }
  Open();
  EXPECT_FALSE(installer_->pending().has_value());
  EXPECT_EQ(Installed().at("site.conf"), "one");
  EXPECT_FALSE(View().applied);
  EXPECT_EQ(installer_->Read("tasks/t")->digest, "");
}

// Also of a first installation over files of somebody else's, of which the record knows nothing.
TEST_P(HookedInstallerTest, ARollbackThatFailedStaysUndecidedUntilThatIsNoted) {
  Open();
  plan_.hooks.apply = absl::StrCat("echo >>", folder_ / "runs", "; test -e ", folder_ / "mended");
  EXPECT_FALSE(Install({{"site.conf", "new"}}).ok());
  {
    const NoRoom no_room;
    EXPECT_EQ(Reason(RollBack()), "ROLLBACK_FAILED");
    EXPECT_TRUE(installer_->pending()->rollback.has_value());
    Close();
    auto target = TargetFolder::Open(Target(), kind_);
    ASSERT_TRUE(target.ok()) << target.status();
    EXPECT_EQ(Reason(Installer::Open(target->get(), options_).status()), "ROLLBACK_FAILED");
  }
  WriteTestFile(folder_ / "mended", "");
  Open();
  EXPECT_FALSE(installer_->pending().has_value());
  EXPECT_FALSE(View().rollback->failed);
  // With the new set, and with the old one as soon as there is room.
  EXPECT_EQ(ReadTestFile(folder_ / "runs"), "\n\n");
  EXPECT_EQ(Installed().at("site.conf"), "old");
}

TEST_P(HookedInstallerTest, AnOldSetThatWorksIsDeclaredAgain) {
  Open();
  ASSERT_EQ(InstallAndCommit({{"site.conf", "one"}}), absl::OkStatus());
  const std::string digest = installer_->Read("tasks/t")->digest;
  plan_.hooks.apply = "grep -q one $PARLEY_TARGET/site.conf";
  EXPECT_FALSE(Install({{"site.conf", "two"}}, 2).ok());
  EXPECT_EQ(RollBack(), absl::OkStatus());
  Open();
  EXPECT_TRUE(View().applied);
  EXPECT_EQ(installer_->Read("tasks/t")->digest, digest);
}

TEST_P(HookedInstallerTest, AHangingCheckIsKilled) {
  plan_.hooks.check = "sleep 1000";
  plan_.hooks.check_timeout = absl::Milliseconds(50);
  Open();
  ASSERT_EQ(StageAndSwap({{"site.conf", "new"}}), absl::OkStatus());
  EXPECT_TRUE(absl::StrContains(installer_->RunCheck().status.message(), "did not end within"));
}

TEST_P(HookedInstallerTest, AFailingApplyIsFollowedByOneWithTheOldSet) {
  plan_.hooks.apply += "; grep -q old $PARLEY_TARGET/site.conf";
  Open();
  EXPECT_FALSE(Install({{"site.conf", "new"}}).ok());
  EXPECT_EQ(ReadTestFile(Running()), "new");
  ASSERT_TRUE(RollBack().ok());
  EXPECT_EQ(Installed().at("site.conf"), "old");
  EXPECT_EQ(ReadTestFile(Running()), "old");
}

TEST_P(HookedInstallerTest, SaysSoWhenTheOldSetCannotBeAppliedAgain) {
  plan_.hooks.apply = "echo it is broken; exit 1";
  Open();
  EXPECT_FALSE(Install({{"site.conf", "new"}}).ok());
  const absl::Status status = RollBack();
  EXPECT_EQ(Reason(status), "ROLLBACK_FAILED");
  EXPECT_TRUE(absl::StrContains(status.message(), "it is broken"));
  EXPECT_EQ(Installed().at("site.conf"), "old");
  EXPECT_TRUE(View().rollback->failed);
}

// Nothing is said of the old set by a machine that has no room for a command now.
TEST_P(HookedInstallerTest, AnApplyOfTheOldSetThatCannotBeStartedIsLeftToDo) {
  plan_.hooks.apply += "; grep -q old $PARLEY_TARGET/site.conf";
  for (const bool same_process : {true, false}) {
    Open();
    EXPECT_FALSE(Install({{"site.conf", "new"}}).ok());
    {
      const FewDescriptors few(3);
      EXPECT_EQ(Reason(RollBack()), "HOOK_NOT_STARTED");
    }
    EXPECT_EQ(Installed().at("site.conf"), "old");
    EXPECT_EQ(ReadTestFile(Running()), "new");
    ASSERT_TRUE(installer_->pending().has_value() && installer_->pending()->rollback.has_value());
    EXPECT_EQ(installer_->pending()->rollback->reason, "check_failed");
    ASSERT_TRUE(installer_->BeginRollback("interrupted", "", true).ok());
    if (same_process) EXPECT_TRUE(installer_->FinishRollback().ok());
    if (!same_process) Open();
    EXPECT_FALSE(installer_->pending().has_value());
    EXPECT_EQ(ReadTestFile(Running()), "old");
    EXPECT_FALSE(View().rollback->failed);
    EXPECT_EQ(View().rollback->reason, "check_failed");
  }
}

TEST_P(HookedInstallerTest, GivesUpOnAnApplyThatKillsTheAgentEachTime) {
  Open();
  ASSERT_EQ(StageAndSwap({{"site.conf", "new"}}), absl::OkStatus());
  for (int run = 1; run <= 2; ++run) {
    EXPECT_FALSE(installer_->pending()->exhausted);
    Journal journal;
    ASSERT_TRUE(*ReadRecord(target_->place_path() + "/journal", &journal));
    journal.set_phase(Journal::PHASE_APPLYING);  // The process ended in the middle of the command.
    journal.set_apply_runs(run);
    ASSERT_TRUE(WriteRecord(target_->place_path() + "/journal", journal).ok());
    Open();
  }
  EXPECT_TRUE(installer_->pending()->exhausted);
}

TEST_P(HookedInstallerTest, LeavesAnotherTasksUnfinishedUpdatePendingWithItsOwnCommands) {
  Open();
  ASSERT_TRUE(Install({{"site.conf", "new"}}).ok());
  plan_.task = "tasks/other";
  plan_.hooks.apply = "false";
  Open();
  ASSERT_TRUE(installer_->pending().has_value());
  EXPECT_EQ(installer_->pending()->task, "tasks/t");
  ASSERT_TRUE(installer_->BeginRollback("interrupted", "", true).ok());
  ASSERT_TRUE(installer_->FinishRollback().ok());
  EXPECT_EQ(Installed().at("site.conf"), "old");
  EXPECT_EQ(ReadTestFile(Running()), "old");
  const auto note = installer_->view("tasks/t").rollback;
  ASSERT_TRUE(note.has_value());
  EXPECT_EQ(note->reason, "interrupted");
  EXPECT_TRUE(note->passing);
}

}  // namespace
}  // namespace parley::agent
