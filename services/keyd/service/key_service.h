// The gRPC side of KeyService: each RPC passes the gate, becomes a call of what does it, and tells the door what a
// change means for it.
//
// Threads: gRPC calls the methods on any thread. Stop the gRPC server before destroying it.
#ifndef PARLEY_SERVICES_KEYD_SERVICE_KEY_SERVICE_H_
#define PARLEY_SERVICES_KEYD_SERVICE_KEY_SERVICE_H_

#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "lib/base/error.h"
#include "parley/key/v1/key_service.grpc.pb.h"
#include "services/keyd/service/parts.h"

namespace parley::keyd {

class KeyServiceAdapter final : public key::v1::KeyService::CallbackService {
 public:
  // `parts` must outlive the service.
  explicit KeyServiceAdapter(KeydParts* parts) : parts_(parts) {}

 private:
  using Context = grpc::CallbackServerContext;
  using Reactor = grpc::ServerUnaryReactor;

  Reactor* IssueCredential(Context* context, const key::v1::IssueCredentialRequest* request,
                           key::v1::IssueCredentialResponse* response) override {
    return parts_->gate->Unary(context, Method("IssueCredential"), parts_->trust.get(), &TrustAuthority::Issue, request,
                               response);
  }
  Reactor* GetCredential(Context* context, const key::v1::GetCredentialRequest* request,
                         key::v1::CredentialRecord* response) override {
    return parts_->gate->Unary(context, Method("GetCredential"), [=, this](const rpc::Caller&) -> absl::Status {
      ASSIGN_OR_RETURN(*response, parts_->credentials->Get(request->name()));
      return absl::OkStatus();
    });
  }
  Reactor* ListCredentials(Context* context, const key::v1::ListCredentialsRequest* request,
                           key::v1::ListCredentialsResponse* response) override {
    return parts_->gate->Unary(context, Method("ListCredentials"), parts_->credentials.get(), &Credentials::List,
                               request, response);
  }
  Reactor* RevokeCredential(Context* context, const key::v1::RevokeCredentialRequest* request,
                            key::v1::CredentialRecord* response) override {
    return parts_->gate->Unary(context, Method("RevokeCredential"),
                               [=, this](const rpc::Caller& caller) -> absl::Status {
                                 const auto answering = parts_->answering(caller);
                                 ASSIGN_OR_RETURN(*response, parts_->credentials->Revoke(caller.Name(), *request));
                                 return parts_->await_revoked({request->name()});
                               });
  }
  Reactor* LabelDevice(Context* context, const key::v1::LabelDeviceRequest* request,
                       key::v1::DeviceLabels* response) override {
    return parts_->gate->Unary(context, Method("LabelDevice"), parts_->credentials.get(), &Credentials::Label, request,
                               response);
  }
  Reactor* RotateRoot(Context* context, const key::v1::RotateRootRequest* request,
                      key::v1::RotateRootResponse* response) override {
    return parts_->gate->Unary(context, Method("RotateRoot"), [=, this](const rpc::Caller& caller) -> absl::Status {
      RETURN_IF_ERROR(parts_->roots->Rotate(caller.Name(), request->retire_before(), response));
      parts_->on_rotated(request->retire_before() > 0);
      return absl::OkStatus();
    });
  }
  Reactor* IssueServerCertificate(Context* context, const key::v1::IssueServerCertificateRequest* request,
                                  key::v1::IssueServerCertificateResponse* response) override {
    return parts_->gate->Unary(context, Method("IssueServerCertificate"), [=, this](const rpc::Caller& caller) {
      return parts_->organisation->IssueServerCertificate(caller.Name(), *request, response);
    });
  }
  Reactor* AppendAuditEvents(Context* context, const key::v1::AppendAuditEventsRequest* request,
                             key::v1::AppendAuditEventsResponse*) override {
    return parts_->gate->Unary(context, Method("AppendAuditEvents"), [=, this](const rpc::Caller& caller) {
      return parts_->store.trail()->Append(caller.subject(), {request->events().begin(), request->events().end()});
    });
  }
  Reactor* ListAuditEvents(Context* context, const key::v1::ListAuditEventsRequest* request,
                           key::v1::ListAuditEventsResponse* response) override {
    return parts_->gate->Unary(context, Method("ListAuditEvents"), parts_->store.trail(), &AuditTrail::List, request,
                               response);
  }
  Reactor* KeepReplica(Context* context, const key::v1::KeepReplicaRequest* request,
                       key::v1::KeepReplicaResponse* response) override;
  grpc::ServerWriteReactor<key::v1::AudienceKeys>* WatchAudienceKeys(Context*,
                                                                     const key::v1::WatchAudienceKeysRequest*) override;
  grpc::ServerWriteReactor<key::v1::Revocations>* WatchRevocations(Context*,
                                                                   const key::v1::WatchRevocationsRequest*) override;
  grpc::ServerWriteReactor<key::v1::WatchDeviceLabelsResponse>* WatchDeviceLabels(
      Context*, const key::v1::WatchDeviceLabelsRequest*) override;

  static std::string Method(absl::string_view name) { return absl::StrCat("parley.key.v1.KeyService.", name); }

  KeydParts* const parts_;
};

}  // namespace parley::keyd

#endif  // PARLEY_SERVICES_KEYD_SERVICE_KEY_SERVICE_H_
