#include "services/taskd/domain/rollout.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <set>
#include <sstream>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "lib/base/error.h"
#include "lib/base/proto_time.h"
#include "services/taskd/domain/participant_testing.h"
#include "services/taskd/domain/rollout_plan.h"
#include "services/taskd/domain/task.h"

namespace parley::taskd {
namespace {

using task::v1::Rollout;
using task::v1::RolloutStatus;
using task::v1::Wave;

int Number(absl::string_view text) {
  int number = 0;
  EXPECT_TRUE(absl::SimpleAtoi(absl::StripSuffix(text, "%"), &number)) << text;
  return number;
}

Wave ParseWave(absl::string_view text) {
  Wave wave;
  if (text == "all") {
    wave.set_percent(100);
  } else if (absl::EndsWith(text, "%")) {
    wave.set_percent(Number(text));
  } else if (absl::ConsumePrefix(&text, "@")) {
    for (const absl::string_view name : absl::StrSplit(text, '+')) wave.mutable_names()->add_names(std::string(name));
  } else if (absl::StrContains(text, '=')) {
    const std::pair<std::string, std::string> label = absl::StrSplit(text, '=');
    (*wave.mutable_labels()->mutable_labels())[label.first] = label.second;
  } else {
    wave.set_count(Number(text));
  }
  return wave;
}

Rollout ParseWaves(absl::string_view text) {
  Rollout rollout;
  for (const absl::string_view wave : absl::StrSplit(text, ',')) *rollout.add_waves() = ParseWave(wave);
  return rollout;
}

// A duration of whole minutes.
absl::Duration Minutes(absl::string_view text) { return absl::Minutes(Number(absl::StripSuffix(text, "m"))); }

std::vector<std::pair<std::string, std::string>> ParseWords(absl::string_view text) {
  std::vector<std::pair<std::string, std::string>> words;
  for (absl::string_view item : absl::StrSplit(text, ',', absl::SkipWhitespace())) {
    item = absl::StripAsciiWhitespace(item);
    const size_t space = item.rfind(' ');
    words.emplace_back(item.substr(0, space), space == item.npos ? "" : item.substr(space + 1));
  }
  return words;
}

void SetGate(absl::string_view text, task::v1::Gate* gate) {
  for (const auto& [word, value] : ParseWords(text)) {
    if (word == "success") {
      gate->set_min_success_percent(Number(value));
    } else if (word == "failures" && absl::EndsWith(value, "%")) {
      gate->set_max_failure_percent(Number(value));
    } else if (word == "failures") {
      gate->set_max_failures(Number(value));
    } else if (word == "soak") {
      *gate->mutable_soak() = ToProto(Minutes(value));
    } else if (word == "approvals") {
      gate->set_approvals(Number(value));
    } else {
      ADD_FAILURE() << "the page's gate has a word that is not known: " << word;
    }
  }
}

TaskRecord MakeRollout(absl::string_view waves, absl::string_view gate = "") {
  TaskRecord record = MakeTask();
  Rollout rollout = ParseWaves(waves);
  SetGate(gate, rollout.mutable_gate());
  const auto complete = CompleteRollout(rollout, /*takes_devices=*/true);
  EXPECT_TRUE(complete.ok()) << complete.status();
  *record.mutable_task()->mutable_rollout() = *complete;
  BeginRollout("sam", &record);
  return record;
}

// The cells of the tables of docs/protocol/rollout.md whose first row is this.
std::vector<std::vector<std::string>> ReadTable(const std::string& header) {
  std::ifstream page("docs/protocol/rollout.md");
  std::vector<std::vector<std::string>> rows;
  bool inside = false;
  for (std::string line; std::getline(page, line);) {
    if (line == header) {
      inside = true;
      std::getline(page, line);
    } else if (inside && !absl::StartsWith(line, "|")) {
      break;
    } else if (inside) {
      std::vector<std::string> cells = absl::StrSplit(line, '|');
      for (std::string& cell : cells) {
        cell = std::string(absl::StripAsciiWhitespace(cell));
        cell.erase(std::remove(cell.begin(), cell.end(), '`'), cell.end());
      }
      rows.emplace_back(cells.begin() + 1, cells.end() - 1);
    }
  }
  EXPECT_FALSE(rows.empty()) << header;
  return rows;
}

std::string Show(GateVerdict::Kind kind) {
  const std::map<GateVerdict::Kind, std::string> names = {{GateVerdict::Kind::kAwaitClients, "awaits clients"},
                                                          {GateVerdict::Kind::kAwaitSuccess, "awaits success"},
                                                          {GateVerdict::Kind::kSoak, "soaks"},
                                                          {GateVerdict::Kind::kAwaitApproval, "awaits approval"},
                                                          {GateVerdict::Kind::kOpen, "opens"},
                                                          {GateVerdict::Kind::kStop, "stops"},
                                                          {GateVerdict::Kind::kAllOpen, "all open"}};
  return names.at(kind);
}

void SetSoFar(absl::string_view text, TaskRecord* task, RolloutTally* tally) {
  RolloutRecord& rollout = *task->mutable_rollout();
  for (const auto& [word, value] : ParseWords(text)) {
    if (word == "advanced") rollout.set_opener("kim");
    if (word == "held") *rollout.mutable_success_time() = ToProto(kNow - Minutes(value));
    if (word == "borne") tally->waves[0].borne = Number(value);
    if (word == "named") {
      tally->named.resize(static_cast<size_t>(rollout.open_waves_size()) + 1);
      tally->named.back() = Number(value);
    }
    if (word != "approved" && word != "approved now") continue;
    for (int i = 0; i < Number(value); ++i) {
      RolloutRecord::Approval& approval = *rollout.add_approvals();
      approval.set_subject(absl::StrCat(word, i));
      approval.set_now(word == "approved now");
    }
  }
}

TEST(Gate, JudgesAsThePageSays) {
  const auto rows = ReadTable("| waves | open | joined | clients | succeeded | failed | gate | so far | verdict |");
  std::set<std::string> verdicts;
  for (const auto& row : rows) {
    TaskRecord task = MakeRollout(row[0], row[6]);
    for (int i = 0; i < Number(row[1]); ++i) task.mutable_rollout()->add_open_waves();
    RolloutTally tally;
    tally.candidates = Number(row[2]);
    tally.waves.resize(1);
    tally.waves[0].clients = Number(row[3]);
    tally.waves[0].succeeded = Number(row[4]);
    tally.waves[0].failed = Number(row[5]);
    SetSoFar(row[7], &task, &tally);
    const GateVerdict verdict = JudgeGate(task, tally, kNow);
    EXPECT_EQ(Show(verdict.kind), row[8]) << absl::StrJoin(row, " | ") << ": " << verdict.detail;
    EXPECT_FALSE(verdict.detail.empty());
    verdicts.insert(row[8]);
  }
  EXPECT_EQ(verdicts.size(), 7u) << "the page has an example of each verdict";
}

TEST(Wave, TakesInAsManyAsThePageSays) {
  for (const auto& row : ReadTable("| wave | clients | of open waves | late | drawn |")) {
    const int in = Number(row[2]);
    // Those of open waves are in one by their names.
    std::string first = "@early-0";
    for (int i = 1; i < in; ++i) absl::StrAppend(&first, "+early-", i);
    const std::string waves = in > 0 ? absl::StrCat(first, ",", row[0], ",all") : absl::StrCat(row[0], ",all");
    TaskRecord task = MakeRollout(waves);
    std::vector<Candidate> candidates;
    const auto add = [&](const std::string& name, int missed) {
      const WaveClient client{name, 1, missed, nullptr};
      candidates.push_back({PlaceInOrder("tasks/nginx-tls", name), FindInWaves(client, task)});
    };
    for (int i = 0; i < in; ++i) add(absl::StrCat("early-", i), 0);
    if (in > 0) OpenNextWave(candidates, kNow, &task);
    const int late = Number(row[3]);
    for (int i = 0; i < Number(row[1]) - in; ++i) add(absl::StrCat("web-", i), i < late ? in > 0 ? 2 : 1 : 0);
    OpenNextWave(candidates, kNow, &task);
    const auto drawn = std::count_if(candidates.begin(), candidates.end(), [&](const Candidate& candidate) {
      return candidate.in_waves.named == 0 && WaveOf(candidate.in_waves, candidate.place, task) > 0;
    });
    EXPECT_EQ(drawn, Number(row[4])) << absl::StrJoin(row, " | ");
  }
}

TEST(Wave, IsTheSameInEveryOrderOfReading) {
  TaskRecord task = MakeRollout("7,all");
  std::vector<Candidate> candidates;
  for (int i = 0; i < 100; ++i) candidates.push_back({PlaceInOrder("tasks/nginx-tls", absl::StrCat("web-", i)), {}});
  TaskRecord other = task;
  OpenNextWave(candidates, kNow, &task);
  std::reverse(candidates.begin(), candidates.end());
  OpenNextWave(candidates, kNow, &other);
  EXPECT_EQ(task.SerializeAsString(), other.SerializeAsString());
}

TEST(Wave, OfLabelsIsForDevicesOnly) {
  TaskRecord task = MakeRollout("canary=true,all");
  task.mutable_rollout()->add_open_waves();
  ParticipantRecord record = NewParticipant("web-1", task, kNow);
  Labels labels;
  labels["canary"] = "true";
  // What the client says of itself does not count, and neither do labels that a joiner cannot have.
  (*record.mutable_participant()->mutable_facts())["canary"] = "true";
  EXPECT_FALSE(IsInOpenWave(record, task, nullptr));
  EXPECT_FALSE(IsInOpenWave(record, task, &labels));
  record.set_own_credential(true);
  EXPECT_TRUE(IsInOpenWave(record, task, &labels));
  EXPECT_FALSE(IsInOpenWave(record, task, nullptr));
  labels["canary"] = "TRUE";
  EXPECT_FALSE(IsInOpenWave(record, task, &labels));
}

TEST(Wave, KeepsAClientThatComesBackAndNotOneThatWasShutOut) {
  TaskRecord task = MakeRollout("1,all");
  const ParticipantRecord early = NewParticipant("web-1", task, kNow);
  OpenNextWave({{PlaceInOrder("tasks/nginx-tls", "web-1"), {}}}, kNow, &task);
  EXPECT_TRUE(IsInOpenWave(early, task, nullptr));
  EXPECT_TRUE(IsInOpenWave(Rejoined(early, "web-1", task, false, kNow), task, nullptr));
  ParticipantRecord revoked = early;
  *revoked.mutable_participant()->mutable_revoke_time() = ToProto(kNow);
  EXPECT_FALSE(IsInOpenWave(Rejoined(revoked, "web-1", task, false, kNow), task, nullptr));
  EXPECT_FALSE(IsInOpenWave(NewParticipant("web-1", task, kNow), task, nullptr));
  // The next revision begins anew.
  task.mutable_task()->set_revision(2);
  BeginRollout("sam", &task);
  OpenNextWave({{PlaceInOrder("tasks/nginx-tls", "web-1"), {}}}, kNow, &task);
  EXPECT_TRUE(IsInOpenWave(early, task, nullptr));
}

TEST(Wave, IsMissedByWhoJoinsWhileItIsDrawn) {
  TaskRecord task = MakeRollout("1,all");
  task.mutable_rollout()->set_drawing(true);
  EXPECT_EQ(NewParticipant("web-1", task, kNow).waves_missed(), 1);
  EXPECT_FALSE(RolloutDue(task, {.candidates = 1}, kNow).has_value());
  // The gate does not hold any more.
  const auto again = RolloutDue(task, {}, kNow);
  ASSERT_TRUE(again.has_value());
  EXPECT_FALSE(again->rollout().drawing());
}

TEST(Gate, BeginsToSoakAnewWhenAClientFallsOut) {
  TaskRecord task = MakeRollout("2,all", "soak 10m");
  task.mutable_rollout()->add_open_waves();
  RolloutTally tally{.candidates = 2, .waves = {{.clients = 2, .succeeded = 2}}};
  auto due = RolloutDue(task, tally, kNow);
  ASSERT_TRUE(due.has_value());
  EXPECT_EQ(NextRolloutDue(*due), kNow + absl::Minutes(10));
  EXPECT_FALSE(RolloutDue(*due, tally, kNow + absl::Minutes(5)).has_value());
  tally.waves[0].succeeded = 1;
  due = RolloutDue(*due, tally, kNow + absl::Minutes(5));
  ASSERT_TRUE(due.has_value());
  EXPECT_EQ(NextRolloutDue(*due), absl::InfiniteFuture());
  tally.waves[0].succeeded = 2;
  due = RolloutDue(*due, tally, kNow + absl::Minutes(6));
  ASSERT_TRUE(due.has_value());
  EXPECT_FALSE(due->rollout().drawing());
  due = RolloutDue(*due, tally, kNow + absl::Minutes(16));
  ASSERT_TRUE(due.has_value());
  EXPECT_TRUE(due->rollout().drawing());
}

TEST(Gate, StopsTheTaskAsItWasAsked) {
  RolloutTally tally{.candidates = 2, .waves = {{.clients = 1, .failed = 1}}};
  TaskRecord task = MakeRollout("1,all");
  task.mutable_rollout()->add_open_waves();
  auto due = Due(task, Tally{.rollout = tally}, kNow);
  ASSERT_TRUE(due.has_value());
  EXPECT_EQ(due->task().state(), Task::STATE_HALTED);
  EXPECT_EQ(due->end_reason(), "1 of 1 client of the open waves failed, over the limit of 0");
  task.mutable_task()->mutable_rollout()->set_on_failure(Rollout::ON_FAILURE_PAUSE);
  due = Due(task, Tally{.rollout = tally}, kNow);
  ASSERT_TRUE(due.has_value());
  EXPECT_EQ(due->task().state(), Task::STATE_PAUSED);
  // A revision mends it, as a halted one, unless an operator has paused it too.
  TaskRecord mended = *due;
  BeginRevision(&mended, kNow);
  EXPECT_EQ(mended.task().state(), Task::STATE_OPEN);
  EXPECT_EQ(mended.end_reason(), "");
  EXPECT_TRUE(*Pause(&*due));
  EXPECT_FALSE(*Pause(&*due));
  BeginRevision(&*due, kNow);
  EXPECT_EQ(due->task().state(), Task::STATE_PAUSED);
}

TEST(Advance, OpensTheNextWaveAndNoOther) {
  TaskRecord task = MakeRollout("1,10%,all");
  task.mutable_rollout()->add_open_waves();
  const RolloutTally tally{.candidates = 2, .waves = {{.clients = 1}}};
  EXPECT_EQ(Reason(AdvanceRollout("kim", 3, false, tally, &task).status()), "OTHER_WAVE");
  EXPECT_EQ(Reason(AdvanceRollout("kim", 2, false, {}, &task).status()), "NO_CLIENTS");
  EXPECT_TRUE(*AdvanceRollout("kim", 2, false, tally, &task));
  EXPECT_FALSE(*AdvanceRollout("sam", 2, false, tally, &task));
  EXPECT_TRUE(RolloutDue(task, tally, kNow)->rollout().drawing());
  OpenNextWave({}, kNow, &task);
  EXPECT_EQ(task.rollout().open_waves(1).opener(), "kim");
  EXPECT_EQ(Reason(AdvanceRollout("kim", 2, false, tally, &task).status()), "OTHER_WAVE");
  OpenNextWave({}, kNow, &task);
  EXPECT_EQ(Reason(AdvanceRollout("kim", 0, false, tally, &task).status()), "ALL_WAVES_OPEN");
  task.mutable_task()->set_state(Task::STATE_PAUSED);
  task.mutable_rollout()->clear_open_waves();
  EXPECT_EQ(Reason(AdvanceRollout("kim", 0, false, tally, &task).status()), "TASK_NOT_OPEN");
  TaskRecord plain = MakeTask();
  EXPECT_EQ(Reason(AdvanceRollout("kim", 0, false, tally, &plain).status()), "NO_ROLLOUT");
}

TEST(Advance, TakesEachApprovalOnceAndNotTheAuthors) {
  TaskRecord task = MakeRollout("1,all", "approvals 2");
  task.mutable_rollout()->add_open_waves();
  const RolloutTally tally{.candidates = 2, .waves = {{.clients = 1, .succeeded = 1}}};
  EXPECT_EQ(Reason(AdvanceRollout("sam", 2, false, tally, &task).status()), "AUTHOR_MAY_NOT_APPROVE");
  EXPECT_EQ(Reason(AdvanceRollout("sam", 2, true, tally, &task).status()), "AUTHOR_MAY_NOT_APPROVE");
  EXPECT_TRUE(*AdvanceRollout("kim", 2, false, tally, &task));
  EXPECT_FALSE(*AdvanceRollout("kim", 2, false, tally, &task));
  EXPECT_EQ(JudgeGate(task, tally, kNow).kind, GateVerdict::Kind::kAwaitApproval);
  // The same person again, with more, is still one.
  EXPECT_TRUE(*AdvanceRollout("kim", 2, true, tally, &task));
  EXPECT_EQ(JudgeGate(task, tally, kNow).kind, GateVerdict::Kind::kAwaitApproval);
  EXPECT_TRUE(*AdvanceRollout("lee", 2, false, tally, &task));
  EXPECT_EQ(JudgeGate(task, tally, kNow).kind, GateVerdict::Kind::kOpen);
  const RolloutStatus status = ShowRollout(task, tally, kNow);
  EXPECT_EQ(absl::StrJoin(status.approvers(), ","), "kim,lee");
  // A new revision, of another author, asks again.
  BeginRollout("kim", &task);
  EXPECT_EQ(task.rollout().approvals_size(), 0);
}

}  // namespace
}  // namespace parley::taskd
