// Requests from path, query and JSON to protobuf, and answers back: protobuf's own JSON mapping, and grpc-gateway's
// rules for what goes where (docs/rest.md).
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
  // After "?".
  std::string query;
  std::string body;
  // Of If-Match, without its quotes; empty for none and for "*".
  std::string if_match;
};

// The RPC's serialized request; as many as the body has lines when the RPC takes a stream of them.
// INVALID_ARGUMENT: JSON_MALFORMED, QUERY_UNKNOWN, QUERY_MALFORMED, QUERY_REPEATED, PATH_DIFFERS (from the body),
// BODY_NOT_WANTED, IF_MATCH_NOT_SUPPORTED, IF_MATCH_DIFFERS (from the body's etag).
absl::StatusOr<std::vector<std::string>> ToRequests(const HttpCall& call);

struct JsonAnswer {
  std::string json;
  // The answer's field `etag`, if it has one.
  std::string etag;
};
// INTERNAL (ANSWER_MALFORMED).
absl::StatusOr<JsonAnswer> ToJson(const google::protobuf::Descriptor& type, absl::string_view serialized);

// As in google/rpc/code.proto.
int HttpStatus(grpc::StatusCode code);
// google.rpc.Status as JSON: of an RPC, and of a request that did not become one.
std::string StatusJson(const grpc::Status& status);
std::string StatusJson(const absl::Status& status);

}  // namespace parley::rest

#endif  // PARLEY_LIB_REST_TRANSCODE_H_
