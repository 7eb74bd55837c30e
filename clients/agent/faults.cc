#include "clients/agent/faults.h"

#include <time.h>

#include <algorithm>

#include "lib/base/error.h"
#include "lib/rpc/errors.h"

namespace parley::agent {
namespace {

// A key is refused also by a server that is just starting.
constexpr int kMostRefusals = 3;
// Failures one after another that a server answered: trying for ever would only load it.
constexpr int kMostAnsweredFailures = 10;

}  // namespace

absl::Status Explain(const transport::Channel& channel, const grpc::Status& status) {
  const absl::Status from_server = rpc::FromGrpc(status);
  return Reason(from_server).empty() ? channel.Explain(status) : from_server;
}

Fault FaultOf(const absl::Status& status) {
  const std::string reason = Reason(status);
  if (reason == "KEY_REFUSED") return Fault::kKey;
  if (reason == "KEY_EXPIRED" || reason == "STOPPED" || reason == "STREAM_REPLACED") return Fault::kFinal;
  switch (status.code()) {
    case absl::StatusCode::kUnauthenticated:
      return Fault::kKey;
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded:
    case absl::StatusCode::kUnknown:
    case absl::StatusCode::kInternal:
    case absl::StatusCode::kCancelled:
    case absl::StatusCode::kAborted:
    case absl::StatusCode::kOutOfRange:
      return Fault::kPasses;
    case absl::StatusCode::kFailedPrecondition:
      return reason == "NO_TRANSITION" || reason == "NOT_DECLARED" || reason == "NOT_CHECKING" ||
                     reason == "SAME_CONNECTION"
                 ? Fault::kPasses
                 : Fault::kFinal;
    default:
      return Fault::kFinal;
  }
}

absl::Duration Retry::Monotonic() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return absl::DurationFromTimespec(now);
}

absl::Status Retry::Next(const absl::Status& error, absl::Duration* wait) {
  const Fault fault = FaultOf(error);
  if (fault == Fault::kFinal) return error;
  refused_ = fault == Fault::kKey ? refused_ + 1 : 0;
  if (refused_ >= kMostRefusals) return error;
  if (!reached_ && Monotonic() - start_ >= options_.connect_timeout) return error;
  const bool away = error.code() == absl::StatusCode::kUnavailable ||
                    error.code() == absl::StatusCode::kDeadlineExceeded || fault == Fault::kKey;
  if (!away && failures_ >= kMostAnsweredFailures) return error;
  *wait = options_.min_backoff;
  for (int i = 0; i < failures_ && *wait < options_.max_backoff; ++i) *wait *= 2;
  *wait = std::min(*wait, options_.max_backoff);
  // Else a server that is back would meet everybody whom it left at the same moment.
  *wait *= std::uniform_real_distribution<>(0, 2)(random_);
  ++failures_;
  return absl::OkStatus();
}

void Retry::Reached() {
  reached_ = true;
  refused_ = 0;
}

void Retry::Progress() { failures_ = 0; }

}  // namespace parley::agent
