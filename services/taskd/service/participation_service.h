// The gRPC side of ParticipationService: each RPC passes the gate, and becomes a call of what does it.
//
// Threads: gRPC calls the methods on any thread.
#ifndef PARLEY_SERVICES_TASKD_SERVICE_PARTICIPATION_SERVICE_H_
#define PARLEY_SERVICES_TASKD_SERVICE_PARTICIPATION_SERVICE_H_

#include "lib/rpc/gate.h"
#include "parley/task/v1/participation_service.grpc.pb.h"
#include "services/taskd/participants/assignments.h"
#include "services/taskd/participants/joining.h"
#include "services/taskd/participants/negotiate_stream.h"

namespace parley::taskd {

// All parts must outlive the service.
class ParticipationServiceAdapter final : public task::v1::ParticipationService::CallbackService {
 public:
  ParticipationServiceAdapter(const rpc::Gate* gate, Joining* joining, Assignments* assignments,
                              const TaskdParts* parts)
      : gate_(gate), joining_(joining), assignments_(assignments), parts_(parts) {}

 private:
  using Context = grpc::CallbackServerContext;

  grpc::ServerUnaryReactor* Join(Context*, const task::v1::JoinRequest*, task::v1::JoinResponse*) override;
  grpc::ServerBidiReactor<task::v1::NegotiateRequest, task::v1::NegotiateResponse>* Negotiate(Context*) override;
  grpc::ServerUnaryReactor* Confirm(Context*, const task::v1::ConfirmRequest*, task::v1::ConfirmResponse*) override;
  grpc::ServerWriteReactor<task::v1::WatchAssignmentsResponse>* WatchAssignments(
      Context*, const task::v1::WatchAssignmentsRequest*) override;

  absl::Status DoConfirm(const rpc::Caller& caller, const task::v1::ConfirmRequest& request,
                         task::v1::ConfirmResponse* response) const;

  const rpc::Gate* const gate_;
  Joining* const joining_;
  Assignments* const assignments_;
  const TaskdParts* const parts_;
};

}  // namespace parley::taskd

#endif  // PARLEY_SERVICES_TASKD_SERVICE_PARTICIPATION_SERVICE_H_
