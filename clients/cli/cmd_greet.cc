// parley greet.
#include <signal.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "clients/chain/trust_client.h"
#include "clients/cli/command.h"
#include "clients/cli/connection.h"
#include "clients/cli/enrol_screen.h"
#include "clients/cli/output.h"
#include "clients/cli/signals.h"
#include "clients/cli/terminal.h"
#include "clients/cli/unlock.h"
#include "clients/enrol/greeter.h"
#include "clients/enrol/grpc_relay_stream.h"
#include "clients/operator/invitations.h"
#include "lib/base/error.h"
#include "lib/keys/identity.h"
#include "lib/keys/roles.h"

namespace parley::cli {
namespace {

using enrol::v1::Invitation;
using enrol::v1::InvitationService;

constexpr absl::string_view kPrefix = "invitations/";

absl::StatusOr<Invitation> FindTheOnlyOne(const Globals& globals) {
  enrol::v1::ListInvitationsRequest request;
  request.add_states(Invitation::STATE_PENDING);
  ASSIGN_OR_RETURN(
      const enrol::v1::ListInvitationsResponse listed,
      Call<InvitationService>(globals, keys::kEnrolld, &InvitationService::Stub::ListInvitations, request));
  std::vector<const Invitation*> waiting;
  for (const Invitation& invitation : listed.invitations()) {
    if (invitation.claimer_waiting()) waiting.push_back(&invitation);
  }
  if (waiting.size() == 1) return *waiting.front();
  if (listed.invitations_size() == 1) return listed.invitations(0);
  return UsageError(listed.invitations().empty()
                        ? "nobody is invited now; invite somebody with: parley invite user NAME"
                        : "several invitations are pending; name one of `parley invite list`");
}

absl::StatusOr<Invitation> FindInvitation(const Globals& globals, const std::string& name) {
  if (name.empty()) return FindTheOnlyOne(globals);
  enrol::v1::GetInvitationRequest request;
  request.set_name(name);
  return Call<InvitationService>(globals, keys::kEnrolld, &InvitationService::Stub::GetInvitation, request);
}

std::string Whom(const device::Contents& own, const device::Enrolment& enrolment) {
  if (enrolment.kind == sas::Kind::kDevice) return absl::StrCat("another device of ", own.user_name, ", who is you");
  return absl::StrCat(enrolment.user_name, " as ", keys::RoleName(enrolment.user_role));
}

// The device file's record of the invitation. Name and role are what this device asked for; where another admin asked,
// the person here decides, because the service could say anything.
absl::Status Prepare(device::DeviceFile* file, const Invitation& invitation, EnrolScreen* screen) {
  const device::Contents& own = file->contents();
  device::Enrolment told;
  ops::DescribeEnrolment(invitation, &told);
  if (told.kind != sas::Kind::kUser && (told.kind != sas::Kind::kDevice || invitation.user_name() != own.user_name)) {
    return Error(absl::StatusCode::kPermissionDenied, "INVITATION_NOT_YOURS",
                 "a device is greeted by the user who invited it");
  }
  const auto known = own.enrolments.find(invitation.name());
  if (known != own.enrolments.end()) {
    if (known->second.kind == told.kind && known->second.user_name == told.user_name &&
        known->second.user_role == told.user_role) {
      return absl::OkStatus();
    }
    return Error(absl::StatusCode::kFailedPrecondition, "INVITATION_CHANGED",
                 absl::StrCat("this device invited ", Whom(own, known->second), ", and the enrolment service says ",
                              Printable(Whom(own, told)), ": somebody changed it; cancel it, and look into enrolld"));
  }
  ASSIGN_OR_RETURN(const bool wanted, screen->Ask(absl::StrCat("This invitation was not made on this device. Let in ",
                                                               Printable(Whom(own, told)), "?")));
  if (!wanted) return Error(absl::StatusCode::kCancelled, "CANCELLED", "nobody was let in");
  return file->Update([&](device::Contents* contents) {
    contents->enrolments[invitation.name()] = std::move(told);
    return absl::OkStatus();
  });
}

// Returns the name of the invitation whose greeting was interrupted after the codes; empty if there is none.
std::string Interrupted(const device::Contents& own) {
  for (const auto& [name, enrolment] : own.enrolments) {
    if (enrolment.role == sas::Role::kGreeter && !enrolment.exchange.empty()) return name;
  }
  return "";
}

// What the person must do about somebody whom keyd may have, but who may not have its credential.
std::string Advice(const enrol::Greeter& greeter, sas::Kind kind) {
  if (greeter.newcomer().device_id.empty()) return "";
  if (kind == sas::Kind::kDevice) {
    return absl::StrCat("; that device may be enrolled: revoke it with: parley device revoke ",
                        absl::StripPrefix(trust::DeviceName(greeter.newcomer().device_id), "devices/"));
  }
  return absl::StrCat("; ", greeter.newcomer().user_name, " may be enrolled: revoke that with: parley user revoke ",
                      greeter.newcomer().user_name);
}

ExitCode ShowNewcomer(const Globals& globals, const enrol::Greeter::Enrolment& newcomer) {
  if (globals.json()) {
    return JsonEvent("enrolled")
        .Text("user", trust::UserName(newcomer.user_id))
        .Text("userName", newcomer.user_name)
        .Text("role", keys::RoleName(newcomer.role))
        .Text("device", trust::DeviceName(newcomer.device_id))
        .Text("deviceLabel", newcomer.device_label)
        .Print();
  }
  return PrintDone("enrolled   ", newcomer.user_name, ", ", keys::RoleName(newcomer.role), ", on ",
                   Printable(newcomer.device_label));
}

absl::StatusOr<ExitCode> Greet(const Globals& given, const std::string& wanted) {
  const Globals globals = ByDevice(given);
  ASSIGN_OR_RETURN(device::DeviceFile* const file, OpenDevice(globals));
  SignalFd signals({SIGINT, SIGTERM, SIGHUP});
  std::string name =
      wanted.empty() ? Interrupted(file->contents()) : enrol::InvitationName(absl::StripPrefix(wanted, kPrefix));
  const auto begun = file->contents().enrolments.find(name);
  const bool resumes = begun != file->contents().enrolments.end() && !begun->second.exchange.empty();
  EnrolScreen screen({globals.json(), "the newcomer", /*reads_first=*/false, signals.fd()});
  if (!resumes) {
    ASSIGN_OR_RETURN(const Invitation invitation, FindInvitation(globals, name));
    RETURN_IF_ERROR(Prepare(file, invitation, &screen));
    name = invitation.name();
  }
  const sas::Kind kind = file->contents().enrolments.at(name).kind;
  if (!globals.json()) {
    PrintLine("  ", resumes ? "going on with " : "letting in ",
              Whom(file->contents(), file->contents().enrolments.at(name)), ". Call them: you must know the voice.");
  }
  ASSIGN_OR_RETURN(const keys::Credential credential, LoadCredential(globals, keys::kEnrolld));
  ASSIGN_OR_RETURN(transport::Dialer::Options dial, ops::DialerOptions(credential, file->path(), keys::kEnrolld));
  ASSIGN_OR_RETURN(const std::unique_ptr<enrol::RelayStream> relay, enrol::ConnectRelay(std::move(dial)));
  ASSIGN_OR_RETURN(const std::unique_ptr<trust::TrustClient> keyd,
                   trust::ConnectKeyd(*file->contents().credential, Clock::System()));
  enrol::Greeter greeter({.invitation = std::string(absl::StripPrefix(name, kPrefix)),
                          .device = file,
                          .relay = relay.get(),
                          .person = &screen,
                          .cancel_fd = signals.fd()},
                         keyd.get());
  if (const absl::Status status = greeter.Run(); !status.ok()) {
    if (greeter.over()) {
      RETURN_IF_ERROR(file->Update([&name](device::Contents* contents) {
        contents->enrolments.erase(name);
        return absl::OkStatus();
      }));
    }
    return Error(status.code(), Reason(status), absl::StrCat(status.message(), Advice(greeter, kind)));
  }
  return ShowNewcomer(globals, greeter.newcomer());
}

}  // namespace

void AddGreet(Command app, Globals* globals) {
  auto invitation = std::make_shared<std::string>();
  Command command = AddCommand(app, globals, "greet", "Let in somebody whom you invited: compare codes on the phone",
                               kMemberOptions, invitation, &Greet);
  command.AddOption("invitation", *invitation,
                    "Its id, as in `parley invite list`; without it, the only one that there is");
  command.Footer(
      "It needs your device file, whose key signs the newcomer's certificates. The newcomer runs `parley claim`.\n"
      "Each of you reads a code aloud, and the other picks it from among four. Codes that agree prove that nobody\n"
      "stands in between, not even Parley's own servers.\n"
      "If it was interrupted after the codes, the same command goes on with it.");
}

}  // namespace parley::cli
