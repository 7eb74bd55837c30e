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
#include "services/taskd/domain/time.h"
#include "services/taskd/domain/validation.h"

namespace parley::taskd {
namespace {

using task::v1::ConfirmRequest;
using task::v1::Declaration;
using task::v1::NegotiateRequest;
using task::v1::Participant;
using task::v1::Task;

const absl::Time kNow = absl::FromUnixSeconds(1'700'000'000);
constexpr char kConnection[] = "connection-2";

std::string Name(ParticipantState state) { return Participant::State_Name(state).substr(sizeof("STATE_") - 1); }

std::vector<ParticipantState> AllStates() {
  std::vector<ParticipantState> states;
  for (int i = 1; i <= Participant::State_MAX; ++i) states.push_back(static_cast<ParticipantState>(i));
  return states;
}

std::string Digest(char c) { return std::string(32, c); }

TaskRecord MakeTask(Task::State state = Task::STATE_OPEN, int64_t revision = 1) {
  TaskRecord record;
  Task& task = *record.mutable_task();
  task.set_name("tasks/nginx-tls");
  task.set_state(state);
  task.set_revision(revision);
  task.set_max_deferrals(3);
  task.set_payload_bytes(1000);
  task.set_payload_digest(Digest(static_cast<char>('0' + revision)));
  *task.mutable_create_time() = ToProto(kNow - absl::Hours(1));
  *task.mutable_start_time() = ToProto(state == Task::STATE_SCHEDULED ? kNow + absl::Hours(1) : kNow - absl::Hours(1));
  *task.mutable_expire_time() = ToProto(kNow + absl::Hours(24));
  *task.mutable_leases() = *CompleteLeases({});
  *record.mutable_manifest_expire_time() = task.expire_time();
  return record;
}

Declaration MakeDeclaration() {
  Declaration declaration;
  declaration.add_encodings("zstd");
  (*declaration.mutable_facts())["os"] = "linux";
  return declaration;
}

// As a client that has got there in revision 1.
ParticipantRecord MakeRecord(ParticipantState state, ParticipantState lost = Participant::STATE_UNSPECIFIED) {
  ParticipantRecord record = NewParticipant("web-1", MakeTask(), kNow);
  Participant& participant = *record.mutable_participant();
  participant.set_state(state);
  participant.set_lost_state(lost);
  participant.set_version(7);
  if (state != Participant::STATE_JOINED) {
    participant.set_attempt(1);
    *record.mutable_declaration() = MakeDeclaration();
    record.mutable_declaration()->clear_facts();
    (*participant.mutable_facts())["os"] = "linux";
    record.set_offered_digest(Digest('1'));
  }
  if (state == Participant::STATE_DEFERRED) {
    participant.set_deferrals(1);
    *participant.mutable_deferred_until() = ToProto(kNow - absl::Minutes(1));
  }
  if (state == Participant::STATE_COUNTERED) {
    *record.mutable_window()->mutable_start_time() = ToProto(kNow);
    *record.mutable_window()->mutable_end_time() = ToProto(kNow + absl::Hours(1));
  }
  if (HasEnded(state)) participant.clear_lease_time();
  if (state == Participant::STATE_CANCELED) *participant.mutable_revoke_time() = ToProto(kNow);
  if (Place(participant) == Participant::STATE_CHECKING) record.set_checking_connection("connection-1");
  return record;
}

NegotiateRequest Message(const ParticipantRecord& record) {
  NegotiateRequest request;
  request.set_task("tasks/nginx-tls");
  request.set_sequence(2);
  request.set_attempt(record.participant().attempt());
  request.set_expected_version(record.participant().version());
  return request;
}

using Result = absl::StatusOr<std::optional<ParticipantRecord>>;

Result Send(const ParticipantRecord& record, const NegotiateRequest& request, const TaskRecord& task,
            absl::Time now = kNow) {
  Event event{Event::Kind::kRequest};
  event.request = &request;
  event.connection = kConnection;
  return Advance(record, event, task, now);
}

NegotiateRequest Report(const ParticipantRecord& record, ParticipantState state) {
  NegotiateRequest request = Message(record);
  request.mutable_progress()->set_state(state);
  return request;
}

Result Confirm(const ParticipantRecord& record, const TaskRecord& task, absl::string_view digest,
               absl::string_view connection = kConnection) {
  ConfirmRequest confirm;
  confirm.set_attempt(record.participant().attempt());
  confirm.set_expected_version(record.participant().version());
  confirm.set_installed_digest(std::string(digest));
  Event event{Event::Kind::kConfirm};
  event.confirm = &confirm;
  event.connection = connection;
  return Advance(record, event, task, kNow);
}

Result Happen(const ParticipantRecord& record, Event::Kind kind, const TaskRecord& task, absl::Time now = kNow) {
  Event event{kind};
  event.version = record.participant().version();
  return Advance(record, event, task, now);
}

using Apply = std::function<Result(const ParticipantRecord&, const TaskRecord&)>;

// The columns of the table, in its order.
std::vector<std::pair<std::string, Apply>> AllEvents() {
  std::vector<std::pair<std::string, Apply>> events;
  const auto message = [&events](const std::string& name, std::function<void(NegotiateRequest*)> fill) {
    events.emplace_back(name, [fill](const ParticipantRecord& record, const TaskRecord& task) {
      NegotiateRequest request = Message(record);
      fill(&request);
      return Send(record, request, task);
    });
  };
  message("declare", [](NegotiateRequest* r) { *r->mutable_declare() = MakeDeclaration(); });
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
  }
  events.emplace_back("confirm", [](const ParticipantRecord& record, const TaskRecord& task) {
    return Confirm(record, task, Digest('1'));
  });
  const auto happen = [&events](const std::string& name, Event::Kind kind) {
    events.emplace_back(
        name, [kind](const ParticipantRecord& record, const TaskRecord& task) { return Happen(record, kind, task); });
  };
  happen("offer due", Event::Kind::kOfferDue);
  happen("lease", Event::Kind::kLeaseRanOut);
  happen("session", Event::Kind::kSessionLost);
  happen("task ends", Event::Kind::kTaskEnded);
  happen("revoked", Event::Kind::kRevoked);
  return events;
}

// "OFFERED", "=" for unchanged, "–" for refused.
std::string Outcome(const ParticipantRecord& record, const Result& result) {
  if (!result.ok()) return "–";
  if (!result->has_value() || (**result).participant().state() == record.participant().state()) return "=";
  return Name((**result).participant().state());
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
          {"scheduled", MakeTask(Task::STATE_SCHEDULED)},
          {"new revision", MakeTask(Task::STATE_OPEN, 2)},
          {"ended", MakeTask(Task::STATE_ABORTED)},
          {"expired", expired}};
}

// Every state, and LOST once before it began to apply and once after.
std::vector<std::pair<std::string, ParticipantRecord>> AllRecords() {
  std::vector<std::pair<std::string, ParticipantRecord>> records;
  for (const ParticipantState state : AllStates()) {
    if (state == Participant::STATE_LOST) continue;
    records.emplace_back(Name(state), MakeRecord(state));
  }
  records.emplace_back("LOST in STAGED", MakeRecord(Participant::STATE_LOST, Participant::STATE_STAGED));
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
TEST(Participant, FollowsTheTableOfThePage) {
  std::map<std::string, std::string> documented;
  const auto rows = ReadTable("Transitions");
  for (size_t i = 1; i < rows.size(); ++i) {
    for (size_t j = 1; j < rows[i].size(); ++j) documented[absl::StrCat(rows[i][0], " × ", rows[0][j])] = rows[i][j];
  }
  for (const auto& [row, record] : AllRecords()) {
    for (const auto& [column, apply] : AllEvents()) {
      const std::string cell = absl::StrCat(row, " × ", column);
      EXPECT_EQ(documented[cell], Outcome(record, apply(record, MakeTask()))) << cell;
    }
  }
}

// In any other task, what differs from the table is listed on the page.
TEST(Participant, DiffersFromTheTableOnlyAsListed) {
  std::set<std::string> listed;
  for (const std::vector<std::string>& row : ReadRows("When the task is not simply open")) {
    for (const auto state : absl::StrSplit(row[1], ", ")) {
      std::vector<std::string> columns = absl::StrSplit(row[2], ", ");
      for (size_t i = 0; i < columns.size(); ++i) {
        if (columns[i] != "any message") continue;
        columns.erase(columns.begin() + i);
        for (const auto& [name, apply] : AllEvents()) {
          if (name == "confirm") break;
          if (name != "declare") columns.push_back(name);
        }
      }
      for (const std::string& column : columns) {
        listed.insert(absl::StrCat(row[0], " / ", state, " / ", column, " / ", row[3]));
      }
    }
  }
  std::set<std::string> seen;
  for (const Condition& condition : AllConditions()) {
    for (const auto& [row, record] : AllRecords()) {
      for (const auto& [column, apply] : AllEvents()) {
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
      for (const auto& [column, apply] : AllEvents()) {
        const Result result = apply(record, condition.task);
        const std::string where = absl::StrCat(condition.name, " / ", row, " / ", column);
        if (!result.ok()) {
          EXPECT_EQ(result.status().code(), absl::StatusCode::kFailedPrecondition) << where;
          EXPECT_NE(Reason(result.status()), "") << where;
        } else if (result->has_value()) {
          EXPECT_EQ((**result).participant().version(), record.participant().version() + 1) << where;
          EXPECT_EQ((**result).participant().has_lease_time(), !HasEnded((**result).participant().state())) << where;
        }
      }
    }
  }
}

TEST(Participant, RepeatedAndStaleMessagesChangeNothing) {
  for (const auto& [row, record] : AllRecords()) {
    for (const auto& [column, apply] : AllEvents()) {
      if (column == "declare" || column == "confirm") continue;
      if (column == "offer due" || column == "task ends" || column == "revoked") continue;
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

ParticipantRecord Declared(const Declaration& declaration, const TaskRecord& task, absl::Time now = kNow) {
  const ParticipantRecord record = NewParticipant("web-1", task, now);
  NegotiateRequest request = Message(record);
  *request.mutable_declare() = declaration;
  return **Send(record, request, task, now);
}

TEST(Declaration, DecidesWhetherThereIsAnythingToOffer) {
  Declaration same = MakeDeclaration();
  same.set_installed_digest(Digest('1'));
  EXPECT_EQ(Name(Declared(same, MakeTask()).participant().state()), "UP_TO_DATE");

  Declaration newer = MakeDeclaration();
  newer.set_installed_revision(9);
  EXPECT_EQ(Declared(newer, MakeTask()).participant().reason(), "newer_revision");

  Declaration full = MakeDeclaration();
  full.set_free_bytes(999);
  EXPECT_EQ(Declared(full, MakeTask()).participant().reason(), "no_space");
  full.set_free_bytes(1000);
  EXPECT_EQ(Name(Declared(full, MakeTask()).participant().state()), "OFFERED");

  EXPECT_EQ(Declared(Declaration(), MakeTask()).participant().reason(), "encoding");
}

void AddWindow(absl::Duration from, absl::Duration to, Declaration* declaration) {
  task::v1::Window* const window = declaration->add_windows();
  *window->mutable_start_time() = ToProto(kNow + from);
  *window->mutable_end_time() = ToProto(kNow + to);
}

TEST(Declaration, OffersWithinTheClientsWindows) {
  Declaration later = MakeDeclaration();
  AddWindow(absl::Hours(5), absl::Hours(6), &later);
  AddWindow(absl::Hours(2), absl::Hours(3), &later);
  const ParticipantRecord queued = Declared(later, MakeTask());
  EXPECT_EQ(Name(queued.participant().state()), "QUEUED");
  EXPECT_EQ(ToTime(queued.retry_time()), kNow + absl::Hours(2));
  EXPECT_FALSE(Happen(queued, Event::Kind::kOfferDue, MakeTask(), kNow + absl::Hours(1))->has_value());
  const ParticipantRecord offered = **Happen(queued, Event::Kind::kOfferDue, MakeTask(), kNow + absl::Hours(2));
  EXPECT_EQ(Name(offered.participant().state()), "OFFERED");
  EXPECT_EQ(ToTime(offered.offer_deadline()), kNow + absl::Hours(3));

  Declaration never = MakeDeclaration();
  AddWindow(absl::Hours(-2), absl::Hours(-1), &never);
  AddWindow(absl::Hours(25), absl::Hours(26), &never);
  EXPECT_EQ(Name(Declared(never, MakeTask()).participant().state()), "INELIGIBLE");
}

TEST(Declaration, OfAScheduledTaskWaitsForItsStart) {
  const TaskRecord scheduled = MakeTask(Task::STATE_SCHEDULED);
  const ParticipantRecord queued = Declared(MakeDeclaration(), scheduled);
  EXPECT_EQ(Name(queued.participant().state()), "QUEUED");
  EXPECT_EQ(ToTime(queued.retry_time()), kNow + absl::Hours(1));
  TaskRecord open = scheduled;
  open.mutable_task()->set_state(Task::STATE_OPEN);
  EXPECT_EQ(Outcome(queued, Happen(queued, Event::Kind::kOfferDue, open, kNow + absl::Hours(1))), "OFFERED");
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
  EXPECT_FALSE(Happen(deferred, Event::Kind::kOfferDue, MakeTask(), kNow + absl::Hours(1))->has_value());
  const ParticipantRecord again = **Happen(deferred, Event::Kind::kOfferDue, MakeTask(), kNow + absl::Hours(2));
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
  const ParticipantRecord offered = **Happen(confirmed, Event::Kind::kOfferDue, newer);
  EXPECT_EQ(Name(offered.participant().state()), "OFFERED");
  EXPECT_EQ(offered.participant().revision(), 2);
  EXPECT_EQ(offered.participant().attempt(), 1);
  EXPECT_EQ(offered.offered_digest(), Digest('2'));
}

TEST(Lost, ComesBackWhereItStoppedAndKeepsItsLeaseMeanwhile) {
  ParticipantRecord applying = MakeRecord(Participant::STATE_APPLYING);
  *applying.mutable_participant()->mutable_lease_time() = ToProto(kNow + absl::Minutes(3));
  const ParticipantRecord lost = **Happen(applying, Event::Kind::kSessionLost, MakeTask());
  EXPECT_EQ(Name(lost.participant().state()), "LOST");
  EXPECT_EQ(ToTime(lost.participant().lease_time()), kNow + absl::Minutes(3));
  NegotiateRequest request = Message(lost);
  *request.mutable_declare() = MakeDeclaration();
  const ParticipantRecord back = **Send(lost, request, MakeTask());
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
  const ParticipantRecord revoked = **Happen(MakeRecord(Participant::STATE_QUEUED), Event::Kind::kRevoked, MakeTask());
  EXPECT_EQ(Name(revoked.participant().state()), "CANCELED");
  for (const auto& [column, apply] : AllEvents()) {
    EXPECT_TRUE(Outcome(revoked, apply(revoked, MakeTask(Task::STATE_OPEN, 2))) == "=" ||
                Outcome(revoked, apply(revoked, MakeTask(Task::STATE_OPEN, 2))) == "–")
        << column;
  }
}

}  // namespace
}  // namespace parley::taskd
