#include "lib/base/may_pass.h"

#include <string>

#include "lib/base/error.h"

namespace parley {

bool MayPass(const absl::Status& error) {
  if (absl::IsUnavailable(error) || absl::IsDeadlineExceeded(error)) return true;
  const std::string reason = Reason(error);
  if (reason.empty()) return absl::IsInternal(error) || absl::IsUnknown(error);
  return reason == "NAME_NOT_FOUND" || reason == "CALL_CANCELLED";
}

}  // namespace parley
