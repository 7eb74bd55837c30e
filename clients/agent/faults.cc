#include "clients/agent/faults.h"

#include <algorithm>
#include <string>

#include "absl/algorithm/container.h"
#include "lib/base/error.h"
#include "lib/base/may_pass.h"

namespace parley::agent {
namespace {

// A key is refused also by a server that is just starting.
constexpr int kMostRefusals = 3;
// Failures one after another that a server answered: to try for ever would only load it.
constexpr int kMostAnsweredFailures = 10;
// A connection that stood for so long was a good one, whatever ended it. A dial that nobody answered takes as long.
constexpr absl::Duration kGoodConnection = absl::Seconds(10);
// What takes so much longer than it was meant to was interrupted by a stop of the whole process.
constexpr absl::Duration kStopped = absl::Seconds(5);
// Two machines with one key take the stream from one another each time that they connect.
constexpr absl::Duration kMinTwicePause = absl::Seconds(1);
constexpr absl::Duration kMaxTwicePause = absl::Minutes(5);

// What no waiting mends: the client itself ends, its key does, or what it asks for is refused for good.
constexpr absl::string_view kFinal[] = {
    "STOPPED",
    // The key, or the part in the task, has an end.
    "KEY_EXPIRED",
    "JOIN_KEY_EXPIRED",
    "JOIN_KEY_REVOKED",
    "JOIN_KEY_NOT_FOUND",
    "PARTICIPANT_REVOKED",
    "TASK_ENDED",
    "TASK_NOT_FOUND",
    // The name, the facts or the address must be others.
    "CLIENT_ALREADY_JOINED",
    "MAX_MEMBERS",
    "CLIENT_NAME",
    "CLIENT_MALFORMED",
    "TASK_NAME",
    "OTHER_CLIENT",
    "OTHER_TASK",
    "SELECTOR_DIFFERS",
    "ROLE_NOT_ALLOWED",
    "LABEL_MALFORMED",
    "TOO_MANY_LABELS",
    "TEXT_TOO_LONG",
    "WINDOW_MALFORMED",
    "TOO_MANY_WINDOWS",
    "ADDRESS_INVALID",
    "IDENTITY_INVALID",
    "KEY_INVALID",
    // A server that gives no key that can be used.
    "JOIN_MALFORMED",
    // The state on this machine.
    "STATE_CONFLICT",
    "STATE_DAMAGED",
    "STATE_IN_USE",
    "STATE_MISSING",
    "STATE_UNUSABLE",
};

}  // namespace

absl::Status Explain(const transport::Channel& channel, const grpc::Status& status) {
  absl::Status why = channel.Explain(status);
  if (why.code() != absl::StatusCode::kDeadlineExceeded || !Reason(why).empty()) return why;
  return Error(absl::StatusCode::kDeadlineExceeded, "CONNECTION_TIMEOUT",
               "the server did not answer in time; it may be starting, or have too much to do");
}

Fault FaultOf(const absl::Status& status) {
  const std::string reason = Reason(status);
  if (absl::c_linear_search(kFinal, reason)) return Fault::kFinal;
  if (reason == "STREAM_REPLACED") return Fault::kTwice;
  if (reason == "PARTICIPANT_NOT_FOUND") return Fault::kForgotten;
  if (reason == "SERVER_NOT_GENUINE" || reason == "NOT_A_PARLEY_SERVER") return Fault::kStranger;
  if (reason == "KEY_REFUSED" || status.code() == absl::StatusCode::kUnauthenticated) return Fault::kKey;
  return Fault::kPasses;
}

Retry::Retry(const Options& options, bool patient, absl::Duration (*now)())
    : patient_(patient),
      limit_(options.connect_timeout),
      now_(now),
      begun_(now()),
      backoff_(options.min_backoff, options.max_backoff),
      twice_(kMinTwicePause, kMaxTwicePause) {}

void Retry::Begin() {
  begun_ = now_();
  if (start_ == -absl::InfiniteDuration()) start_ = begun_;
  // A process that was stopped, or whose machine slept, has not tried all that while.
  if (begun_ - due_ >= kStopped) start_ += begun_ - due_;
  most_ = left();
}

absl::Duration Retry::left() const {
  if (patient_ || met()) return absl::InfiniteDuration();
  if (start_ == -absl::InfiniteDuration()) return limit_;
  return std::max(absl::ZeroDuration(), start_ + limit_ - now_());
}

bool Retry::refused_for_good() const { return refused_ >= kMostRefusals; }

bool Retry::Hopeless(const absl::Status& error, Fault fault, bool patient) {
  if (fault == Fault::kFinal) return true;
  refused_ = fault == Fault::kKey ? refused_ + 1 : 0;
  if (fault != Fault::kKey && !MayPass(error)) ++answered_;
  if (patient_) return false;
  // These do not become better for an update that waits.
  if (refused_for_good() || fault == Fault::kStranger) return true;
  return !patient && (answered_ > kMostAnsweredFailures || left() == absl::ZeroDuration());
}

absl::Status Retry::Next(const absl::Status& error, absl::Duration* wait, bool patient) {
  const Fault fault = FaultOf(error);
  if (now_() - begun_ >= kGoodConnection && Reason(error) != "CONNECTION_TIMEOUT") Progress();
  // A try that was interrupted so says nothing of the server.
  if (now_() - begun_ - most_ >= kStopped) start_ += now_() - begun_;
  if (Hopeless(error, fault, patient)) return error;
  *wait = fault == Fault::kTwice ? twice_.Next() : backoff_.Next();
  if (!patient) *wait = std::min(*wait, left());
  due_ = now_() + *wait;
  return absl::OkStatus();
}

void Retry::Reached() {
  reached_ = true;
  refused_ = 0;
}

void Retry::Progress() {
  backoff_.Reset();
  answered_ = 0;
  if (now_() - begun_ >= kMaxTwicePause) twice_.Reset();
}

}  // namespace parley::agent
