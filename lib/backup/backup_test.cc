#include "lib/backup/backup.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <set>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "lib/base/error.h"
#include "lib/base/fd.h"
#include "lib/base/file.h"
#include "lib/base/file_lock.h"
#include "lib/store/sqlite_store.h"

namespace parley::backup {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr char kPassword[] = "correct horse battery";

class BackupTest : public testing::Test {
 protected:
  BackupTest() : folder_(std::filesystem::path(testing::TempDir()) / "backup.XXXXXX") {
    EXPECT_NE(mkdtemp(folder_.data()), nullptr);
  }
  ~BackupTest() override { std::filesystem::remove_all(folder_); }

  std::string Path(absl::string_view name) const { return absl::StrCat(folder_, "/", name); }
  std::string Out() const { return Path("out.backup"); }

  // Makes the data that the services would leave, open while the test runs.
  void MakeData(const std::string& data, std::initializer_list<const char*> services = {"keyd", "taskd", "enrolld"}) {
    for (const std::string service : services) {
      const std::string folder = absl::StrCat(data, "/", service);
      ASSERT_TRUE(MakeFolders(folder, 0700).ok());
      stores_.push_back(*store::OpenSqliteStore({.path = absl::StrCat(folder, "/", service, ".db")}));
      ASSERT_TRUE(stores_.back()->Commit(store::Transaction().Set("is", service)).ok());
    }
  }
  void MakeKeys(const std::string& data) {
    ASSERT_TRUE(MakeFolders(data + "/keyd/credentials", 0700).ok());
    ASSERT_TRUE(WriteFileAtomically(data + "/keyd/kek", "the kek", 0600).ok());
    ASSERT_TRUE(WriteFileAtomically(data + "/keyd/credentials/taskd.credential", "a credential", 0600).ok());
    ASSERT_TRUE(WriteFileAtomically(data + "/taskd/seal.key", "a key", 0600).ok());
  }

  absl::StatusOr<Summary> RestoreTo(const std::string& data, const std::string& password = kPassword) {
    const Fd fd(open(Out().c_str(), O_RDONLY | O_CLOEXEC));
    EXPECT_TRUE(fd.ok());
    return Restore(fd.get(), Out(), Secret::CopyOf(password), data);
  }

  // Relative paths of files, those of what goes with an open store left out.
  static std::set<std::string> Files(const std::string& data) {
    std::set<std::string> files;
    for (const auto& file : std::filesystem::recursive_directory_iterator(data)) {
      if (!file.is_regular_file()) continue;
      const std::string path = file.path().lexically_relative(data);
      if (path.find(".db-") == std::string::npos && path.find(".lock") == std::string::npos) files.insert(path);
    }
    return files;
  }
  std::set<std::string> Names() const {
    std::set<std::string> names;
    for (const auto& file : std::filesystem::directory_iterator(folder_)) names.insert(file.path().filename());
    return names;
  }

  std::string folder_;
  std::vector<std::unique_ptr<store::Store>> stores_;
};

TEST_F(BackupTest, ComesBackWithEverythingAndNothingElse) {
  const std::string data = Path("data");
  MakeData(data);
  MakeKeys(data);
  ASSERT_TRUE(MakeFolders(data + "/log", 0700).ok());
  ASSERT_TRUE(WriteFileAtomically(data + "/log/keyd.log", "a line", 0600).ok());
  const absl::StatusOr<Summary> made = Backup({data}, Out(), Secret::CopyOf(kPassword));
  ASSERT_TRUE(made.ok()) << made.status();
  // keyd is last, and databases follow what they refer to.
  EXPECT_THAT(made->label.services, ElementsAre("taskd", "enrolld", "keyd"));
  std::vector<std::string> names;
  for (const ArchiveEntry& entry : made->entries) names.push_back(entry.name);
  EXPECT_THAT(names, ElementsAre("taskd/seal.key", "taskd/taskd.db", "enrolld/enrolld.db", "keyd/kek",
                                 "keyd/credentials/taskd.credential", "keyd/keyd.db"));
  EXPECT_FALSE(std::filesystem::exists(data + "/taskd/taskd.db.copy"));

  const std::string to = Path("some/where/else");
  const absl::StatusOr<Summary> restored = RestoreTo(to);
  ASSERT_TRUE(restored.ok()) << restored.status();
  EXPECT_EQ(restored->digest, made->digest);
  EXPECT_EQ(Files(to), std::set<std::string>(names.begin(), names.end()));
  EXPECT_EQ(*ReadFile(to + "/keyd/kek", 100), "the kek");
  for (const std::string service : {"keyd", "taskd", "enrolld"}) {
    const auto store = *store::OpenSqliteStore({.path = absl::StrCat(to, "/", service, "/", service, ".db")});
    EXPECT_EQ(store->Get("is")->value, service);
  }
  for (const auto& file : std::filesystem::recursive_directory_iterator(to)) {
    struct stat info;
    ASSERT_EQ(stat(file.path().c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0077, 0) << file.path();
  }
  EXPECT_EQ(Names(), (std::set<std::string>{"data", "out.backup", "some"}));
}

TEST_F(BackupTest, OfOneServiceGoesIntoItsOwnFolder) {
  MakeData(Path("pod"), {"taskd"});
  // Its volume, and its own folder, are the same to it.
  for (const std::string& data : {Path("pod"), Path("pod/taskd")}) {
    unlink(Out().c_str());
    ASSERT_TRUE(Backup({data}, Out(), Secret::CopyOf(kPassword)).ok());
    const std::string to = data + "-restored";
    ASSERT_TRUE(MakeFolders(to + "/lost+found", 0700).ok());
    ASSERT_TRUE(RestoreTo(to).ok());
    EXPECT_EQ(Files(to), std::set<std::string>{"taskd/taskd.db"});
  }
}

TEST_F(BackupTest, RefusesToOverwrite) {
  MakeData(Path("data"));
  ASSERT_TRUE(WriteFileAtomically(Out(), "precious", 0600).ok());
  EXPECT_EQ(Reason(Backup({Path("data")}, Out(), Secret::CopyOf(kPassword)).status()), "FILE_EXISTS");
  EXPECT_EQ(*ReadFile(Out(), 100), "precious");
  unlink(Out().c_str());
  ASSERT_TRUE(Backup({Path("data")}, Out(), Secret::CopyOf(kPassword)).ok());

  EXPECT_EQ(Reason(RestoreTo(Path("data")).status()), "RESTORE_NOT_EMPTY");
  ASSERT_TRUE(MakeFolders(Path("other/something"), 0700).ok());
  EXPECT_EQ(Reason(RestoreTo(Path("other")).status()), "RESTORE_NOT_EMPTY");
  ASSERT_TRUE(WriteFileAtomically(Path("file"), "precious", 0600).ok());
  EXPECT_EQ(Reason(RestoreTo(Path("file")).status()), "RESTORE_NOT_EMPTY");
  EXPECT_EQ(*ReadFile(Path("file"), 100), "precious");
  ASSERT_TRUE(MakeFolders(Path("empty"), 0700).ok());
  EXPECT_TRUE(RestoreTo(Path("empty")).ok());
}

TEST_F(BackupTest, ARestoreThatFailsLeavesNothing) {
  const std::string data = Path("data");
  MakeData(data);
  MakeKeys(data);
  // More than one piece, so that files have been written when the damage is found.
  for (int i = 0; i < 3; ++i) {
    std::string value(1'400'000, 'a');
    for (char& c : value) c = static_cast<char>(i == 0 ? c : rand());
    ASSERT_TRUE(stores_[1]->Commit(store::Transaction().Set(absl::StrCat(i), value)).ok());
  }
  ASSERT_TRUE(Backup({data}, Out(), Secret::CopyOf(kPassword)).ok());
  const std::set<std::string> before = Names();
  const std::string whole = *ReadFile(Out(), 100 << 20);
  ASSERT_GT(whole.size(), size_t{2} << 20);

  EXPECT_EQ(Reason(RestoreTo(Path("to"), "another password").status()), "BACKUP_PASSWORD");
  EXPECT_EQ(Names(), before);
  std::string flipped = whole;
  flipped[whole.size() - 3] = static_cast<char>(flipped[whole.size() - 3] ^ 1);
  for (const std::string& changed : {whole.substr(0, whole.size() - 1), whole.substr(0, whole.size() / 2), flipped,
                                     whole + "x", whole.substr(0, 96) + whole.substr(96 + 4 + (1 << 20) + 16)}) {
    ASSERT_TRUE(WriteFileAtomically(Out(), changed, 0600).ok());
    EXPECT_EQ(Reason(RestoreTo(Path("to")).status()), "BACKUP_DAMAGED");
    EXPECT_EQ(Names(), before);
    const Fd fd(open(Out().c_str(), O_RDONLY | O_CLOEXEC));
    EXPECT_EQ(Reason(CheckBackup(fd.get(), Out(), Secret::CopyOf(kPassword)).status()), "BACKUP_DAMAGED");
  }
}

// Whoever has the password may write an archive of their own; it still gets nowhere else.
TEST_F(BackupTest, EntriesOutsideOfTheServicesAreRefused) {
  const std::vector<std::string> names[] = {
      {"keyd/keyd.db", "keyd/../../outside"},
      {"keyd/keyd.db", "taskd/taskd.db"},
      {"keyd/keyd.db", "keyd/keyd.db"},
      {"keyd/kek"},
  };
  for (const std::vector<std::string>& entries : names) {
    const int fd = open(Out().c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    const auto archive = *ArchiveWriter::Create(fd, Out(), Secret::CopyOf(kPassword), {absl::Now(), {"keyd"}});
    for (const std::string& name : entries) ASSERT_TRUE(archive->Begin({name, 0}).ok());
    ASSERT_TRUE(archive->Finish().ok());
    close(fd);
    EXPECT_EQ(Reason(RestoreTo(Path("to")).status()), "BACKUP_DAMAGED") << entries.back();
    EXPECT_THAT(Files(Path("to")), IsEmpty());
    EXPECT_EQ(Names(), (std::set<std::string>{"out.backup", "to"}));
  }
  const int fd = open(Out().c_str(), O_RDWR | O_TRUNC | O_CLOEXEC);
  ASSERT_TRUE((*ArchiveWriter::Create(fd, Out(), Secret::CopyOf(kPassword), {absl::Now(), {"../x"}}))->Finish().ok());
  close(fd);
  EXPECT_EQ(Reason(RestoreTo(Path("to")).status()), "BACKUP_VERSION");
}

TEST_F(BackupTest, SaysWhenThereIsNothing) {
  EXPECT_EQ(Reason(Backup({Path("nowhere")}, Out(), Secret::CopyOf(kPassword)).status()), "NOTHING_TO_BACK_UP");
  MakeData(Path("data"), {"keyd"});
  EXPECT_EQ(Reason(Backup({Path("data")}, Path("nowhere/out"), Secret::CopyOf(kPassword)).status()), "FILE_NOT_FOUND");
  EXPECT_EQ(Names(), std::set<std::string>{"data"});
}

TEST_F(BackupTest, OneAtATime) {
  MakeData(Path("data"), {"keyd"});
  // What an interrupted one leaves does not stop the next.
  const std::string copy = Path("data/keyd/keyd.db.copy");
  ASSERT_TRUE(WriteFileAtomically(copy, std::string(100'000, 'x'), 0600).ok());
  {
    const Fd fd(open(copy.c_str(), O_RDONLY | O_CLOEXEC));
    ASSERT_TRUE(TryLockFile(fd));
    EXPECT_EQ(Reason(Backup({Path("data")}, Out(), Secret::CopyOf(kPassword)).status()), "BACKUP_RUNNING");
  }
  EXPECT_TRUE(Backup({Path("data")}, Out(), Secret::CopyOf(kPassword)).ok());
  EXPECT_FALSE(std::filesystem::exists(copy));
}

TEST_F(BackupTest, ADamagedStoreIsNoBackup) {
  MakeData(Path("data"), {"keyd"});
  stores_.clear();
  const int fd = open(Path("data/keyd/keyd.db").c_str(), O_RDWR | O_CLOEXEC);
  const std::string noise(3000, '\xA5');
  ASSERT_EQ(pwrite(fd, noise.data(), noise.size(), 4096), ssize_t{3000});
  close(fd);
  EXPECT_EQ(Reason(Backup({Path("data")}, Out(), Secret::CopyOf(kPassword)).status()), "STORE_DAMAGED");
  EXPECT_EQ(Names(), std::set<std::string>{"data"});
}

}  // namespace
}  // namespace parley::backup
