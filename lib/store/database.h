// One SQLite connection, with prepared statements that are kept, and errors that name the file.
//
// Errors are those of store.h.
//
// Threads: one at a time.
#ifndef PARLEY_LIB_STORE_DATABASE_H_
#define PARLEY_LIB_STORE_DATABASE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "sqlite3.h"

namespace parley::store {

class Database {
 public:
  // One run of a prepared statement. Bound bytes and columns are borrowed: bound bytes must outlive the run, columns
  // live until the next step.
  class Statement {
   public:
    Statement(Database* database, sqlite3_stmt* statement) : database_(database), statement_(statement) {}
    ~Statement();
    Statement(const Statement&) = delete;
    Statement& operator=(const Statement&) = delete;

    Statement& Bind(int64_t number);
    Statement& Bind(absl::string_view bytes);
    // Returns false after the last row.
    absl::StatusOr<bool> Next();
    // Runs a statement that has no rows.
    absl::Status Run();
    int64_t Number(int column) const { return sqlite3_column_int64(statement_, column); }
    absl::string_view Bytes(int column) const;

   private:
    Database* const database_;
    sqlite3_stmt* const statement_;
    int bound_ = 0;
  };

  // Opens a file that must exist.
  static absl::StatusOr<std::unique_ptr<Database>> Open(const std::string& path);
  ~Database();

  // `sql` must be a literal, because it is kept by its address. If it cannot be prepared, Next and Run say why.
  Statement Prepare(const char* sql);
  absl::Status Execute(const char* sql);
  // Returns the first column of the first row of a pragma or query.
  absl::StatusOr<std::string> Value(const char* sql);
  // Keeps the write-ahead log small, on the connection that writes. Readers that come and go without a pause would let
  // it grow for ever: beyond a size, a commit waits until they have left it. With `first_at_once` the next commit is
  // copied to the file at once, so that a file that was copied alone has at least what everything else rests on.
  void CheckpointAfterCommits(bool first_at_once);
  // Copies everything, in the state of one moment, in place of what `to` has.
  absl::Status CopyTo(Database* to);
  // Returns whether a transaction is open.
  bool in_transaction() const { return sqlite3_get_autocommit(connection_) == 0; }

 private:
  Database(std::string path, sqlite3* connection) : path_(std::move(path)), connection_(connection) {}
  absl::Status Failure() const;
  int LastErrno() const;

  const std::string path_;
  sqlite3* const connection_;
  bool checkpoint_at_once_ = false;
  std::unordered_map<const char*, sqlite3_stmt*> statements_;
};

// Ends a read transaction when it is destroyed.
class ReadTransaction {
 public:
  explicit ReadTransaction(Database* database) : database_(database) {}
  ~ReadTransaction();
  absl::Status Begin();

 private:
  Database* const database_;
};

}  // namespace parley::store

#endif  // PARLEY_LIB_STORE_DATABASE_H_
