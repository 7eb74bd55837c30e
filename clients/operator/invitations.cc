#include "clients/operator/invitations.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "lib/base/error.h"
#include "lib/crypto/kdf.h"

namespace parley::ops {
namespace {

using enrol::v1::CreateInvitationResponse;
using enrol::v1::Invitation;
using enrol::v1::InvitationService;

std::string NameOf(const std::string& invitation) {
  return absl::StrCat("invitations/", absl::StripPrefix(invitation, "invitations/"));
}

}  // namespace

void DescribeEnrolment(const Invitation& invitation, device::Enrolment* enrolment) {
  enrolment->role = sas::Role::kGreeter;
  enrolment->kind = static_cast<sas::Kind>(invitation.kind());
  enrolment->not_after = absl::FromUnixSeconds(invitation.expire_time().seconds());
  if (enrolment->kind == sas::Kind::kUser) {
    enrolment->user_name = invitation.user_name();
    enrolment->user_role = invitation.role();
  }
}

absl::Status InvitationClient::Pin(const Invitation& invitation) const {
  if (file_ == nullptr) return absl::OkStatus();
  return file_->Update([&](device::Contents* contents) {
    // Room for it: those that ended long ago and hold nothing.
    std::erase_if(contents->enrolments, [](const auto& entry) {
      return entry.second.not_after < absl::Now() && entry.second.exchange.empty() && entry.second.certificates.empty();
    });
    DescribeEnrolment(invitation, &contents->enrolments[invitation.name()]);
    return absl::OkStatus();
  });
}

absl::StatusOr<CreateInvitationResponse> InvitationClient::Create(
    const enrol::v1::CreateInvitationRequest& request) const {
  ASSIGN_OR_RETURN(CreateInvitationResponse response,
                   server_->Call<InvitationService>(&InvitationService::Stub::CreateInvitation, request));
  const Invitation& made = response.invitation();
  if (made.kind() != request.kind() || made.role() != request.role() ||
      (request.kind() == Invitation::KIND_USER && made.user_name() != request.user_name())) {
    return Error(absl::StatusCode::kFailedPrecondition, "INVITATION_CHANGED",
                 "the enrolment service made another invitation than was asked for; do not use it");
  }
  RETURN_IF_ERROR(Pin(made));
  return response;
}

absl::StatusOr<enrol::v1::ListInvitationsResponse> InvitationClient::List(bool ended) const {
  enrol::v1::ListInvitationsRequest request;
  if (!ended) request.add_states(Invitation::STATE_PENDING);
  return server_->CallAll<InvitationService>(&InvitationService::Stub::ListInvitations, request);
}

absl::StatusOr<Invitation> InvitationClient::Cancel(const std::string& invitation, const std::string& reason) const {
  enrol::v1::CancelInvitationRequest request;
  request.set_name(NameOf(invitation));
  request.set_reason(reason);
  return server_->Call<InvitationService>(&InvitationService::Stub::CancelInvitation, request);
}

absl::StatusOr<CreateInvitationResponse> InvitationClient::Resend(const std::string& invitation,
                                                                  const std::string& email) const {
  enrol::v1::ResendInvitationRequest request;
  request.set_request_id(crypto::RandomUuid());
  request.set_name(NameOf(invitation));
  request.set_email(email);
  return server_->Call<InvitationService>(&InvitationService::Stub::ResendInvitation, request);
}

}  // namespace parley::ops
