// Ids by which callers mark a request, so that one that is repeated is answered as the first time and does nothing.
//
// Threads: free functions without state.
#ifndef PARLEY_LIB_RPC_REQUEST_ID_H_
#define PARLEY_LIB_RPC_REQUEST_ID_H_

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace google::protobuf {
class Message;
}  // namespace google::protobuf

namespace parley::rpc {

// Returns what a request is remembered by: SHA-256 of "{scope}/{caller}/{request_id}", 32 bytes. `caller` is a name
// such as "operator/alice"; requests of different scopes never meet.
std::string RequestHash(absl::string_view scope, absl::string_view caller, absl::string_view request_id);

// Returns what tells a repetition from another request: SHA-256 of `prefix` and the message, whose maps are in order,
// 32 bytes.
std::string RequestDigest(absl::string_view prefix, const google::protobuf::Message& message);

// Returns FAILED_PRECONDITION (REQUEST_ID_REUSED): the id is that of another request.
absl::Status RequestIdReused();

}  // namespace parley::rpc

#endif  // PARLEY_LIB_RPC_REQUEST_ID_H_
