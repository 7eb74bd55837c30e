// parley task members.
#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "clients/cli/command.h"
#include "clients/cli/connection.h"
#include "clients/cli/format.h"
#include "clients/cli/output.h"
#include "clients/cli/task_name.h"
#include "clients/cli/task_text.h"
#include "clients/cli/terminal.h"
#include "lib/base/error.h"
#include "lib/keys/identity.h"
#include "parley/task/v1/task_service.grpc.pb.h"

namespace parley::cli {
namespace {

using task::v1::Participant;
using task::v1::TaskService;

// A taskd of an earlier version says of nobody whether it is connected.
bool KnowsWhoIsConnected(const task::v1::ListParticipantsResponse& all) {
  bool earlier = false;
  for (const Participant& client : all.participants()) {
    if (client.connected() || client.has_disconnect_time() || client.installed_revision() > 0) return true;
    earlier = earlier || client.confirmed_revision() > 0;
  }
  return !earlier;
}

// "200 clients: 41 confirmed, 3 hindered; 12 not connected, 1 drifted".
std::string Footer(const task::v1::ListParticipantsResponse& all, bool connected_known) {
  std::map<std::string, int> stands;
  int away = 0, drifted = 0, revoked = 0, twice = 0;
  for (const Participant& client : all.participants()) {
    ++stands[ParticipantStateText(client)];
    away += client.connected() || !connected_known ? 0 : 1;
    drifted += client.drifted() ? 1 : 0;
    revoked += client.has_revoke_time() ? 1 : 0;
    twice += client.has_duplicate_time() ? 1 : 0;
  }
  std::vector<std::string> counts, notes;
  for (const auto& [stand, count] : stands) counts.push_back(absl::StrCat(count, " ", stand));
  for (const auto& [count, note] : {std::pair{away, "not connected"}, std::pair{drifted, "drifted"},
                                    std::pair{revoked, "revoked"}, std::pair{twice, "there twice"}}) {
    if (count > 0) notes.push_back(absl::StrCat(count, " ", note));
  }
  return absl::StrCat("  ", Count(all.participants_size(), "client"), ": ", absl::StrJoin(counts, ", "),
                      notes.empty() ? "" : "; ", absl::StrJoin(notes, ", "));
}

absl::StatusOr<ExitCode> Members(const Globals& globals, const std::string& typed) {
  task::v1::ListParticipantsRequest request;
  ASSIGN_OR_RETURN(*request.mutable_parent(), FullTaskName(typed));
  ASSIGN_OR_RETURN(const std::unique_ptr<ops::Connection> server, Connect(globals, keys::kTaskd));
  ASSIGN_OR_RETURN(task::v1::ListParticipantsResponse all,
                   server->CallAll<TaskService>(&TaskService::Stub::ListParticipants, request));
  if (globals.json()) return PrintJson(all);
  if (all.participants().empty()) {
    PrintLine("  nobody has joined yet; on a client, run: parley join --into FOLDER");
    return kSuccess;
  }
  std::sort(all.mutable_participants()->pointer_begin(), all.mutable_participants()->pointer_end(),
            [](const Participant* a, const Participant* b) { return a->name() < b->name(); });
  const absl::Time now = absl::Now();
  const bool connected_known = KnowsWhoIsConnected(all);
  std::vector<std::vector<std::string>> rows;
  for (const Participant& client : all.participants()) {
    rows.push_back({ClientOf(client), InstalledText(client),
                    absl::StrCat("r", client.revision(), " ", ParticipantStateText(client)),
                    connected_known ? ConnectedText(client, now) : "unknown", WhyText(client, now)});
  }
  PrintTable({"CLIENT", "INSTALLED", "OFFERED", "CONNECTED", "WHY"}, rows);
  PrintLine(Dim(Footer(all, connected_known)));
  if (!connected_known) {
    PrintLine("  who is connected is not known: taskd is of an earlier version and should be upgraded, or it was, and");
    PrintLine("  nobody has come back yet");
  }
  return kSuccess;
}

}  // namespace

void AddTaskMembers(Command task, Globals* globals) {
  auto typed = std::make_shared<std::string>();
  Command command = AddCommand(task, globals, "members",
                               "List a task's clients: what each has and is offered, and why it is in its state",
                               kCallerOptions, typed, &Members);
  command.AddOption("task", *typed, "The task's name").Required();
  command.Footer(
      "INSTALLED is what the client last read from its disk: \"drifted\" if that is not what it confirmed.\n"
      "OFFERED is how far it is with the revision on offer. What hinders a client passes by itself, or by what\n"
      "somebody does on that machine; a client that has failed waits for a new revision or for\n"
      "`parley task retry`.");
}

}  // namespace parley::cli
