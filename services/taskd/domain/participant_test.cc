#include "services/taskd/domain/participant.h"

#include <gtest/gtest.h>

#include <fstream>
#include <functional>
#include <iostream>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "lib/base/error.h"
#include "lib/task/states.h"
#include "services/taskd/domain/participant_testing.h"

namespace parley::taskd {
namespace {

using Apply = std::function<Result(const ParticipantRecord&, const TaskRecord&)>;
using Events = std::vector<std::pair<std::string, Apply>>;

// The columns of the table of declarations, in its order.
Events AllDeclarations() {
  Events events;
  const auto declare = [&events](const std::string& name, std::function<void(Declaration*, const TaskRecord&)> fill) {
    events.emplace_back(name, [fill](const ParticipantRecord& record, const TaskRecord& task) {
      Declaration declaration = Again(record);
      fill(&declaration, task);
      return Declare(record, declaration, task);
    });
  };
  declare("as before", [](Declaration*, const TaskRecord&) {});
  declare("installed", [](Declaration* declaration, const TaskRecord& task) {
    declaration->set_installed_digest(task.task().payload_digest());
  });
  declare("changed", [](Declaration* declaration, const TaskRecord&) { declaration->set_setup_digest(Digest('s')); });
  declare("drifted",
          [](Declaration* declaration, const TaskRecord&) { declaration->set_installed_digest(Digest('x')); });
  declare("hindered", [](Declaration* declaration, const TaskRecord&) {
    declaration->clear_installed_digest();
    declaration->mutable_hindrance()->set_code("disk_full");
    declaration->mutable_hindrance()->set_detail("no space is left on /srv");
  });
  declare("taken over", [](Declaration* declaration, const TaskRecord&) {
    declaration->set_installed_digest(Digest('x'));
    declaration->set_taken_over("tasks/other has installed over 3 files of tasks/nginx-tls");
  });
  declare("retry", [](Declaration* declaration, const TaskRecord&) { declaration->set_retry(true); });
  return events;
}

// The columns of the table of transitions, in its order.
Events AllEvents() {
  Events events;
  const auto message = [&events](const std::string& name, std::function<void(NegotiateRequest*)> fill) {
    events.emplace_back(name, [fill](const ParticipantRecord& record, const TaskRecord& task) {
      NegotiateRequest request = Message(record);
      fill(&request);
      return Send(record, request, task);
    });
  };
  message("accept", [](NegotiateRequest* r) { r->mutable_accept(); });
  message("defer", [](NegotiateRequest* r) { *r->mutable_defer()->mutable_until() = ToProto(kNow + absl::Hours(1)); });
  message("counter", [](NegotiateRequest* r) {
    *r->mutable_counter()->mutable_window()->mutable_start_time() = ToProto(kNow + absl::Hours(1));
    *r->mutable_counter()->mutable_window()->mutable_end_time() = ToProto(kNow + absl::Hours(2));
  });
  message("decline", [](NegotiateRequest* r) { r->mutable_decline()->set_code("policy"); });
  for (const ParticipantState state :
       {Participant::STATE_TRANSFERRING, Participant::STATE_STAGED, Participant::STATE_APPLYING,
        Participant::STATE_CHECKING, Participant::STATE_ROLLING_BACK, Participant::STATE_ROLLED_BACK,
        Participant::STATE_ROLLBACK_FAILED}) {
    message(Name(state), [state](NegotiateRequest* r) { r->mutable_progress()->set_state(state); });
    if (state != Participant::STATE_ROLLED_BACK) continue;
    message("ROLLED_BACK passing", [](NegotiateRequest* r) {
      r->mutable_progress()->set_state(Participant::STATE_ROLLED_BACK);
      r->mutable_progress()->set_passing(true);
    });
  }
  events.emplace_back("confirm", [](const ParticipantRecord& record, const TaskRecord& task) {
    return Confirm(record, task, Digest('1'));
  });
  const auto happen = [&events](const std::string& name, Event::Kind kind) {
    events.emplace_back(name, [kind](const ParticipantRecord& record, const TaskRecord& task) {
      return ApplyEvent(record, kind, task);
    });
  };
  happen("offer due", Event::Kind::kOfferDue);
  happen("retry", Event::Kind::kRetry);
  happen("lease", Event::Kind::kLeaseRanOut);
  happen("session", Event::Kind::kSessionLost);
  happen("task ends", Event::Kind::kTaskEnded);
  happen("revoked", Event::Kind::kRevoked);
  return events;
}

// All that can happen to a client, with the names that the page's lists have.
Events AllOfBoth() {
  Events all;
  for (auto& [name, apply] : AllDeclarations()) all.emplace_back("declare " + name, std::move(apply));
  for (auto& [name, apply] : AllEvents()) all.emplace_back(name, std::move(apply));
  return all;
}

struct Condition {
  std::string name;
  TaskRecord task;
};

std::vector<Condition> AllConditions() {
  TaskRecord expired = MakeTask(Task::STATE_COMPLETED_WITH_ERRORS);
  expired.set_ended_by_time(true);
  return {{"open", MakeTask()},
          {"paused", MakeTask(Task::STATE_PAUSED)},
          {"halted", MakeTask(Task::STATE_HALTED)},
          {"scheduled", MakeTask(Task::STATE_SCHEDULED)},
          {"new revision", MakeTask(Task::STATE_OPEN, 2)},
          {"ended", MakeTask(Task::STATE_ABORTED)},
          {"expired", expired}};
}

// Every state, those that may be hindered also so, and LOST in three places that differ.
std::vector<std::pair<std::string, ParticipantRecord>> AllRecords() {
  std::vector<std::pair<std::string, ParticipantRecord>> records;
  for (const ParticipantState state : AllStates()) {
    if (state == Participant::STATE_LOST) continue;
    records.emplace_back(Name(state), MakeRecord(state));
    if (state == Participant::STATE_INELIGIBLE || state == Participant::STATE_ROLLED_BACK) {
      records.emplace_back(Name(state) + " hindered", Hindered(MakeRecord(state)));
    }
  }
  records.emplace_back("LOST in STAGED", MakeRecord(Participant::STATE_LOST, Participant::STATE_STAGED));
  records.emplace_back("LOST in APPLYING", MakeRecord(Participant::STATE_LOST, Participant::STATE_APPLYING));
  records.emplace_back("LOST in CHECKING", MakeRecord(Participant::STATE_LOST, Participant::STATE_CHECKING));
  return records;
}

// The rows of the Markdown table below a heading, its heads first.
std::vector<std::vector<std::string>> ReadTable(absl::string_view heading) {
  std::ifstream file("docs/protocol/negotiation.md");
  std::stringstream content;
  content << file.rdbuf();
  std::vector<std::vector<std::string>> rows;
  bool in_section = false;
  for (const auto line : absl::StrSplit(content.str(), '\n')) {
    if (line.substr(0, 1) == "#") in_section = absl::StripAsciiWhitespace(line.substr(line.find(' '))) == heading;
    if (!in_section || line.substr(0, 1) != "|" || line.substr(0, 4) == "|---") continue;
    std::vector<std::string> cells;
    for (const auto cell : absl::StrSplit(line, '|')) cells.emplace_back(absl::StripAsciiWhitespace(cell));
    rows.emplace_back(cells.begin() + 1, cells.end() - 1);
  }
  return rows;
}

std::vector<std::vector<std::string>> ReadRows(absl::string_view heading) {
  std::vector<std::vector<std::string>> rows = ReadTable(heading);
  if (!rows.empty()) rows.erase(rows.begin());
  return rows;
}

// In an open task, on the current revision, the machine does what the page's table says and nothing else.
void ExpectTheTable(absl::string_view heading, const Events& events) {
  std::map<std::string, std::string> documented;
  const auto rows = ReadTable(heading);
  for (size_t i = 1; i < rows.size(); ++i) {
    for (size_t j = 1; j < rows[i].size(); ++j) documented[absl::StrCat(rows[i][0], " × ", rows[0][j])] = rows[i][j];
  }
  size_t cells = 0;
  for (const auto& [row, record] : AllRecords()) {
    for (const auto& [column, apply] : events) {
      const std::string cell = absl::StrCat(row, " × ", column);
      EXPECT_EQ(documented[cell], Outcome(record, apply(record, MakeTask()))) << cell;
      ++cells;
    }
  }
  EXPECT_EQ(documented.size(), cells) << "the table has a row or a column that is no state or no event";
}

TEST(Participant, FollowsTheTableOfTransitions) { ExpectTheTable("Transitions", AllEvents()); }

TEST(Participant, FollowsTheTableOfDeclarations) { ExpectTheTable("Declarations", AllDeclarations()); }

// The events that a word of the page's list stands for.
std::vector<std::string> Meant(absl::string_view word) {
  if (word != "any message" && word != "any declaration") return {std::string(word)};
  std::vector<std::string> events;
  for (const auto& [name, apply] : AllOfBoth()) {
    if (name == "confirm") break;
    if ((name.substr(0, 8) == "declare ") == (word == "any declaration")) events.push_back(name);
  }
  return events;
}

// In any other task, what differs from the tables is listed on the page.
TEST(Participant, DiffersFromTheTableOnlyAsListed) {
  std::set<std::string> listed;
  for (const std::vector<std::string>& row : ReadRows("When the task is not simply open")) {
    for (const auto state : absl::StrSplit(row[1], ", ")) {
      for (const auto column : absl::StrSplit(row[2], ", ")) {
        for (const std::string& event : Meant(column)) {
          listed.insert(absl::StrCat(row[0], " / ", state, " / ", event, " / ", row[3]));
        }
      }
    }
  }
  std::set<std::string> seen;
  for (const Condition& condition : AllConditions()) {
    for (const auto& [row, record] : AllRecords()) {
      for (const auto& [column, apply] : AllOfBoth()) {
        const std::string usual = Outcome(record, apply(record, MakeTask()));
        const std::string outcome = Outcome(record, apply(record, condition.task));
        if (outcome != usual) seen.insert(absl::StrCat(condition.name, " / ", row, " / ", column, " / ", outcome));
      }
    }
  }
  for (const std::string& line : listed) EXPECT_EQ(seen.count(line), 1u) << "listed, but does not happen: " << line;
  for (const std::string& line : seen) EXPECT_EQ(listed.count(line), 1u) << "happens, but is not listed: " << line;
}

// Whatever the state, the event and the task: a refusal names its reason, and a change is one version.
TEST(Participant, CountsEachChangeOnceAndNamesEachRefusal) {
  for (const Condition& condition : AllConditions()) {
    for (const auto& [row, record] : AllRecords()) {
      for (const auto& [column, apply] : AllOfBoth()) {
        const Result result = apply(record, condition.task);
        const std::string where = absl::StrCat(condition.name, " / ", row, " / ", column);
        if (!result.ok()) {
          EXPECT_EQ(result.status().code(), absl::StatusCode::kFailedPrecondition) << where;
          EXPECT_NE(Reason(result.status()), "") << where;
        } else if (result->has_value()) {
          EXPECT_EQ((**result).participant().version(), record.participant().version() + 1) << where;
          EXPECT_EQ((**result).participant().has_lease_time(), !task::IsAtRest((**result).participant().state()))
              << where;
        }
      }
    }
  }
}

TEST(Participant, RepeatedAndStaleMessagesChangeNothing) {
  for (const auto& [row, record] : AllRecords()) {
    for (const auto& [column, apply] : AllOfBoth()) {
      if (column.substr(0, 8) == "declare " || column == "confirm") continue;
      if (column == "offer due" || column == "retry" || column == "task ends" || column == "revoked") continue;
      // Another attempt or version than the client's messages name: `record` is what they were made for.
      for (const int shift : {-1, 1}) {
        ParticipantRecord version = record, attempt = record;
        version.mutable_participant()->set_version(record.participant().version() + shift);
        attempt.mutable_participant()->set_attempt(record.participant().attempt() + shift);
        if (column == "lease" || column == "session") {
          Event event{column == "lease" ? Event::Kind::kLeaseRanOut : Event::Kind::kSessionLost};
          event.version = record.participant().version();
          EXPECT_EQ(Outcome(version, Advance(version, event, MakeTask(), kNow)), "=") << row << " × " << column;
          continue;
        }
        NegotiateRequest request = Message(record);
        request.mutable_progress()->set_state(Participant::STATE_STAGED);
        EXPECT_FALSE(Send(version, request, MakeTask())->has_value()) << row;
        EXPECT_FALSE(Send(attempt, request, MakeTask())->has_value()) << row;
      }
    }
  }
}

TEST(Deferral, IsLimitedInNumberAndTime) {
  const ParticipantRecord offered = MakeRecord(Participant::STATE_OFFERED);
  NegotiateRequest request = Message(offered);
  *request.mutable_defer()->mutable_until() = ToProto(kNow - absl::Seconds(1));
  EXPECT_EQ(Reason(Send(offered, request, MakeTask()).status()), "DEFERRAL_IN_THE_PAST");
  *request.mutable_defer()->mutable_until() = ToProto(kNow + absl::Hours(24));
  EXPECT_EQ(Reason(Send(offered, request, MakeTask()).status()), "DEFERRAL_TOO_LONG");
  *request.mutable_defer()->mutable_until() = ToProto(kNow + absl::Hours(2));
  const ParticipantRecord deferred = **Send(offered, request, MakeTask());
  EXPECT_EQ(deferred.participant().deferrals(), 1);
  EXPECT_FALSE(ApplyEvent(deferred, Event::Kind::kOfferDue, MakeTask(), kNow + absl::Hours(1))->has_value());
  const ParticipantRecord again = **ApplyEvent(deferred, Event::Kind::kOfferDue, MakeTask(), kNow + absl::Hours(2));
  EXPECT_EQ(again.participant().attempt(), 2);
  EXPECT_EQ(again.participant().deferrals(), 1);

  ParticipantRecord exhausted = offered;
  exhausted.mutable_participant()->set_deferrals(3);
  EXPECT_EQ(Reason(Send(exhausted, request, MakeTask()).status()), "DEFERRALS_EXHAUSTED");
}

TEST(Decline, IsRefusedByAForcedTask) {
  const ParticipantRecord offered = MakeRecord(Participant::STATE_OFFERED);
  NegotiateRequest request = Message(offered);
  request.mutable_decline()->set_code("policy");
  TaskRecord forced = MakeTask();
  forced.mutable_task()->set_forced(true);
  EXPECT_EQ(Reason(Send(offered, request, forced).status()), "TASK_FORCED");
  EXPECT_EQ((**Send(offered, request, MakeTask())).participant().reason(), "policy");
}

TEST(Counter, IsAnsweredWithAnOfferForTheWindowOrTheSameOne) {
  const ParticipantRecord offered = MakeRecord(Participant::STATE_OFFERED);
  NegotiateRequest request = Message(offered);
  task::v1::Window* const window = request.mutable_counter()->mutable_window();
  *window->mutable_start_time() = ToProto(kNow + absl::Hours(1));
  *window->mutable_end_time() = ToProto(kNow + absl::Hours(2));
  const ParticipantRecord granted = **Send(offered, request, MakeTask());
  EXPECT_EQ(Name(granted.participant().state()), "OFFERED");
  EXPECT_EQ(granted.participant().attempt(), 2);
  EXPECT_EQ(ToTime(granted.window().end_time()), kNow + absl::Hours(2));
  EXPECT_EQ(ToTime(granted.offer_deadline()), kNow + absl::Hours(2));

  // Beyond the task's end.
  *window->mutable_start_time() = ToProto(kNow + absl::Hours(30));
  *window->mutable_end_time() = ToProto(kNow + absl::Hours(31));
  EXPECT_FALSE(Send(offered, request, MakeTask())->has_value());

  // Who applies in a window of its own may wait for it with everything ready.
  ParticipantRecord transferring = granted;
  transferring.mutable_participant()->set_state(Participant::STATE_TRANSFERRING);
  const ParticipantRecord staged = **Send(transferring, Report(transferring, Participant::STATE_STAGED), MakeTask());
  EXPECT_EQ(ToTime(staged.participant().lease_time()), kNow + absl::Hours(1) + absl::Minutes(15));
}

TEST(Confirmation, NeedsAnotherConnectionAndTheManifestsDigest) {
  const ParticipantRecord applying = MakeRecord(Participant::STATE_APPLYING);
  const ParticipantRecord checking = **Send(applying, Report(applying, Participant::STATE_CHECKING), MakeTask());
  EXPECT_EQ(Reason(Confirm(checking, MakeTask(), Digest('1'), kConnection).status()), "SAME_CONNECTION");
  EXPECT_EQ(Reason(Confirm(checking, MakeTask(), Digest('2'), "connection-3").status()), "DIGEST_DIFFERS");
  const ParticipantRecord confirmed = **Confirm(checking, MakeTask(), Digest('1'), "connection-3");
  EXPECT_EQ(Name(confirmed.participant().state()), "CONFIRMED");
  EXPECT_EQ(confirmed.participant().confirmed_revision(), 1);
  // Repeated: the same answer.
  EXPECT_FALSE(Confirm(confirmed, MakeTask(), Digest('1'), "connection-3")->has_value());
  EXPECT_EQ(Reason(Confirm(confirmed, MakeTask(), Digest('2'), "connection-3").status()), "NOT_CHECKING");
}

TEST(Confirmation, IsOfTheRevisionThatWasAppliedThoughANewerOneIsOut) {
  const ParticipantRecord checking = MakeRecord(Participant::STATE_CHECKING);
  const TaskRecord newer = MakeTask(Task::STATE_OPEN, 2);
  const ParticipantRecord confirmed = **Confirm(checking, newer, Digest('1'));
  EXPECT_EQ(confirmed.participant().confirmed_revision(), 1);
  const ParticipantRecord offered = **ApplyEvent(confirmed, Event::Kind::kOfferDue, newer);
  EXPECT_EQ(Name(offered.participant().state()), "OFFERED");
  EXPECT_EQ(offered.participant().revision(), 2);
  EXPECT_EQ(offered.participant().attempt(), 1);
  EXPECT_EQ(offered.offered_digest(), Digest('2'));
}

TEST(Lost, ComesBackWhereItStoppedAndKeepsItsLeaseMeanwhile) {
  ParticipantRecord applying = MakeRecord(Participant::STATE_APPLYING);
  *applying.mutable_participant()->mutable_lease_time() = ToProto(kNow + absl::Minutes(3));
  const ParticipantRecord lost = **ApplyEvent(applying, Event::Kind::kSessionLost, MakeTask());
  EXPECT_EQ(Name(lost.participant().state()), "LOST");
  EXPECT_EQ(ToTime(lost.participant().lease_time()), kNow + absl::Minutes(3));
  const ParticipantRecord back = **Declare(lost, MakeDeclaration(), MakeTask());
  EXPECT_EQ(Name(back.participant().state()), "APPLYING");
  EXPECT_EQ(ToTime(back.participant().lease_time()), kNow + absl::Minutes(15));
}

TEST(Progress, OfBytesAloneIsStoredNowAndThenAndIsNoChange) {
  ParticipantRecord transferring = MakeRecord(Participant::STATE_TRANSFERRING);
  NegotiateRequest request = Report(transferring, Participant::STATE_TRANSFERRING);
  request.mutable_progress()->set_transferred_bytes(500);
  EXPECT_FALSE(Send(transferring, request, MakeTask(), kNow + absl::Seconds(9))->has_value());
  const ParticipantRecord stored = **Send(transferring, request, MakeTask(), kNow + absl::Seconds(10));
  EXPECT_EQ(stored.participant().version(), transferring.participant().version());
  EXPECT_EQ(stored.participant().transferred_bytes(), 500);
  EXPECT_EQ(ToTime(stored.participant().lease_time()), kNow + absl::Seconds(10) + absl::Minutes(10));
}

TEST(Revoked, NeverTakesPartAgain) {
  const ParticipantRecord revoked =
      **ApplyEvent(MakeRecord(Participant::STATE_QUEUED), Event::Kind::kRevoked, MakeTask());
  EXPECT_EQ(Name(revoked.participant().state()), "CANCELED");
  for (const auto& [column, apply] : AllOfBoth()) {
    EXPECT_TRUE(Outcome(revoked, apply(revoked, MakeTask(Task::STATE_OPEN, 2))) == "=" ||
                Outcome(revoked, apply(revoked, MakeTask(Task::STATE_OPEN, 2))) == "–")
        << column;
  }
}

}  // namespace
}  // namespace parley::taskd
