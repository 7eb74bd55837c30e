// TrustService over gRPC: admits the caller, calls the domain, closes the connections of what was revoked.
//
// A certificate that is refused is in the audit log with the rule it breaks.
//
// Threads: all methods may be called from any thread. Stop the gRPC server before destroying it.
#ifndef PARLEY_SERVICES_KEYD_SERVICE_TRUST_SERVICE_H_
#define PARLEY_SERVICES_KEYD_SERVICE_TRUST_SERVICE_H_

#include <functional>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "lib/audit/audit_log.h"
#include "lib/rpc/gate.h"
#include "lib/rpc/live_streams.h"
#include "lib/store/store.h"
#include "parley/trust/v1/trust_service.grpc.pb.h"
#include "services/keyd/trust/trust_authority.h"

namespace parley::keyd {

class TrustService final : public trust::v1::TrustService::CallbackService {
 public:
  struct Options {
    // All must outlive the service.
    store::Store* store = nullptr;
    TrustAuthority* authority = nullptr;
    const rpc::Gate* gate = nullptr;
    rpc::LiveStreams* streams = nullptr;
    audit::AuditLog* audit = nullptr;
    // The same as in KeyService.
    std::function<void(absl::string_view serial, absl::Time expire_time, bool by_itself)> on_revoked;
  };

  explicit TrustService(Options options) : options_(std::move(options)) {}

  grpc::ServerUnaryReactor* FoundOrganisation(grpc::CallbackServerContext* context,
                                              const trust::v1::FoundOrganisationRequest* request,
                                              trust::v1::FoundOrganisationResponse* response) override;
  grpc::ServerUnaryReactor* Enrol(grpc::CallbackServerContext* context, const trust::v1::EnrolRequest* request,
                                  trust::v1::EnrolResponse* response) override;
  grpc::ServerUnaryReactor* AppendCertificates(grpc::CallbackServerContext* context,
                                               const trust::v1::AppendCertificatesRequest* request,
                                               trust::v1::AppendCertificatesResponse* response) override;
  grpc::ServerUnaryReactor* RenewCredential(grpc::CallbackServerContext* context,
                                            const trust::v1::RenewCredentialRequest* request,
                                            trust::v1::RenewCredentialResponse* response) override;
  grpc::ServerUnaryReactor* ListCertificates(grpc::CallbackServerContext* context,
                                             const trust::v1::ListCertificatesRequest* request,
                                             trust::v1::ListCertificatesResponse* response) override;
  grpc::ServerWriteReactor<trust::v1::WatchCertificatesResponse>* WatchCertificates(
      grpc::CallbackServerContext* context, const trust::v1::WatchCertificatesRequest* request) override;

 private:
  // The same status; a refusal by a rule of the chain is recorded first.
  absl::Status Recorded(const rpc::Caller& caller, absl::string_view method, const absl::Status& status) const;

  const Options options_;
};

}  // namespace parley::keyd

#endif  // PARLEY_SERVICES_KEYD_SERVICE_TRUST_SERVICE_H_
