// Errors that a person can act on and a program can tell apart.
//
// A Parley error is an absl::Status whose message is one sentence (what happened, to what, what to do next) and
// which carries a reason: a short constant in SCREAMING_SNAKE_CASE, the ErrorInfo.reason of google.rpc.
#ifndef PARLEY_LIB_BASE_ERROR_H_
#define PARLEY_LIB_BASE_ERROR_H_

#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace parley {

absl::Status Error(absl::StatusCode code, absl::string_view reason, absl::string_view sentence);
// Makes the sentence of parts, like absl::StrCat.
template <typename... Parts>
absl::Status Error(absl::StatusCode code, absl::string_view reason, const Parts&... parts) {
  return Error(code, reason, absl::string_view(absl::StrCat(parts...)));
}

// Make an error of the code that names them.
template <typename... Parts>
absl::Status DataLoss(absl::string_view reason, const Parts&... parts) {
  return Error(absl::StatusCode::kDataLoss, reason, parts...);
}
template <typename... Parts>
absl::Status FailedPrecondition(absl::string_view reason, const Parts&... parts) {
  return Error(absl::StatusCode::kFailedPrecondition, reason, parts...);
}
template <typename... Parts>
absl::Status InvalidArgument(absl::string_view reason, const Parts&... parts) {
  return Error(absl::StatusCode::kInvalidArgument, reason, parts...);
}
template <typename... Parts>
absl::Status NotFound(absl::string_view reason, const Parts&... parts) {
  return Error(absl::StatusCode::kNotFound, reason, parts...);
}
template <typename... Parts>
absl::Status PermissionDenied(absl::string_view reason, const Parts&... parts) {
  return Error(absl::StatusCode::kPermissionDenied, reason, parts...);
}
template <typename... Parts>
absl::Status Unauthenticated(absl::string_view reason, const Parts&... parts) {
  return Error(absl::StatusCode::kUnauthenticated, reason, parts...);
}
template <typename... Parts>
absl::Status Unavailable(absl::string_view reason, const Parts&... parts) {
  return Error(absl::StatusCode::kUnavailable, reason, parts...);
}

// Returns the reason, or an empty text if the status carries none.
std::string Reason(const absl::Status& status);

// Returns the same error with `prefix` and ": " before its sentence; the code and the reason stay.
absl::Status Annotate(const absl::Status& status, absl::string_view prefix);

// Returns the sentence of errno without a number: "Permission denied".
std::string ErrnoText(int error_number);

}  // namespace parley

#define PARLEY_CONCAT_INNER(a, b) a##b
#define PARLEY_CONCAT(a, b) PARLEY_CONCAT_INNER(a, b)

// Returns from the function when the expression's status is an error.
#define RETURN_IF_ERROR(expression)                                                              \
  do {                                                                                           \
    if (absl::Status parley_status_ = (expression); !parley_status_.ok()) return parley_status_; \
  } while (false)

// Declares or assigns `target` from a StatusOr, or returns its error.
#define ASSIGN_OR_RETURN(target, expression) \
  ASSIGN_OR_RETURN_IMPL(PARLEY_CONCAT(parley_or_, __LINE__), target, expression)
#define ASSIGN_OR_RETURN_IMPL(result, target, expression) \
  auto result = (expression);                             \
  if (!result.ok()) return std::move(result).status();    \
  target = *std::move(result)

#endif  // PARLEY_LIB_BASE_ERROR_H_
