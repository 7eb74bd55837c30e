// The gRPC side of TrustService: each RPC passes the gate, becomes a call of what does it, and the connections of what
// it revoked are closed. A certificate that is refused is in the audit log with the rule that it breaks.
//
// Threads: gRPC calls the methods on any thread. Stop the gRPC server before destroying it.
#ifndef PARLEY_SERVICES_KEYD_SERVICE_TRUST_SERVICE_H_
#define PARLEY_SERVICES_KEYD_SERVICE_TRUST_SERVICE_H_

#include "absl/strings/string_view.h"
#include "parley/trust/v1/trust_service.grpc.pb.h"
#include "services/keyd/service/service_parts.h"

namespace parley::keyd {

class TrustServiceAdapter final : public trust::v1::TrustService::CallbackService {
 public:
  // `parts` must outlive the service.
  explicit TrustServiceAdapter(ServiceParts* parts) : parts_(parts) {}

 private:
  using Context = grpc::CallbackServerContext;
  using Reactor = grpc::ServerUnaryReactor;

  Reactor* FoundOrganisation(Context*, const trust::v1::FoundOrganisationRequest*,
                             trust::v1::FoundOrganisationResponse*) override;
  Reactor* Enrol(Context*, const trust::v1::EnrolRequest*, trust::v1::EnrolResponse*) override;
  Reactor* AppendCertificates(Context*, const trust::v1::AppendCertificatesRequest*,
                              trust::v1::AppendCertificatesResponse*) override;
  Reactor* RenewCredential(Context*, const trust::v1::RenewCredentialRequest*,
                           trust::v1::RenewCredentialResponse*) override;
  Reactor* ListCertificates(Context*, const trust::v1::ListCertificatesRequest*,
                            trust::v1::ListCertificatesResponse*) override;
  grpc::ServerWriteReactor<trust::v1::WatchCertificatesResponse>* WatchCertificates(
      Context*, const trust::v1::WatchCertificatesRequest*) override;

  // Returns the same status; a refusal by a rule of the chain is recorded first.
  absl::Status Recorded(const rpc::Caller& caller, absl::string_view method, const absl::Status& status) const;

  ServiceParts* const parts_;
};

}  // namespace parley::keyd

#endif  // PARLEY_SERVICES_KEYD_SERVICE_TRUST_SERVICE_H_
