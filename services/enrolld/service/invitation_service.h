// The gRPC side of InvitationService: each RPC passes the gate, and becomes a call of what does it.
//
// Threads: gRPC calls the methods on any thread.
#ifndef PARLEY_SERVICES_ENROLLD_SERVICE_INVITATION_SERVICE_H_
#define PARLEY_SERVICES_ENROLLD_SERVICE_INVITATION_SERVICE_H_

#include "absl/strings/str_cat.h"
#include "lib/rpc/gate.h"
#include "parley/enrol/v1/invitation_service.grpc.pb.h"
#include "services/enrolld/invitations/invitation_registry.h"

namespace parley::enrolld {

// All parts must outlive the service.
class InvitationServiceAdapter final : public enrol::v1::InvitationService::CallbackService {
 public:
  InvitationServiceAdapter(const rpc::Gate* gate, InvitationRegistry* invitations)
      : gate_(gate), invitations_(invitations) {}

 private:
  using Context = grpc::CallbackServerContext;
  using Reactor = grpc::ServerUnaryReactor;

  Reactor* CreateInvitation(Context* context, const enrol::v1::CreateInvitationRequest* request,
                            enrol::v1::CreateInvitationResponse* response) override {
    return gate_->Unary(context, Method("CreateInvitation"), invitations_, &InvitationRegistry::Create, request,
                        response);
  }
  Reactor* GetInvitation(Context* context, const enrol::v1::GetInvitationRequest* request,
                         enrol::v1::Invitation* response) override {
    return gate_->Unary(context, Method("GetInvitation"), invitations_, &InvitationRegistry::Get, request, response);
  }
  Reactor* ListInvitations(Context* context, const enrol::v1::ListInvitationsRequest* request,
                           enrol::v1::ListInvitationsResponse* response) override {
    return gate_->Unary(context, Method("ListInvitations"), invitations_, &InvitationRegistry::List, request, response);
  }
  Reactor* CancelInvitation(Context* context, const enrol::v1::CancelInvitationRequest* request,
                            enrol::v1::Invitation* response) override {
    return gate_->Unary(context, Method("CancelInvitation"), invitations_, &InvitationRegistry::Cancel, request,
                        response);
  }
  Reactor* ResendInvitation(Context* context, const enrol::v1::ResendInvitationRequest* request,
                            enrol::v1::CreateInvitationResponse* response) override {
    return gate_->Unary(context, Method("ResendInvitation"), invitations_, &InvitationRegistry::Resend, request,
                        response);
  }
  Reactor* AwaitEndedInvitations(Context* context, const enrol::v1::AwaitEndedInvitationsRequest* request,
                                 enrol::v1::AwaitEndedInvitationsResponse* response) override {
    return gate_->Unary(context, Method("AwaitEndedInvitations"), invitations_,
                        &InvitationRegistry::AwaitEndedInvitations, request, response);
  }

  static std::string Method(absl::string_view name) { return absl::StrCat("parley.enrol.v1.InvitationService.", name); }

  const rpc::Gate* const gate_;
  InvitationRegistry* const invitations_;
};

}  // namespace parley::enrolld

#endif  // PARLEY_SERVICES_ENROLLD_SERVICE_INVITATION_SERVICE_H_
