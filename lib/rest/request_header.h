// Reads the header of an HTTP request, and refuses some.
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

// Beast's number of the version HTTP/1.1.
constexpr int kHttp11 = 11;

inline absl::string_view View(boost::beast::string_view text) { return absl::string_view(text.data(), text.size()); }

// Returns whether a field goes on in a further line, which readers understand differently. `bytes` begin where a line
// does, and may go on behind the header.
bool IsFolded(absl::string_view bytes);

// Returns INVALID_ARGUMENT: HTTP_VERSION, HOST, TRANSFER_ENCODING, CONTENT_LENGTH, HEADER_REPEATED, EXPECT,
// CONTENT_ENCODING; or PERMISSION_DENIED: ORIGIN_NOT_ALLOWED.
absl::Status CheckHeader(const RequestHeader& header);
// Checks the header of a request with a body. Returns INVALID_ARGUMENT: CONTENT_TYPE.
absl::Status CheckContentType(const RequestHeader& header);

bool AcceptsGzip(const RequestHeader& header);
// Returns the one strong validator that an If-Match has, in the form that we give it; an empty text for "*".
std::optional<std::string> ParseIfMatch(absl::string_view value);

// Returns the HTTP status of an error of this layer: HTTP has more of them than gRPC has codes.
int HttpStatusOf(const absl::Status& status);

}  // namespace parley::rest

#endif  // PARLEY_LIB_REST_REQUEST_HEADER_H_
