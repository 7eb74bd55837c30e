// Makes, shows, cancels and sends invitations, as InvitationService says. A pending invitation ends with the credential
// that it was made with.
//
// The methods return the errors that InvitationService names for its RPCs, and those of the store.
//
// Threads: all methods may be called from any thread; they block on the store.
#ifndef PARLEY_SERVICES_ENROLLD_INVITATIONS_INVITATION_REGISTRY_H_
#define PARLEY_SERVICES_ENROLLD_INVITATIONS_INVITATION_REGISTRY_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lib/keyd_client/ended_credentials.h"
#include "lib/rpc/gate.h"
#include "parley/enrol/v1/invitation_service.pb.h"
#include "services/enrolld/exchanges/exchange_sessions.h"
#include "services/enrolld/invitations/invitee_keys.h"
#include "services/enrolld/invitations/outbox.h"

namespace parley::enrolld {

class InvitationRegistry {
 public:
  // All of these must outlive this. `outbox` may be null, which means no e-mail.
  InvitationRegistry(const EnrolldParts* parts, ExchangeSessions* sessions, const InviteeKeys* keys, Outbox* outbox);

  absl::Status Create(const rpc::Caller& caller, const enrol::v1::CreateInvitationRequest& request,
                      enrol::v1::CreateInvitationResponse* response);
  absl::Status Get(const rpc::Caller& caller, const enrol::v1::GetInvitationRequest& request,
                   enrol::v1::Invitation* response) {
    return Find(caller, request.name(), response);
  }
  absl::Status List(const rpc::Caller& caller, const enrol::v1::ListInvitationsRequest& request,
                    enrol::v1::ListInvitationsResponse* response);
  absl::Status Cancel(const rpc::Caller& caller, const enrol::v1::CancelInvitationRequest& request,
                      enrol::v1::Invitation* response);
  absl::Status Resend(const rpc::Caller& caller, const enrol::v1::ResendInvitationRequest& request,
                      enrol::v1::CreateInvitationResponse* response);

  absl::Status AwaitEndedInvitations(const enrol::v1::AwaitEndedInvitationsRequest& request,
                                     enrol::v1::AwaitEndedInvitationsResponse* response);
  // Hears of the credentials that are revoked, and ends what was made with them until it is stopped.
  keyd_client::EndedCredentials& ended() { return ended_; }

 private:
  // Ends the pending invitations that were made with the credential.
  absl::Status EndThoseOf(const keyd_client::EndedCredentials::Credential& credential);
  // Returns NOT_FOUND (INVITATION_NOT_FOUND) also for an invitation that the caller may not see.
  absl::Status Find(const rpc::Caller& caller, const std::string& name, enrol::v1::Invitation* found);
  absl::StatusOr<InvitationRecord> NewRecord(const rpc::Caller& caller,
                                             const enrol::v1::CreateInvitationRequest& request, const std::string& id,
                                             std::string fingerprint) const;
  // Waits until what was committed at this revision holds at all processes that serve from the same store. Returns
  // UNAVAILABLE (REPLICAS_BEHIND) if that takes too long, and the errors of the store.
  absl::Status AwaitEverywhere(int64_t revision) const;
  absl::Status CheckMail(const std::string& email) const;
  MailRecord NewMail(const std::string& id, const std::string& email) const;
  absl::Status Answer(const std::string& id, enrol::v1::CreateInvitationResponse* response);

  const EnrolldParts* const parts_;
  ExchangeSessions* const sessions_;
  const InviteeKeys* const keys_;
  Outbox* const outbox_;
  keyd_client::EndedCredentials ended_;
};

}  // namespace parley::enrolld

#endif  // PARLEY_SERVICES_ENROLLD_INVITATIONS_INVITATION_REGISTRY_H_
