#include "services/taskd/store/request_log.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/rpc/request_id.h"
#include "services/taskd/domain/validation.h"
#include "services/taskd/store/keys.h"

namespace parley::taskd {
namespace {

constexpr absl::Duration kLifetime = absl::Hours(24);

}  // namespace

absl::StatusOr<RequestLog::Request> RequestLog::Begin(const rpc::Caller& caller, absl::string_view method,
                                                      absl::string_view request_id,
                                                      const google::protobuf::Message& message) const {
  RETURN_IF_ERROR(ValidateRequestId(request_id));
  Request request;
  request.id_hash = HexEncode(rpc::RequestHash("parley request v1", caller.Name(), request_id));
  request.record.set_fingerprint(rpc::RequestDigest(absl::StrCat(method, "/"), message));
  return request;
}

absl::StatusOr<std::optional<RequestRecord>> RequestLog::FindDone(const Request& request) const {
  ASSIGN_OR_RETURN(auto found, store_->FindRequest(request.id_hash));
  if (!found.has_value()) return std::optional<RequestRecord>();
  if (found->value.fingerprint() != request.record.fingerprint()) return rpc::RequestIdReused();
  return std::optional<RequestRecord>(std::move(found->value));
}

absl::Status RequestLog::Record(Request* request, store::Transaction* transaction) const {
  if (request->lease == 0) {
    ASSIGN_OR_RETURN(request->lease, store_->store()->GrantLease(kLifetime));
  }
  const std::string key = RequestKey(request->id_hash);
  transaction->IfAbsent(key).Set(key, request->record.SerializeAsString(), request->lease);
  return absl::OkStatus();
}

}  // namespace parley::taskd
