#include "services/keyd/service/trust_service.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "services/keyd/domain/credential_rules.h"
#include "services/keyd/service/store_stream.h"
#include "services/keyd/store/store_layout.h"

namespace parley::keyd {
namespace {

using rpc::Caller;
using namespace trust::v1;  // NOLINT: the whole API is adapted here.

// The certificates after a sequence.
class CertificatesSource final : public StreamSource<WatchCertificatesResponse> {
 public:
  CertificatesSource(const TrustAuthority* authority, int64_t after) : authority_(authority), after_(after) {}

  absl::StatusOr<store::KeyRange> Start(int64_t) override {
    ASSIGN_OR_RETURN(last_, authority_->LastSequence());
    RETURN_IF_ERROR(CheckAfterSequence(after_));
    return After(kCertificatePrefix, after_);
  }
  absl::StatusOr<bool> Add(const store::Change& change, bool, WatchCertificatesResponse* message) override {
    if (!change.value.has_value()) return false;
    message->add_certificates()->ParseFromString(*change.value);
    last_ = std::max(last_, NumberOf(change.key, kCertificatePrefix));
    return true;
  }
  void Complete(std::optional<int64_t>, WatchCertificatesResponse* message) override {
    message->set_last_sequence(last_);
  }

 private:
  const TrustAuthority* const authority_;
  const int64_t after_;
  int64_t last_ = 0;
};

}  // namespace

absl::Status TrustServiceAdapter::Recorded(const Caller& caller, absl::string_view method,
                                           const absl::Status& status) const {
  // A chain that has moved says nothing of whoever signed.
  if (!absl::StartsWith(Reason(status), "CHAIN_") || absl::IsAborted(status)) return status;
  key::v1::AuditEvent event;
  event.set_actor(caller.Name());
  event.set_action("certificate.refused");
  event.set_resource(Method(method));
  event.set_outcome(Reason(status));
  parts_->audit->Record(std::move(event));
  return status;
}

grpc::ServerWriteReactor<WatchCertificatesResponse>* TrustServiceAdapter::WatchCertificates(
    Context* context, const WatchCertificatesRequest* request) {
  return FollowStore<WatchCertificatesResponse>(parts_, context, Method("WatchCertificates"), [=, this](const Caller&) {
    return std::make_unique<CertificatesSource>(parts_->trust.get(), request->after_sequence());
  });
}

}  // namespace parley::keyd
