#include "lib/rest/request_header.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "lib/base/error.h"
#include "lib/rest/transcode.h"

namespace parley::rest {
namespace {

namespace http = boost::beast::http;

// What two readers could understand differently is refused, so that nobody smuggles one request inside another.
absl::Status CheckFraming(const RequestHeader& header) {
  if (header.version() != kHttp11) return InvalidArgument("HTTP_VERSION", "the server speaks HTTP/1.1");
  if (header.count(http::field::host) != 1) return InvalidArgument("HOST", "a request must name exactly one Host");
  const size_t codings = header.count(http::field::transfer_encoding);
  if (codings > 1 ||
      (codings == 1 && !absl::EqualsIgnoreCase(View(header[http::field::transfer_encoding]), "chunked"))) {
    return InvalidArgument("TRANSFER_ENCODING", "the server knows no Transfer-Encoding but chunked, once");
  }
  if (header.count(http::field::content_length) + codings > 1) {
    return InvalidArgument("CONTENT_LENGTH", "a request must say its length once, by one of the two ways");
  }
  const absl::string_view length = View(header[http::field::content_length]);
  if (!std::all_of(length.begin(), length.end(), absl::ascii_isdigit)) {
    return InvalidArgument("CONTENT_LENGTH", "Content-Length must be a decimal number");
  }
  for (const auto& field : {http::field::content_type, http::field::content_encoding, http::field::expect,
                            http::field::origin, http::field::if_match}) {
    if (header.count(field) > 1)
      return InvalidArgument("HEADER_REPEATED", "a request must give each of these headers once");
  }
  return absl::OkStatus();
}

}  // namespace

bool IsFolded(absl::string_view bytes) {
  if (absl::StartsWith(bytes, "\r\n")) return false;
  const absl::string_view head = bytes.substr(0, bytes.find("\r\n\r\n"));
  return absl::StrContains(head, "\r\n ") || absl::StrContains(head, "\r\n\t");
}

absl::Status CheckHeader(const RequestHeader& header) {
  RETURN_IF_ERROR(CheckFraming(header));
  if (const auto expect = header[http::field::expect];
      !expect.empty() && !absl::EqualsIgnoreCase(View(expect), "100-continue")) {
    return InvalidArgument("EXPECT", "the server knows no expectation but 100-continue");
  }
  const absl::string_view origin = View(header[http::field::origin]);
  if (!origin.empty() && origin != absl::StrCat("https://", View(header[http::field::host]))) {
    return PermissionDenied("ORIGIN_NOT_ALLOWED",
                            "a page of another origin may not call this server; use a program of your own");
  }
  const absl::string_view coding = View(header[http::field::content_encoding]);
  if (!coding.empty() && !absl::EqualsIgnoreCase(coding, "gzip") && !absl::EqualsIgnoreCase(coding, "identity")) {
    return InvalidArgument("CONTENT_ENCODING", "the server reads bodies as they are, or in gzip");
  }
  return absl::OkStatus();
}

absl::Status CheckContentType(const RequestHeader& header) {
  absl::string_view type = View(header[http::field::content_type]);
  type = absl::StripAsciiWhitespace(type.substr(0, type.find(';')));
  if (absl::EqualsIgnoreCase(type, "application/json") || absl::EqualsIgnoreCase(type, "application/x-ndjson")) {
    return absl::OkStatus();
  }
  return InvalidArgument("CONTENT_TYPE", "the body must be JSON; send Content-Type: application/json");
}

bool AcceptsGzip(const RequestHeader& header) {
  for (const absl::string_view coding : absl::StrSplit(View(header[http::field::accept_encoding]), ',')) {
    const std::pair<absl::string_view, absl::string_view> parts = absl::StrSplit(coding, absl::MaxSplits(';', 1));
    std::string weight(parts.second);
    weight.erase(std::remove(weight.begin(), weight.end(), ' '), weight.end());
    if (absl::StripAsciiWhitespace(parts.first) == "gzip")
      return weight.find_first_of("123456789") != weight.npos || weight.empty();
  }
  return false;
}

std::optional<std::string> ParseIfMatch(absl::string_view value) {
  if (value.empty() || value == "*") return "";
  if (!absl::ConsumePrefix(&value, "\"") || !absl::ConsumeSuffix(&value, "\"") || value.empty() ||
      absl::StrContains(value, "\"")) {
    return std::nullopt;
  }
  return std::string(value);
}

int HttpStatusOf(const absl::Status& status) {
  const std::string reason = Reason(status);
  if (reason == "METHOD_NOT_ALLOWED") return 405;
  if (reason == "HEADER_TOO_LARGE") return 431;
  if (reason == "BODY_TOO_LARGE") return 413;
  if (reason == "CONTENT_TYPE") return 415;
  if (reason == "CONTENT_ENCODING") return 415;
  if (reason == "EXPECT") return 417;
  if (reason == "REQUEST_TIMEOUT") return 408;
  if (reason == "HTTP_VERSION") return 505;
  return HttpStatus(static_cast<grpc::StatusCode>(status.code()));
}

}  // namespace parley::rest
