// What the header of an HTTP request says, and which ones are refused.
//
// Threads: pure functions.
#ifndef PARLEY_LIB_REST_REQUEST_HEADER_H_
#define PARLEY_LIB_REST_REQUEST_HEADER_H_

#include <boost/beast/http/message.hpp>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace parley::rest {

using RequestHeader = boost::beast::http::request_header<>;

// As Beast has versions.
constexpr int kHttp11 = 11;

inline absl::string_view View(boost::beast::string_view text) { return absl::string_view(text.data(), text.size()); }

absl::Status BadRequest(absl::string_view reason, absl::string_view sentence);

// Whether a field goes on in a further line, which readers understand differently. `bytes` begin where a line does, and
// may go on behind the header.
bool IsFolded(absl::string_view bytes);

// INVALID_ARGUMENT: HTTP_VERSION, HOST, TRANSFER_ENCODING, CONTENT_LENGTH, HEADER_REPEATED, EXPECT, CONTENT_ENCODING.
// PERMISSION_DENIED: ORIGIN_NOT_ALLOWED.
absl::Status CheckHeader(const RequestHeader& header);
// Of one with a body. INVALID_ARGUMENT: CONTENT_TYPE.
absl::Status CheckContentType(const RequestHeader& header);

bool AcceptsGzip(const RequestHeader& header);
// One strong validator, as we give it; empty for "*".
std::optional<std::string> ParseIfMatch(absl::string_view value);

// HTTP says more than gRPC's codes do.
int HttpStatusOf(const absl::Status& status);

}  // namespace parley::rest

#endif  // PARLEY_LIB_REST_REQUEST_HEADER_H_
