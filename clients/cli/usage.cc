#include "clients/cli/command.h"
#include "lib/base/error.h"

namespace parley::cli {

absl::Status UsageError(absl::string_view sentence) {
  return Error(absl::StatusCode::kInvalidArgument, "USAGE", sentence);
}

bool IsUsageError(const absl::Status& status) { return Reason(status) == "USAGE"; }

}  // namespace parley::cli
