#include "clients/agent/negotiation.h"

#include <algorithm>
#include <utility>

#include "clients/agent/faults.h"
#include "grpcpp/channel.h"
#include "lib/base/error.h"

namespace parley::agent {
namespace {

// A server that answers nothing for so long is not one.
constexpr absl::Duration kAnswerTimeout = absl::Minutes(1);

}  // namespace

Negotiation::Negotiation(transport::Channel* channel, std::string task, Cancellation* cancellation, Clock* clock)
    : channel_(channel),
      task_(std::move(task)),
      cancellation_(cancellation),
      clock_(clock),
      stub_(task::v1::ParticipationService::NewStub(channel->grpc())),
      on_cancel_(cancellation, [this] { context_.TryCancel(); }),
      stream_(stub_->Negotiate(&context_)) {
  subscription_ = clock_->Subscribe([this] {
    MutexLock lock(&mutex_);
    changed_.NotifyAll();
  });
  reader_ = std::thread([this] { Read(); });
}

Negotiation::~Negotiation() {
  context_.TryCancel();
  reader_.join();
  if (!finished_.has_value()) stream_->Finish();
  clock_->Unsubscribe(subscription_);
}

void Negotiation::Read() {
  task::v1::NegotiateResponse response;
  bool more = true;
  while (more) {
    more = stream_->Read(&response);
    // An answer is waited for; anything else is for who is busy with another thing.
    const bool unasked = !more || response.sequence() == 0;
    MutexLock lock(&mutex_);
    if (more) waiting_.push_back(std::move(response));
    ended_ = !more;
    changed_.NotifyAll();
    if (unasked && interrupt_) interrupt_();
  }
}

absl::Status Negotiation::WhyEnded() {
  if (!finished_.has_value()) finished_ = Explain(*channel_, stream_->Finish());
  if (cancellation_->cancelled()) return Stopped();
  if (!finished_->ok()) return *finished_;
  return Error(absl::StatusCode::kOutOfRange, "STREAM_ENDED", "the server has ended the negotiation");
}

absl::StatusOr<bool> Negotiation::Take(absl::Time until) {
  {
    MutexLock lock(&mutex_);
    while (waiting_.empty() && !ended_) {
      const absl::Duration left = until - clock_->Now();
      if (left <= absl::ZeroDuration()) return false;
      changed_.WaitFor(&mutex_, left);
    }
    if (!waiting_.empty()) {
      current_ = std::move(waiting_.front());
      waiting_.pop_front();
      ++updates_;
      if (current_.has_offer()) offer_ = current_.offer();
      return true;
    }
  }
  return WhyEnded();
}

absl::Status Negotiation::Ask(task::v1::NegotiateRequest request) {
  request.set_task(task_);
  request.set_attempt(current_.attempt());
  request.set_expected_version(current_.version());
  request.set_sequence(++sequence_);
  if (!stream_->Write(request)) {
    // What it had to say comes before its end.
    for (absl::StatusOr<bool> taken = true; taken.ok() && *taken;) taken = Take(absl::InfiniteFuture());
    return WhyEnded();
  }
  const absl::Time until = clock_->Now() + kAnswerTimeout;
  do {
    ASSIGN_OR_RETURN(const bool taken, Take(until));
    if (!taken) {
      return Error(absl::StatusCode::kDeadlineExceeded, "CONNECTION_TIMEOUT", "the server does not answer any more");
    }
  } while (current_.sequence() != sequence_);
  return absl::OkStatus();
}

absl::StatusOr<bool> Negotiation::Next(absl::Time until) { return Take(until); }

void Negotiation::SetInterrupt(std::function<void()> listener) {
  MutexLock lock(&mutex_);
  interrupt_ = std::move(listener);
  if (interrupt_ && (!waiting_.empty() || ended_)) interrupt_();
}

bool Negotiation::interrupted() {
  MutexLock lock(&mutex_);
  return !waiting_.empty() || ended_;
}

}  // namespace parley::agent
