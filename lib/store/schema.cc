#include "lib/store/schema.h"

#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "lib/store/refusals.h"

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
// No program takes this for a schema of its own.
constexpr absl::string_view kUnfinished = "-1";
constexpr char kSetUnfinished[] = "PRAGMA user_version = -1";
constexpr char kSetWhole[] = "PRAGMA user_version = 1";

constexpr char kMakeOwner[] =
    "CREATE TABLE IF NOT EXISTS owner (id INTEGER PRIMARY KEY CHECK (id = 1), service TEXT NOT NULL,"
    " organisation TEXT NOT NULL)";
constexpr char kHasOwner[] = "SELECT count(*) FROM sqlite_schema WHERE name = 'owner'";
constexpr char kReadOwner[] = "SELECT service, organisation FROM owner WHERE id = 1";
constexpr char kSetOwner[] = "INSERT OR REPLACE INTO owner VALUES (1, ?1, ?2)";
constexpr char kDeleteEverything[] = "DELETE FROM history; DELETE FROM leases";
constexpr char kSetState[] = "UPDATE state SET revision = ?1, compacted = ?1 WHERE id = 1";

// What a row's number leaves room for; history.cc.
constexpr int64_t kMaxRevision = int64_t{1} << 42;

// Whether the file is a store, and in what state.
enum class Found { kNothing, kUnfinished, kWhole };

absl::StatusOr<Found> Look(Database* database, const std::string& path) {
  ASSIGN_OR_RETURN(const std::string application, database->Value("PRAGMA application_id"));
  ASSIGN_OR_RETURN(const std::string version, database->Value("PRAGMA user_version"));
  ASSIGN_OR_RETURN(const std::string tables, database->Value("SELECT count(*) FROM sqlite_schema"));
  if (tables == "0" && version == "0") return Found::kNothing;
  if (application != kApplicationId) {
    return DataLoss("STORE_DAMAGED", path,
                    " is not a store of Parley's; restore it from a backup, or choose another folder");
  }
  if (version == kUnfinished) return Found::kUnfinished;
  if (version == absl::StrCat(kSchemaVersion)) return Found::kWhole;
  return FailedPrecondition("STORE_NEWER", path, " has schema ", version, " and this program knows ", kSchemaVersion,
                            "; run the version of Parley that wrote it, or a newer one");
}

absl::StatusOr<StoreOwner> FindOwner(Database* database) {
  StoreOwner owner;
  ASSIGN_OR_RETURN(const std::string known, database->Value(kHasOwner));
  if (known == "0") return owner;
  Database::Statement read = database->Prepare(kReadOwner);
  ASSIGN_OR_RETURN(const bool found, read.Next());
  if (found) owner = {std::string(read.Bytes(0)), std::string(read.Bytes(1))};
  return owner;
}

absl::Status SetOwner(Database* database, const StoreOwner& owner) {
  RETURN_IF_ERROR(database->Execute(kMakeOwner));
  return database->Prepare(kSetOwner).Bind(owner.service).Bind(owner.organisation).Run();
}

absl::Status CompareOwner(const std::string& path, const StoreOwner& found, const StoreOwner& wanted) {
  const auto foreign = [&path](const auto&... whose) {
    return FailedPrecondition("STORE_FOREIGN", path, " is ", whose..., "; choose another place");
  };
  if (!found.service.empty() && !wanted.service.empty() && found.service != wanted.service) {
    return foreign("a store of ", found.service);
  }
  if (!found.organisation.empty() && !wanted.organisation.empty() && found.organisation != wanted.organisation) {
    return foreign("the store of the organisation ", found.organisation);
  }
  return absl::OkStatus();
}

absl::Status BeginFilling(Database* database, const StoreOwner& owner, int64_t after) {
  if (after < 0 || after > kMaxRevision) {
    return FailedPrecondition("STORE_REVISION", "a database has no room for revisions above ", kMaxRevision);
  }
  RETURN_IF_ERROR(database->Execute(kSetUnfinished));
  RETURN_IF_ERROR(database->Execute(kDeleteEverything));
  RETURN_IF_ERROR(database->Prepare(kSetState).Bind(after + 1).Run());
  return SetOwner(database, owner);
}

// Notes what is known of the owner and was not yet.
absl::Status NoteOwner(Database* database, const StoreOwner& known, const StoreOwner& owner) {
  const StoreOwner noted = {known.service.empty() ? owner.service : known.service,
                            known.organisation.empty() ? owner.organisation : known.organisation};
  if (noted.service == known.service && noted.organisation == known.organisation) return absl::OkStatus();
  return SetOwner(database, noted);
}

// Inside one transaction.
absl::Status Prepare(Database* database, const std::string& path, const StoreOwner& owner,
                     const StorePurpose& purpose) {
  ASSIGN_OR_RETURN(const Found found, Look(database, path));
  if (purpose.use == StorePurpose::Use::kFill) {
    if (found == Found::kWhole) return StoreNotEmpty(path);
    if (found == Found::kNothing) RETURN_IF_ERROR(database->Execute(kSchema));
    return BeginFilling(database, owner, purpose.after);
  }
  if (found == Found::kUnfinished) return StoreUnfinished(path);
  if (found == Found::kNothing && purpose.use == StorePurpose::Use::kRead) return StoreAbsent(path);
  if (found == Found::kNothing) RETURN_IF_ERROR(database->Execute(kSchema));
  ASSIGN_OR_RETURN(const StoreOwner known, FindOwner(database));
  RETURN_IF_ERROR(CompareOwner(path, known, owner));
  return purpose.use == StorePurpose::Use::kRead ? absl::OkStatus() : NoteOwner(database, known, owner);
}

}  // namespace

absl::Status PrepareSchema(Database* database, const std::string& path, const StoreOwner& owner,
                           const StorePurpose& purpose) {
  ASSIGN_OR_RETURN(const std::string mode, database->Value("PRAGMA journal_mode=WAL"));
  if (mode != "wal") {
    return Unavailable("STORE_UNAVAILABLE", "the file system of ", path,
                       " cannot share memory between processes; use a local one");
  }
  RETURN_IF_ERROR(database->Execute("BEGIN IMMEDIATE"));
  if (const absl::Status prepared = Prepare(database, path, owner, purpose); !prepared.ok()) {
    // What it says counts more than how the rollback goes, which happens by itself at the latest on closing.
    (void)database->Execute("ROLLBACK");
    return prepared;
  }
  return database->Execute("COMMIT");
}

absl::StatusOr<StoreOwner> ReadOwner(Database* database, const std::string& path) {
  ASSIGN_OR_RETURN(const Found found, Look(database, path));
  if (found == Found::kNothing) return StoreAbsent(path);
  if (found == Found::kUnfinished) return StoreUnfinished(path);
  return FindOwner(database);
}

absl::Status FinishFilling(Database* database, const std::string& path) {
  ASSIGN_OR_RETURN(const Found found, Look(database, path));
  return found == Found::kUnfinished ? database->Execute(kSetWhole) : StoreNotEmpty(path);
}

}  // namespace parley::store
