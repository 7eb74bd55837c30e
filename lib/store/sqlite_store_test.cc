#include "lib/store/sqlite_store.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <iostream>
#include <random>

#include "lib/base/file.h"
#include "lib/store/conformance_test.h"
#include "lib/store/database.h"

namespace parley::store {
namespace {

class Folder {
 public:
  Folder() : path_(std::filesystem::path(testing::TempDir()) / "store.XXXXXX") {
    EXPECT_NE(mkdtemp(path_.data()), nullptr);
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  std::string File() const { return path_ + "/parley.db"; }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

class SqliteEngine final : public Engine {
 public:
  absl::StatusOr<std::unique_ptr<Store>> Open(Clock* clock) override {
    return OpenSqliteStore({.path = folder_.File(), .keep_revisions = 0, .clock = clock});
  }

 private:
  Folder folder_;
};
std::unique_ptr<Engine> MakeSqliteEngine() { return std::make_unique<SqliteEngine>(); }

INSTANTIATE_TEST_SUITE_P(Sqlite, StoreConformance, testing::Values(&MakeSqliteEngine));

// One that was filled from elsewhere, and counts on above the revisions there.
class FilledSqliteEngine final : public Engine {
 public:
  FilledSqliteEngine() {
    const SqliteOptions filling = {.path = folder_.File(), .purpose = {StorePurpose::Use::kFill, /*after=*/5'000'000}};
    EXPECT_TRUE(OpenSqliteStore(filling).ok());
    EXPECT_TRUE(FinishSqliteStore(folder_.File()).ok());
  }
  absl::StatusOr<std::unique_ptr<Store>> Open(Clock* clock) override {
    return OpenSqliteStore({.path = folder_.File(), .keep_revisions = 0, .clock = clock});
  }

 private:
  Folder folder_;
};
std::unique_ptr<Engine> MakeFilledSqliteEngine() { return std::make_unique<FilledSqliteEngine>(); }

INSTANTIATE_TEST_SUITE_P(FilledSqlite, StoreConformance, testing::Values(&MakeFilledSqliteEngine));

std::string OpenError(const std::string& path) {
  const absl::StatusOr<std::unique_ptr<Store>> store = OpenSqliteStore({.path = path});
  EXPECT_THAT(std::string(store.status().message()), testing::HasSubstr(path));
  return Reason(store.status());
}

TEST(SqliteStore, OneProcessAtATime) {
  Folder folder;
  const auto store = *OpenSqliteStore({.path = folder.File()});
  EXPECT_EQ(OpenError(folder.File()), "STORE_LOCKED");
}

TEST(SqliteStore, KnowsWhoseItIs) {
  Folder folder;
  SqliteOptions options = {.path = folder.File()};
  // One of an earlier version does not, until a service opens it.
  ASSERT_TRUE(OpenSqliteStore(options).ok());
  EXPECT_EQ(ReadSqliteOwner(folder.File())->service, "");
  options.owner.service = "taskd";
  ASSERT_TRUE(OpenSqliteStore(options).ok());
  options.owner = {"taskd", "Example Ltd"};
  ASSERT_TRUE(OpenSqliteStore(options).ok());
  for (const StoreOwner& other : {StoreOwner{"keyd", ""}, StoreOwner{"taskd", "Other Ltd"}}) {
    options.owner = other;
    EXPECT_EQ(Reason(OpenSqliteStore(options).status()), "STORE_FOREIGN");
  }
  EXPECT_EQ(ReadSqliteOwner(folder.File())->organisation, "Example Ltd");
}

// Programs that know no copies refuse any schema but their own.
TEST(SqliteStore, IsOpenedByNobodyWhileItIsFilled) {
  Folder folder;
  SqliteOptions filling = {.path = folder.File(), .purpose = {StorePurpose::Use::kFill, 7}};
  ASSERT_TRUE((*OpenSqliteStore(filling))->Commit(Transaction().Set("half", "1")).ok());
  EXPECT_EQ(OpenError(folder.File()), "STORE_UNFINISHED");
  EXPECT_EQ(*(*Database::Open(folder.File()))->Value("PRAGMA user_version"), "-1");
  {
    const auto again = *OpenSqliteStore(filling);
    EXPECT_EQ(Reason(again->Get("half").status()), "KEY_NOT_FOUND");
    EXPECT_EQ(Reason(FinishSqliteStore(folder.File())), "STORE_LOCKED");
    EXPECT_EQ(*again->Commit(Transaction().Set("whole", "1")), 9);
  }
  ASSERT_TRUE(FinishSqliteStore(folder.File()).ok());
  EXPECT_EQ((*OpenSqliteStore({.path = folder.File()}))->Get("whole")->value, "1");
  EXPECT_EQ(Reason(FinishSqliteStore(folder.File())), "STORE_NOT_EMPTY");
  EXPECT_EQ(Reason(OpenSqliteStore(filling).status()), "STORE_NOT_EMPTY");
}

TEST(SqliteStore, ItsFilesAreItsOwners) {
  Folder folder;
  umask(0);
  {
    const auto store = *OpenSqliteStore({.path = folder.File()});
    ASSERT_TRUE(store->Commit(Transaction().Set("a", "1")).ok());
    int files = 0;
    for (const auto& file : std::filesystem::directory_iterator(folder.path())) {
      struct stat info;
      ASSERT_EQ(stat(file.path().c_str(), &info), 0);
      EXPECT_EQ(info.st_mode & 0077, 0) << file.path();
      ++files;
    }
    EXPECT_EQ(files, 4);  // The database, its log, its index and the lock.
  }
  umask(022);
  ASSERT_EQ(chmod(folder.File().c_str(), 0640), 0);
  EXPECT_EQ(OpenError(folder.File()), "FILE_EXPOSED");
}

TEST(SqliteStore, RefusesANewerSchemaAndOtherFiles) {
  Folder folder;
  { const auto store = *OpenSqliteStore({.path = folder.File()}); }
  ASSERT_TRUE((*Database::Open(folder.File()))->Execute("PRAGMA user_version = 2").ok());
  EXPECT_EQ(OpenError(folder.File()), "STORE_NEWER");

  const std::string other = folder.path() + "/other.db";
  ASSERT_TRUE(WriteFileAtomically(other, "", 0600).ok());
  ASSERT_TRUE((*Database::Open(other))->Execute("CREATE TABLE t (a)").ok());
  EXPECT_EQ(OpenError(other), "STORE_DAMAGED");

  const std::string text = folder.path() + "/text.db";
  ASSERT_TRUE(WriteFileAtomically(text, std::string(8192, 'x'), 0600).ok());
  EXPECT_EQ(OpenError(text), "STORE_DAMAGED");
  EXPECT_EQ(OpenError(folder.path() + "/nowhere/parley.db"), "FILE_NOT_FOUND");
}

TEST(SqliteStore, SaysThatItsFileIsDamaged) {
  Folder folder;
  {
    const auto store = *OpenSqliteStore({.path = folder.File()});
    for (int i = 0; i < 20; ++i) {
      Transaction transaction;
      for (int j = 0; j < 100; ++j) transaction.Set(absl::StrCat("key/", i, "/", j), std::string(200, 'v'));
      ASSERT_TRUE(store->Commit(std::move(transaction)).ok());
    }
  }
  const int fd = open(folder.File().c_str(), O_RDWR);
  const std::string noise(4096, '\xA5');
  for (int page = 3; page < 40; ++page) ASSERT_EQ(pwrite(fd, noise.data(), noise.size(), page * 4096), 4096);
  close(fd);
  const auto store = OpenSqliteStore({.path = folder.File()});
  const absl::Status status = store.ok() ? (*store)->List(KeyRange::Prefix("")).status() : store.status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << status;
  EXPECT_THAT(std::string(status.message()), testing::HasSubstr(folder.File()));
}

TEST(SqliteStore, CompactsByItself) {
  Folder folder;
  const auto store = *OpenSqliteStore({.path = folder.File(), .keep_revisions = 20});
  for (int i = 0; i < 200; ++i) ASSERT_TRUE(store->Commit(Transaction().Set("a", absl::StrCat(i))).ok());
  // The compaction runs beside us: what it promises is that it gets there.
  while (Reason(store->Get("a", 100).status()) != "STORE_COMPACTED") {
    ASSERT_TRUE(store->Commit(Transaction().Set("a", "more")).ok());
  }
  EXPECT_EQ(store->Get("a")->value.empty(), false);
}

TEST(SqliteStore, CompactsByItselfWhenMuchWasWritten) {
  Folder folder;
  const auto store = *OpenSqliteStore({.path = folder.File(), .keep_bytes = 10'000});
  const std::string value(1000, 'v');
  for (int i = 0; i < 40; ++i) ASSERT_TRUE(store->Commit(Transaction().Set("a", value)).ok());
  while (Reason(store->Get("a", 5).status()) != "STORE_COMPACTED") {
    ASSERT_TRUE(store->Commit(Transaction().Set("a", value)).ok());
  }
  // What the last ten thousand bytes have superseded is there.
  const int64_t newest = *store->Revision();
  EXPECT_TRUE(store->Get("a", newest - 9).ok());
}

TEST(SqliteStore, AWatchThatFellBehindReadsItsHistory) {
  Folder folder;
  const auto store = *OpenSqliteStore({.path = folder.File()});
  Mutex mutex;
  CondVar changed;
  bool open = false;
  int64_t next = 1;
  const auto watch = *store->WatchRange(KeyRange::Prefix("w"), 0, [&](auto changes, int64_t) {
    MutexLock lock(&mutex);
    while (!open) changed.Wait(&mutex);
    for (const Change& change : *changes) EXPECT_EQ(change.mod_revision, next++);
    changed.NotifyAll();
  });
  // More than the dispatcher keeps: 40 MB while the callback is held up.
  for (int i = 0; i < 40; ++i) ASSERT_TRUE(store->Commit(Transaction().Set("w", std::string(1'000'000, 'x'))).ok());
  {
    MutexLock lock(&mutex);
    open = true;
    changed.NotifyAll();
    while (next <= 40) changed.Wait(&mutex);
  }
  ASSERT_TRUE(store->Commit(Transaction().Set("w", "live again")).ok());
  MutexLock lock(&mutex);
  while (next <= 41) changed.Wait(&mutex);
}

TEST(SqliteStore, ReadersWithoutAPauseDoNotLetTheLogGrow) {
  Folder folder;
  const auto store = *OpenSqliteStore({.path = folder.File()});
  ASSERT_TRUE(store->Commit(Transaction().Set("r", "x")).ok());
  std::atomic<bool> stop = false;
  std::vector<std::thread> readers;
  for (int t = 0; t < 3; ++t) {
    readers.emplace_back([&] {
      while (!stop) EXPECT_TRUE(store->List(KeyRange::Prefix("r")).ok());
    });
  }
  uintmax_t largest = 0;
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(store->Commit(Transaction().Set("w", std::string(1'000'000, 'x'))).ok());
    largest = std::max(largest, std::filesystem::file_size(folder.File() + "-wal"));
  }
  stop = true;
  for (std::thread& reader : readers) reader.join();
  EXPECT_LT(largest, 80'000'000);
}

// Runs `work` in a child and returns its exit code.
template <typename Work>
int InChild(Work work) {
  const pid_t child = fork();
  if (child == 0) _exit(work());
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST(SqliteStoreFault, AFullDiskIsAnErrorAndNoDamage) {
  Folder folder;
  // A limit on file size is the same to SQLite as a full disk: a write that fails half way.
  const int code = InChild([&folder] {
    auto store = OpenSqliteStore({.path = folder.File()});
    if (!store.ok()) return 1;
    signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{3'000'000, 3'000'000};
    setrlimit(RLIMIT_FSIZE, &limit);
    for (int i = 0; i < 1000; ++i) {
      const std::string number = absl::StrCat(i);
      const absl::Status status =
          (*store)->Commit(Transaction().Set("a/" + number, std::string(50'000, 'x')).Set("b/" + number, "")).status();
      if (status.ok()) continue;
      if (Reason(status) != "DISK_FULL") {
        std::cerr << status << "\n";
        return 2;
      }
      if (status.message().find("parley.db") == absl::string_view::npos) return 3;
      // Reads go on, and so do commits that fit once there is room.
      if (!(*store)->Get("a/0").ok()) return 4;
      return i > 10 ? 0 : 5;
    }
    return 6;
  });
  ASSERT_EQ(code, 0);
  const auto store = *OpenSqliteStore({.path = folder.File()});
  const Page a = *store->List(KeyRange::Prefix("a/"));
  EXPECT_GT(a.entries.size(), 10);
  EXPECT_EQ(a.entries.size(), store->List(KeyRange::Prefix("b/"))->entries.size());
  EXPECT_TRUE(store->Commit(Transaction().Set("room", "again")).ok());
}

TEST(SqliteStoreFault, AFileThatCannotBeWrittenIsRefused) {
  Folder folder;
  { const auto store = *OpenSqliteStore({.path = folder.File()}); }
  ASSERT_EQ(chmod(folder.File().c_str(), 0400), 0);
  // Root may write it all the same.
  const int code = InChild([&folder] {
    if (geteuid() == 0) {
      for (const auto& file : std::filesystem::directory_iterator(folder.path())) {
        if (chown(file.path().c_str(), 65534, 65534) != 0) return 0;
      }
      if (chown(folder.path().c_str(), 65534, 65534) != 0 || setgid(65534) != 0 || setuid(65534) != 0) return 0;
    }
    const auto store = OpenSqliteStore({.path = folder.File()});
    return Reason(store.status()) == "FILE_PERMISSION" ? 0 : 1;
  });
  EXPECT_EQ(code, 0);
}

// The child commits and then says so; each commit puts two keys that must never be apart.
[[noreturn]] void CommitForEver(const std::string& path, int pipe) {
  auto store = OpenSqliteStore({.path = path});
  if (!store.ok()) _exit(1);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&store, pipe, t] {
      for (int i = 0;; ++i) {
        const std::string name = absl::StrCat(getpid(), ".", t, ".", i);
        const std::string value = name + std::string(static_cast<size_t>(i * 37 % 5000), 'x');
        if (!(*store)->Commit(Transaction().Set("a/" + name, value).Set("b/" + name, value)).ok()) _exit(1);
        const std::string line = name + "\n";
        if (write(pipe, line.data(), line.size()) < 0) _exit(1);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  _exit(1);
}

TEST(SqliteStoreFault, KilledAtAnyMomentLosesNothingAcknowledged) {
  Folder folder;
  std::minstd_rand random(20231107);
  std::vector<std::string> acknowledged;
  for (int round = 0; round < 50; ++round) {
    int pipe_fds[2];
    ASSERT_EQ(pipe(pipe_fds), 0);
    const pid_t child = fork();
    if (child == 0) CommitForEver(folder.File(), pipe_fds[1]);
    close(pipe_fds[1]);
    // So many acknowledged bytes, then so many microseconds: any moment of a commit.
    std::string lines;
    char buffer[512];
    const size_t enough = random() % 2000;
    while (lines.size() < enough) {
      const ssize_t count = read(pipe_fds[0], buffer, sizeof(buffer));
      ASSERT_GT(count, 0) << "the child could not open or commit in round " << round;
      lines.append(buffer, static_cast<size_t>(count));
    }
    usleep(random() % 3000);
    kill(child, SIGKILL);
    for (ssize_t count; (count = read(pipe_fds[0], buffer, sizeof(buffer))) > 0;) {
      lines.append(buffer, static_cast<size_t>(count));
    }
    close(pipe_fds[0]);
    waitpid(child, nullptr, 0);
    for (size_t start = 0, end; (end = lines.find('\n', start)) != std::string::npos; start = end + 1) {
      acknowledged.push_back(lines.substr(start, end - start));
    }
  }
  const auto store = *OpenSqliteStore({.path = folder.File()});
  for (const std::string& name : acknowledged) ASSERT_TRUE(store->Get("a/" + name).ok()) << name << " was lost";
  const Page a = *store->List(KeyRange::Prefix("a/"));
  const Page b = *store->List(KeyRange::Prefix("b/"));
  ASSERT_EQ(a.entries.size(), b.entries.size());
  EXPECT_GE(a.entries.size(), acknowledged.size());
  for (size_t i = 0; i < a.entries.size(); ++i) {
    ASSERT_EQ(a.entries[i].key.substr(2), b.entries[i].key.substr(2));
    ASSERT_EQ(a.entries[i].value, b.entries[i].value);
    ASSERT_EQ(a.entries[i].mod_revision, b.entries[i].mod_revision);
  }
  EXPECT_GT(acknowledged.size(), 50);
}

}  // namespace
}  // namespace parley::store
