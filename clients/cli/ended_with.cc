#include "clients/cli/ended_with.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "clients/cli/connection.h"
#include "clients/cli/format.h"
#include "clients/cli/output.h"
#include "clients/cli/task_name.h"
#include "clients/cli/terminal.h"
#include "lib/base/error.h"
#include "lib/keys/identity.h"
#include "parley/enrol/v1/invitation_service.grpc.pb.h"
#include "parley/task/v1/task_service.grpc.pb.h"

namespace parley::cli {
namespace {

using enrol::v1::InvitationService;
using task::v1::TaskService;

template <typename Service, typename Request, typename Response>
absl::StatusOr<Response> Ask(const Globals& globals, absl::string_view audience,
                             grpc::Status (Service::Stub::*method)(grpc::ClientContext*, const Request&, Response*),
                             const google::protobuf::RepeatedPtrField<std::string>& credentials) {
  Request request;
  *request.mutable_credentials() = credentials;
  absl::StatusOr<Response> response = Call<Service>(globals, audience, method, request);
  return response.ok() ? response : Annotate(response.status(), audience);
}

}  // namespace

EndedWith AskWhatEnded(const Globals& globals, const google::protobuf::RepeatedPtrField<std::string>& credentials) {
  EndedWith ended;
  if (credentials.empty()) return ended;
  // The address that was given is keyd's.
  Globals others = globals;
  others.server.clear();
  const auto tasks = Ask<TaskService>(others, keys::kTaskd, &TaskService::Stub::AwaitEndedKeys, credentials);
  if (tasks.ok()) {
    ended.member_keys = tasks->member_keys();
    ended.join_keys = tasks->join_keys();
    ended.open_tasks.assign(tasks->open_tasks().begin(), tasks->open_tasks().end());
  } else {
    ended.unknown.push_back(tasks.status());
  }
  const auto invitations =
      Ask<InvitationService>(others, keys::kEnrolld, &InvitationService::Stub::AwaitEndedInvitations, credentials);
  if (invitations.ok()) {
    ended.invitations = invitations->invitations();
  } else {
    ended.unknown.push_back(invitations.status());
  }
  return ended;
}

std::string EndedText(const EndedWith& ended) {
  std::vector<std::string> parts;
  if (ended.member_keys > 0) parts.push_back(Count(ended.member_keys, "member key"));
  if (ended.join_keys > 0) parts.push_back(Count(ended.join_keys, "join key"));
  if (ended.invitations > 0) parts.push_back(Count(ended.invitations, "invitation"));
  return parts.empty() ? "nothing else" : absl::StrJoin(parts, ", ");
}

std::string EndedJson(const EndedWith& ended) {
  const std::string tasks = absl::StrJoin(ended.open_tasks, ",", [](std::string* out, const std::string& task) {
    absl::StrAppend(out, JsonObject().Text("name", task).Finish());
  });
  return JsonObject()
      .Number("memberKeys", ended.member_keys)
      .Number("joinKeys", ended.join_keys)
      .Number("invitations", ended.invitations)
      .Raw("openTasks", absl::StrCat("[", tasks, "]"))
      .Bool("complete", ended.unknown.empty())
      .Finish();
}

void ShowWhatGoesOn(const EndedWith& ended) {
  if (!ended.open_tasks.empty()) {
    const std::string names = absl::StrJoin(
        ended.open_tasks, ", ", [](std::string* out, const std::string& task) { absl::StrAppend(out, TaskId(task)); });
    PrintLine("    ", Count(static_cast<int64_t>(ended.open_tasks.size()), "task"),
              " made with it still open: ", Printable(names));
    PrintLine("    to end one:  parley task abort TASK");
  }
  for (const absl::Status& why : ended.unknown) {
    PrintErrorLine(absl::StrCat("    not known yet: ", why.message()));
  }
}

}  // namespace parley::cli
