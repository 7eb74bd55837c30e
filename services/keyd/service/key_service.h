// The gRPC side of KeyService: each RPC passes the gate, becomes a call of what does it, and tells the door what a
// change means for it.
//
// Threads: gRPC calls the methods on any thread. Stop the gRPC server before destroying it.
#ifndef PARLEY_SERVICES_KEYD_SERVICE_KEY_SERVICE_H_
#define PARLEY_SERVICES_KEYD_SERVICE_KEY_SERVICE_H_

#include "parley/key/v1/key_service.grpc.pb.h"
#include "services/keyd/service/service_parts.h"

namespace parley::keyd {

class KeyServiceAdapter final : public key::v1::KeyService::CallbackService {
 public:
  // `parts` must outlive the service.
  explicit KeyServiceAdapter(ServiceParts* parts) : parts_(parts) {}

 private:
  using Context = grpc::CallbackServerContext;
  using Reactor = grpc::ServerUnaryReactor;

  Reactor* IssueCredential(Context*, const key::v1::IssueCredentialRequest*,
                           key::v1::IssueCredentialResponse*) override;
  Reactor* GetCredential(Context*, const key::v1::GetCredentialRequest*, key::v1::CredentialRecord*) override;
  Reactor* ListCredentials(Context*, const key::v1::ListCredentialsRequest*,
                           key::v1::ListCredentialsResponse*) override;
  Reactor* RevokeCredential(Context*, const key::v1::RevokeCredentialRequest*, key::v1::CredentialRecord*) override;
  Reactor* LabelDevice(Context*, const key::v1::LabelDeviceRequest*, key::v1::DeviceLabels*) override;
  Reactor* RotateRoot(Context*, const key::v1::RotateRootRequest*, key::v1::RotateRootResponse*) override;
  grpc::ServerWriteReactor<key::v1::AudienceKeys>* WatchAudienceKeys(Context*,
                                                                     const key::v1::WatchAudienceKeysRequest*) override;
  grpc::ServerWriteReactor<key::v1::Revocations>* WatchRevocations(Context*,
                                                                   const key::v1::WatchRevocationsRequest*) override;
  grpc::ServerWriteReactor<key::v1::WatchDeviceLabelsResponse>* WatchDeviceLabels(
      Context*, const key::v1::WatchDeviceLabelsRequest*) override;
  Reactor* IssueServerCertificate(Context*, const key::v1::IssueServerCertificateRequest*,
                                  key::v1::IssueServerCertificateResponse*) override;
  Reactor* AppendAuditEvents(Context*, const key::v1::AppendAuditEventsRequest*,
                             key::v1::AppendAuditEventsResponse*) override;
  Reactor* ListAuditEvents(Context*, const key::v1::ListAuditEventsRequest*,
                           key::v1::ListAuditEventsResponse*) override;

  ServiceParts* const parts_;
};

}  // namespace parley::keyd

#endif  // PARLEY_SERVICES_KEYD_SERVICE_KEY_SERVICE_H_
