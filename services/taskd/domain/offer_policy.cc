#include "services/taskd/domain/offer_policy.h"

#include <algorithm>
#include <utility>

#include "lib/base/proto_time.h"
#include "services/taskd/domain/reasons.h"

namespace parley::taskd {
namespace {

using task::v1::Declaration;
using task::v1::Participant;
using task::v1::Task;
using task::v1::Window;
using Kind = Verdict::Kind;

Verdict Because(Kind kind, absl::string_view reason, absl::string_view detail = "",
                absl::Time time = absl::InfinitePast()) {
  Verdict verdict;
  verdict.kind = kind;
  verdict.reason = std::string(reason);
  verdict.detail = std::string(detail);
  verdict.time = time;
  return verdict;
}

// The earliest window that can still be kept.
const Window* NextWindow(const Declaration& declaration, const TaskRecord& task, absl::Time now) {
  const Window* best = nullptr;
  for (const Window& window : declaration.windows()) {
    if (!CanOpen(window, task, now)) continue;
    if (best == nullptr || ToTime(window.start_time()) < ToTime(best->start_time())) best = &window;
  }
  return best;
}

// A window that was asked for in a counter and granted, and that nothing has taken the place of since.
bool HasGrantedWindow(const ParticipantRecord& record, const TaskRecord& task, absl::Time now) {
  if (!record.has_window() || !CanOpen(record.window(), task, now)) return false;
  return record.participant().state() == Participant::STATE_COUNTERED ||
         (record.counters() > 0 && record.declaration().windows().empty());
}

// Another task has installed over this one's files since this revision was installed, and no person wants it back.
bool IsTakenOver(const ParticipantRecord& record, const TaskRecord& task) {
  if (record.declaration().taken_over().empty() || record.retry()) return false;
  const Participant& participant = record.participant();
  return record.held_revision() >= task.task().revision() || participant.state() == Participant::STATE_JOINED ||
         participant.reason() == kReasonTakenOver;
}

// What has nothing to do with time.
std::optional<Verdict> JudgeClient(const ParticipantRecord& record, const TaskRecord& task, Selected selected) {
  const Declaration& declaration = record.declaration();
  const auto& encodings = declaration.encodings();
  if (std::find(encodings.begin(), encodings.end(), "zstd") == encodings.end()) {
    return Because(Kind::kExclude, "encoding");
  }
  if (HasPayload(record, task)) return Because(Kind::kUpToDate, "");
  if (selected == Selected::kNo) return Because(Kind::kExclude, kReasonNotSelected);
  if (selected == Selected::kUnknown) return Because(Kind::kWait, kReasonLabelsUnknown);
  if (record.participant().installed_revision() > task.task().revision())
    return Because(Kind::kExclude, "newer_revision");
  if (IsTakenOver(record, task)) return Because(Kind::kExclude, kReasonTakenOver, declaration.taken_over());
  // 0 is what a client says that does not know.
  if (declaration.free_bytes() > 0 && declaration.free_bytes() < task.task().payload_bytes()) {
    return Because(Kind::kHinder, "no_space");
  }
  return std::nullopt;
}

// When the client would have it.
Verdict JudgeTime(const ParticipantRecord& record, const TaskRecord& task, absl::Time now) {
  const Participant& participant = record.participant();
  if (participant.has_deferred_until() && ToTime(participant.deferred_until()) > now) {
    return Because(Kind::kDefer, "deferred", "", ToTime(participant.deferred_until()));
  }
  Verdict offer = Because(Kind::kOffer, "");
  if (HasGrantedWindow(record, task, now)) {
    offer.window = record.window();
  } else if (!record.declaration().windows().empty()) {
    const Window* const window = NextWindow(record.declaration(), task, now);
    if (window == nullptr) return Because(Kind::kExclude, "outside_window");
    const absl::Time start = ToTime(window->start_time());
    if (start > now) return Because(Kind::kWait, "before_window", "", start);
    offer.window = *window;
  }
  if (task.task().state() != Task::STATE_PAUSED) return offer;
  return participant.state() == Participant::STATE_COUNTERED ? Verdict() : Because(Kind::kWait, "paused");
}

}  // namespace

bool CanOpen(const Window& window, const TaskRecord& task, absl::Time now) {
  const absl::Time start = ToTime(window.start_time());
  const absl::Time end = ToTime(window.end_time());
  return start < end && end > now && start < ToTime(task.task().expire_time());
}

bool HasPayload(const ParticipantRecord& record, const TaskRecord& task) {
  return record.participant().installed_digest() == task.task().payload_digest();
}

Verdict JudgeOffer(const ParticipantRecord& record, const TaskRecord& task, Selected selected, bool in_open_wave,
                   absl::Time now) {
  if (record.declaration().has_hindrance() && !HasPayload(record, task)) {
    const task::v1::Hindrance& hindrance = record.declaration().hindrance();
    return Because(Kind::kHinder, hindrance.code(), hindrance.detail());
  }
  if (task.task().state() == Task::STATE_SCHEDULED) {
    return Because(Kind::kWait, "not_started", "", ToTime(task.task().start_time()));
  }
  if (std::optional<Verdict> verdict = JudgeClient(record, task, selected)) return *std::move(verdict);
  if (task.task().state() == Task::STATE_HALTED) return Because(Kind::kWait, kReasonHalted);
  if (!in_open_wave) return Because(Kind::kWait, kReasonNextWave);
  return JudgeTime(record, task, now);
}

}  // namespace parley::taskd
