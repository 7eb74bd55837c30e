#include "lib/store/sqlite_store.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <deque>
#include <map>
#include <utility>

#include "absl/functional/function_ref.h"
#include "lib/base/error.h"
#include "lib/base/fd.h"
#include "lib/base/file.h"
#include "lib/base/file_lock.h"
#include "lib/base/log.h"
#include "lib/base/mutex.h"
#include "lib/base/timer_queue.h"
#include "lib/store/database.h"
#include "lib/store/history.h"
#include "lib/store/refusals.h"
#include "lib/store/schema.h"
#include "lib/store/watch_dispatcher.h"

namespace parley::store {
namespace {

constexpr size_t kMaxReaders = 8;
// The limits of a group of commits. They bound how long the first waits for the others.
constexpr size_t kMaxGroupBytes = 4 << 20;
constexpr size_t kMaxGroupCommits = 1000;
constexpr int64_t kCompactionWindow = 1000;  // Revisions in one write transaction, so that commits are not held up.

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
  return FailedPrecondition("STORE_LOCKED", "another process has ", path, " open; stop it, or choose another folder");
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
  absl::StatusOr<absl::Duration> LeaseTime(LeaseId lease) override;
  absl::Status RevokeLease(LeaseId lease) override;
  absl::Status Compact(int64_t revision) override;

 private:
  using Apply = absl::FunctionRef<absl::StatusOr<int64_t>(Writer*)>;
  // A thread that waits for its turn, which comes once. Whoever wakes it has released the queue's lock, for which the
  // woken thread would otherwise wait.
  class Turn {
   public:
    void Await() {
      MutexLock lock(&mutex_);
      while (!come_) wake_.Wait(&mutex_);
    }
    void Come() {
      {
        MutexLock lock(&mutex_);
        come_ = true;
      }
      wake_.NotifyOne();
    }

   private:
    Mutex mutex_;
    CondVar wake_;
    bool come_ ABSL_GUARDED_BY(mutex_) = false;
  };
  struct Work {
    Apply apply;
    size_t bytes;
    absl::StatusOr<int64_t> result = 0;
    bool done = false;
    // Outlives the work.
    std::shared_ptr<Turn> turn = std::make_shared<Turn>();
  };
  struct Lease {
    absl::Duration ttl;
    absl::Time deadline;
    bool ending = false;
  };
  class Reader;

  absl::StatusOr<int64_t> Write(size_t bytes, Apply apply);
  void LeadGroup(const Work& leader);
  void RunGroup(const std::vector<Work*>& group);
  absl::Status TryGroup(const std::vector<Work*>& group, Writer* writer);
  absl::StatusOr<WatchDispatcher::History> ReadHistory(const KeyRange& range, int64_t after, int64_t up_to);
  void StartLease(LeaseId lease, absl::Duration ttl);
  void LeaseTimer(LeaseId lease);
  void CompactByItself(int64_t revision);
  // What the file says, as readers see it: there a commit shows a moment before state() has it.
  absl::StatusOr<State> StoredState();
  State state() {
    MutexLock lock(&state_mutex_);
    return state_;
  }

  // First, so that it is given up when everything else is closed.
  const Fd lock_;
  const SqliteOptions options_;
  // Belongs to whoever leads the group under way.
  const std::unique_ptr<Database> database_;

  Mutex queue_mutex_;
  std::deque<Work*> queue_ ABSL_GUARDED_BY(queue_mutex_);

  // The state as it was last committed.
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
  // These belong to whoever leads the group under way: what was written since a revision.
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
  return ReadEntry(database, key, revision);
}

absl::StatusOr<Page> SqliteStore::List(const KeyRange& range, size_t limit, int64_t revision) {
  Reader reader(this);
  ASSIGN_OR_RETURN(Database* const database, reader.Get());
  ReadTransaction transaction(database);
  RETURN_IF_ERROR(transaction.Begin());
  ASSIGN_OR_RETURN(const State state, ReadState(database));
  if (revision != 0) RETURN_IF_ERROR(CheckRevision(state, revision));
  return ReadPage(database, range, limit, revision == 0 ? state.revision : revision);
}

absl::StatusOr<State> SqliteStore::StoredState() {
  Reader reader(this);
  ASSIGN_OR_RETURN(Database* const database, reader.Get());
  return ReadState(database);
}

absl::StatusOr<int64_t> SqliteStore::Revision() {
  ASSIGN_OR_RETURN(const State stored, StoredState());
  return stored.revision;
}

absl::StatusOr<int64_t> SqliteStore::Commit(Transaction transaction) {
  RETURN_IF_ERROR(CheckTransaction(transaction));
  return Write(CommitBytes(transaction),
               [&](Writer* writer) { return ApplyTransaction(writer, std::move(transaction)); });
}

// The first in the queue leads: it writes for all that wait behind it, while more queue up for the next leader.
absl::StatusOr<int64_t> SqliteStore::Write(size_t bytes, Apply apply) {
  Work work{apply, bytes};
  bool leads;
  {
    MutexLock lock(&queue_mutex_);
    queue_.push_back(&work);
    leads = queue_.front() == &work;
  }
  if (!leads) work.turn->Await();
  if (!work.done) LeadGroup(work);
  return std::move(work.result);
}

void SqliteStore::LeadGroup(const Work& leader) {
  std::vector<Work*> group;
  {
    MutexLock lock(&queue_mutex_);
    size_t group_bytes = 0;
    for (Work* const waiting : queue_) {
      group_bytes += waiting->bytes;
      if (!group.empty() && (group_bytes > kMaxGroupBytes || group.size() == kMaxGroupCommits)) break;
      group.push_back(waiting);
    }
  }
  RunGroup(group);
  std::vector<std::shared_ptr<Turn>> turns;
  {
    MutexLock lock(&queue_mutex_);
    for (Work* const written : group) {
      queue_.pop_front();
      written->done = true;
      if (written != &leader) turns.push_back(written->turn);
    }
    if (!queue_.empty()) turns.push_back(queue_.front()->turn);
  }
  for (const auto& turn : turns) turn->Come();
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
  if (writer->state.revision != before.revision) RETURN_IF_ERROR(StoreRevision(writer));
  return database_->Prepare("COMMIT").Run();
}

absl::StatusOr<std::unique_ptr<Watch>> SqliteStore::WatchRange(const KeyRange& range, int64_t revision,
                                                               WatchCallback callback) {
  ASSIGN_OR_RETURN(const State stored, StoredState());
  RETURN_IF_ERROR(CheckRevision(stored, revision));
  return watches_->Add(range, revision, std::move(callback));
}

absl::StatusOr<WatchDispatcher::History> SqliteStore::ReadHistory(const KeyRange& range, int64_t after, int64_t up_to) {
  Reader reader(this);
  ASSIGN_OR_RETURN(Database* const database, reader.Get());
  ReadTransaction transaction(database);
  RETURN_IF_ERROR(transaction.Begin());
  ASSIGN_OR_RETURN(const State state, ReadState(database));
  RETURN_IF_ERROR(CheckRevision(state, after));
  return ReadChanges(database, range, after, up_to);
}

absl::StatusOr<LeaseId> SqliteStore::GrantLease(absl::Duration ttl) {
  RETURN_IF_ERROR(CheckLeaseTime(ttl));
  // Random, so that an id is not used again once its lease has gone.
  LeaseId lease = 0;
  while (lease <= 0) {
    if (getrandom(&lease, sizeof(lease), 0) != sizeof(lease)) continue;
    lease &= INT64_MAX;
  }
  RETURN_IF_ERROR(Write(0, [&](Writer* writer) { return InsertLease(writer, lease, ttl); }).status());
  StartLease(lease, ttl);
  return lease;
}

absl::StatusOr<absl::Duration> SqliteStore::LeaseTime(LeaseId lease) {
  Reader reader(this);
  ASSIGN_OR_RETURN(Database* const database, reader.Get());
  return ReadLeaseTime(database, lease);
}

void SqliteStore::StartLease(LeaseId lease, absl::Duration ttl) {
  if (options_.purpose.use != StorePurpose::Use::kServe) return;
  MutexLock lock(&leases_mutex_);
  const absl::Time deadline = options_.clock->Now() + ttl;
  leases_[lease] = {ttl, deadline};
  timers_.Schedule(deadline, [this, lease] { LeaseTimer(lease); });
}

absl::Status SqliteStore::StartLeases() {
  ASSIGN_OR_RETURN(const auto leases, ListLeases(database_.get()));
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
  RETURN_IF_ERROR(Write(0, [&](Writer* writer) { return PromiseCompaction(writer, revision); }).status());
  for (int64_t from = 0; from < revision; from += kCompactionWindow) {
    const int64_t to = std::min(revision, from + kCompactionWindow);
    RETURN_IF_ERROR(Write(0, [&](Writer* writer) { return CompactRevisions(writer, from, to, revision); }).status());
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

absl::Status CheckThere(const std::string& path) {
  if (access(path.c_str(), F_OK) == 0) return absl::OkStatus();
  return errno == ENOENT || errno == ENOTDIR ? StoreAbsent(path) : FileError("open", path, errno);
}

// Makes the file with its mode before SQLite sees it; its companions get the same.
absl::Status MakePrivateFile(const std::string& path) {
  const Fd fd(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd.ok()) return FileError("open", path, errno);
  struct stat info;
  if (fstat(fd.get(), &info) != 0) return FileError("open", path, errno);
  if ((info.st_mode & 0077) != 0) {
    return FailedPrecondition("FILE_EXPOSED", "others may open ", path, "; run: chmod 600 ", path);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Store>> OpenSqliteStore(SqliteOptions options) {
  if (options.purpose.use == StorePurpose::Use::kRead) RETURN_IF_ERROR(CheckThere(options.path));
  ASSIGN_OR_RETURN(Fd lock, LockStore(options.path));
  RETURN_IF_ERROR(MakePrivateFile(options.path));
  ASSIGN_OR_RETURN(std::unique_ptr<Database> database, Database::Open(options.path));
  RETURN_IF_ERROR(PrepareSchema(database.get(), options.path, options.owner, options.purpose));
  ASSIGN_OR_RETURN(const State state, ReadState(database.get()));
  database->CheckpointAfterCommits(/*first_at_once=*/state.revision == 0);
  auto store = std::make_unique<SqliteStore>(std::move(options), std::move(lock), std::move(database), state);
  RETURN_IF_ERROR(store->StartLeases());
  return store;
}

absl::Status FinishSqliteStore(const std::string& path) {
  RETURN_IF_ERROR(CheckThere(path));
  ASSIGN_OR_RETURN(const Fd lock, LockStore(path));
  ASSIGN_OR_RETURN(const std::unique_ptr<Database> database, Database::Open(path));
  return FinishFilling(database.get(), path);
}

absl::StatusOr<StoreOwner> ReadSqliteOwner(const std::string& path) {
  RETURN_IF_ERROR(CheckThere(path));
  ASSIGN_OR_RETURN(const std::unique_ptr<Database> database, Database::Open(path));
  return ReadOwner(database.get(), path);
}

}  // namespace parley::store
