// parley claim.
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "clients/chain/trust_client.h"
#include "clients/cli/command.h"
#include "clients/cli/connection.h"
#include "clients/cli/enrol_screen.h"
#include "clients/cli/output.h"
#include "clients/cli/pasting.h"
#include "clients/cli/signals.h"
#include "clients/cli/terminal.h"
#include "clients/cli/unlock.h"
#include "clients/enrol/claimer.h"
#include "clients/enrol/grpc_relay_stream.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/keys/dial.h"
#include "lib/keys/roles.h"

namespace parley::cli {
namespace {

struct ClaimFlags {
  std::string device_name, link_file;
  bool discard = false;
};

absl::StatusOr<Secret> FindLink(const ClaimFlags& flags) {
  if (!flags.link_file.empty()) return ReadSecretFile(flags.link_file, keys::kMaxPastingBytes);
  ASSIGN_OR_RETURN(Secret link,
                   ReadPastedSecret("  Link of the invitation (it is not shown): ", &keys::JudgePastedInvitationLink));
  if (link.empty()) {
    return UsageError(
        "no link was given; paste it at a terminal, or give it by standard input or --link-file; it begins with "
        "parley://claim/");
  }
  return link;
}

// The link of the claim that the file is of; null when it is not of one.
const Secret* PendingLink(const device::Contents& contents) {
  for (const auto& [name, enrolment] : contents.enrolments) {
    if (enrolment.role == sas::Role::kClaimer && !enrolment.link.empty()) return &enrolment.link;
  }
  return nullptr;
}

// The device file of this claim: a new one, or that of one that was interrupted.
absl::StatusOr<device::DeviceFile*> BeginClaim(const Globals& globals, const ClaimFlags& flags) {
  if (::access(DevicePath(globals).c_str(), F_OK) == 0) {
    if (!flags.link_file.empty()) {
      return UsageError("--link-file is for a new claim, and ", DevicePath(globals),
                        " is there already; leave it out to go on with that claim, or name another file "
                        "with --device");
    }
    ASSIGN_OR_RETURN(device::DeviceFile* const file, UnlockDevice(globals));
    if (PendingLink(file->contents()) != nullptr) return file;
    return Error(absl::StatusCode::kAlreadyExists, "DEVICE_FILE_EXISTS",
                 absl::StrCat(file->path(), " is of ", Printable(file->contents().user_name),
                              " already; name another file with --device"));
  }
  if (!trust::IsDeviceLabel(flags.device_name))
    return UsageError("--device-name has 1 to 64 bytes and no control characters");
  ASSIGN_OR_RETURN(const Secret link, FindLink(flags));
  ASSIGN_OR_RETURN(const keys::InvitationLink invitation, keys::ParseInvitationLink(link, absl::Now()));
  return CreateDevice(globals, enrol::ContentsOfClaim(invitation, link, flags.device_name));
}

ExitCode ShowEnrolled(const Globals& globals, const device::DeviceFile& file) {
  const device::Contents& contents = file.contents();
  if (globals.json()) {
    return JsonEvent("enrolled")
        .Text("organisation", contents.organisation)
        .Text("user", trust::UserName(contents.user_id))
        .Text("userName", contents.user_name)
        .Text("role", keys::RoleName(contents.role))
        .Text("device", trust::DeviceName(contents.device_id))
        .Text("deviceFile", file.path())
        .Print();
  }
  PrintDone("enrolled   you are ", contents.user_name, ", ", keys::RoleName(contents.role), " of ",
            Printable(contents.organisation), ", verified up to its root key");
  PrintLine("  device file  ", file.path(), ", sealed by your password; keep a copy of both");
  return kSuccess;
}

// A file that is enrolled stays; one that is not, and never will be, goes: it is never half trusted.
absl::Status EndOf(const absl::Status& why, const enrol::Claimer& claimer, device::DeviceFile* file) {
  std::string next;
  if (file->contents().enrolled()) {
    if (!claimer.over()) return why;
    next = "this device is enrolled, but the inviter may not know: ask";
  } else if (!claimer.over()) {
    next = "go on with `parley claim`, or drop it with `parley claim --discard`";
  } else {
    RETURN_IF_ERROR(file->Remove());
    next = file->path() + " was removed";
  }
  return Error(why.code(), Reason(why), absl::StrCat(why.message(), "; ", next));
}

absl::StatusOr<ExitCode> Discard(const Globals& globals, device::DeviceFile* file) {
  if (file->contents().enrolled()) {
    return Error(absl::StatusCode::kFailedPrecondition, "DEVICE_ENROLLED",
                 absl::StrCat(file->path(), " is enrolled; go on with `parley claim`, or revoke the device first"));
  }
  RETURN_IF_ERROR(file->Remove());
  if (!globals.json()) PrintLine("  ", file->path(), " was removed");
  return kSuccess;
}

absl::StatusOr<ExitCode> Claim(const Globals& given, const ClaimFlags& flags) {
  const Globals globals = ByDevice(given);
  ASSIGN_OR_RETURN(device::DeviceFile* const file, BeginClaim(globals, flags));
  if (flags.discard) return Discard(globals, file);
  SignalFd signals({SIGINT, SIGTERM, SIGHUP});
  // It is known to be good, and a confirmed exchange may end after its time.
  ASSIGN_OR_RETURN(const keys::InvitationLink invitation,
                   keys::ParseInvitationLink(*PendingLink(file->contents()), absl::UnixEpoch()));
  transport::Dialer::Options dial =
      keys::DialOptions(invitation.address, invitation.identity, invitation.secret, invitation.not_after);
  if (!globals.server.empty()) dial.address = globals.server;
  const std::string address = dial.address;
  ASSIGN_OR_RETURN(const std::unique_ptr<enrol::RelayStream> relay, enrol::ConnectRelay(std::move(dial)));
  EnrolScreen screen({globals.json(), "the inviter", /*reads_first=*/true, signals.fd()});
  if (!globals.json()) {
    PrintLine("  joining ", Printable(invitation.organisation), " through ", address,
              ". Have the person who invited you on the phone: you must know the voice.");
  }
  enrol::Claimer claimer({.invitation = invitation.invitation,
                          .device = file,
                          .relay = relay.get(),
                          .person = &screen,
                          .cancel_fd = signals.fd()},
                         [](const keys::Credential& key) { return trust::ConnectKeyd(key, Clock::System()); });
  if (const absl::Status status = claimer.Run(); !status.ok()) return EndOf(status, claimer, file);
  return ShowEnrolled(globals, *file);
}

}  // namespace

void AddClaim(Command app, Globals* globals) {
  auto flags = std::make_shared<ClaimFlags>();
  flags->device_name = DefaultDeviceName();
  Command command = AddCommand(app, globals, "claim", "Become a member with an invitation: compare codes on the phone",
                               kMemberOptions, flags, &Claim);
  command.AddOption("--device-name", flags->device_name, "What people call this device").ShowDefault();
  command.AddOption("--link-file", flags->link_file, "File of mode 0600 with the link");
  command.AddFlag("--discard", flags->discard, "Drop a claim that was interrupted, and its device file")
      .Excludes("--link-file")
      .Excludes("--device-name");
  command.Footer(
      "The link is asked for, or read from standard input or --link-file; never from the command line, which\n"
      "everybody on the machine can see. It may come folded over lines and quoted. The command makes your\n"
      "device file (--device) under a password that you choose.\n"
      "Each of you reads a code aloud, and the other picks it from among four. Codes that agree prove that nobody\n"
      "stands in between, not even Parley's own servers.\n"
      "If it was interrupted, the same command goes on with it.");
}

}  // namespace parley::cli
