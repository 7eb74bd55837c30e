// Several tasks on one target: whose file is whose.
#include "clients/agent/target_record.h"

#include "clients/agent/installer_testing.h"
#include "clients/agent/record.h"

namespace parley::agent {
namespace {

class TwoTasksTest : public AnyMethodTest {
 protected:
  void Confirm(const std::string& task, const Tree& tree, int64_t revision, const std::string& supersedes = "") {
    plan_.task = task;
    plan_.state_folder = folder_ / task;
    std::filesystem::create_directories(plan_.state_folder);
    const FakePayload payload = MakePayload(tree);
    task::v1::Manifest manifest = payload.Manifest(task, revision);
    manifest.set_supersedes(supersedes);
    Open();
    ASSERT_TRUE(
        installer_->Stage(plan_, manifest, [&](absl::string_view digest) { return payload.Read(digest); }).ok());
    ASSERT_TRUE(installer_->Swap().ok());
    ASSERT_TRUE(installer_->RunApply().ok());
    ASSERT_TRUE(installer_->Commit().ok());
  }
  Installer::OnDisk Read(const std::string& task) {
    const auto read = installer_->Read(task);
    EXPECT_TRUE(read.ok()) << read.status();
    return read.ok() ? *read : Installer::OnDisk();
  }
};
INSTANTIATE_TEST_SUITE_P(TargetRecord, TwoTasksTest, testing::Values(Method::kExchange, Method::kFiles), MethodName);

TEST_P(TwoTasksTest, AFileThatAnotherTaskHasTooStaysWhenOneDropsIt) {
  Confirm("tasks/a", {{"a.conf", "a"}, {"shared.conf", "same"}}, 1);
  Confirm("tasks/b", {{"b.conf", "b"}, {"shared.conf", "same"}}, 1);
  Confirm("tasks/a", {{"a.conf", "a2"}}, 2);
  EXPECT_EQ(Installed().at("shared.conf"), "same");
  EXPECT_EQ(Read("tasks/b").digest, installer_->view("tasks/b").digest);
  EXPECT_EQ(Read("tasks/b").taken_over, "");
  // The other way round: b is the owner now, and the only one that has it.
  Confirm("tasks/b", {{"b.conf", "b2"}}, 2);
  EXPECT_EQ(Installed().count("shared.conf"), 0u);
}

TEST_P(TwoTasksTest, TheOneThatInstalledLastOwnsAFileAndTheOtherIsToldSo) {
  Confirm("tasks/a", {{"a.conf", "a"}, {"shared.conf", "a's"}}, 1);
  Confirm("tasks/b", {{"shared.conf", "b's"}}, 1);
  const Installer::OnDisk a = Read("tasks/a");
  EXPECT_EQ(a.changed_paths, (std::vector<std::string>{"shared.conf"}));
  EXPECT_NE(a.digest, installer_->view("tasks/a").digest);
  EXPECT_NE(a.taken_over.find("tasks/b"), std::string::npos) << a.taken_over;
  EXPECT_EQ(Read("tasks/b").taken_over, "");
  // When the owner drops it, it is the other's again, which can mend it.
  Confirm("tasks/b", {{"b.conf", "b"}}, 2);
  EXPECT_EQ(Installed().at("shared.conf"), "b's");
  EXPECT_EQ(Read("tasks/a").taken_over, "");
  EXPECT_EQ(Read("tasks/a").changed_paths, (std::vector<std::string>{"shared.conf"}));
}

TEST_P(TwoTasksTest, ATaskThatSupersedesInheritsTheFiles) {
  Confirm("tasks/a", {{"sub/old.conf", "a"}, {"both.conf", "a"}}, 1);
  Confirm("tasks/b", {{"both.conf", "b"}, {"new.conf", "b"}}, 1, "tasks/a");
  EXPECT_EQ(Installed(), (Tree{{"both.conf", "b"}, {"keep", "mine"}, {"new.conf", "b"}, {"site.conf", "old"}}));
  EXPECT_EQ(Read("tasks/a").digest, "");
  EXPECT_NE(Read("tasks/a").taken_over, "");
  EXPECT_EQ(installer_->view("tasks/a").revision, 1) << "it must not go back";
}

TEST_P(TwoTasksTest, SaysWhatIsMissingOrChanged) {
  Confirm("tasks/a", {{"a.conf", "a"}, {"b.conf", "b"}, {"c.conf", "c"}}, 1);
  const std::string digest = Read("tasks/a").digest;
  WriteTestFile(Target() + "/a.conf", "edited");
  unlink((Target() + "/b.conf").c_str());
  EXPECT_EQ(Read("tasks/a").changed_paths, (std::vector<std::string>{"a.conf", "b.conf"}));
  EXPECT_NE(Read("tasks/a").digest, digest);
  std::filesystem::remove_all(Target());
  Open();
  EXPECT_EQ(Read("tasks/a").digest, "");
}

// What commit 4410b30 wrote, byte for byte: the numbers of the fields are what it knew.
class OlderVersionTest : public InstallerTest {
 protected:
  static std::string Varint(uint64_t value) {
    std::string bytes;
    for (; value >= 0x80; value >>= 7) bytes.push_back(static_cast<char>(value | 0x80));
    bytes.push_back(static_cast<char>(value));
    return bytes;
  }
  static std::string Number(int field, uint64_t value) { return Varint(field << 3) + Varint(value); }
  static std::string Text(int field, const std::string& text) {
    return Varint(field << 3 | 2) + Varint(text.size()) + text;
  }
  static void WriteOld(const std::string& path, const std::string& body) {
    WriteTestFile(path, crypto::Sha256(body) + body);
  }
  static uint64_t InodeOf(const std::string& path) {
    struct stat info = {};
    stat(path.c_str(), &info);
    return info.st_ino;
  }

  // Writes what lay there after a swap of revision 2 over an installed revision 1.
  void WriteUndecided(int phase) {
    WriteTree(Target(), {{"keep", "mine"}, {"site.conf", "two"}});
    WriteTree(Place() + "/tree", {{"gone", "one"}, {"keep", "mine"}, {"site.conf", "one"}});
    chmod(Place().c_str(), 0700);
    for (const std::string& file : {Target() + "/site.conf", Place() + "/tree/site.conf", Place() + "/tree/gone"}) {
      chmod(file.c_str(), 0644);
    }
    const Tree one = {{"gone", "one"}, {"site.conf", "one"}}, two = {{"site.conf", "two"}};
    WriteOld(Place() + "/journal", Number(1, phase) + Text(2, "tasks/t") + Number(3, 2) + Number(4, 7) +
                                       Text(5, payload::DigestFiles(MakePayload(two).files)) + Text(6, State()) +
                                       Number(8, InodeOf(Target())) + Number(9, InodeOf(Place() + "/tree")) +
                                       Text(10, "site.conf") + Text(11, Number(1, 1'700'000'000)) +
                                       Number(12, phase >= 2 ? 1 : 0) +
                                       (phase == 4 ? Text(13, "check_failed") + Text(14, "line 14") : ""));
    WriteOld(State() + "/installed", Number(1, 1) + Text(2, payload::DigestFiles(MakePayload(one).files)) +
                                         Text(3, "gone") + Text(3, "site.conf"));
    options_.hooks.apply =
        "cp $PARLEY_TARGET/site.conf " + folder_ / "running" + "; echo $PARLEY_REVISION >> " + folder_ / "revisions";
  }
};

TEST_F(OlderVersionTest, ASwappedInSetStaysPendingAndCommits) {
  WriteUndecided(1);
  Open();
  ASSERT_TRUE(installer_->pending().has_value());
  EXPECT_EQ(installer_->pending()->attempt, 7);
  EXPECT_EQ(*installer_->PendingDigest(), installer_->pending()->digest);
  const auto applied = installer_->RunApply();
  ASSERT_TRUE(applied.ok() && applied->status.ok());
  EXPECT_EQ(ReadTestFile(folder_ / "running"), "two");
  ASSERT_TRUE(installer_->Commit().ok());
  EXPECT_EQ(View().revision, 2);
  EXPECT_EQ(installer_->Read("tasks/t")->digest, View().digest);
  EXPECT_TRUE(PlaceIsClean());
}

TEST_F(OlderVersionTest, ARollbackThatWasBegunIsFinishedWithTheCommandsOfTheOneThatOpens) {
  WriteUndecided(4);
  Open();
  EXPECT_FALSE(installer_->pending().has_value());
  EXPECT_EQ(Installed(), (Tree{{"gone", "one"}, {"keep", "mine"}, {"site.conf", "one"}}));
  EXPECT_EQ(ReadTestFile(folder_ / "running"), "one");
  EXPECT_EQ(ReadTestFile(folder_ / "revisions"), "1\n");
  EXPECT_EQ(View().revision, 1);
  EXPECT_EQ(View().rollback->attempt, 7);
  EXPECT_EQ(View().rollback->detail, "line 14");
}

TEST_F(OlderVersionTest, ACommitThatWasBegunIsFinished) {
  WriteUndecided(5);
  Open();
  EXPECT_EQ(View().revision, 2);
  EXPECT_TRUE(PlaceIsClean());
}

TEST_F(OlderVersionTest, WhatATaskHadInstalledIsTakenOverOnce) {
  WriteTree(Target(), {{"a", "1"}, {"gone", "1"}});
  const std::string digest = payload::DigestFiles(MakePayload({{"a", "1"}, {"gone", "1"}}).files);
  for (const char* name : {"/a", "/gone"}) chmod((Target() + name).c_str(), 0644);
  WriteOld(State() + "/installed", Number(1, 5) + Text(2, digest) + Text(3, "a") + Text(3, "gone"));
  Open();
  ASSERT_TRUE(installer_->Adopt("tasks/t", State()).ok());
  EXPECT_EQ(View().revision, 5);
  EXPECT_EQ(installer_->Read("tasks/t")->digest, digest);
  EXPECT_EQ(Reason(Stage({{"a", "1"}}, 4)), "REVISION_OLDER");
  ASSERT_TRUE(Install({{"a", "2"}}, 6).ok());
  EXPECT_EQ(Installed().count("gone"), 0u);
  ASSERT_TRUE(installer_->Commit().ok());
  ASSERT_TRUE(installer_->Adopt("tasks/t", State()).ok());
  EXPECT_EQ(View().revision, 6);
}

// The paths in it are those of another folder.
TEST_F(OlderVersionTest, OfATaskThatUpdatedAnotherTargetOnlyTheRevisionIsTakenOver) {
  WriteOld(State() + "/installed", Number(1, 5) + Text(2, "digest") + Text(3, "keep"));
  WriteOld(State() + "/membership", Text(1, "tasks/t") + Text(10, "/somewhere/else"));
  Open();
  ASSERT_TRUE(installer_->Adopt("tasks/t", State()).ok());
  EXPECT_EQ(View().revision, 5);
  EXPECT_FALSE(View().applied);
  ASSERT_TRUE(Install({{"a", "1"}}, 6).ok());
  EXPECT_EQ(Installed().at("keep"), "mine");
}

}  // namespace
}  // namespace parley::agent
