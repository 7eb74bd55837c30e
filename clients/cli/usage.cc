#include "clients/cli/command.h"
#include "lib/base/error.h"

namespace parley::cli {

void Uses(const CLI::App* command, Globals* globals, unsigned options) { globals->uses[command] = options; }

absl::Status UsageError(absl::string_view sentence) {
  return Error(absl::StatusCode::kInvalidArgument, "USAGE", sentence);
}

bool IsUsageError(const absl::Status& status) { return Reason(status) == "USAGE"; }

}  // namespace parley::cli
