#include "lib/store/history.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "lib/store/refusals.h"

namespace parley::store {
namespace {

constexpr char kReadState[] = "SELECT revision, compacted FROM state WHERE id = 1";
constexpr char kNewest[] = "SELECT id FROM history WHERE key = ?1 AND id <= ?2 ORDER BY id DESC LIMIT 1";
constexpr char kRead[] =
    "SELECT id, create_revision, value, lease FROM history WHERE key = ?1 AND id <= ?2 ORDER BY id DESC LIMIT 1";
constexpr char kReadRow[] = "SELECT create_revision, value, lease FROM history WHERE id = ?1";
constexpr char kCreateRevision[] = "SELECT create_revision FROM history WHERE id = ?1";
constexpr char kScan[] = "SELECT key, id FROM history WHERE key >= ?1 AND key < ?2 AND id <= ?3 ORDER BY key, id";
constexpr char kReadHistory[] =
    "SELECT id, key, value FROM history WHERE id > ?1 AND id <= ?2 AND key >= ?3 AND key < ?4 ORDER BY id";
constexpr char kInsert[] = "INSERT INTO history (id, key, create_revision, lease, value) VALUES (?1, ?2, ?3, ?4, ?5)";
constexpr char kSetRevision[] = "UPDATE state SET revision = ?1 WHERE id = 1";
constexpr char kSetCompacted[] = "UPDATE state SET compacted = ?1 WHERE id = 1";
constexpr char kFindLease[] = "SELECT 1 FROM leases WHERE id = ?1";
constexpr char kListLeases[] = "SELECT id, ttl_ms FROM leases";
constexpr char kReadLease[] = "SELECT ttl_ms FROM leases WHERE id = ?1";
constexpr char kInsertLease[] = "INSERT INTO leases (id, ttl_ms) VALUES (?1, ?2)";
constexpr char kDeleteLease[] = "DELETE FROM leases WHERE id = ?1";
constexpr char kRowsOfLease[] = "SELECT id, key FROM history WHERE lease = ?1";
// What was superseded, or was a deletion, by ?3, among the rows of a window.
constexpr char kCompactWindow[] =
    "DELETE FROM history WHERE id > ?1 AND id <= ?2 AND (id & 1 OR EXISTS"
    " (SELECT 1 FROM history AS newer WHERE newer.key = history.key AND newer.id > history.id AND newer.id <= ?3))";

constexpr int kRevisionShift = 20;
constexpr int64_t kNewestId = INT64_MAX;
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
  if (!found) return DataLoss("STORE_DAMAGED", "the store's index names a missing row");
  page->entries.push_back(
      {std::move(key), std::string(read.Bytes(1)), read.Number(0), RevisionOf(row), read.Number(2)});
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

absl::Status CheckLease(Writer* writer, LeaseId lease) {
  Database::Statement find = writer->database->Prepare(kFindLease);
  ASSIGN_OR_RETURN(const bool found, find.Bind(lease).Next());
  return found ? absl::OkStatus() : LeaseNotFound();
}

}  // namespace

absl::StatusOr<State> ReadState(Database* database) {
  Database::Statement read = database->Prepare(kReadState);
  ASSIGN_OR_RETURN(const bool found, read.Next());
  if (!found) return DataLoss("STORE_DAMAGED", "the store has lost its state row");
  return State{read.Number(0), read.Number(1)};
}

absl::Status CheckRevision(const State& state, int64_t revision) {
  if (revision < state.compacted) return Compacted(revision);
  if (revision > state.revision) return FutureRevision(revision);
  return absl::OkStatus();
}

absl::StatusOr<Entry> ReadEntry(Database* database, absl::string_view key, int64_t revision) {
  Database::Statement read = database->Prepare(kRead);
  read.Bind(key).Bind(revision == 0 ? kNewestId : LastRowOf(revision));
  ASSIGN_OR_RETURN(const bool found, read.Next());
  if (!found || IsDeletion(read.Number(0))) return KeyNotFound(key);
  return Entry{std::string(key), std::string(read.Bytes(2)), read.Number(1), RevisionOf(read.Number(0)),
               read.Number(3)};
}

absl::StatusOr<Page> ReadPage(Database* database, const KeyRange& range, size_t limit, int64_t revision) {
  Page page;
  page.revision = revision;
  RETURN_IF_ERROR(ListRows(database, range, limit, LastRowOf(revision), &page));
  return page;
}

absl::StatusOr<WatchDispatcher::History> ReadChanges(Database* database, const KeyRange& range, int64_t after,
                                                     int64_t up_to) {
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

absl::StatusOr<int64_t> ApplyTransaction(Writer* writer, Transaction transaction) {
  for (const Transaction::Condition& condition : transaction.conditions) {
    ASSIGN_OR_RETURN(const int64_t row, NewestRow(writer->database, condition.key, kNewestId));
    if (condition.mod_revision != (IsDeletion(row) ? 0 : RevisionOf(row))) return Conflict(condition.key);
  }
  for (const Put& put : transaction.puts) {
    if (put.lease != 0) RETURN_IF_ERROR(CheckLease(writer, put.lease));
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
  RETURN_IF_ERROR(CheckLease(writer, lease));
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

absl::Status StoreRevision(Writer* writer) {
  return writer->database->Prepare(kSetRevision).Bind(writer->state.revision).Run();
}

absl::StatusOr<int64_t> InsertLease(Writer* writer, LeaseId lease, absl::Duration ttl) {
  RETURN_IF_ERROR(writer->database->Prepare(kInsertLease).Bind(lease).Bind(absl::ToInt64Milliseconds(ttl)).Run());
  return writer->state.revision;
}

absl::StatusOr<std::vector<std::pair<LeaseId, absl::Duration>>> ListLeases(Database* database) {
  std::vector<std::pair<LeaseId, absl::Duration>> leases;
  Database::Statement list = database->Prepare(kListLeases);
  while (true) {
    ASSIGN_OR_RETURN(const bool found, list.Next());
    if (!found) return leases;
    leases.emplace_back(list.Number(0), absl::Milliseconds(list.Number(1)));
  }
}

absl::StatusOr<absl::Duration> ReadLeaseTime(Database* database, LeaseId lease) {
  Database::Statement read = database->Prepare(kReadLease);
  ASSIGN_OR_RETURN(const bool found, read.Bind(lease).Next());
  if (!found) return LeaseNotFound();
  return absl::Milliseconds(read.Number(0));
}

absl::StatusOr<int64_t> PromiseCompaction(Writer* writer, int64_t revision) {
  RETURN_IF_ERROR(writer->database->Prepare(kSetCompacted).Bind(revision).Run());
  writer->state.compacted = revision;
  return writer->state.revision;
}

absl::StatusOr<int64_t> CompactRevisions(Writer* writer, int64_t from, int64_t to, int64_t revision) {
  Database::Statement compact = writer->database->Prepare(kCompactWindow);
  RETURN_IF_ERROR(compact.Bind(from == 0 ? 0 : LastRowOf(from)).Bind(LastRowOf(to)).Bind(LastRowOf(revision)).Run());
  return writer->state.revision;
}

}  // namespace parley::store
