#include "clients/agent/negotiation.h"

#include <algorithm>
#include <utility>

#include "clients/agent/faults.h"
#include "clients/agent/hindrance.h"
#include "grpcpp/channel.h"
#include "lib/base/error.h"
#include "lib/base/proto_time.h"

namespace parley::agent {
namespace {

using task::v1::NegotiateRequest;

// A server that answers nothing for so long is not one.
constexpr absl::Duration kAnswerTimeout = absl::Seconds(10);

}  // namespace

Negotiation::Negotiation(std::unique_ptr<transport::Channel> channel, std::string task, Cancellation* cancellation,
                         Clock* clock)
    : channel_(std::move(channel)),
      task_(std::move(task)),
      cancellation_(cancellation),
      clock_(clock),
      stub_(task::v1::ParticipationService::NewStub(channel_->grpc())),
      on_cancel_(cancellation, [this] { context_.TryCancel(); }),
      stream_(stub_->Negotiate(&context_)) {
  subscription_ = clock_->Subscribe([this] {
    MutexLock lock(&mutex_);
    ++jumps_;
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
    // An answer is waited for; anything else interrupts a session that is busy otherwise.
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

absl::StatusOr<bool> Negotiation::Receive(absl::Duration most, bool jumps) {
  const absl::Duration end = SteadyTime() + most;
  {
    MutexLock lock(&mutex_);
    while (waiting_.empty() && !ended_) {
      const absl::Duration left = end - SteadyTime();
      if (left <= absl::ZeroDuration() || (jumps && jumps_ > 0)) {
        jumps_ = 0;
        return false;
      }
      changed_.WaitFor(&mutex_, left);
    }
    if (!waiting_.empty()) {
      current_ = std::move(waiting_.front());
      waiting_.pop_front();
      ++updates_;
      if (!current_.has_offer()) return true;
      offer_ = current_.offer();
      RETURN_IF_ERROR(StoreLabels());
      return true;
    }
  }
  return WhyEnded();
}

absl::Status Negotiation::StoreLabels() {
  labels_.clear();
  if (!keys::CheckLabels(current_.labels()).ok()) {
    return Error(absl::StatusCode::kDataLoss, "LABELS_MALFORMED",
                 "the server told labels of this device that no device can have; ask its operator");
  }
  labels_ = current_.labels();
  return absl::OkStatus();
}

absl::Status Negotiation::Ask(NegotiateRequest request) {
  request.set_task(task_);
  request.set_attempt(current_.attempt());
  request.set_expected_version(current_.version());
  request.set_sequence(++sequence_);
  if (!stream_->Write(request)) {
    // What it had to say comes before its end.
    for (absl::StatusOr<bool> received = true; received.ok() && *received;)
      received = Receive(absl::InfiniteDuration(), false);
    return WhyEnded();
  }
  const absl::Duration end = SteadyTime() + kAnswerTimeout;
  do {
    ASSIGN_OR_RETURN(const bool received, Receive(end - SteadyTime(), false));
    if (!received) {
      return Error(absl::StatusCode::kDeadlineExceeded, "CONNECTION_TIMEOUT", "the server does not answer any more");
    }
  } while (current_.sequence() != sequence_);
  return absl::OkStatus();
}

absl::Status Negotiation::Declare(task::v1::Declaration declaration) {
  NegotiateRequest request;
  *request.mutable_declare() = std::move(declaration);
  RETURN_IF_ERROR(Ask(std::move(request)));
  return StoreLabels();
}

absl::Status Negotiation::Accept() {
  NegotiateRequest request;
  request.mutable_accept();
  return Ask(std::move(request));
}

absl::Status Negotiation::Defer(absl::Time until, const std::string& reason) {
  NegotiateRequest request;
  *request.mutable_defer()->mutable_until() = ToProto(until);
  request.mutable_defer()->set_reason(reason);
  return Ask(std::move(request));
}

absl::Status Negotiation::CounterOffer(absl::Time start, absl::Time end, const std::string& reason) {
  NegotiateRequest request;
  *request.mutable_counter()->mutable_window()->mutable_start_time() = ToProto(start);
  *request.mutable_counter()->mutable_window()->mutable_end_time() = ToProto(end);
  request.mutable_counter()->set_reason(reason);
  return Ask(std::move(request));
}

absl::Status Negotiation::Decline(const std::string& code, const std::string& detail) {
  NegotiateRequest request;
  request.mutable_decline()->set_code(code);
  request.mutable_decline()->set_detail(Detail(detail));
  return Ask(std::move(request));
}

absl::StatusOr<bool> Negotiation::Report(const Fact& fact) {
  const int32_t attempt = current_.attempt();
  NegotiateRequest request;
  request.mutable_progress()->set_state(fact.state);
  request.mutable_progress()->set_reason(fact.reason);
  request.mutable_progress()->set_detail(Detail(fact.detail));
  request.mutable_progress()->set_transferred_bytes(fact.transferred_bytes);
  request.mutable_progress()->set_passing(fact.passing);
  RETURN_IF_ERROR(Ask(std::move(request)));
  return current_.state() == fact.state && current_.attempt() == attempt;
}

absl::Status Negotiation::ReportFailure(const absl::Status& why) {
  return Report({.state = task::v1::Participant::STATE_ROLLED_BACK,
                 .reason = ReasonCode(why),
                 .detail = std::string(why.message())})
      .status();
}

absl::StatusOr<bool> Negotiation::Wait(absl::Duration most) { return Receive(most, true); }

void Negotiation::Wake() {
  MutexLock lock(&mutex_);
  ++jumps_;
  changed_.NotifyAll();
}

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
