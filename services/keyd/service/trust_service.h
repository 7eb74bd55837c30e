// The gRPC side of TrustService: each RPC passes the gate, becomes a call of what does it, and the connections of what
// it revoked are closed. A certificate that is refused is in the audit log with the rule that it breaks.
//
// Threads: gRPC calls the methods on any thread. Stop the gRPC server before destroying it.
#ifndef PARLEY_SERVICES_KEYD_SERVICE_TRUST_SERVICE_H_
#define PARLEY_SERVICES_KEYD_SERVICE_TRUST_SERVICE_H_

#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "parley/trust/v1/trust_service.grpc.pb.h"
#include "services/keyd/service/parts.h"

namespace parley::keyd {

class TrustServiceAdapter final : public trust::v1::TrustService::CallbackService {
 public:
  // `parts` must outlive the service.
  explicit TrustServiceAdapter(KeydParts* parts) : parts_(parts) {}

 private:
  using Context = grpc::CallbackServerContext;
  using Reactor = grpc::ServerUnaryReactor;

  Reactor* FoundOrganisation(Context* context, const trust::v1::FoundOrganisationRequest* request,
                             trust::v1::FoundOrganisationResponse* response) override {
    return parts_->gate->Unary(context, Method("FoundOrganisation"), [=, this](const rpc::Caller& caller) {
      return Recorded(caller, "FoundOrganisation", parts_->trust->Found(caller, *request, response));
    });
  }
  Reactor* Enrol(Context* context, const trust::v1::EnrolRequest* request,
                 trust::v1::EnrolResponse* response) override {
    return parts_->gate->Unary(context, Method("Enrol"), [=, this](const rpc::Caller& caller) {
      return Recorded(caller, "Enrol", parts_->trust->Enrol(caller, *request, response));
    });
  }
  Reactor* AppendCertificates(Context* context, const trust::v1::AppendCertificatesRequest* request,
                              trust::v1::AppendCertificatesResponse* response) override {
    return parts_->gate->Unary(context, Method("AppendCertificates"), [=, this](const rpc::Caller& caller) {
      const auto answering = parts_->answering(caller);
      RETURN_IF_ERROR(Recorded(caller, "AppendCertificates", parts_->trust->Append(caller, *request, response)));
      return parts_->await_revoked({response->credentials().begin(), response->credentials().end()});
    });
  }
  Reactor* RenewCredential(Context* context, const trust::v1::RenewCredentialRequest* request,
                           trust::v1::RenewCredentialResponse* response) override {
    return parts_->gate->Unary(context, Method("RenewCredential"), parts_->trust.get(), &TrustAuthority::Renew, request,
                               response);
  }
  Reactor* ListCertificates(Context* context, const trust::v1::ListCertificatesRequest* request,
                            trust::v1::ListCertificatesResponse* response) override {
    return parts_->gate->Unary(context, Method("ListCertificates"), parts_->trust.get(), &TrustAuthority::List, request,
                               response);
  }
  grpc::ServerWriteReactor<trust::v1::WatchCertificatesResponse>* WatchCertificates(
      Context*, const trust::v1::WatchCertificatesRequest*) override;

  // Returns the same status; a refusal by a rule of the chain is recorded first.
  absl::Status Recorded(const rpc::Caller& caller, absl::string_view method, const absl::Status& status) const;
  static std::string Method(absl::string_view name) { return absl::StrCat("parley.trust.v1.TrustService.", name); }

  KeydParts* const parts_;
};

}  // namespace parley::keyd

#endif  // PARLEY_SERVICES_KEYD_SERVICE_TRUST_SERVICE_H_
