#include "lib/base/error.h"

#include <string.h>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"

namespace parley {
namespace {

constexpr absl::string_view kReasonUrl = "parley.dev/reason";

}  // namespace

absl::Status Error(absl::StatusCode code, absl::string_view reason, absl::string_view sentence) {
  absl::Status status(code, sentence);
  status.SetPayload(kReasonUrl, absl::Cord(reason));
  return status;
}

std::string Reason(const absl::Status& status) {
  const auto payload = status.GetPayload(kReasonUrl);
  return payload.has_value() ? std::string(*payload) : std::string();
}

absl::Status Annotate(const absl::Status& status, absl::string_view prefix) {
  if (status.ok()) return status;
  absl::Status annotated(status.code(), absl::StrCat(prefix, ": ", status.message()));
  if (auto payload = status.GetPayload(kReasonUrl); payload.has_value()) annotated.SetPayload(kReasonUrl, *payload);
  return annotated;
}

std::string ErrnoText(int error_number) {
  char buffer[128];
  return strerror_r(error_number, buffer, sizeof(buffer));
}

}  // namespace parley
