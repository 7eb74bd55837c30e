#include "services/taskd/store/request_log.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "google/protobuf/io/coded_stream.h"
#include "google/protobuf/io/zero_copy_stream_impl_lite.h"
#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/crypto/hash.h"
#include "services/taskd/domain/validation.h"
#include "services/taskd/store/keys.h"

namespace parley::taskd {
namespace {

constexpr absl::Duration kLifetime = absl::Hours(24);

// The same bytes for the same message: maps in order.
std::string Deterministic(const google::protobuf::Message& message) {
  std::string bytes;
  {
    google::protobuf::io::StringOutputStream stream(&bytes);
    google::protobuf::io::CodedOutputStream output(&stream);
    output.SetSerializationDeterministic(true);
    message.SerializeToCodedStream(&output);
  }
  return bytes;
}

}  // namespace

absl::StatusOr<RequestLog::Request> RequestLog::Begin(const rpc::Caller& caller, absl::string_view rpc,
                                                      absl::string_view request_id,
                                                      const google::protobuf::Message& message) const {
  RETURN_IF_ERROR(ValidateRequestId(request_id));
  Request request;
  request.id_hash = HexEncode(crypto::Sha256(absl::StrCat("parley request v1/", caller.Name(), "/", request_id)));
  request.record.set_fingerprint(crypto::Sha256(absl::StrCat(rpc, "/", Deterministic(message))));
  return request;
}

absl::StatusOr<std::optional<RequestRecord>> RequestLog::FindDone(const Request& request) const {
  ASSIGN_OR_RETURN(auto found, store_->FindRequest(request.id_hash));
  if (!found.has_value()) return std::optional<RequestRecord>();
  if (found->value.fingerprint() != request.record.fingerprint()) {
    return Error(absl::StatusCode::kFailedPrecondition, "REQUEST_ID_REUSED",
                 "another request was made under this request_id; make a new one with uuidgen");
  }
  return std::optional<RequestRecord>(std::move(found->value));
}

absl::Status RequestLog::Record(const Request& request, store::Transaction* transaction) const {
  ASSIGN_OR_RETURN(const store::LeaseId lease, store_->store()->GrantLease(kLifetime));
  const std::string key = RequestKey(request.id_hash);
  transaction->IfAbsent(key).Set(key, request.record.SerializeAsString(), lease);
  return absl::OkStatus();
}

}  // namespace parley::taskd
