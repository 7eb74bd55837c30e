#include "lib/rpc/request_id.h"

#include "absl/strings/str_cat.h"
#include "google/protobuf/io/coded_stream.h"
#include "google/protobuf/io/zero_copy_stream_impl_lite.h"
#include "google/protobuf/message.h"
#include "lib/base/error.h"
#include "lib/crypto/hash.h"

namespace parley::rpc {

std::string RequestHash(absl::string_view scope, absl::string_view caller, absl::string_view request_id) {
  return crypto::Sha256(absl::StrCat(scope, "/", caller, "/", request_id));
}

std::string RequestDigest(absl::string_view prefix, const google::protobuf::Message& message) {
  std::string bytes(prefix);
  {
    google::protobuf::io::StringOutputStream stream(&bytes);
    google::protobuf::io::CodedOutputStream output(&stream);
    output.SetSerializationDeterministic(true);
    message.SerializeToCodedStream(&output);
  }
  return crypto::Sha256(bytes);
}

absl::Status RequestIdReused() {
  return FailedPrecondition("REQUEST_ID_REUSED",
                            "another request was made under this request_id; make a new one with uuidgen");
}

}  // namespace parley::rpc
