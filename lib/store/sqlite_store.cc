#include "lib/store/sqlite_store.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <deque>
#include <map>
#include <set>
#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "lib/base/fd.h"
#include "lib/base/file.h"
#include "lib/base/file_lock.h"
#include "lib/base/log.h"
#include "lib/base/mutex.h"
#include "lib/base/timer_queue.h"
#include "lib/store/database.h"
#include "lib/store/watch_dispatcher.h"

namespace parley::store {
namespace {

// Every value that any key had. A row's id is its commit's revision, its place in the commit and whether it is a
// deletion, so that the table grows at its end and a key's newest version is found in the index alone.
constexpr char kSchema[] = R"(
  CREATE TABLE history (id INTEGER PRIMARY KEY, key BLOB NOT NULL, create_revision INTEGER NOT NULL,
                        lease INTEGER NOT NULL, value BLOB NOT NULL);
  CREATE INDEX history_by_key ON history (key);
  CREATE INDEX history_by_lease ON history (lease) WHERE lease != 0;
  CREATE TABLE leases (id INTEGER PRIMARY KEY, ttl_ms INTEGER NOT NULL);
  CREATE TABLE state (id INTEGER PRIMARY KEY CHECK (id = 1), revision INTEGER NOT NULL, compacted INTEGER NOT NULL);
  INSERT INTO state VALUES (1, 0, 0);
  PRAGMA application_id = 1348563564;
  PRAGMA user_version = 1;
)";
constexpr absl::string_view kApplicationId = "1348563564";  // "Parl"
constexpr int kSchemaVersion = 1;

constexpr char kReadState[] = "SELECT revision, compacted FROM state WHERE id = 1";
constexpr char kNewest[] = "SELECT id FROM history WHERE key = ?1 AND id <= ?2 ORDER BY id DESC LIMIT 1";
constexpr char kRead[] =
    "SELECT id, create_revision, value FROM history WHERE key = ?1 AND id <= ?2 ORDER BY id DESC LIMIT 1";
constexpr char kReadRow[] = "SELECT create_revision, value FROM history WHERE id = ?1";
constexpr char kCreateRevision[] = "SELECT create_revision FROM history WHERE id = ?1";
constexpr char kScan[] = "SELECT key, id FROM history WHERE key >= ?1 AND key < ?2 AND id <= ?3 ORDER BY key, id";
constexpr char kReadHistory[] =
    "SELECT id, key, value FROM history WHERE id > ?1 AND id <= ?2 AND key >= ?3 AND key < ?4 ORDER BY id";
constexpr char kInsert[] = "INSERT INTO history (id, key, create_revision, lease, value) VALUES (?1, ?2, ?3, ?4, ?5)";
constexpr char kSetRevision[] = "UPDATE state SET revision = ?1 WHERE id = 1";
constexpr char kSetCompacted[] = "UPDATE state SET compacted = ?1 WHERE id = 1";
constexpr char kFindLease[] = "SELECT 1 FROM leases WHERE id = ?1";
constexpr char kListLeases[] = "SELECT id, ttl_ms FROM leases";
constexpr char kInsertLease[] = "INSERT INTO leases (id, ttl_ms) VALUES (?1, ?2)";
constexpr char kDeleteLease[] = "DELETE FROM leases WHERE id = ?1";
constexpr char kRowsOfLease[] = "SELECT id, key FROM history WHERE lease = ?1";
// What was superseded, or was a deletion, by ?3, among the rows of a window.
constexpr char kCompactWindow[] =
    "DELETE FROM history WHERE id > ?1 AND id <= ?2 AND (id & 1 OR EXISTS"
    " (SELECT 1 FROM history AS newer WHERE newer.key = history.key AND newer.id > history.id AND newer.id <= ?3))";

constexpr int kRevisionShift = 20;
constexpr size_t kMaxChangesPerCommit = 100'000;
constexpr int64_t kNewestId = INT64_MAX;
constexpr size_t kMaxReaders = 8;
// Of a group of commits. Bounds how long the first waits for the others.
constexpr size_t kMaxGroupBytes = 4 << 20;
constexpr size_t kMaxGroupCommits = 1000;
constexpr int64_t kCompactionWindow = 1000;  // Revisions in one write transaction, so that commits are not held up.
constexpr int64_t kHistoryWindow = 5000;
constexpr size_t kHistoryBytes = 4 << 20;

int64_t RowId(int64_t revision, size_t place, bool deletion) {
  return (revision << kRevisionShift) | static_cast<int64_t>(place << 1) | (deletion ? 1 : 0);
}
int64_t RevisionOf(int64_t row) { return row >> kRevisionShift; }
bool IsDeletion(int64_t row) { return (row & 1) != 0; }
int64_t LastRowOf(int64_t revision) { return ((revision + 1) << kRevisionShift) - 1; }

// The upper end of a range for SQL: after every key that can be there when the range has none.
const std::string& EndOf(const KeyRange& range) {
  static const std::string* const last = new std::string(kMaxKeyBytes + 1, '\xFF');
  return range.end.empty() ? *last : range.end;
}

absl::Status KeyNotFound(absl::string_view key) {
  return Error(absl::StatusCode::kNotFound, "KEY_NOT_FOUND", absl::StrCat("there is no ", absl::CHexEscape(key)));
}

absl::Status LeaseNotFound() {
  return Error(absl::StatusCode::kNotFound, "LEASE_NOT_FOUND", "the lease has run out; take a new one");
}

absl::Status Validate(const Transaction& transaction) {
  const auto invalid = [](absl::string_view what) {
    return Error(absl::StatusCode::kInvalidArgument, "STORE_TRANSACTION", what);
  };
  if (transaction.puts.size() + transaction.deletes.size() > kMaxChangesPerCommit) {
    return invalid(absl::StrCat("a commit may have at most ", kMaxChangesPerCommit, " changes"));
  }
  std::set<absl::string_view> keys;
  const auto good_key = [&keys](absl::string_view key) {
    return !key.empty() && key.size() <= kMaxKeyBytes && keys.insert(key).second;
  };
  for (const Put& put : transaction.puts) {
    if (!good_key(put.key)) return invalid("a key must have 1 to 512 bytes and be named once in a commit");
    if (put.value.size() > kMaxValueBytes) return invalid("a value may have at most 1,500,000 bytes");
  }
  for (const std::string& key : transaction.deletes) {
    if (!good_key(key)) return invalid("a key must have 1 to 512 bytes and be named once in a commit");
  }
  return absl::OkStatus();
}

struct State {
  int64_t revision = 0;
  int64_t compacted = 0;
};

absl::StatusOr<State> ReadState(Database* database) {
  Database::Statement read = database->Prepare(kReadState);
  ASSIGN_OR_RETURN(const bool found, read.Next());
  if (!found) return Error(absl::StatusCode::kDataLoss, "STORE_DAMAGED", "the store has lost its state row");
  return State{read.Number(0), read.Number(1)};
}

absl::Status CheckRevision(const State& state, int64_t revision) {
  if (revision < state.compacted) {
    return Error(absl::StatusCode::kOutOfRange, "STORE_COMPACTED",
                 absl::StrCat("revision ", revision, " is no longer kept; start again from the newest"));
  }
  if (revision > state.revision) {
    return Error(absl::StatusCode::kOutOfRange, "STORE_FUTURE_REVISION",
                 absl::StrCat("revision ", revision, " is not there yet; start again from the newest"));
  }
  return absl::OkStatus();
}

// Row of the newest version of a key; 0 when there is none.
absl::StatusOr<int64_t> NewestRow(Database* database, absl::string_view key, int64_t max_row) {
  Database::Statement newest = database->Prepare(kNewest);
  newest.Bind(key).Bind(max_row);
  ASSIGN_OR_RETURN(const bool found, newest.Next());
  return found ? newest.Number(0) : 0;
}

// Adds a version to the page unless it is a deletion; false when the page has no room for it.
absl::StatusOr<bool> AddToPage(Database* database, std::string key, int64_t row, size_t limit, Page* page) {
  if (row == 0 || IsDeletion(row)) return true;
  if (limit != 0 && page->entries.size() == limit) {
    page->more = true;
    return false;
  }
  Database::Statement read = database->Prepare(kReadRow);
  read.Bind(row);
  ASSIGN_OR_RETURN(const bool found, read.Next());
  if (!found) return Error(absl::StatusCode::kDataLoss, "STORE_DAMAGED", "the store's index names a missing row");
  page->entries.push_back({std::move(key), std::string(read.Bytes(1)), read.Number(0), RevisionOf(row)});
  return true;
}

// The newest versions of a range's keys. Steps through a key's versions while they are few, else seeks the newest.
absl::Status ListRows(Database* database, const KeyRange& range, size_t limit, int64_t max_row, Page* page) {
  constexpr int kVersionsBeforeSeek = 8;
  std::string from = range.begin;
  while (true) {
    std::string key;
    int64_t newest = 0;
    int versions = 0;
    Database::Statement scan = database->Prepare(kScan);
    scan.Bind(from).Bind(EndOf(range)).Bind(max_row);
    while (versions < kVersionsBeforeSeek) {
      ASSIGN_OR_RETURN(const bool found, scan.Next());
      if (!found) return AddToPage(database, std::move(key), newest, limit, page).status();
      if (const absl::string_view found_key = scan.Bytes(0); newest == 0 || found_key != key) {
        ASSIGN_OR_RETURN(const bool added, AddToPage(database, key, newest, limit, page));
        if (!added) return absl::OkStatus();
        key = std::string(found_key);
        versions = 0;
      }
      newest = scan.Number(1);
      ++versions;
    }
    ASSIGN_OR_RETURN(newest, NewestRow(database, key, max_row));
    from = key + '\0';
    ASSIGN_OR_RETURN(const bool added, AddToPage(database, std::move(key), newest, limit, page));
    if (!added) return absl::OkStatus();
  }
}

// What runs inside the writer's SQLite transaction.
struct Writer {
  Database* database;
  State state;
  // Of the commits in this group.
  std::vector<Change> changes;
};

absl::StatusOr<bool> ConditionHolds(Writer* writer, const Transaction::Condition& condition) {
  ASSIGN_OR_RETURN(const int64_t row, NewestRow(writer->database, condition.key, kNewestId));
  const int64_t mod_revision = IsDeletion(row) ? 0 : RevisionOf(row);
  return mod_revision == condition.mod_revision;
}

absl::Status InsertVersion(Writer* writer, int64_t row, absl::string_view key, int64_t create_revision, LeaseId lease,
                           absl::string_view value) {
  Database::Statement insert = writer->database->Prepare(kInsert);
  return insert.Bind(row).Bind(key).Bind(create_revision).Bind(lease).Bind(value).Run();
}

absl::Status ApplyPut(Writer* writer, int64_t revision, size_t place, Put put) {
  ASSIGN_OR_RETURN(const int64_t before, NewestRow(writer->database, put.key, kNewestId));
  int64_t create_revision = revision;
  if (before != 0 && !IsDeletion(before)) {
    Database::Statement read = writer->database->Prepare(kCreateRevision);
    read.Bind(before);
    RETURN_IF_ERROR(read.Run());
    create_revision = read.Number(0);
  }
  RETURN_IF_ERROR(InsertVersion(writer, RowId(revision, place, false), put.key, create_revision, put.lease, put.value));
  writer->changes.push_back({std::move(put.key), std::move(put.value), revision});
  return absl::OkStatus();
}

// False when the key was absent already.
absl::StatusOr<bool> ApplyDelete(Writer* writer, int64_t revision, size_t place, std::string key) {
  ASSIGN_OR_RETURN(const int64_t before, NewestRow(writer->database, key, kNewestId));
  if (before == 0 || IsDeletion(before)) return false;
  RETURN_IF_ERROR(InsertVersion(writer, RowId(revision, place, true), key, 0, 0, ""));
  writer->changes.push_back({std::move(key), std::nullopt, revision});
  return true;
}

absl::StatusOr<int64_t> ApplyTransaction(Writer* writer, Transaction transaction) {
  for (const Transaction::Condition& condition : transaction.conditions) {
    ASSIGN_OR_RETURN(const bool holds, ConditionHolds(writer, condition));
    if (!holds) {
      return Error(absl::StatusCode::kAborted, "CONFLICT",
                   absl::StrCat(absl::CHexEscape(condition.key), " was changed meanwhile; read it and try again"));
    }
  }
  for (const Put& put : transaction.puts) {
    if (put.lease == 0) continue;
    Database::Statement find = writer->database->Prepare(kFindLease);
    find.Bind(put.lease);
    ASSIGN_OR_RETURN(const bool found, find.Next());
    if (!found) return LeaseNotFound();
  }
  const int64_t revision = writer->state.revision + 1;
  size_t place = 0;
  for (Put& put : transaction.puts) RETURN_IF_ERROR(ApplyPut(writer, revision, place++, std::move(put)));
  for (std::string& key : transaction.deletes) {
    ASSIGN_OR_RETURN(const bool deleted, ApplyDelete(writer, revision, place, std::move(key)));
    if (deleted) ++place;
  }
  if (place > 0) writer->state.revision = revision;
  return writer->state.revision;
}

absl::StatusOr<int64_t> ApplyRevokeLease(Writer* writer, LeaseId lease) {
  Database::Statement find = writer->database->Prepare(kFindLease);
  find.Bind(lease);
  ASSIGN_OR_RETURN(const bool found, find.Next());
  if (!found) return LeaseNotFound();
  std::vector<std::string> keys;
  {
    Database::Statement rows = writer->database->Prepare(kRowsOfLease);
    rows.Bind(lease);
    while (true) {
      ASSIGN_OR_RETURN(const bool more, rows.Next());
      if (!more) break;
      // A later put may have taken the key out of the lease.
      ASSIGN_OR_RETURN(const int64_t newest, NewestRow(writer->database, rows.Bytes(1), kNewestId));
      if (newest == rows.Number(0)) keys.emplace_back(rows.Bytes(1));
    }
  }
  const int64_t revision = writer->state.revision + 1;
  size_t place = 0;
  for (std::string& key : keys) {
    RETURN_IF_ERROR(ApplyDelete(writer, revision, place++, std::move(key)).status());
  }
  if (place > 0) writer->state.revision = revision;
  Database::Statement remove = writer->database->Prepare(kDeleteLease);
  RETURN_IF_ERROR(remove.Bind(lease).Run());
  return writer->state.revision;
}

// Refusals, as opposed to failures of the engine: the transaction changed nothing and the group goes on.
bool IsRefusal(const absl::Status& status) {
  return status.code() == absl::StatusCode::kAborted || status.code() == absl::StatusCode::kNotFound ||
         status.code() == absl::StatusCode::kOutOfRange;
}

// Held while the store is open.
absl::StatusOr<Fd> LockStore(const std::string& path) {
  const std::string lock_path = path + ".lock";
  Fd lock(open(lock_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!lock.ok()) return FileError("open", lock_path, errno);
  if (TryLockFile(lock)) return lock;
  if (errno != EWOULDBLOCK) return FileError("lock", lock_path, errno);
  return Error(absl::StatusCode::kFailedPrecondition, "STORE_LOCKED",
               absl::StrCat("another process has ", path, " open; stop it, or choose another folder"));
}

class SqliteStore final : public Store {
 public:
  SqliteStore(SqliteOptions options, Fd lock, std::unique_ptr<Database> writer, State state)
      : lock_(std::move(lock)),
        options_(std::move(options)),
        database_(std::move(writer)),
        state_(state),
        watches_(WatchDispatcher::Create(
            state.revision,
            [this](const KeyRange& range, int64_t after, int64_t up_to) { return ReadHistory(range, after, up_to); })),
        timers_(options_.clock) {}
  ~SqliteStore() override;

  absl::Status StartLeases();

  absl::StatusOr<Entry> Get(absl::string_view key, int64_t revision) override;
  absl::StatusOr<Page> List(const KeyRange& range, size_t limit, int64_t revision) override;
  absl::StatusOr<int64_t> Revision() override;
  absl::StatusOr<int64_t> Commit(Transaction transaction) override;
  absl::StatusOr<std::unique_ptr<Watch>> WatchRange(const KeyRange& range, int64_t revision,
                                                    WatchCallback callback) override;
  absl::StatusOr<LeaseId> GrantLease(absl::Duration ttl) override;
  absl::Status KeepLeaseAlive(LeaseId lease) override;
  absl::Status RevokeLease(LeaseId lease) override;
  absl::Status Compact(int64_t revision) override;

 private:
  using Apply = absl::FunctionRef<absl::StatusOr<int64_t>(Writer*)>;
  struct Work {
    Apply apply;
    size_t bytes;
    absl::StatusOr<int64_t> result = 0;
    bool done = false;
    CondVar wake;
  };
  struct Lease {
    absl::Duration ttl;
    absl::Time deadline;
    bool ending = false;
  };
  class Reader;

  absl::StatusOr<int64_t> Write(size_t bytes, Apply apply);
  void RunGroup(const std::vector<Work*>& group);
  absl::Status TryGroup(const std::vector<Work*>& group, Writer* writer);
  absl::StatusOr<WatchDispatcher::History> ReadHistory(const KeyRange& range, int64_t after, int64_t up_to);
  void StartLease(LeaseId lease, absl::Duration ttl);
  void LeaseTimer(LeaseId lease);
  void CompactByItself(int64_t revision);
  State state() {
    MutexLock lock(&state_mutex_);
    return state_;
  }

  // First, so that it is given up when everything else is closed.
  const Fd lock_;
  const SqliteOptions options_;
  // Of whoever leads the group under way.
  const std::unique_ptr<Database> database_;

  Mutex queue_mutex_;
  std::deque<Work*> queue_ ABSL_GUARDED_BY(queue_mutex_);

  // As last committed.
  Mutex state_mutex_;
  State state_ ABSL_GUARDED_BY(state_mutex_);

  Mutex readers_mutex_;
  CondVar reader_free_;
  size_t readers_ ABSL_GUARDED_BY(readers_mutex_) = 0;
  std::vector<std::unique_ptr<Database>> free_readers_ ABSL_GUARDED_BY(readers_mutex_);

  Mutex leases_mutex_;
  std::map<LeaseId, Lease> leases_ ABSL_GUARDED_BY(leases_mutex_);

  Mutex compact_mutex_;
  std::atomic<bool> compacting_by_itself_ = false;
  // Of whoever leads the group under way: what was written since a revision.
  int64_t written_bytes_ = 0;
  int64_t bytes_counted_from_ = 0;

  const std::shared_ptr<WatchDispatcher> watches_;
  // Last: its thread uses the rest.
  TimerQueue timers_;
};

// A reader connection, borrowed.
class SqliteStore::Reader {
 public:
  explicit Reader(SqliteStore* store) : store_(store) {}
  ~Reader() {
    if (database_ == nullptr) return;
    MutexLock lock(&store_->readers_mutex_);
    store_->free_readers_.push_back(std::move(database_));
    store_->reader_free_.NotifyOne();
  }
  absl::StatusOr<Database*> Get() {
    {
      MutexLock lock(&store_->readers_mutex_);
      while (store_->free_readers_.empty() && store_->readers_ >= kMaxReaders) {
        store_->reader_free_.Wait(&store_->readers_mutex_);
      }
      if (!store_->free_readers_.empty()) {
        database_ = std::move(store_->free_readers_.back());
        store_->free_readers_.pop_back();
        return database_.get();
      }
      ++store_->readers_;
    }
    absl::StatusOr<std::unique_ptr<Database>> opened = Database::Open(store_->options_.path);
    if (!opened.ok()) {
      MutexLock lock(&store_->readers_mutex_);
      --store_->readers_;
      store_->reader_free_.NotifyOne();
      return opened.status();
    }
    database_ = *std::move(opened);
    return database_.get();
  }

 private:
  SqliteStore* const store_;
  std::unique_ptr<Database> database_;
};

SqliteStore::~SqliteStore() { watches_->Stop(); }

absl::StatusOr<Entry> SqliteStore::Get(absl::string_view key, int64_t revision) {
  Reader reader(this);
  ASSIGN_OR_RETURN(Database* const database, reader.Get());
  ReadTransaction transaction(database);
  if (revision != 0) {
    RETURN_IF_ERROR(transaction.Begin());
    ASSIGN_OR_RETURN(const State state, ReadState(database));
    RETURN_IF_ERROR(CheckRevision(state, revision));
  }
  Database::Statement read = database->Prepare(kRead);
  read.Bind(key).Bind(revision == 0 ? kNewestId : LastRowOf(revision));
  ASSIGN_OR_RETURN(const bool found, read.Next());
  if (!found || IsDeletion(read.Number(0))) return KeyNotFound(key);
  return Entry{std::string(key), std::string(read.Bytes(2)), read.Number(1), RevisionOf(read.Number(0))};
}

absl::StatusOr<Page> SqliteStore::List(const KeyRange& range, size_t limit, int64_t revision) {
  Reader reader(this);
  ASSIGN_OR_RETURN(Database* const database, reader.Get());
  ReadTransaction transaction(database);
  RETURN_IF_ERROR(transaction.Begin());
  ASSIGN_OR_RETURN(const State state, ReadState(database));
  if (revision != 0) RETURN_IF_ERROR(CheckRevision(state, revision));
  Page page;
  page.revision = revision == 0 ? state.revision : revision;
  RETURN_IF_ERROR(ListRows(database, range, limit, LastRowOf(page.revision), &page));
  return page;
}

absl::StatusOr<int64_t> SqliteStore::Revision() { return state().revision; }

absl::StatusOr<int64_t> SqliteStore::Commit(Transaction transaction) {
  RETURN_IF_ERROR(Validate(transaction));
  size_t bytes = 0;
  for (const Put& put : transaction.puts) bytes += put.key.size() + put.value.size();
  return Write(bytes, [&](Writer* writer) { return ApplyTransaction(writer, std::move(transaction)); });
}

// The first in the queue leads: it writes for all that wait behind it, while more queue up for the next leader.
absl::StatusOr<int64_t> SqliteStore::Write(size_t bytes, Apply apply) {
  Work work{apply, bytes};
  queue_mutex_.Lock();
  queue_.push_back(&work);
  while (!work.done && queue_.front() != &work) work.wake.Wait(&queue_mutex_);
  if (!work.done) {
    std::vector<Work*> group;
    size_t group_bytes = 0;
    for (Work* const waiting : queue_) {
      group_bytes += waiting->bytes;
      if (!group.empty() && (group_bytes > kMaxGroupBytes || group.size() == kMaxGroupCommits)) break;
      group.push_back(waiting);
    }
    queue_mutex_.Unlock();
    RunGroup(group);
    queue_mutex_.Lock();
    for (Work* const written : group) {
      queue_.pop_front();
      written->done = true;
      if (written != &work) written->wake.NotifyOne();
    }
    if (!queue_.empty()) queue_.front()->wake.NotifyOne();
  }
  queue_mutex_.Unlock();
  return std::move(work.result);
}

void SqliteStore::RunGroup(const std::vector<Work*>& group) {
  Writer writer{database_.get(), state(), {}};
  const absl::Status status = TryGroup(group, &writer);
  if (!status.ok()) {
    if (database_->in_transaction()) (void)database_->Prepare("ROLLBACK").Run();
    for (Work* const work : group) work->result = status;
    return;
  }
  const int64_t before = state().revision;
  {
    MutexLock lock(&state_mutex_);
    state_ = writer.state;
  }
  if (writer.state.revision == before) return;
  watches_->Publish(writer.state.revision, std::move(writer.changes));
  for (const Work* const work : group) {
    if (work->result.ok()) written_bytes_ += static_cast<int64_t>(work->bytes);
  }
  if (options_.keep_revisions > 0) CompactByItself(writer.state.revision);
}

absl::Status SqliteStore::TryGroup(const std::vector<Work*>& group, Writer* writer) {
  RETURN_IF_ERROR(database_->Prepare("BEGIN IMMEDIATE").Run());
  const State before = writer->state;
  for (Work* const work : group) {
    work->result = work->apply(writer);
    if (!work->result.ok() && !IsRefusal(work->result.status())) return work->result.status();
  }
  if (writer->state.revision != before.revision) {
    RETURN_IF_ERROR(database_->Prepare(kSetRevision).Bind(writer->state.revision).Run());
  }
  return database_->Prepare("COMMIT").Run();
}

absl::StatusOr<std::unique_ptr<Watch>> SqliteStore::WatchRange(const KeyRange& range, int64_t revision,
                                                               WatchCallback callback) {
  RETURN_IF_ERROR(CheckRevision(state(), revision));
  return watches_->Add(range, revision, std::move(callback));
}

absl::StatusOr<WatchDispatcher::History> SqliteStore::ReadHistory(const KeyRange& range, int64_t after, int64_t up_to) {
  Reader reader(this);
  ASSIGN_OR_RETURN(Database* const database, reader.Get());
  ReadTransaction transaction(database);
  RETURN_IF_ERROR(transaction.Begin());
  ASSIGN_OR_RETURN(const State state, ReadState(database));
  RETURN_IF_ERROR(CheckRevision(state, after));
  WatchDispatcher::History history;
  history.reached = std::min(up_to, after + kHistoryWindow);
  Database::Statement read = database->Prepare(kReadHistory);
  read.Bind(LastRowOf(after)).Bind(LastRowOf(history.reached)).Bind(range.begin).Bind(EndOf(range));
  size_t bytes = 0;
  while (true) {
    ASSIGN_OR_RETURN(const bool found, read.Next());
    if (!found) return history;
    const int64_t row = read.Number(0);
    // Commits are not cut in two.
    if (bytes > kHistoryBytes && RevisionOf(row) != history.changes.back().mod_revision) {
      history.reached = history.changes.back().mod_revision;
      return history;
    }
    Change change{std::string(read.Bytes(1)), std::nullopt, RevisionOf(row)};
    if (!IsDeletion(row)) change.value = std::string(read.Bytes(2));
    bytes += change.key.size() + read.Bytes(2).size();
    history.changes.push_back(std::move(change));
  }
}

absl::StatusOr<LeaseId> SqliteStore::GrantLease(absl::Duration ttl) {
  if (ttl < absl::Milliseconds(1) || ttl > absl::Hours(24 * 366)) {
    return Error(absl::StatusCode::kInvalidArgument, "STORE_LEASE", "a lease takes a millisecond to 366 days");
  }
  // Random, so that an id is not used again once its lease has gone.
  LeaseId lease = 0;
  while (lease <= 0) {
    if (getrandom(&lease, sizeof(lease), 0) != sizeof(lease)) continue;
    lease &= INT64_MAX;
  }
  RETURN_IF_ERROR(Write(0, [&](Writer* writer) -> absl::StatusOr<int64_t> {
                    Database::Statement insert = writer->database->Prepare(kInsertLease);
                    RETURN_IF_ERROR(insert.Bind(lease).Bind(absl::ToInt64Milliseconds(ttl)).Run());
                    return writer->state.revision;
                  }).status());
  StartLease(lease, ttl);
  return lease;
}

void SqliteStore::StartLease(LeaseId lease, absl::Duration ttl) {
  MutexLock lock(&leases_mutex_);
  const absl::Time deadline = options_.clock->Now() + ttl;
  leases_[lease] = {ttl, deadline};
  timers_.Schedule(deadline, [this, lease] { LeaseTimer(lease); });
}

absl::Status SqliteStore::StartLeases() {
  std::vector<std::pair<LeaseId, absl::Duration>> leases;
  {
    Database::Statement list = database_->Prepare(kListLeases);
    while (true) {
      ASSIGN_OR_RETURN(const bool found, list.Next());
      if (!found) break;
      leases.emplace_back(list.Number(0), absl::Milliseconds(list.Number(1)));
    }
  }
  // Only now: a timer may use the connection at once.
  for (const auto& [lease, ttl] : leases) StartLease(lease, ttl);
  return absl::OkStatus();
}

absl::Status SqliteStore::KeepLeaseAlive(LeaseId lease) {
  MutexLock lock(&leases_mutex_);
  const auto found = leases_.find(lease);
  // The timer may be late: a lease that has run out does not come back.
  if (found == leases_.end() || found->second.ending || found->second.deadline <= options_.clock->Now()) {
    return LeaseNotFound();
  }
  found->second.deadline = options_.clock->Now() + found->second.ttl;
  return absl::OkStatus();
}

absl::Status SqliteStore::RevokeLease(LeaseId lease) {
  RETURN_IF_ERROR(Write(0, [&](Writer* writer) { return ApplyRevokeLease(writer, lease); }).status());
  MutexLock lock(&leases_mutex_);
  leases_.erase(lease);
  return absl::OkStatus();
}

// One timer a lease, which finds out when it fires whether the lease was kept alive meanwhile.
void SqliteStore::LeaseTimer(LeaseId lease) {
  {
    MutexLock lock(&leases_mutex_);
    const auto found = leases_.find(lease);
    if (found == leases_.end()) return;
    if (!found->second.ending && found->second.deadline > options_.clock->Now()) {
      timers_.Schedule(found->second.deadline, [this, lease] { LeaseTimer(lease); });
      return;
    }
    found->second.ending = true;
  }
  const absl::Status status = RevokeLease(lease);
  if (status.ok() || IsRefusal(status)) return;
  LogError("an expired lease could not be ended; trying again", {{"error", std::string(status.message())}});
  timers_.Schedule(options_.clock->Now() + absl::Seconds(1), [this, lease] { LeaseTimer(lease); });
}

absl::Status SqliteStore::Compact(int64_t revision) {
  MutexLock lock(&compact_mutex_);
  const State before = state();
  if (revision > before.revision) return CheckRevision(before, revision);
  if (revision <= before.compacted) return absl::OkStatus();
  // First the promise, so that nobody reads what is half gone.
  RETURN_IF_ERROR(Write(0, [&](Writer* writer) -> absl::StatusOr<int64_t> {
                    RETURN_IF_ERROR(writer->database->Prepare(kSetCompacted).Bind(revision).Run());
                    writer->state.compacted = revision;
                    return writer->state.revision;
                  }).status());
  for (int64_t from = 0; from < revision; from += kCompactionWindow) {
    const int64_t to = std::min(revision, from + kCompactionWindow);
    RETURN_IF_ERROR(Write(0, [&](Writer* writer) -> absl::StatusOr<int64_t> {
                      Database::Statement compact = writer->database->Prepare(kCompactWindow);
                      compact.Bind(from == 0 ? 0 : LastRowOf(from)).Bind(LastRowOf(to)).Bind(LastRowOf(revision));
                      RETURN_IF_ERROR(compact.Run());
                      return writer->state.revision;
                    }).status());
  }
  return absl::OkStatus();
}

void SqliteStore::CompactByItself(int64_t revision) {
  int64_t to = 0;
  // A quarter more than is kept, so that this is rare.
  if (revision - state().compacted >= options_.keep_revisions + options_.keep_revisions / 4) {
    to = revision - options_.keep_revisions;
  }
  if (written_bytes_ > options_.keep_bytes) {
    to = std::max(to, std::exchange(bytes_counted_from_, revision));
    written_bytes_ = 0;
  }
  if (to <= state().compacted || compacting_by_itself_.exchange(true)) return;
  timers_.Schedule(absl::InfinitePast(), [this, to] {
    const absl::Status status = Compact(to);
    if (!status.ok()) LogError("compaction failed", {{"error", std::string(status.message())}});
    compacting_by_itself_ = false;
  });
}

// Makes the file with its mode before SQLite sees it; its companions get the same.
absl::Status MakePrivateFile(const std::string& path) {
  const Fd fd(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd.ok()) return FileError("open", path, errno);
  struct stat info;
  if (fstat(fd.get(), &info) != 0) return FileError("open", path, errno);
  if ((info.st_mode & 0077) != 0) {
    return Error(absl::StatusCode::kFailedPrecondition, "FILE_EXPOSED",
                 absl::StrCat("others may open ", path, "; run: chmod 600 ", path));
  }
  return absl::OkStatus();
}

absl::Status PrepareSchema(Database* database, const std::string& path) {
  ASSIGN_OR_RETURN(const std::string mode, database->Value("PRAGMA journal_mode=WAL"));
  if (mode != "wal") {
    return Error(absl::StatusCode::kUnavailable, "STORE_UNAVAILABLE",
                 absl::StrCat("the file system of ", path, " cannot share memory between processes; use a local one"));
  }
  ASSIGN_OR_RETURN(const std::string application, database->Value("PRAGMA application_id"));
  ASSIGN_OR_RETURN(const std::string version, database->Value("PRAGMA user_version"));
  ASSIGN_OR_RETURN(const std::string tables, database->Value("SELECT count(*) FROM sqlite_schema"));
  if (tables == "0" && version == "0") {
    RETURN_IF_ERROR(database->Execute("BEGIN IMMEDIATE"));
    RETURN_IF_ERROR(database->Execute(kSchema));
    return database->Execute("COMMIT");
  }
  if (application != kApplicationId) {
    return Error(absl::StatusCode::kDataLoss, "STORE_DAMAGED",
                 absl::StrCat(path, " is not a store of Parley's; restore it from a backup, or choose another folder"));
  }
  if (version != absl::StrCat(kSchemaVersion)) {
    return Error(absl::StatusCode::kFailedPrecondition, "STORE_NEWER",
                 absl::StrCat(path, " has schema ", version, " and this program knows ", kSchemaVersion,
                              "; run the version of Parley that wrote it, or a newer one"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Store>> OpenSqliteStore(SqliteOptions options) {
  ASSIGN_OR_RETURN(Fd lock, LockStore(options.path));
  RETURN_IF_ERROR(MakePrivateFile(options.path));
  ASSIGN_OR_RETURN(std::unique_ptr<Database> database, Database::Open(options.path));
  RETURN_IF_ERROR(PrepareSchema(database.get(), options.path));
  ASSIGN_OR_RETURN(const State state, ReadState(database.get()));
  database->CheckpointAfterCommits(/*first_at_once=*/state.revision == 0);
  auto store = std::make_unique<SqliteStore>(std::move(options), std::move(lock), std::move(database), state);
  RETURN_IF_ERROR(store->StartLeases());
  return store;
}

}  // namespace parley::store
