#include "lib/store/database.h"

#include <errno.h>

#include <utility>

#include "lib/base/error.h"
#include "lib/base/file.h"

namespace parley::store {

Database::Statement::~Statement() {
  sqlite3_reset(statement_);
  sqlite3_clear_bindings(statement_);
}

Database::Statement& Database::Statement::Bind(int64_t number) {
  sqlite3_bind_int64(statement_, ++bound_, number);
  return *this;
}

Database::Statement& Database::Statement::Bind(absl::string_view bytes) {
  // A null pointer would bind NULL.
  sqlite3_bind_blob64(statement_, ++bound_, bytes.empty() ? "" : bytes.data(), bytes.size(), SQLITE_STATIC);
  return *this;
}

absl::StatusOr<bool> Database::Statement::Next() {
  const int result = statement_ == nullptr ? SQLITE_ERROR : sqlite3_step(statement_);
  if (result == SQLITE_ROW) return true;
  if (result == SQLITE_DONE) return false;
  return database_->Failure();
}

absl::Status Database::Statement::Run() { return Next().status(); }

absl::string_view Database::Statement::Bytes(int column) const {
  const void* const bytes = sqlite3_column_blob(statement_, column);
  const int size = sqlite3_column_bytes(statement_, column);
  return bytes == nullptr ? absl::string_view() : absl::string_view(static_cast<const char*>(bytes), size);
}

absl::StatusOr<std::unique_ptr<Database>> Database::Open(const std::string& path) {
  sqlite3* connection = nullptr;
  const int result = sqlite3_open_v2(path.c_str(), &connection, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, nullptr);
  if (connection == nullptr) return FileError("open", path, ENOMEM);
  std::unique_ptr<Database> database(new Database(path, connection));
  if (result != SQLITE_OK) return database->Failure();
  sqlite3_extended_result_codes(connection, 1);
  // Only a checkpoint or a recovery is ever waited for: the file has one process, and that one writer.
  sqlite3_busy_timeout(connection, 10'000);
  for (const char* pragma : {"PRAGMA temp_store=MEMORY", "PRAGMA synchronous=FULL", "PRAGMA wal_autocheckpoint=0",
                             "PRAGMA journal_size_limit=67108864", "PRAGMA trusted_schema=OFF"}) {
    RETURN_IF_ERROR(database->Execute(pragma));
  }
  return database;
}

void Database::CheckpointAfterCommits(bool first_at_once) {
  constexpr int kSomePages = 4000;   // 16 MB: seldom enough, and cheap to recover.
  constexpr int kManyPages = 16000;  // 64 MB.
  checkpoint_at_once_ = first_at_once;
  const auto hook = [](void* database, sqlite3* connection, const char* schema, int pages) {
    const bool at_once = std::exchange(static_cast<Database*>(database)->checkpoint_at_once_, false);
    const int mode = pages < kManyPages ? SQLITE_CHECKPOINT_PASSIVE : SQLITE_CHECKPOINT_RESTART;
    // The commit is made: a checkpoint that fails is tried again after the next one.
    if (at_once || pages >= kSomePages) sqlite3_wal_checkpoint_v2(connection, schema, mode, nullptr, nullptr);
    return SQLITE_OK;
  };
  sqlite3_wal_hook(connection_, hook, this);
}

absl::Status Database::CopyTo(Database* to) {
  sqlite3_backup* const copy = sqlite3_backup_init(to->connection_, "main", connection_, "main");
  if (copy == nullptr) return to->Failure();
  // In one step, and so in one transaction: between steps a commit would make it begin anew, perhaps without end.
  const int result = sqlite3_backup_step(copy, -1);
  // This one says why the step failed, on the connection that it was made with.
  sqlite3_backup_finish(copy);
  return result == SQLITE_DONE ? absl::OkStatus() : to->Failure();
}

Database::~Database() {
  for (const auto& [sql, statement] : statements_) sqlite3_finalize(statement);
  sqlite3_close(connection_);
}

Database::Statement Database::Prepare(const char* sql) {
  sqlite3_stmt*& statement = statements_[sql];
  if (statement == nullptr) {
    sqlite3_prepare_v3(connection_, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, nullptr);
  }
  return Statement(this, statement);
}

absl::Status Database::Execute(const char* sql) {
  return sqlite3_exec(connection_, sql, nullptr, nullptr, nullptr) == SQLITE_OK ? absl::OkStatus() : Failure();
}

absl::StatusOr<std::string> Database::Value(const char* sql) {
  Statement statement = Prepare(sql);
  ASSIGN_OR_RETURN(const bool found, statement.Next());
  return found ? std::string(statement.Bytes(0)) : std::string();
}

// The system's reason for the newest I/O error: SQLite keeps it with each file, of which there are two.
int Database::LastErrno() const {
  int cause = 0;
  sqlite3_file* log = nullptr;
  if (sqlite3_file_control(connection_, nullptr, SQLITE_FCNTL_JOURNAL_POINTER, &log) == SQLITE_OK && log != nullptr &&
      log->pMethods != nullptr) {
    log->pMethods->xFileControl(log, SQLITE_FCNTL_LAST_ERRNO, &cause);
  }
  if (cause == 0) sqlite3_file_control(connection_, nullptr, SQLITE_FCNTL_LAST_ERRNO, &cause);
  return cause != 0 ? cause : sqlite3_system_errno(connection_);
}

absl::Status Database::Failure() const {
  const int code = sqlite3_extended_errcode(connection_);
  switch (code & 0xFF) {
    case SQLITE_FULL:
      return FileError("write", path_, ENOSPC);
    case SQLITE_READONLY:
      return FileError("write", path_, EROFS);
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return DataLoss("STORE_DAMAGED", path_, " is damaged or not a store of Parley's (", sqlite3_errstr(code),
                      "); restore it from a backup");
    case SQLITE_CANTOPEN:
    case SQLITE_IOERR:
      if (code == SQLITE_IOERR_SHORT_READ) {
        return DataLoss("STORE_DAMAGED", path_, " is shorter than it should be; restore it from a backup");
      }
      switch (const int cause = LastErrno(); cause) {
        case ENOSPC:
        case EDQUOT:
        case EFBIG:  // A limit of the file system, the user or the process: for us the disk is full.
          return FileError("write", path_, ENOSPC);
        case EROFS:
        case EACCES:
        case EPERM:
          return FileError("write", path_, cause);
        default:
          break;
      }
      [[fallthrough]];
    default:
      return Unavailable("STORE_UNAVAILABLE", "cannot use ", path_, ": ", sqlite3_errmsg(connection_));
  }
}

ReadTransaction::~ReadTransaction() {
  // Nothing was written, so nothing can be lost when this fails; the next BEGIN would say so.
  if (database_->in_transaction()) (void)database_->Prepare("COMMIT").Run();
}

absl::Status ReadTransaction::Begin() { return database_->Prepare("BEGIN").Run(); }

}  // namespace parley::store
