#include "services/taskd/domain/rollout.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "lib/base/proto_time.h"
#include "lib/crypto/hash.h"
#include "lib/task/states.h"
#include "services/taskd/domain/task.h"

namespace parley::taskd {
namespace {

using task::v1::Gate;
using task::v1::Participant;
using task::v1::Rollout;
using task::v1::RolloutStatus;
using task::v1::Task;
using task::v1::Wave;
using Kind = GateVerdict::Kind;

constexpr size_t kPlaceBytes = 16;

absl::uint128 PlaceFromBytes(absl::string_view bytes) {
  absl::uint128 place = 0;
  for (const char byte : bytes.substr(0, kPlaceBytes)) place = (place << 8) | static_cast<uint8_t>(byte);
  return place;
}

std::string PlaceToBytes(absl::uint128 place) {
  std::string bytes(kPlaceBytes, '\0');
  for (size_t i = kPlaceBytes; i-- > 0; place >>= 8) bytes[i] = static_cast<char>(absl::Uint128Low64(place) & 0xff);
  return bytes;
}

bool IsEverybody(const Wave& wave) { return wave.percent() == 100; }

bool Names(const Wave& wave, const WaveClient& client) {
  if (wave.has_names()) {
    const auto& names = wave.names().names();
    return std::find(names.begin(), names.end(), client.name) != names.end();
  }
  if (!wave.has_labels() || client.labels == nullptr) return false;
  const auto& wanted = wave.labels().labels();
  return std::all_of(wanted.begin(), wanted.end(), [&](const auto& label) {
    const auto found = client.labels->find(label.first);
    return found != client.labels->end() && found->second == label.second;
  });
}

RolloutTally::Wave Sum(const RolloutTally& tally) {
  RolloutTally::Wave sum;
  for (const RolloutTally::Wave& wave : tally.waves) {
    sum.clients += wave.clients;
    sum.succeeded += wave.succeeded;
    sum.failed += wave.failed;
    sum.borne += wave.borne;
  }
  return sum;
}

std::string Clients(int count) { return absl::StrCat(count, count == 1 ? " client" : " clients"); }

GateVerdict Because(Kind kind, std::string detail, absl::Time time = absl::InfiniteFuture()) {
  return {kind, std::move(detail), time};
}

std::optional<GateVerdict> JudgeFailures(const Gate& gate, const RolloutTally::Wave& open) {
  const int failed = open.failed - open.borne;
  if (failed == 0) return std::nullopt;
  const std::string said = absl::StrCat(failed, " of ", Clients(open.clients), " of the open waves failed",
                                        open.borne > 0 ? " since the task was resumed" : "");
  if (gate.has_max_failures() && failed > gate.max_failures()) {
    return Because(Kind::kStop, absl::StrCat(said, ", over the limit of ", gate.max_failures()));
  }
  const int64_t bearable = int64_t{gate.max_failure_percent()} * open.clients;
  if (gate.has_max_failure_percent() && int64_t{100} * failed > bearable) {
    return Because(Kind::kStop, absl::StrCat(said, ", over the limit of ", gate.max_failure_percent(), " %"));
  }
  return std::nullopt;
}

bool HasSucceeded(const Gate& gate, const RolloutTally::Wave& open) {
  return open.clients > 0 && int64_t{100} * open.succeeded >= int64_t{gate.min_success_percent()} * open.clients;
}

// Whether the next wave is to open whatever the gate's share and soak say.
bool IsForced(const TaskRecord& task) {
  const Gate& gate = task.task().rollout().gate();
  const auto& approvals = task.rollout().approvals();
  const auto at_once = std::count_if(approvals.begin(), approvals.end(), [](const auto& one) { return one.now(); });
  return !task.rollout().opener().empty() || (gate.approvals() > 0 && at_once >= gate.approvals());
}

std::optional<GateVerdict> JudgeSuccess(const TaskRecord& task, const RolloutTally::Wave& open, absl::Time now) {
  const Gate& gate = task.task().rollout().gate();
  if (open.clients == 0) return Because(Kind::kAwaitSuccess, "no client of the open waves can take the revision yet");
  if (!HasSucceeded(gate, open)) {
    return Because(Kind::kAwaitSuccess,
                   absl::StrCat(open.succeeded, " of ", Clients(open.clients), " of the open ",
                                "waves have the revision; the gate asks for ", gate.min_success_percent(), " %"));
  }
  const absl::Time since = task.rollout().has_success_time() ? ToTime(task.rollout().success_time()) : now;
  const absl::Time end = since + ToDuration(gate.soak());
  if (end > now) return Because(Kind::kSoak, absl::StrCat("the next wave opens at ", ShowTime(end)), end);
  const int missing = gate.approvals() - task.rollout().approvals_size();
  if (missing <= 0) return std::nullopt;
  return Because(Kind::kAwaitApproval,
                 absl::StrCat("the next wave waits for ", missing, missing == 1 ? " approval" : " approvals",
                              gate.author_may_approve() ? "" : ", not of the one who published the revision"));
}

// Whether those that the next wave is for are there.
std::optional<GateVerdict> JudgeClients(const TaskRecord& task, const RolloutTally& tally) {
  const int next = task.rollout().open_waves_size();
  const Wave& wave = task.task().rollout().waves(next);
  const int named = static_cast<size_t>(next) < tally.named.size() ? tally.named[next] : 0;
  int missing = 1 - tally.candidates;
  // A later wave takes in who is there.
  if (wave.has_count() && next == 0) missing = wave.count() - tally.candidates;
  if (wave.has_labels()) missing = 1 - named;
  if (wave.has_names()) missing = wave.names().names_size() - named;
  if (missing <= 0) return std::nullopt;
  return Because(Kind::kAwaitClients, absl::StrCat("wave ", next + 1, " waits for ", missing, " more ",
                                                   missing == 1 ? "client" : "clients", " to join"));
}

absl::Status CheckAdvance(const TaskRecord& task, int wave, const RolloutTally& tally) {
  RETURN_IF_ERROR(CheckNotEnded(task));
  const std::string& name = task.task().name();
  const int open = task.rollout().open_waves_size();
  if (!task.task().has_rollout()) {
    return FailedPrecondition("NO_ROLLOUT", name, " has no waves: each revision is offered to every client at once");
  }
  if (open == task.task().rollout().waves_size()) {
    return FailedPrecondition("ALL_WAVES_OPEN", "every wave of ", name, " is open");
  }
  if (wave != 0 && wave != open + 1) {
    return Error(absl::StatusCode::kAborted, "OTHER_WAVE",
                 absl::StrCat("wave ", open + 1, " of ", name, " is the next one, and not wave ", wave));
  }
  if (task.task().state() != Task::STATE_OPEN) {
    return FailedPrecondition("TASK_NOT_OPEN", name, " is not open; resume it first, or wait for its start");
  }
  if (tally.candidates == 0) return FailedPrecondition("NO_CLIENTS", "no client of ", name, " can take part yet");
  return absl::OkStatus();
}

RolloutStatus::Phase PhaseOf(Kind kind) {
  switch (kind) {
    case Kind::kAwaitClients:
    case Kind::kOpen:
      return RolloutStatus::PHASE_WAITING_FOR_CLIENTS;
    case Kind::kAwaitSuccess:
      return RolloutStatus::PHASE_GOING_OUT;
    case Kind::kSoak:
      return RolloutStatus::PHASE_SOAKING;
    case Kind::kAwaitApproval:
      return RolloutStatus::PHASE_AWAITING_APPROVAL;
    case Kind::kStop:
      return RolloutStatus::PHASE_STOPPED;
    case Kind::kAllOpen:
      return RolloutStatus::PHASE_ALL_OPEN;
  }
  return RolloutStatus::PHASE_UNSPECIFIED;
}

}  // namespace

WaveClient ToWaveClient(const ParticipantRecord& client, const Labels* labels) {
  const absl::string_view name = client.participant().name();
  return {name.substr(name.rfind('/') + 1), client.joined_revision(), client.waves_missed(),
          client.own_credential() ? labels : nullptr};
}

InWaves FindInWaves(const WaveClient& client, const TaskRecord& task) {
  InWaves found;
  if (client.joined_revision == task.task().revision()) found.missed = client.waves_missed;
  const auto& waves = task.task().rollout().waves();
  const auto first = std::find_if(waves.begin(), waves.end(), [&](const Wave& wave) { return Names(wave, client); });
  if (first != waves.end()) found.named = static_cast<int>(first - waves.begin()) + 1;
  return found;
}

absl::uint128 PlaceInOrder(absl::string_view task_name, absl::string_view client) {
  return PlaceFromBytes(crypto::Sha256(absl::StrCat(task_name, absl::string_view("\0", 1), client)));
}

int WaveOf(const InWaves& in_waves, absl::uint128 place, const TaskRecord& task) {
  const auto& open = task.rollout().open_waves();
  for (int i = 0; i < open.size(); ++i) {
    if (IsEverybody(task.task().rollout().waves(i)) || in_waves.named == i + 1) return i + 1;
    const bool drawn = !open[i].last_place().empty() && in_waves.missed <= i;
    if (drawn && place <= PlaceFromBytes(open[i].last_place())) return i + 1;
  }
  return 0;
}

bool IsInOpenWave(const ParticipantRecord& client, const TaskRecord& task, const Labels* labels) {
  if (!task.task().has_rollout()) return true;
  const WaveClient found = ToWaveClient(client, labels);
  return WaveOf(FindInWaves(found, task), PlaceInOrder(task.task().name(), found.name), task) > 0;
}

void CountInRollout(const Counted& client, int wave, int named, int64_t task_revision, int sign, RolloutTally* tally) {
  if (!IsCandidate(client, task_revision)) return;
  tally->candidates += sign;
  if (named > 0) {
    tally->named.resize(std::max(tally->named.size(), static_cast<size_t>(named)));
    tally->named[named - 1] += sign;
  }
  if (wave == 0) return;
  tally->waves.resize(std::max(tally->waves.size(), static_cast<size_t>(wave)));
  RolloutTally::Wave& in = tally->waves[wave - 1];
  in.clients += sign;
  if (client.revision < task_revision) return;
  const bool failed = !client.hindered && (client.state == Participant::STATE_ROLLED_BACK ||
                                           client.state == Participant::STATE_ROLLBACK_FAILED);
  if (task::IsInstalled(client.state)) in.succeeded += sign;
  if (failed) in.failed += sign;
  if (failed && client.borne) in.borne += sign;
}

GateVerdict JudgeGate(const TaskRecord& task, const RolloutTally& tally, absl::Time now) {
  const Rollout& rollout = task.task().rollout();
  const RolloutTally::Wave open = Sum(tally);
  if (auto verdict = JudgeFailures(rollout.gate(), open)) return *std::move(verdict);
  if (task.rollout().open_waves_size() == rollout.waves_size()) return Because(Kind::kAllOpen, "every wave is open");
  if (!IsForced(task)) {
    if (task.rollout().open_waves_size() > 0) {
      if (auto verdict = JudgeSuccess(task, open, now)) return *std::move(verdict);
    }
    if (auto verdict = JudgeClients(task, tally)) return *std::move(verdict);
  }
  return Because(Kind::kOpen, "the next wave is about to open");
}

std::optional<TaskRecord> RolloutDue(const TaskRecord& task, const RolloutTally& tally, absl::Time now) {
  const Rollout& rollout = task.task().rollout();
  const GateVerdict verdict = JudgeGate(task, tally, now);
  if (verdict.kind == Kind::kStop) {
    TaskRecord next = task;
    const bool pauses = rollout.on_failure() == Rollout::ON_FAILURE_PAUSE;
    next.mutable_task()->set_state(pauses ? Task::STATE_PAUSED : Task::STATE_HALTED);
    next.set_end_reason(verdict.detail);
    next.mutable_rollout()->set_drawing(false);
    return next;
  }
  if (verdict.kind == Kind::kAllOpen) return std::nullopt;
  const bool succeeded = task.rollout().open_waves_size() > 0 && HasSucceeded(rollout.gate(), Sum(tally));
  const bool turned = rollout.gate().has_soak() && succeeded != task.rollout().has_success_time();
  const bool opens = verdict.kind == Kind::kOpen;
  // This is asked for each change of a client, and a task may be large: no copy of one that stays.
  if (!turned && opens == task.rollout().drawing()) return std::nullopt;
  TaskRecord next = task;
  next.mutable_rollout()->set_drawing(opens);
  if (turned) next.mutable_rollout()->clear_success_time();
  if (turned && succeeded) *next.mutable_rollout()->mutable_success_time() = ToProto(now);
  return next;
}

absl::Time NextRolloutDue(const TaskRecord& task) {
  if (!task.rollout().has_success_time()) return absl::InfiniteFuture();
  return ToTime(task.rollout().success_time()) + ToDuration(task.task().rollout().gate().soak());
}

void OpenNextWave(std::vector<Candidate> candidates, absl::Time now, TaskRecord* task) {
  RolloutRecord& rollout = *task->mutable_rollout();
  const int next = rollout.open_waves_size();
  const Wave& wave = task->task().rollout().waves(next);
  const auto share = (candidates.size() * static_cast<size_t>(std::max(0, wave.percent())) + 99) / 100;
  const size_t wanted = wave.has_count() ? static_cast<size_t>(wave.count()) : share;
  // Those that are left are in no open wave, and have not come too late for this one.
  const auto is_out = [&](const Candidate& candidate) {
    return WaveOf(candidate.in_waves, candidate.place, *task) == 0;
  };
  const auto out = std::stable_partition(candidates.begin(), candidates.end(), is_out);
  const auto in = static_cast<size_t>(candidates.end() - out);
  candidates.erase(out, candidates.end());
  candidates.erase(std::remove_if(candidates.begin(), candidates.end(),
                                  [&](const Candidate& candidate) { return candidate.in_waves.missed > next; }),
                   candidates.end());
  const size_t drawn = std::min(wanted > in ? wanted - in : 0, candidates.size());
  RolloutRecord::OpenWave& opened = *rollout.add_open_waves();
  if (drawn > 0 && !IsEverybody(wave)) {
    std::nth_element(candidates.begin(), candidates.begin() + static_cast<ptrdiff_t>(drawn - 1), candidates.end(),
                     [](const Candidate& a, const Candidate& b) { return a.place < b.place; });
    opened.set_last_place(PlaceToBytes(candidates[drawn - 1].place));
  }
  *opened.mutable_open_time() = ToProto(now);
  opened.set_opener(rollout.opener());
  rollout.clear_opener();
  rollout.clear_drawing();
  rollout.clear_success_time();
  rollout.clear_approvals();
}

void BeginRollout(absl::string_view author, TaskRecord* task) {
  task->clear_rollout();
  task->set_author(std::string(author));
}

absl::StatusOr<bool> AdvanceRollout(absl::string_view subject, int wave, bool now, const RolloutTally& tally,
                                    TaskRecord* task) {
  RETURN_IF_ERROR(CheckAdvance(*task, wave, tally));
  RolloutRecord& rollout = *task->mutable_rollout();
  const Gate& gate = task->task().rollout().gate();
  if (gate.approvals() == 0) {
    if (!rollout.opener().empty()) return false;
    rollout.set_opener(std::string(subject));
    return true;
  }
  if (!gate.author_may_approve() && subject == task->author()) {
    return Error(absl::StatusCode::kPermissionDenied, "AUTHOR_MAY_NOT_APPROVE",
                 absl::StrCat("you have published this revision of ", task->task().name(),
                              "; its next wave must be approved by somebody else"));
  }
  auto& approvals = *rollout.mutable_approvals();
  auto own =
      std::find_if(approvals.begin(), approvals.end(), [&](const auto& one) { return one.subject() == subject; });
  if (own != approvals.end() && (own->now() || !now)) return false;
  RolloutRecord::Approval* const approval = own != approvals.end() ? &*own : approvals.Add();
  approval->set_subject(std::string(subject));
  approval->set_now(now);
  return true;
}

RolloutStatus ShowRollout(const TaskRecord& task, const RolloutTally& tally, absl::Time now) {
  RolloutStatus status;
  const GateVerdict verdict = JudgeGate(task, tally, now);
  status.set_phase(PhaseOf(verdict.kind));
  status.set_detail(verdict.detail);
  if (task.task().state() != Task::STATE_OPEN) {
    status.set_phase(RolloutStatus::PHASE_STOPPED);
    status.set_detail(absl::StrCat("the task is not open", task.end_reason().empty() ? "" : ": ", task.end_reason()));
  }
  if (status.phase() == RolloutStatus::PHASE_SOAKING) *status.mutable_soak_end_time() = ToProto(verdict.time);
  RolloutTally::Wave sum;
  for (int i = 0; i < task.rollout().open_waves_size(); ++i) {
    if (static_cast<size_t>(i) < tally.waves.size()) {
      sum.clients += tally.waves[i].clients;
      sum.succeeded += tally.waves[i].succeeded;
      sum.failed += tally.waves[i].failed;
    }
    task::v1::WaveStatus& wave = *status.add_open_waves();
    *wave.mutable_open_time() = task.rollout().open_waves(i).open_time();
    wave.set_opener(task.rollout().open_waves(i).opener());
    wave.set_clients(sum.clients);
    wave.set_succeeded(sum.succeeded);
    wave.set_failed(sum.failed);
  }
  for (const auto& approval : task.rollout().approvals()) status.add_approvers(approval.subject());
  return status;
}

}  // namespace parley::taskd
