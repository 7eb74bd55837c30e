// An installer with its folders, for tests.
#ifndef PARLEY_CLIENTS_AGENT_INSTALLER_TESTING_H_
#define PARLEY_CLIENTS_AGENT_INSTALLER_TESTING_H_

#include <linux/capability.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "absl/strings/match.h"
#include "clients/agent/fake_payload.h"
#include "clients/agent/installer.h"
#include "gtest/gtest.h"
#include "lib/base/error.h"

namespace parley::agent {

class InstallerTest : public testing::Test {
 protected:
  InstallerTest() {
    std::filesystem::create_directories(State());
    plan_.task = "tasks/t";
    plan_.attempt = 1;
    plan_.state_folder = State();
    WriteTree(Target(), {{"keep", "mine"}, {"site.conf", "old"}});
  }

  std::string Target() const { return folder_ / "target"; }
  std::string State() const { return folder_ / "state"; }
  // Returns what is in the target, without what a target that is a mount keeps in itself.
  Tree Installed() const {
    Tree tree = ReadTree(Target());
    std::erase_if(tree, [](const auto& entry) { return absl::StartsWith(entry.first, ".parley/"); });
    return tree;
  }
  // Returns the same without folders: an update in place keeps those that are empty by now until it is committed.
  Tree InstalledFiles() const { return WithoutEmptyFolders(Installed()); }
  std::string Place() const { return folder_ / ".parley-target"; }
  bool PlaceIsGone() const { return !std::filesystem::exists(Place()); }
  // Returns whether the place holds nothing but the record of what is installed.
  bool PlaceIsClean() const {
    const Tree left = ReadTree(Place());
    return left.size() == 1 && left.count("record") == 1;
  }

  void Open() { Open(Target()); }
  void Open(const std::string& path) {
    Close();
    auto target = TargetFolder::Open(path, kind_);
    ASSERT_TRUE(target.ok()) << target.status();
    target_ = *std::move(target);
    auto installer = Installer::Open(target_.get(), options_);
    ASSERT_TRUE(installer.ok()) << installer.status();
    installer_.emplace(*std::move(installer));
  }
  void Close() {
    installer_.reset();
    target_.reset();
  }

  Installer::TaskView View() const { return installer_->view(plan_.task); }

  absl::Status Check(const Tree& tree) {
    return installer_->Check(plan_.task, MakePayload(tree).Manifest(plan_.task, 1));
  }
  // Expects method files for a set that changes nothing of what is there, because of this.
  void ExpectFiles(const std::string& because) {
    Open();
    ASSERT_EQ(Check({{"a", "1"}}), absl::OkStatus());
    EXPECT_EQ(installer_->method(), Method::kFiles);
    EXPECT_TRUE(absl::StrContains(installer_->method_reason(), because)) << installer_->method_reason();
  }

  absl::Status Stage(const Tree& tree, int64_t revision = 1) {
    const FakePayload payload = MakePayload(tree);
    const task::v1::Manifest manifest = payload.Manifest("tasks/t", revision);
    RETURN_IF_ERROR(installer_->Check(plan_.task, manifest));
    return installer_->Stage(plan_, manifest, [&payload](absl::string_view digest) { return payload.Read(digest); });
  }

  absl::Status StageAndSwap(const Tree& tree, int64_t revision = 1) {
    RETURN_IF_ERROR(Stage(tree, revision));
    return installer_->Swap();
  }

  absl::Status Install(const Tree& tree, int64_t revision = 1) {
    RETURN_IF_ERROR(StageAndSwap(tree, revision));
    RETURN_IF_ERROR(installer_->RunCheck().status);
    const auto applied = installer_->RunApply();
    RETURN_IF_ERROR(applied.status());
    return applied->status;
  }

  absl::Status InstallAndCommit(const Tree& tree, int64_t revision = 1) {
    RETURN_IF_ERROR(Install(tree, revision));
    return installer_->Commit();
  }

  absl::Status RollBack() {
    RETURN_IF_ERROR(installer_->BeginRollback("check_failed", "why", false));
    return installer_->FinishRollback();
  }

  // Expects `check` to hold in a child process that runs without root's powers over files.
  void ExpectWithoutPrivilege(const std::function<bool()>& check) {
    const pid_t child = fork();
    if (child == 0) {
      __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
      __user_cap_data_struct none[2] = {};
      if (syscall(SYS_capset, &header, none) != 0) _exit(3);
      _exit(check() ? 0 : 1);
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFEXITED(status));
    EXPECT_EQ(WEXITSTATUS(status), 0);
  }

  TemporaryFolder folder_;
  TargetFolder::Kind kind_ = TargetFolder::Kind::kFolder;
  Installer::Options options_;
  UpdatePlan plan_;
  std::unique_ptr<TargetFolder> target_;
  std::optional<Installer> installer_;
};

// The tests of a class that derives from it run with each method.
class AnyMethodTest : public InstallerTest, public testing::WithParamInterface<Method> {
 protected:
  AnyMethodTest() { options_.method = GetParam(); }
};
inline std::string MethodName(const testing::TestParamInfo<Method>& info) {
  return info.param == Method::kFiles ? "Files" : "Exchange";
}

}  // namespace parley::agent

#endif  // PARLEY_CLIENTS_AGENT_INSTALLER_TESTING_H_
