// Invitations at enrolld, and what the device that invites keeps of them.
//
// Guarantees: what a device asked for is what it will enrol, whatever the service says later.
//
// Threads: one thread. All methods but the constructor block.
#ifndef PARLEY_CLIENTS_OPERATOR_INVITATIONS_H_
#define PARLEY_CLIENTS_OPERATOR_INVITATIONS_H_

#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "clients/operator/connection.h"
#include "lib/device/device_file.h"
#include "parley/enrol/v1/invitation_service.grpc.pb.h"

namespace parley::ops {

// Puts into a device file's record of an invitation whom it is for, and until when.
void DescribeEnrolment(const enrol::v1::Invitation& invitation, device::Enrolment* enrolment);

class InvitationClient {
 public:
  // `server` leads to enrolld. `file` is the device that invites, and must outlive the client; it is null if only a
  // credential is at hand, and then another device greets.
  InvitationClient(std::unique_ptr<Connection> server, device::DeviceFile* file)
      : server_(std::move(server)), file_(file) {}

  // The link in the response is secret. Returns FAILED_PRECONDITION (INVITATION_CHANGED) if the service made another
  // invitation than was asked for, or the errors of DeviceFile::Update and of enrolld.
  absl::StatusOr<enrol::v1::CreateInvitationResponse> Create(const enrol::v1::CreateInvitationRequest& request) const;
  // Returns the invitations that are pending, and with `ended` the others too, or enrolld's error.
  absl::StatusOr<enrol::v1::ListInvitationsResponse> List(bool ended) const;
  // Takes an invitation back. `invitation` is an id or a name, here and below. Returns enrolld's error.
  absl::StatusOr<enrol::v1::Invitation> Cancel(const std::string& invitation, const std::string& reason) const;
  // Returns the link once more, and sends it to `email` unless that is empty. Returns enrolld's error.
  absl::StatusOr<enrol::v1::CreateInvitationResponse> Resend(const std::string& invitation,
                                                             const std::string& email) const;

 private:
  absl::Status Pin(const enrol::v1::Invitation& invitation) const;

  std::unique_ptr<Connection> server_;
  device::DeviceFile* file_;
};

}  // namespace parley::ops

#endif  // PARLEY_CLIENTS_OPERATOR_INVITATIONS_H_
