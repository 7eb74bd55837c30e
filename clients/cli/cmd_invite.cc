// parley invite: user, device, list, cancel, resend.
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "clients/cli/command.h"
#include "clients/cli/connection.h"
#include "clients/cli/format.h"
#include "clients/cli/output.h"
#include "clients/cli/terminal.h"
#include "clients/cli/unlock.h"
#include "clients/operator/invitations.h"
#include "lib/base/error.h"
#include "lib/base/proto_time.h"
#include "lib/crypto/kdf.h"
#include "lib/keys/identity.h"
#include "lib/keys/roles.h"

namespace parley::cli {
namespace {

using enrol::v1::CreateInvitationRequest;
using enrol::v1::CreateInvitationResponse;
using enrol::v1::Invitation;

struct InviteFlags {
  std::string name, role = "operator", email, ttl, invitation, reason;
  bool all = false;
};

absl::StatusOr<ops::InvitationClient> ConnectInvitations(const Globals& globals) {
  ASSIGN_OR_RETURN(std::unique_ptr<ops::Connection> server, Connect(globals, keys::kEnrolld));
  if (!UsesDevice(globals)) return ops::InvitationClient(std::move(server), nullptr);
  ASSIGN_OR_RETURN(device::DeviceFile* const file, OpenDevice(globals));
  return ops::InvitationClient(std::move(server), file);
}

std::string IdOf(const Invitation& invitation) {
  return std::string(absl::StripPrefix(invitation.name(), "invitations/"));
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

ExitCode ShowLink(const Globals& globals, CreateInvitationResponse* response) {
  if (globals.json()) return PrintJson(*response);
  const Invitation& invitation = response->invitation();
  const Secret link = Secret::Take(std::move(*response->mutable_link()));
  PrintLine("  invitation  ", IdOf(invitation));
  PrintLine("  for         ", Printable(Whom(invitation)), ", until ", TimeText(ToTime(invitation.expire_time())));
  if (const std::string mail = MailText(invitation); !mail.empty()) {
    PrintLine("  e-mail      ", Printable(mail));
  }
  PrintLine("  the newcomer runs `parley claim` and pastes this link; whoever else has it can only be a nuisance:\n");
  fwrite(link.Expose().data(), 1, link.size(), stdout);
  PrintLine("\n");
  PrintLine("  and you, when you have each other on the phone:  parley greet ", IdOf(invitation));
  return kSuccess;
}

absl::StatusOr<ExitCode> Create(const Globals& globals, const CreateInvitationRequest& request) {
  ASSIGN_OR_RETURN(const ops::InvitationClient invitations, ConnectInvitations(globals));
  ASSIGN_OR_RETURN(CreateInvitationResponse response, invitations.Create(request));
  return ShowLink(globals, &response);
}

absl::StatusOr<CreateInvitationRequest> RequestOf(const InviteFlags& flags, Invitation::Kind kind) {
  CreateInvitationRequest request;
  request.set_request_id(crypto::RandomUuid());
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
  ASSIGN_OR_RETURN(const ops::InvitationClient invitations, ConnectInvitations(globals));
  ASSIGN_OR_RETURN(const enrol::v1::ListInvitationsResponse all, invitations.List(flags.all));
  if (globals.json()) return PrintJson(all);
  std::vector<std::vector<std::string>> rows;
  for (const Invitation& invitation : all.invitations()) {
    std::string state = StateText(invitation.state());
    if (invitation.claimer_waiting()) state = "waits to be greeted";
    if (invitation.suspected_attempts() > 0) {
      absl::StrAppend(&state, ", ", Count(invitation.suspected_attempts(), "suspected attack"));
    }
    rows.push_back({IdOf(invitation), Whom(invitation), invitation.creator(),
                    TimeText(ToTime(invitation.expire_time())), state, MailText(invitation)});
  }
  if (!rows.empty()) return PrintTable({"INVITATION", "FOR", "BY", "UNTIL", "STATE", "E-MAIL"}, rows);
  PrintLine(flags.all ? "  nobody was ever invited" : "  nobody is invited now; `--all` shows those that ended");
  return kSuccess;
}

absl::StatusOr<ExitCode> Cancel(const Globals& globals, const InviteFlags& flags) {
  ASSIGN_OR_RETURN(const ops::InvitationClient invitations, ConnectInvitations(globals));
  ASSIGN_OR_RETURN(const Invitation invitation, invitations.Cancel(flags.invitation, flags.reason));
  if (globals.json()) return PrintJson(invitation);
  return PrintDone("the invitation of ", Printable(Whom(invitation)), " is ", StateText(invitation.state()),
                   "; its link opens nothing any more");
}

absl::StatusOr<ExitCode> Resend(const Globals& globals, const InviteFlags& flags) {
  ASSIGN_OR_RETURN(const ops::InvitationClient invitations, ConnectInvitations(globals));
  ASSIGN_OR_RETURN(CreateInvitationResponse response, invitations.Resend(flags.invitation, flags.email));
  return ShowLink(globals, &response);
}

}  // namespace

void AddInvite(Command app, Globals* globals) {
  Command invite = AddGroup(app, "invite", "Invite people, machines and devices of your own");
  auto flags = std::make_shared<InviteFlags>();
  const auto add_common = [&flags](Command command) {
    command.AddOption("--email", flags->email, "Send the link there; otherwise carry it there yourself");
    command.AddOption("--ttl", flags->ttl, "How long the link can be used: 1m to 30d (2d)");
  };
  Command user =
      AddCommand(invite, globals, "user", "Invite somebody, or a machine, into the organisation; admins only",
                 kCallerOptions, flags, &InviteUser);
  user.AddOption("name", flags->name, "What the user is called, e.g. bob or web-1").Required();
  user.AddOption("--role", flags->role, "admin, operator, auditor, or device: a machine").ShowDefault();
  add_common(user);
  user.Footer(
      "Example:\n"
      "  parley invite user bob --role operator --email bob@example.org\n"
      "Bob runs `parley claim`, you run `parley greet`, and you compare two codes on the phone.");
  Command device =
      AddCommand(invite, globals, "device", "Invite another device of your own", kCallerOptions, flags, &InviteDevice);
  add_common(device);
  device.Footer("Example:\n  parley invite device\nThen run `parley claim` there, and `parley greet` here.");
  AddCommand(invite, globals, "list", "List the invitations that can be used", kCallerOptions, flags, &List)
      .AddFlag("--all", flags->all, "List those that have ended, too");
  Command cancel = AddCommand(invite, globals, "cancel", "Take an invitation back", kCallerOptions, flags, &Cancel);
  cancel.AddOption("invitation", flags->invitation, "The invitation's id, as in `parley invite list`").Required();
  cancel.AddOption("--reason", flags->reason, "Shown to the newcomer and kept in the audit log");
  Command resend = AddCommand(invite, globals, "resend", "Get the same link again", kCallerOptions, flags, &Resend);
  resend.AddOption("invitation", flags->invitation, "The invitation's id, as in `parley invite list`").Required();
  resend.AddOption("--email", flags->email, "Send it to another address than before");
}

}  // namespace parley::cli
