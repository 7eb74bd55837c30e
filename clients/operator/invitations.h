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

class Invitations {
 public:
  // `server` leads to enrolld. `file` is the device that invites, and must outlive this; null where a credential alone
  // does, and another device greets.
  Invitations(std::unique_ptr<Connection> server, device::DeviceFile* file)
      : server_(std::move(server)), stub_(enrol::v1::InvitationService::NewStub(server_->channel())), file_(file) {}

  // The link in the response is secret. The errors are FAILED_PRECONDITION (INVITATION_CHANGED) when the service made
  // another invitation than was asked for, that of DeviceFile::Update, and those of enrolld.
  absl::StatusOr<enrol::v1::CreateInvitationResponse> Create(const enrol::v1::CreateInvitationRequest& request) const;
  // Returns those that are pending, and with `ended` the others too. The errors of this and the next two are enrolld's.
  absl::StatusOr<enrol::v1::ListInvitationsResponse> List(bool ended) const;
  // `invitation` is an id or a name, here and below.
  absl::StatusOr<enrol::v1::Invitation> Cancel(const std::string& invitation, const std::string& reason) const;
  // Makes a new link, and sends it to `email` unless that is empty.
  absl::StatusOr<enrol::v1::CreateInvitationResponse> Resend(const std::string& invitation,
                                                             const std::string& email) const;

 private:
  absl::Status Pin(const enrol::v1::Invitation& invitation) const;

  std::unique_ptr<Connection> server_;
  std::unique_ptr<enrol::v1::InvitationService::Stub> stub_;
  device::DeviceFile* file_;
};

}  // namespace parley::ops

#endif  // PARLEY_CLIENTS_OPERATOR_INVITATIONS_H_
