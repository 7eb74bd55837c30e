#include "services/keyd/service/trust_service.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "lib/base/proto_time.h"
#include "lib/rpc/start_stream.h"
#include "services/keyd/service/issued_response.h"
#include "services/keyd/service/store_stream.h"
#include "services/keyd/store/store_layout.h"

namespace parley::keyd {
namespace {

using grpc::CallbackServerContext;
using grpc::ServerUnaryReactor;
using rpc::Caller;

// The certificates after a sequence.
class CertificatesSource final : public StreamSource<trust::v1::WatchCertificatesResponse> {
 public:
  CertificatesSource(const TrustAuthority* authority, int64_t after) : authority_(authority), after_(after) {}

  absl::StatusOr<store::KeyRange> Start(int64_t) override {
    ASSIGN_OR_RETURN(last_, authority_->LastSequence());
    return TrustAuthority::CertificatesAfter(after_);
  }
  absl::StatusOr<bool> Add(const store::Change& change, bool, trust::v1::WatchCertificatesResponse* message) override {
    if (!change.value.has_value()) return false;
    message->add_certificates()->ParseFromString(*change.value);
    last_ = std::max(last_, NumberOf(change.key, kCertificatePrefix));
    return true;
  }
  void Complete(std::optional<int64_t>, trust::v1::WatchCertificatesResponse* message) override {
    message->set_last_sequence(last_);
  }

 private:
  const TrustAuthority* const authority_;
  const int64_t after_;
  int64_t last_ = 0;
};

}  // namespace

absl::Status TrustService::Recorded(const Caller& caller, absl::string_view method, const absl::Status& status) const {
  // A chain that has moved says nothing of whoever signed.
  if (!absl::StartsWith(Reason(status), "CHAIN_") || absl::IsAborted(status)) return status;
  key::v1::AuditEvent event;
  event.set_actor(caller.Name());
  event.set_action("certificate.refused");
  event.set_resource(absl::StrCat("parley.trust.v1.TrustService.", method));
  event.set_outcome(Reason(status));
  options_.audit->Record(std::move(event));
  return status;
}

ServerUnaryReactor* TrustService::FoundOrganisation(CallbackServerContext* context,
                                                    const trust::v1::FoundOrganisationRequest* request,
                                                    trust::v1::FoundOrganisationResponse* response) {
  return options_.gate->Unary(
      context, "parley.trust.v1.TrustService.FoundOrganisation", [=, this](const Caller& caller) -> absl::Status {
        const absl::StatusOr<Credentials::Issued> issued = options_.authority->Found(ToTrustCaller(caller), *request);
        RETURN_IF_ERROR(Recorded(caller, "FoundOrganisation", issued.status()));
        FillResponse(*issued, response->mutable_credential());
        response->set_organisation(options_.authority->organisation());
        return absl::OkStatus();
      });
}

ServerUnaryReactor* TrustService::Enrol(CallbackServerContext* context, const trust::v1::EnrolRequest* request,
                                        trust::v1::EnrolResponse* response) {
  return options_.gate->Unary(context, "parley.trust.v1.TrustService.Enrol",
                              [=, this](const Caller& caller) -> absl::Status {
                                const absl::StatusOr<TrustAuthority::Enrolled> enrolled =
                                    options_.authority->Enrol(ToTrustCaller(caller), *request);
                                RETURN_IF_ERROR(Recorded(caller, "Enrol", enrolled.status()));
                                FillResponse(enrolled->issued, response->mutable_credential());
                                response->set_sequence(enrolled->sequence);
                                return absl::OkStatus();
                              });
}

ServerUnaryReactor* TrustService::AppendCertificates(CallbackServerContext* context,
                                                     const trust::v1::AppendCertificatesRequest* request,
                                                     trust::v1::AppendCertificatesResponse* response) {
  return options_.gate->Unary(
      context, "parley.trust.v1.TrustService.AppendCertificates", [=, this](const Caller& caller) -> absl::Status {
        const absl::StatusOr<TrustAuthority::Appended> appended =
            options_.authority->Append(ToTrustCaller(caller), *request);
        RETURN_IF_ERROR(Recorded(caller, "AppendCertificates", appended.status()));
        for (const key::v1::CredentialRecord& record : appended->revoked) {
          const std::string serial = SerialOfName(record.name());
          options_.on_revoked(serial, ToTime(record.expire_time()), serial == caller.peer->key.key_id);
          response->add_credentials(record.name());
        }
        response->set_sequence(appended->sequence);
        response->set_revoked_credentials(static_cast<int32_t>(appended->revoked.size()));
        return absl::OkStatus();
      });
}

ServerUnaryReactor* TrustService::RenewCredential(CallbackServerContext* context,
                                                  const trust::v1::RenewCredentialRequest* request,
                                                  trust::v1::RenewCredentialResponse* response) {
  return options_.gate->Unary(
      context, "parley.trust.v1.TrustService.RenewCredential", [=, this](const Caller& caller) -> absl::Status {
        ASSIGN_OR_RETURN(const Credentials::Issued issued, options_.authority->Renew(ToTrustCaller(caller), *request));
        FillResponse(issued, response->mutable_credential());
        return absl::OkStatus();
      });
}

ServerUnaryReactor* TrustService::ListCertificates(CallbackServerContext* context,
                                                   const trust::v1::ListCertificatesRequest* request,
                                                   trust::v1::ListCertificatesResponse* response) {
  return options_.gate->Unary(context, "parley.trust.v1.TrustService.ListCertificates",
                              [=, this](const Caller&) -> absl::Status {
                                ASSIGN_OR_RETURN(*response, options_.authority->List(*request));
                                return absl::OkStatus();
                              });
}

grpc::ServerWriteReactor<trust::v1::WatchCertificatesResponse>* TrustService::WatchCertificates(
    CallbackServerContext* context, const trust::v1::WatchCertificatesRequest* request) {
  return rpc::StartStream(*options_.gate, context, "parley.trust.v1.TrustService.WatchCertificates",
                          [&](const Caller& caller) {
                            return std::make_shared<StoreStream<trust::v1::WatchCertificatesResponse>>(
                                options_.store, options_.gate->workers(), options_.streams, caller,
                                std::make_unique<CertificatesSource>(options_.authority, request->after_sequence()));
                          });
}

}  // namespace parley::keyd
