// KeyService over gRPC: admits the caller, calls the domain, and tells the door what a change means for it.
//
// Threads: all methods may be called from any thread. Stop the gRPC server before destroying it.
#ifndef PARLEY_SERVICES_KEYD_SERVICE_KEY_SERVICE_H_
#define PARLEY_SERVICES_KEYD_SERVICE_KEY_SERVICE_H_

#include <functional>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "lib/rpc/gate.h"
#include "lib/rpc/live_streams.h"
#include "parley/key/v1/key_service.grpc.pb.h"
#include "services/keyd/keys/certificate_authority.h"
#include "services/keyd/keys/credentials.h"
#include "services/keyd/keys/root_keys.h"
#include "services/keyd/trust/trust_authority.h"

namespace parley::keyd {

class KeyService final : public key::v1::KeyService::CallbackService {
 public:
  struct Options {
    // All must outlive the service.
    const KeyStore* store = nullptr;
    RootKeys* roots = nullptr;
    CertificateAuthority* certificates = nullptr;
    Credentials* credentials = nullptr;
    AuditTrail* trail = nullptr;
    TrustAuthority* trust = nullptr;
    const rpc::Gate* gate = nullptr;
    rpc::LiveStreams* streams = nullptr;
    // A credential was revoked. `serial`: hex. `by_itself`: its own connection carries the answer.
    std::function<void(absl::string_view serial, absl::Time expire_time, bool by_itself)> on_revoked;
    // There is another primary epoch; `retired`: perhaps fewer than before.
    std::function<void(bool retired)> on_rotated;
  };

  explicit KeyService(Options options) : options_(std::move(options)) {}

  grpc::ServerUnaryReactor* IssueCredential(grpc::CallbackServerContext* context,
                                            const key::v1::IssueCredentialRequest* request,
                                            key::v1::IssueCredentialResponse* response) override;
  grpc::ServerUnaryReactor* GetCredential(grpc::CallbackServerContext* context,
                                          const key::v1::GetCredentialRequest* request,
                                          key::v1::CredentialRecord* response) override;
  grpc::ServerUnaryReactor* ListCredentials(grpc::CallbackServerContext* context,
                                            const key::v1::ListCredentialsRequest* request,
                                            key::v1::ListCredentialsResponse* response) override;
  grpc::ServerUnaryReactor* RevokeCredential(grpc::CallbackServerContext* context,
                                             const key::v1::RevokeCredentialRequest* request,
                                             key::v1::CredentialRecord* response) override;
  grpc::ServerUnaryReactor* LabelDevice(grpc::CallbackServerContext* context,
                                        const key::v1::LabelDeviceRequest* request,
                                        key::v1::DeviceLabels* response) override;
  grpc::ServerUnaryReactor* RotateRoot(grpc::CallbackServerContext* context, const key::v1::RotateRootRequest* request,
                                       key::v1::RotateRootResponse* response) override;
  grpc::ServerWriteReactor<key::v1::AudienceKeys>* WatchAudienceKeys(
      grpc::CallbackServerContext* context, const key::v1::WatchAudienceKeysRequest* request) override;
  grpc::ServerWriteReactor<key::v1::Revocations>* WatchRevocations(
      grpc::CallbackServerContext* context, const key::v1::WatchRevocationsRequest* request) override;
  grpc::ServerWriteReactor<key::v1::WatchDeviceLabelsResponse>* WatchDeviceLabels(
      grpc::CallbackServerContext* context, const key::v1::WatchDeviceLabelsRequest* request) override;
  grpc::ServerUnaryReactor* IssueServerCertificate(grpc::CallbackServerContext* context,
                                                   const key::v1::IssueServerCertificateRequest* request,
                                                   key::v1::IssueServerCertificateResponse* response) override;
  grpc::ServerUnaryReactor* AppendAuditEvents(grpc::CallbackServerContext* context,
                                              const key::v1::AppendAuditEventsRequest* request,
                                              key::v1::AppendAuditEventsResponse* response) override;
  grpc::ServerUnaryReactor* ListAuditEvents(grpc::CallbackServerContext* context,
                                            const key::v1::ListAuditEventsRequest* request,
                                            key::v1::ListAuditEventsResponse* response) override;

 private:
  template <typename Message, typename MakeSource>
  grpc::ServerWriteReactor<Message>* Follow(grpc::CallbackServerContext* context, absl::string_view method,
                                            const MakeSource& make_source);

  const Options options_;
};

}  // namespace parley::keyd

#endif  // PARLEY_SERVICES_KEYD_SERVICE_KEY_SERVICE_H_
