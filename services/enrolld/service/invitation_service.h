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
    return Run("CreateInvitation", &InvitationRegistry::Create, context, request, response);
  }
  Reactor* GetInvitation(Context* context, const enrol::v1::GetInvitationRequest* request,
                         enrol::v1::Invitation* response) override {
    return Run("GetInvitation", &InvitationRegistry::Get, context, request, response);
  }
  Reactor* ListInvitations(Context* context, const enrol::v1::ListInvitationsRequest* request,
                           enrol::v1::ListInvitationsResponse* response) override {
    return Run("ListInvitations", &InvitationRegistry::List, context, request, response);
  }
  Reactor* CancelInvitation(Context* context, const enrol::v1::CancelInvitationRequest* request,
                            enrol::v1::Invitation* response) override {
    return Run("CancelInvitation", &InvitationRegistry::Cancel, context, request, response);
  }
  Reactor* ResendInvitation(Context* context, const enrol::v1::ResendInvitationRequest* request,
                            enrol::v1::CreateInvitationResponse* response) override {
    return Run("ResendInvitation", &InvitationRegistry::Resend, context, request, response);
  }
  Reactor* AwaitEndedInvitations(Context* context, const enrol::v1::AwaitEndedInvitationsRequest* request,
                                 enrol::v1::AwaitEndedInvitationsResponse* response) override {
    return Run("AwaitEndedInvitations", &InvitationRegistry::AwaitEndedInvitations, context, request, response);
  }

  // Runs a method behind the gate.
  template <typename Request, typename Response>
  Reactor* Run(absl::string_view name,
               absl::Status (InvitationRegistry::*method)(const rpc::Caller&, const Request&, Response*),
               Context* context, const Request* request, Response* response) {
    return gate_->Unary(
        context, absl::StrCat("parley.enrol.v1.InvitationService.", name),
        [=, this](const rpc::Caller& caller) { return (invitations_->*method)(caller, *request, response); });
  }

  const rpc::Gate* const gate_;
  InvitationRegistry* const invitations_;
};

}  // namespace parley::enrolld

#endif  // PARLEY_SERVICES_ENROLLD_SERVICE_INVITATION_SERVICE_H_
