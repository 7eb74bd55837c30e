#include "services/taskd/service/participation_service.h"

#include <memory>
#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "lib/rpc/start_stream.h"
#include "services/taskd/domain/validation.h"

namespace parley::taskd {
namespace {

using grpc::ServerUnaryReactor;
using namespace task::v1;  // NOLINT: the whole API is adapted here.

std::string ParticipationMethod(absl::string_view name) {
  return absl::StrCat("parley.task.v1.ParticipationService.", name);
}

}  // namespace

ServerUnaryReactor* ParticipationServiceAdapter::Join(Context* context, const JoinRequest* request,
                                                      JoinResponse* response) {
  return gate_->Unary(context, ParticipationMethod("Join"),
                      [=, this](const rpc::Caller& caller) { return joining_->Join(caller, *request, response); });
}

grpc::ServerBidiReactor<NegotiateRequest, NegotiateResponse>* ParticipationServiceAdapter::Negotiate(Context* context) {
  return rpc::StartStream(*gate_, context, ParticipationMethod("Negotiate"),
                          [&](const rpc::Caller& caller) { return std::make_shared<NegotiateStream>(parts_, caller); });
}

ServerUnaryReactor* ParticipationServiceAdapter::Confirm(Context* context, const ConfirmRequest* request,
                                                         ConfirmResponse* response) {
  return gate_->Unary(context, ParticipationMethod("Confirm"),
                      [=, this](const rpc::Caller& caller) { return DoConfirm(caller, *request, response); });
}

absl::Status ParticipationServiceAdapter::DoConfirm(const rpc::Caller& caller, const ConfirmRequest& request,
                                                    ConfirmResponse* response) const {
  RETURN_IF_ERROR(ValidateConfirm(request));
  ASSIGN_OR_RETURN(const Member member,
                   parts_->callers->Identify(caller, ParticipationMethod("Confirm"), request.task()));
  ASSIGN_OR_RETURN(ParticipantSnapshot snapshot, parts_->callers->Load(caller, member));
  Event event{Event::Kind::kConfirm};
  event.confirm = &request;
  const std::string connection = caller.peer->connection_id.ToString();
  event.connection = connection;
  const auto decide = [&](const ParticipantRecord& record,
                          const TaskRecord& task) -> absl::StatusOr<std::optional<ParticipantRecord>> {
    RETURN_IF_ERROR(CallerResolver::CheckKey(caller, record));
    return Advance(record, event, task, parts_->clock->Now());
  };
  RETURN_IF_ERROR(parts_->updater->Update(member.task, member.client, &snapshot, decide).status());
  response->set_version(snapshot.participant().version());
  response->set_state(snapshot.participant().state());
  return absl::OkStatus();
}

grpc::ServerWriteReactor<WatchAssignmentsResponse>* ParticipationServiceAdapter::WatchAssignments(
    Context* context, const WatchAssignmentsRequest* request) {
  return rpc::StartStream(*gate_, context, ParticipationMethod("WatchAssignments"), [&](const rpc::Caller& caller) {
    return std::make_shared<AssignmentStream>(assignments_, caller, *request);
  });
}

}  // namespace parley::taskd
