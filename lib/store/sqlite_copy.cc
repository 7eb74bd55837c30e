#include "lib/store/sqlite_copy.h"

#include <memory>
#include <utility>

#include "lib/base/error.h"
#include "lib/store/database.h"
#include "lib/store/history.h"

namespace parley::store {

absl::Status CopySqliteStore(const std::string& from, const std::string& to) {
  ASSIGN_OR_RETURN(const std::unique_ptr<Database> source, Database::Open(from));
  ASSIGN_OR_RETURN(const std::unique_ptr<Database> copy, Database::Open(to));
  RETURN_IF_ERROR(source->CopyTo(copy.get()));
  ASSIGN_OR_RETURN(const std::string found, copy->Value("PRAGMA integrity_check(1)"));
  if (found == "ok") return absl::OkStatus();
  return DataLoss("STORE_DAMAGED", from, " is damaged (", found, "); restore it from an earlier backup");
}

absl::StatusOr<std::string> ReadFromCopy(const std::string& path, absl::string_view key) {
  ASSIGN_OR_RETURN(const std::unique_ptr<Database> copy, Database::Open(path));
  ASSIGN_OR_RETURN(Entry entry, ReadEntry(copy.get(), key, 0));
  return std::move(entry.value);
}

}  // namespace parley::store
