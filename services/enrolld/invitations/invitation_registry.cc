#include "services/enrolld/invitations/invitation_registry.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "lib/audit/audit_log.h"
#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/base/proto_time.h"
#include "lib/keys/roles.h"
#include "lib/rpc/page.h"
#include "lib/rpc/request_id.h"
#include "services/enrolld/domain/names.h"
#include "services/enrolld/domain/validation.h"
#include "services/enrolld/exchanges/access.h"

namespace parley::enrolld {
namespace {

using enrol::v1::Invitation;

constexpr size_t kMaxOpen = 10'000;
constexpr int kDefaultPage = 100;
constexpr int kMaxPage = 1000;
constexpr size_t kIdBytes = 16;
// Longer than another process can be silent without losing its lease.
constexpr absl::Duration kAwaitReplicas = absl::Seconds(15);
constexpr absl::string_view kService = "parley.enrol.v1.InvitationService.";

std::string Method(absl::string_view name) { return absl::StrCat(kService, name); }

// The same request makes the same invitation.
std::string IdOf(const rpc::Caller& caller, absl::string_view request_id) {
  return HexEncode(rpc::RequestHash("parley invitation v1", caller.Name(), request_id).substr(0, kIdBytes));
}

void SetQueued(const std::string& email, Invitation* invitation) {
  invitation->set_email(email);
  invitation->mutable_mail()->Clear();
  invitation->mutable_mail()->set_state(enrol::v1::Mail::STATE_QUEUED);
}

}  // namespace

InvitationRegistry::InvitationRegistry(const EnrolldParts* parts, ExchangeSessions* sessions, const InviteeKeys* keys,
                                       Outbox* outbox)
    : parts_(parts),
      sessions_(sessions),
      keys_(keys),
      outbox_(outbox),
      ended_(parts->clock,
             [this](const keyd_client::EndedCredentials::Credential& credential) { return EndThoseOf(credential); }) {}

absl::Status InvitationRegistry::EndThoseOf(const keyd_client::EndedCredentials::Credential& credential) {
  // First, so that none is made behind the list.
  RETURN_IF_ERROR(parts_->store->NoteRevoked(credential.serial, credential.NoteLifetime(parts_->clock->Now())));
  ASSIGN_OR_RETURN(const auto all, parts_->store->All());
  for (const InvitationStore::Stored& stored : all) {
    const Invitation& invitation = stored.record.invitation();
    if (HexEncode(stored.record.credential()) != credential.serial) continue;
    if (invitation.state() != Invitation::STATE_PENDING) continue;
    const std::string id = InvitationId(invitation);
    ASSIGN_OR_RETURN(const auto session, sessions_->Find(id));
    RETURN_IF_ERROR(session->Change([](InvitationRecord* record, InvitationStore::Change*) -> absl::StatusOr<bool> {
      record->set_ended_with_credential(true);
      return true;
    }));
    const absl::Status canceled =
        session->Cancel("enrolld", "the credential that it was made with was revoked").status();
    // It has ended by itself meanwhile.
    if (!absl::IsFailedPrecondition(canceled)) RETURN_IF_ERROR(canceled);
    sessions_->Leave(id);
  }
  return absl::OkStatus();
}

absl::Status InvitationRegistry::AwaitEndedInvitations(const enrol::v1::AwaitEndedInvitationsRequest& request,
                                                       enrol::v1::AwaitEndedInvitationsResponse* response) {
  ASSIGN_OR_RETURN(const std::vector<std::string> serials, ended_.Await(request.credentials()));
  ASSIGN_OR_RETURN(const auto all, parts_->store->All());
  int64_t last = 0;
  for (const InvitationStore::Stored& stored : all) {
    const auto state = stored.record.invitation().state();
    const bool over = state == Invitation::STATE_CANCELED || state == Invitation::STATE_CLOSED;
    if (!over || !stored.record.ended_with_credential()) continue;
    const std::string credential = HexEncode(stored.record.credential());
    if (std::find(serials.begin(), serials.end(), credential) == serials.end()) continue;
    response->set_invitations(response->invitations() + 1);
    last = std::max(last, stored.revision);
  }
  return AwaitEverywhere(last);
}

absl::Status InvitationRegistry::AwaitEverywhere(int64_t revision) const {
  return parts_->replicas == nullptr ? absl::OkStatus() : parts_->replicas->Await(revision, kAwaitReplicas);
}

absl::Status InvitationRegistry::CheckMail(const std::string& email) const {
  if (email.empty() || outbox_ != nullptr) return absl::OkStatus();
  return Error(absl::StatusCode::kFailedPrecondition, "MAIL_NOT_SET_UP",
               "this enrolld sends no e-mail (--smtp-url); invite without an address, and carry the link yourself");
}

MailRecord InvitationRegistry::NewMail(const std::string& id, const std::string& email) const {
  MailRecord mail;
  mail.set_invitation(id);
  mail.set_email(email);
  *mail.mutable_create_time() = *mail.mutable_next_time() = ToProto(parts_->clock->Now());
  return mail;
}

absl::StatusOr<InvitationRecord> InvitationRegistry::NewRecord(const rpc::Caller& caller,
                                                               const enrol::v1::CreateInvitationRequest& request,
                                                               const std::string& id, std::string fingerprint) const {
  if (sessions_->open() >= kMaxOpen) {
    return Error(absl::StatusCode::kResourceExhausted, "TOO_MANY_INVITATIONS",
                 "10,000 invitations are pending; cancel some with: parley invite cancel");
  }
  InvitationRecord record;
  record.set_create_request(std::move(fingerprint));
  keys_->FillNew(&record);
  Invitation& invitation = *record.mutable_invitation();
  invitation.set_name(InvitationName(id));
  invitation.set_kind(request.kind());
  const bool user = request.kind() == Invitation::KIND_USER;
  invitation.set_user_name(user ? request.user_name() : caller.subject());
  if (user) invitation.set_role(request.role());
  invitation.set_creator(caller.subject());
  const absl::Time now = parts_->clock->Now();
  *invitation.mutable_create_time() = ToProto(now);
  // In whole seconds, as its key's; and not beyond the credential of who makes it.
  const absl::Time end = std::min(now + TtlOf(request), caller.peer->key.not_after);
  *invitation.mutable_expire_time() = ToProto(absl::FromUnixSeconds(absl::ToUnixSeconds(end)));
  record.set_credential(HexDecode(caller.peer->key.key_id).value_or(""));
  invitation.set_state(Invitation::STATE_PENDING);
  if (!request.email().empty()) SetQueued(request.email(), &invitation);
  return record;
}

absl::Status InvitationRegistry::Create(const rpc::Caller& caller, const enrol::v1::CreateInvitationRequest& request,
                                        enrol::v1::CreateInvitationResponse* response) {
  RETURN_IF_ERROR(ValidateCreate(request));
  if (request.kind() == Invitation::KIND_USER && caller.role() != access::v1::ROLE_ADMIN) {
    return RecordRefusal(parts_->audit, caller.Name(), Method("CreateInvitation"), "NOT_YOUR_INVITATION",
                         "only admins invite users; you may invite a further device of your own");
  }
  RETURN_IF_ERROR(CheckMail(request.email()));
  const std::string id = IdOf(caller, request.request_id());
  const std::string fingerprint = rpc::RequestDigest(/*prefix=*/"", request);
  ASSIGN_OR_RETURN(auto found, parts_->store->Find(id));
  if (!found.has_value()) {
    ASSIGN_OR_RETURN(const InvitationRecord record, NewRecord(caller, request, id, fingerprint));
    const MailRecord mail = NewMail(id, request.email());
    const absl::Status created = parts_->store->Create(record, request.email().empty() ? nullptr : &mail).status();
    // Otherwise the same request was faster on another connection.
    if (!absl::IsAborted(created)) {
      RETURN_IF_ERROR(created);
      RecordAction(
          parts_->audit, caller.Name(), "invitation.created", record.invitation().name(),
          absl::StrCat(record.invitation().kind() == Invitation::KIND_USER ? keys::RoleName(record.invitation().role())
                                                                           : "a further device of",
                       " ", record.invitation().user_name()));
      if (!request.email().empty()) outbox_->Add(id, parts_->clock->Now());
    }
    ASSIGN_OR_RETURN(found, parts_->store->Find(id));
    ASSIGN_OR_RETURN(const bool revoked, parts_->store->IsRevoked(caller.peer->key.key_id));
    if (!found.has_value() && revoked) {
      return Error(absl::StatusCode::kUnauthenticated, "KEY_REVOKED",
                   "the key of this connection was revoked; ask an admin for another");
    }
  }
  if (!found.has_value() || found->record.create_request() != fingerprint) return rpc::RequestIdReused();
  return Answer(id, response);
}

absl::Status InvitationRegistry::Answer(const std::string& id, enrol::v1::CreateInvitationResponse* response) {
  ASSIGN_OR_RETURN(const auto session, sessions_->Find(id));
  ASSIGN_OR_RETURN(const InvitationRecord record, session->Record());
  ASSIGN_OR_RETURN(const Secret link, keys_->Link(record));
  response->set_link(std::string(link.Expose()));
  ASSIGN_OR_RETURN(*response->mutable_invitation(), session->Show());
  return absl::OkStatus();
}

absl::Status InvitationRegistry::Find(const rpc::Caller& caller, const std::string& name, Invitation* response) {
  ASSIGN_OR_RETURN(const std::string id, ParseInvitationName(name));
  if (const auto session = sessions_->FindOpen(id)) {
    ASSIGN_OR_RETURN(*response, session->Show());
  } else {
    ASSIGN_OR_RETURN(const auto found, parts_->store->Find(id));
    if (found.has_value()) *response = found->record.invitation();
  }
  if (!response->name().empty() && MaySee(caller, *response)) return absl::OkStatus();
  response->Clear();
  return NoInvitation(name);
}

absl::Status InvitationRegistry::List(const rpc::Caller& caller, const enrol::v1::ListInvitationsRequest& request,
                                      enrol::v1::ListInvitationsResponse* response) {
  if (request.page_size() < 0 || request.page_size() > kMaxPage) {
    return Error(absl::StatusCode::kInvalidArgument, "PAGE_SIZE", "page_size must be 1 to 1000, or 0 for 100");
  }
  const int page_size = request.page_size() == 0 ? kDefaultPage : request.page_size();
  store::KeyRange range = InvitationStore::NewestFirst();
  RETURN_IF_ERROR(rpc::ApplyPageToken(request.page_token(), range.end, &range.begin));
  std::string last;
  const auto& states = request.states();
  do {
    ASSIGN_OR_RETURN(InvitationStore::Listed listed,
                     parts_->store->List(range, static_cast<size_t>(page_size - response->invitations_size())));
    for (InvitationStore::Stored& stored : listed.invitations) {
      Invitation invitation = std::move(*stored.record.mutable_invitation());
      if (const auto session = sessions_->FindOpen(InvitationId(invitation))) session->AddParties(&invitation);
      if (!MaySee(caller, invitation)) continue;
      if (!states.empty() && std::find(states.begin(), states.end(), invitation.state()) == states.end()) continue;
      *response->add_invitations() = std::move(invitation);
    }
    last = std::move(listed.last);
    range.begin = last + '\0';
  } while (!last.empty() && response->invitations_size() < page_size);
  if (!last.empty()) response->set_next_page_token(rpc::PageToken(last));
  return absl::OkStatus();
}

absl::Status InvitationRegistry::Cancel(const rpc::Caller& caller, const enrol::v1::CancelInvitationRequest& request,
                                        Invitation* response) {
  RETURN_IF_ERROR(ValidateText(request.reason(), "reason"));
  RETURN_IF_ERROR(Find(caller, request.name(), response));
  if (caller.role() != access::v1::ROLE_ADMIN) {
    RETURN_IF_ERROR(CheckHandles(parts_->audit, caller, Method("CancelInvitation"), *response));
  }
  ASSIGN_OR_RETURN(const auto session, sessions_->Find(InvitationId(*response)));
  ASSIGN_OR_RETURN(const int64_t revision, session->Cancel(caller.Name(), request.reason()));
  ASSIGN_OR_RETURN(*response, session->Show());
  sessions_->Leave(InvitationId(*response));
  return AwaitEverywhere(revision);
}

absl::Status InvitationRegistry::Resend(const rpc::Caller& caller, const enrol::v1::ResendInvitationRequest& request,
                                        enrol::v1::CreateInvitationResponse* response) {
  RETURN_IF_ERROR(ValidateRequestId(request.request_id()));
  if (!request.email().empty()) RETURN_IF_ERROR(ValidateEmail(request.email()));
  RETURN_IF_ERROR(CheckMail(request.email()));
  Invitation invitation;
  RETURN_IF_ERROR(Find(caller, request.name(), &invitation));
  RETURN_IF_ERROR(CheckHandles(parts_->audit, caller, Method("ResendInvitation"), invitation));
  const std::string id = InvitationId(invitation);
  ASSIGN_OR_RETURN(const auto session, sessions_->Find(id));
  const std::string fingerprint = rpc::RequestDigest(/*prefix=*/"", request);
  MailRecord mail;
  bool sent_again = false;
  RETURN_IF_ERROR(
      session->Change([&](InvitationRecord* record, InvitationStore::Change* change) -> absl::StatusOr<bool> {
        sent_again = false;
        if (record->invitation().state() != Invitation::STATE_PENDING) return EndedError(record->invitation());
        if (record->resend_request() == fingerprint) return false;
        record->set_resend_request(fingerprint);
        const std::string email = request.email().empty() ? record->invitation().email() : request.email();
        if (!email.empty() && outbox_ != nullptr) {
          mail = NewMail(id, email);
          SetQueued(email, record->mutable_invitation());
          change->mail = &mail;
        }
        sent_again = true;
        return true;
      }));
  if (sent_again) RecordAction(parts_->audit, caller.Name(), "invitation.sent_again", invitation.name());
  if (sent_again && !mail.email().empty()) outbox_->Add(id, parts_->clock->Now());
  return Answer(id, response);
}

}  // namespace parley::enrolld
