// The gRPC side of ParticipationService: each RPC passes the gate, and becomes a call of what does it.
//
// Threads: gRPC calls the methods on any thread.
#ifndef PARLEY_SERVICES_TASKD_SERVICE_PARTICIPATION_SERVICE_H_
#define PARLEY_SERVICES_TASKD_SERVICE_PARTICIPATION_SERVICE_H_

#include <memory>

#include "lib/rpc/start_stream.h"
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

  grpc::ServerUnaryReactor* Join(Context* context, const task::v1::JoinRequest* request,
                                 task::v1::JoinResponse* response) override {
    return gate_->Unary(context, "parley.task.v1.ParticipationService.Join", joining_, &Joining::Join, request,
                        response);
  }
  NegotiateStream::Reactor* Negotiate(Context* context) override {
    return rpc::StartStream(
        *gate_, context, "parley.task.v1.ParticipationService.Negotiate",
        [&](const rpc::Caller& caller) { return std::make_shared<NegotiateStream>(parts_, caller); });
  }
  grpc::ServerUnaryReactor* Confirm(Context* context, const task::v1::ConfirmRequest* request,
                                    task::v1::ConfirmResponse* response) override {
    return gate_->Unary(context, "parley.task.v1.ParticipationService.Confirm", [=, this](const rpc::Caller& caller) {
      return taskd::Confirm(*parts_, caller, *request, response);
    });
  }
  AssignmentStream::Reactor* WatchAssignments(Context* context,
                                              const task::v1::WatchAssignmentsRequest* request) override {
    return rpc::StartStream(
        *gate_, context, "parley.task.v1.ParticipationService.WatchAssignments",
        [&](const rpc::Caller& caller) { return std::make_shared<AssignmentStream>(assignments_, caller, *request); });
  }

  const rpc::Gate* const gate_;
  Joining* const joining_;
  Assignments* const assignments_;
  const TaskdParts* const parts_;
};

}  // namespace parley::taskd

#endif  // PARLEY_SERVICES_TASKD_SERVICE_PARTICIPATION_SERVICE_H_
