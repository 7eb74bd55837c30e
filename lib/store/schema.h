// The file of a SQLite store: its tables, whose it is, and whether it is whole.
//
// Threads: one at a time on a Database.
#ifndef PARLEY_LIB_STORE_SCHEMA_H_
#define PARLEY_LIB_STORE_SCHEMA_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lib/store/database.h"
#include "lib/store/owner.h"

namespace parley::store {

// Makes the tables in an empty database, and compares or notes the owner, as far as `owner` is known. Returns DATA_LOSS
// (STORE_DAMAGED) for another program's file; FAILED_PRECONDITION: STORE_NEWER for another version's, STORE_FOREIGN for
// another owner's, STORE_UNFINISHED for one that is being filled, STORE_NOT_EMPTY for one to fill that has data;
// NOT_FOUND (STORE_ABSENT) for one to read that has none; UNAVAILABLE (STORE_UNAVAILABLE) on a file system that cannot
// have a store.
absl::Status PrepareSchema(Database* database, const std::string& path, const StoreOwner& owner,
                           const StorePurpose& purpose);

// Reads whose store it is. Returns the errors of PrepareSchema for one to read.
absl::StatusOr<StoreOwner> ReadOwner(Database* database, const std::string& path);

// Says that a store which was filled is whole. Returns FAILED_PRECONDITION (STORE_NOT_EMPTY) if none is being filled.
absl::Status FinishFilling(Database* database, const std::string& path);

}  // namespace parley::store

#endif  // PARLEY_LIB_STORE_SCHEMA_H_
