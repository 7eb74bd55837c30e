#include "services/enrolld/service/invitation_service.h"

#include <string>

#include "absl/strings/str_cat.h"

namespace parley::enrolld {
namespace {

using grpc::ServerUnaryReactor;
using namespace enrol::v1;  // NOLINT: the whole API is adapted here.

std::string InvitationMethod(absl::string_view name) {
  return absl::StrCat("parley.enrol.v1.InvitationService.", name);
}

}  // namespace

ServerUnaryReactor* InvitationServiceAdapter::CreateInvitation(Context* context, const CreateInvitationRequest* request,
                                                               CreateInvitationResponse* response) {
  return gate_->Unary(context, InvitationMethod("CreateInvitation"), [=, this](const rpc::Caller& caller) {
    return invitations_->Create(caller, *request, response);
  });
}

ServerUnaryReactor* InvitationServiceAdapter::GetInvitation(Context* context, const GetInvitationRequest* request,
                                                            Invitation* response) {
  return gate_->Unary(context, InvitationMethod("GetInvitation"), [=, this](const rpc::Caller& caller) {
    return invitations_->Get(caller, request->name(), response);
  });
}

ServerUnaryReactor* InvitationServiceAdapter::ListInvitations(Context* context, const ListInvitationsRequest* request,
                                                              ListInvitationsResponse* response) {
  return gate_->Unary(context, InvitationMethod("ListInvitations"),
                      [=, this](const rpc::Caller& caller) { return invitations_->List(caller, *request, response); });
}

ServerUnaryReactor* InvitationServiceAdapter::CancelInvitation(Context* context, const CancelInvitationRequest* request,
                                                               Invitation* response) {
  return gate_->Unary(context, InvitationMethod("CancelInvitation"), [=, this](const rpc::Caller& caller) {
    return invitations_->Cancel(caller, *request, response);
  });
}

ServerUnaryReactor* InvitationServiceAdapter::ResendInvitation(Context* context, const ResendInvitationRequest* request,
                                                               CreateInvitationResponse* response) {
  return gate_->Unary(context, InvitationMethod("ResendInvitation"), [=, this](const rpc::Caller& caller) {
    return invitations_->Resend(caller, *request, response);
  });
}

ServerUnaryReactor* InvitationServiceAdapter::AwaitEndedInvitations(Context* context,
                                                                    const AwaitEndedInvitationsRequest* request,
                                                                    AwaitEndedInvitationsResponse* response) {
  return gate_->Unary(context, InvitationMethod("AwaitEndedInvitations"), [=, this](const rpc::Caller&) {
    return invitations_->AwaitEndedInvitations(*request, response);
  });
}

}  // namespace parley::enrolld
