// The gRPC side of InvitationService: each RPC passes the gate, and becomes a call of what does it.
//
// Threads: gRPC calls the methods on any thread.
#ifndef PARLEY_SERVICES_ENROLLD_SERVICE_INVITATION_SERVICE_H_
#define PARLEY_SERVICES_ENROLLD_SERVICE_INVITATION_SERVICE_H_

#include "lib/rpc/gate.h"
#include "parley/enrol/v1/invitation_service.grpc.pb.h"
#include "services/enrolld/invitations/invitations.h"

namespace parley::enrolld {

// All parts must outlive the service.
class InvitationServiceAdapter final : public enrol::v1::InvitationService::CallbackService {
 public:
  InvitationServiceAdapter(const rpc::Gate* gate, Invitations* invitations) : gate_(gate), invitations_(invitations) {}

 private:
  using Context = grpc::CallbackServerContext;
  using Reactor = grpc::ServerUnaryReactor;

  Reactor* CreateInvitation(Context*, const enrol::v1::CreateInvitationRequest*,
                            enrol::v1::CreateInvitationResponse*) override;
  Reactor* GetInvitation(Context*, const enrol::v1::GetInvitationRequest*, enrol::v1::Invitation*) override;
  Reactor* ListInvitations(Context*, const enrol::v1::ListInvitationsRequest*,
                           enrol::v1::ListInvitationsResponse*) override;
  Reactor* CancelInvitation(Context*, const enrol::v1::CancelInvitationRequest*, enrol::v1::Invitation*) override;
  Reactor* ResendInvitation(Context*, const enrol::v1::ResendInvitationRequest*,
                            enrol::v1::CreateInvitationResponse*) override;
  Reactor* AwaitEndedInvitations(Context*, const enrol::v1::AwaitEndedInvitationsRequest*,
                                 enrol::v1::AwaitEndedInvitationsResponse*) override;

  const rpc::Gate* const gate_;
  Invitations* const invitations_;
};

}  // namespace parley::enrolld

#endif  // PARLEY_SERVICES_ENROLLD_SERVICE_INVITATION_SERVICE_H_
