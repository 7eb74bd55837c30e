// The two services as gRPC sees them: each RPC passes the gate, and then is a call of what does it.
#ifndef PARLEY_SERVICES_ENROLLD_SERVICE_SERVICES_H_
#define PARLEY_SERVICES_ENROLLD_SERVICE_SERVICES_H_

#include "lib/rpc/gate.h"
#include "parley/enrol/v1/exchange_service.grpc.pb.h"
#include "parley/enrol/v1/invitation_service.grpc.pb.h"
#include "services/enrolld/service/exchange_stream.h"
#include "services/enrolld/service/invitations.h"

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

class ExchangeServiceAdapter final : public enrol::v1::ExchangeService::CallbackService {
 public:
  ExchangeServiceAdapter(const rpc::Gate* gate, const ExchangeStream::Parts* parts) : gate_(gate), parts_(parts) {}

 private:
  grpc::ServerBidiReactor<enrol::v1::ExchangeRequest, enrol::v1::ExchangeResponse>* Exchange(
      grpc::CallbackServerContext*) override;

  const rpc::Gate* const gate_;
  const ExchangeStream::Parts* const parts_;
};

}  // namespace parley::enrolld

#endif  // PARLEY_SERVICES_ENROLLD_SERVICE_SERVICES_H_
