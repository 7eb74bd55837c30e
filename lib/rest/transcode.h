// Turns requests from path, query and JSON into protobuf, and answers back, by protobuf's own JSON mapping and
// grpc-gateway's rules for what goes where (docs/rest.md).
//
// Threads: pure functions.
#ifndef PARLEY_LIB_REST_TRANSCODE_H_
#define PARLEY_LIB_REST_TRANSCODE_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "google/protobuf/message.h"
#include "grpcpp/support/status.h"
#include "lib/rest/routes.h"

namespace parley::rest {

// What an HTTP request says.
struct HttpCall {
  const Route* route = nullptr;
  Variables variables;
  // The part after "?".
  std::string query;
  std::string body;
  // The value of If-Match without its quotes; empty for none and for "*".
  std::string if_match;
};

// Returns the RPC's serialized request, or one for each line of the body if the RPC takes a stream of them. Returns
// INVALID_ARGUMENT: JSON_MALFORMED, QUERY_UNKNOWN, QUERY_MALFORMED, QUERY_REPEATED, PATH_DIFFERS (from the body),
// BODY_NOT_WANTED, IF_MATCH_NOT_SUPPORTED, IF_MATCH_DIFFERS (from the body's etag).
absl::StatusOr<std::vector<std::string>> ToRequests(const HttpCall& call);

struct JsonAnswer {
  std::string json;
  // The answer's field `etag`, if it has one.
  std::string etag;
};
// Returns INTERNAL (ANSWER_MALFORMED) for bytes that are no message of this type.
absl::StatusOr<JsonAnswer> ToJson(const google::protobuf::Descriptor& type, absl::string_view serialized);

// Returns the HTTP status that google/rpc/code.proto names for the code.
int HttpStatus(grpc::StatusCode code);
// Returns google.rpc.Status as JSON, for an RPC's error and for a request that did not become an RPC.
std::string StatusJson(const grpc::Status& status);
std::string StatusJson(const absl::Status& status);

}  // namespace parley::rest

#endif  // PARLEY_LIB_REST_TRANSCODE_H_
