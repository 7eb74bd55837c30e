// parley invite: user, device, list, cancel, resend.
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "clients/cli/chain.h"
#include "clients/cli/command.h"
#include "clients/cli/connection.h"
#include "clients/cli/format.h"
#include "clients/cli/output.h"
#include "clients/cli/terminal.h"
#include "clients/cli/unlock.h"
#include "clients/operator/ids.h"
#include "lib/base/error.h"
#include "lib/base/proto_time.h"
#include "lib/keys/identity.h"
#include "lib/keys/roles.h"
#include "parley/enrol/v1/invitation_service.grpc.pb.h"

namespace parley::cli {
namespace {

using enrol::v1::CreateInvitationRequest;
using enrol::v1::CreateInvitationResponse;
using enrol::v1::Invitation;
using enrol::v1::InvitationService;

struct InviteFlags {
  std::string name, role = "operator", email, ttl, invitation, reason;
  bool all = false;
};

struct Invitations {
  std::unique_ptr<Connection> server;
  std::unique_ptr<InvitationService::Stub> stub;
};

absl::StatusOr<Invitations> ConnectInvitations(const Globals& globals) {
  Invitations invitations;
  ASSIGN_OR_RETURN(invitations.server, Connect(globals, keys::kEnrolld));
  invitations.stub = InvitationService::NewStub(invitations.server->channel());
  return invitations;
}

std::string IdOf(const Invitation& invitation) {
  return std::string(absl::StripPrefix(invitation.name(), "invitations/"));
}

std::string NameOf(const std::string& invitation) {
  return absl::StrCat("invitations/", absl::StripPrefix(invitation, "invitations/"));
}

std::string StateText(Invitation::State state) {
  return absl::AsciiStrToLower(absl::StripPrefix(Invitation::State_Name(state), "STATE_"));
}

std::string Whom(const Invitation& invitation) {
  if (invitation.kind() == Invitation::KIND_DEVICE) return absl::StrCat("a device of ", invitation.user_name());
  return absl::StrCat(invitation.user_name(), ", ", keys::RoleName(invitation.role()));
}

std::string MailText(const Invitation& invitation) {
  const enrol::v1::Mail& mail = invitation.mail();
  switch (mail.state()) {
    case enrol::v1::Mail::STATE_QUEUED:
      return absl::StrCat("on its way to ", invitation.email(),
                          mail.sentence().empty() ? "" : absl::StrCat(" (", mail.sentence(), ")"));
    case enrol::v1::Mail::STATE_SENT:
      return absl::StrCat("sent to ", invitation.email());
    case enrol::v1::Mail::STATE_FAILED:
      return absl::StrCat("not sent to ", invitation.email(), ": ", mail.sentence());
    default:
      return "";
  }
}

// What this device asked for is what it will enrol, whatever the service says later.
absl::Status Pin(const Globals& globals, const Invitation& invitation) {
  if (!UsesDevice(globals)) return absl::OkStatus();
  ASSIGN_OR_RETURN(device::DeviceFile* const file, OpenDevice(globals));
  return file->Update([&](device::Contents* contents) {
    // Room for it: those that ended long ago and hold nothing.
    std::erase_if(contents->enrolments, [](const auto& entry) {
      return entry.second.not_after < absl::Now() && entry.second.exchange.empty() && entry.second.certificates.empty();
    });
    device::Enrolment& enrolment = contents->enrolments[invitation.name()];
    enrolment.role = sas::Role::kGreeter;
    enrolment.kind = static_cast<sas::Kind>(invitation.kind());
    enrolment.not_after = absl::FromUnixSeconds(invitation.expire_time().seconds());
    if (enrolment.kind == sas::Kind::kUser) {
      enrolment.user_name = invitation.user_name();
      enrolment.user_role = invitation.role();
    }
    return absl::OkStatus();
  });
}

void ShowLink(const Globals& globals, CreateInvitationResponse* response) {
  if (globals.json()) return PrintJson(*response);
  const Invitation& invitation = response->invitation();
  const Secret link = Secret::Take(std::move(*response->mutable_link()));
  PrintLine(absl::StrCat("  invitation  ", IdOf(invitation)));
  PrintLine(absl::StrCat("  for         ", Printable(Whom(invitation)), ", until ",
                         TimeText(ToTime(invitation.expire_time()))));
  if (const std::string mail = MailText(invitation); !mail.empty()) {
    PrintLine(absl::StrCat("  e-mail      ", Printable(mail)));
  }
  PrintLine("  the newcomer runs `parley claim` and pastes this link; whoever else has it can only be a nuisance:\n");
  fwrite(link.Expose().data(), 1, link.size(), stdout);
  PrintLine("\n");
  PrintLine(absl::StrCat("  and you, when you have each other on the phone:  parley greet ", IdOf(invitation)));
}

absl::StatusOr<ExitCode> Create(const Globals& globals, const CreateInvitationRequest& request) {
  ASSIGN_OR_RETURN(const Invitations invitations, ConnectInvitations(globals));
  ASSIGN_OR_RETURN(
      CreateInvitationResponse response,
      invitations.server->Call(invitations.stub.get(), &InvitationService::Stub::CreateInvitation, request));
  if (response.invitation().kind() != request.kind() || response.invitation().role() != request.role() ||
      (request.kind() == Invitation::KIND_USER && response.invitation().user_name() != request.user_name())) {
    return Error(absl::StatusCode::kFailedPrecondition, "INVITATION_CHANGED",
                 "the enrolment service made another invitation than was asked for; do not use it");
  }
  RETURN_IF_ERROR(Pin(globals, response.invitation()));
  ShowLink(globals, &response);
  return kSuccess;
}

absl::StatusOr<CreateInvitationRequest> RequestOf(const InviteFlags& flags, Invitation::Kind kind) {
  CreateInvitationRequest request;
  request.set_request_id(ops::NewRequestId());
  request.set_kind(kind);
  request.set_email(flags.email);
  if (!flags.ttl.empty()) {
    ASSIGN_OR_RETURN(const absl::Duration ttl, ParseTtl("--ttl", flags.ttl, absl::Minutes(1), "an invitation lives"));
    *request.mutable_ttl() = ToProto(ttl);
  }
  return request;
}

absl::StatusOr<ExitCode> InviteUser(const Globals& globals, const InviteFlags& flags) {
  ASSIGN_OR_RETURN(CreateInvitationRequest request, RequestOf(flags, Invitation::KIND_USER));
  ASSIGN_OR_RETURN(const access::v1::Role role, ParseRole("--role", flags.role,
                                                          {access::v1::ROLE_ADMIN, access::v1::ROLE_OPERATOR,
                                                           access::v1::ROLE_AUDITOR, access::v1::ROLE_DEVICE}));
  request.set_role(role);
  request.set_user_name(flags.name);
  return Create(globals, request);
}

absl::StatusOr<ExitCode> InviteDevice(const Globals& globals, const InviteFlags& flags) {
  ASSIGN_OR_RETURN(const CreateInvitationRequest request, RequestOf(flags, Invitation::KIND_DEVICE));
  return Create(globals, request);
}

absl::StatusOr<ExitCode> List(const Globals& globals, const InviteFlags& flags) {
  ASSIGN_OR_RETURN(const Invitations invitations, ConnectInvitations(globals));
  enrol::v1::ListInvitationsRequest request;
  if (!flags.all) request.add_states(Invitation::STATE_PENDING);
  enrol::v1::ListInvitationsResponse all;
  std::vector<std::vector<std::string>> rows;
  do {
    ASSIGN_OR_RETURN(
        const enrol::v1::ListInvitationsResponse page,
        invitations.server->Call(invitations.stub.get(), &InvitationService::Stub::ListInvitations, request));
    for (const Invitation& invitation : page.invitations()) {
      *all.add_invitations() = invitation;
      std::string state = StateText(invitation.state());
      if (invitation.claimer_waiting()) state = "waits to be greeted";
      if (invitation.suspected_attempts() > 0) {
        absl::StrAppend(&state, ", ", Count(invitation.suspected_attempts(), "suspected attack"));
      }
      rows.push_back({IdOf(invitation), Printable(Whom(invitation)), Printable(invitation.creator()),
                      TimeText(ToTime(invitation.expire_time())), state, Printable(MailText(invitation))});
    }
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  if (globals.json()) {
    PrintJson(all);
  } else if (rows.empty()) {
    PrintLine(flags.all ? "  nobody was ever invited" : "  nobody is invited now; `--all` shows those that ended");
  } else {
    PrintTable({"INVITATION", "FOR", "BY", "UNTIL", "STATE", "E-MAIL"}, rows);
  }
  return kSuccess;
}

absl::StatusOr<ExitCode> Cancel(const Globals& globals, const InviteFlags& flags) {
  ASSIGN_OR_RETURN(const Invitations invitations, ConnectInvitations(globals));
  enrol::v1::CancelInvitationRequest request;
  request.set_name(NameOf(flags.invitation));
  request.set_reason(flags.reason);
  ASSIGN_OR_RETURN(
      const Invitation invitation,
      invitations.server->Call(invitations.stub.get(), &InvitationService::Stub::CancelInvitation, request));
  if (globals.json()) {
    PrintJson(invitation);
  } else {
    PrintLine(absl::StrCat("  ", Green("✔"), " the invitation of ", Printable(Whom(invitation)), " is ",
                           StateText(invitation.state()), "; its link opens nothing any more"));
  }
  return kSuccess;
}

absl::StatusOr<ExitCode> Resend(const Globals& globals, const InviteFlags& flags) {
  ASSIGN_OR_RETURN(const Invitations invitations, ConnectInvitations(globals));
  enrol::v1::ResendInvitationRequest request;
  request.set_request_id(ops::NewRequestId());
  request.set_name(NameOf(flags.invitation));
  request.set_email(flags.email);
  ASSIGN_OR_RETURN(
      CreateInvitationResponse response,
      invitations.server->Call(invitations.stub.get(), &InvitationService::Stub::ResendInvitation, request));
  ShowLink(globals, &response);
  return kSuccess;
}

}  // namespace

void AddInvite(CLI::App* app, Globals* globals) {
  CLI::App* invite = app->add_subcommand("invite", "Invite people, machines and devices of your own");
  invite->fallthrough();
  invite->require_subcommand(1);
  auto flags = std::make_shared<InviteFlags>();
  const auto add = [&](const char* name, const char* description,
                       absl::StatusOr<ExitCode> (*run)(const Globals&, const InviteFlags&)) {
    CLI::App* command = invite->add_subcommand(name, description);
    command->fallthrough();
    Uses(command, globals, kCallerOptions);
    command->callback(
        [globals, flags, run] { globals->run = [globals, flags, run] { return run(*globals, *flags); }; });
    return command;
  };
  const auto add_common = [&flags](CLI::App* command) {
    command->add_option("--email", flags->email, "Send the link there; otherwise carry it there yourself");
    command->add_option("--ttl", flags->ttl, "How long it can be used: 1m to 30d (2d)");
  };
  CLI::App* user = add("user", "Invite somebody, or a machine, into the organisation; admins only", &InviteUser);
  user->add_option("name", flags->name, "What the user is called, e.g. bob or web-1")->required();
  user->add_option("--role", flags->role, "admin, operator, auditor, or device: a machine")->capture_default_str();
  add_common(user);
  user->footer(
      "Example:\n"
      "  parley invite user bob --role operator --email bob@example.org\n"
      "Bob runs `parley claim`, you run `parley greet`, and you compare two codes on the phone.");
  CLI::App* device = add("device", "Invite another device of your own", &InviteDevice);
  add_common(device);
  device->footer("Example:\n  parley invite device\nThen `parley claim` there, `parley greet` here.");
  add("list", "Invitations that can be used", &List)->add_flag("--all", flags->all, "Those that ended, too");
  CLI::App* cancel = add("cancel", "Take an invitation back", &Cancel);
  cancel->add_option("invitation", flags->invitation, "As in `parley invite list`")->required();
  cancel->add_option("--reason", flags->reason, "Shown to the newcomer and kept in the audit log");
  CLI::App* resend = add("resend", "The same link once more", &Resend);
  resend->add_option("invitation", flags->invitation, "As in `parley invite list`")->required();
  resend->add_option("--email", flags->email, "To another address than before");
}

}  // namespace parley::cli
