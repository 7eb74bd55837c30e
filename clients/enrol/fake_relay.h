// A relay in the middle for tests: passes on, or does what an attacker would.
#ifndef PARLEY_CLIENTS_ENROL_FAKE_RELAY_H_
#define PARLEY_CLIENTS_ENROL_FAKE_RELAY_H_

#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "clients/enrol/relay_stream.h"
#include "lib/base/error.h"
#include "lib/base/mutex.h"
#include "lib/sas/message.h"

namespace parley::enrol {

class FakeRelay {
 public:
  struct Delivery {
    sas::Role to;
    std::string message;
  };
  // What becomes of a message; by default it is passed on. Called under the relay's lock.
  using Attack = std::function<std::vector<Delivery>(sas::Role from, int step, const std::string& message)>;

  FakeRelay() {
    for (Place& place : places_) place.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  }
  ~FakeRelay() {
    for (const Place& place : places_) close(place.fd);
  }

  // Before the participants run.
  void set_attack(Attack attack) { attack_ = std::move(attack); }
  // Ends each attempt, for both, when a message of this step has come; -1 for never. With `over` it ends the
  // invitation.
  void set_reset_at(int step, bool over = false) {
    reset_at_ = step;
    reset_is_over_ = over;
  }
  // The number of the next attempt; by default one more than the last.
  void set_next_attempt(std::function<uint32_t(uint32_t)> next) { next_attempt_ = std::move(next); }
  // Breaks the stream of who sent a message of this step, once, before or after it is passed on.
  void set_break_at(int step, bool before) {
    break_at_ = step;
    break_before_ = before;
  }
  // This side's program has ended: the other waits for it in vain from now on.
  void Leave(sas::Role role) {
    MutexLock lock(&mutex_);
    PlaceOf(role).left = true;
    PlaceOf(role).waits = false;
    if (PlaceOf(sas::Other(role)).waits) EndWait(sas::Other(role));
    // A claimer that has sent step 8 was told, or is told when it comes back, that all is done.
    if (!going_on_ || (completed_ && role == sas::Role::kGreeter)) return;
    v1::ExchangeResponse ended = EndedResponse("PEER_AWAY", "the other side was away for too long");
    ended.mutable_ended()->set_over(completed_);
    EndBoth(ended);
  }
  uint32_t attempts() const {
    MutexLock lock(&mutex_);
    return attempt_;
  }
  // What passed, of both sides.
  std::string Seen() const {
    MutexLock lock(&mutex_);
    return seen_;
  }

  // One side's end of it. The relay must outlive it.
  std::unique_ptr<RelayStream> For(sas::Role role) { return std::make_unique<End>(this, role); }

 private:
  struct Place {
    int fd = -1;
    std::deque<v1::ExchangeResponse> inbox;
    absl::Status end;
    bool left = false;
    bool waits = false;
    // Messages in the order in which they came for this side, for one that comes back.
    std::vector<std::string> kept;
  };

  class End final : public RelayStream {
   public:
    End(FakeRelay* relay, sas::Role role) : relay_(relay), role_(role) {}
    absl::Status Open() override { return relay_->Open(role_); }
    void Send(const v1::ExchangeRequest& request) override { relay_->Take(role_, request); }
    absl::StatusOr<std::optional<v1::ExchangeResponse>> Take() override { return relay_->Give(role_); }
    int fd() const override { return relay_->PlaceOf(role_).fd; }

   private:
    FakeRelay* const relay_;
    const sas::Role role_;
  };

  Place& PlaceOf(sas::Role role) { return places_[role == sas::Role::kGreeter ? 0 : 1]; }

  absl::Status Open(sas::Role role) {
    MutexLock lock(&mutex_);
    Place& place = PlaceOf(role);
    place.inbox.clear();
    place.end = absl::OkStatus();
    uint64_t count = 0;
    (void)!read(place.fd, &count, sizeof(count));
    return absl::OkStatus();
  }

  absl::StatusOr<std::optional<v1::ExchangeResponse>> Give(sas::Role role) {
    MutexLock lock(&mutex_);
    Place& place = PlaceOf(role);
    if (place.inbox.empty()) {
      if (!place.end.ok()) return place.end;
      uint64_t count = 0;
      (void)!read(place.fd, &count, sizeof(count));
      return std::optional<v1::ExchangeResponse>();
    }
    std::optional<v1::ExchangeResponse> response = std::move(place.inbox.front());
    place.inbox.pop_front();
    return response;
  }

  void Take(sas::Role role, const v1::ExchangeRequest& request) {
    MutexLock lock(&mutex_);
    if (!PlaceOf(role).end.ok()) return;
    if (request.has_hello()) Hello(role, request.hello());
    if (request.has_message() && request.message().attempt() == attempt_) Pass(role, request.message().message());
    if (request.has_stop() && going_on_ && request.stop().attempt() == attempt_) {
      v1::ExchangeResponse ended = EndedResponse("PEER_STOPPED", request.stop().sentence());
      ended.mutable_ended()->set_peer_reason(request.stop().reason());
      ended.mutable_ended()->set_suspected(request.stop().suspected());
      EndBoth(ended);
    }
    if (request.has_done()) Deliver(role, Completed());
  }

  void Hello(sas::Role role, const v1::Hello& hello) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    Place& place = PlaceOf(role);
    if (hello.attempt() > 0) {
      if (completed_) return Deliver(role, Completed());
      // It may have ended while this side had no stream.
      if (!going_on_) return Deliver(role, last_end_);
      TellExchanging(role);
      for (const std::string& message : place.kept) TellMessage(role, message);
      return;
    }
    place.waits = true;
    if (PlaceOf(sas::Other(role)).left) return EndWait(role);
    if (!places_[0].waits || !places_[1].waits) return;
    places_[0].waits = places_[1].waits = false;
    places_[0].kept.clear();
    places_[1].kept.clear();
    taken_.clear();
    attempt_ = next_attempt_ == nullptr ? attempt_ + 1 : next_attempt_(attempt_);
    going_on_ = true;
    TellExchanging(sas::Role::kGreeter);
    TellExchanging(sas::Role::kClaimer);
  }

  void Pass(sas::Role from, const std::string& message) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const int step = static_cast<uint8_t>(message[3]);
    for (const std::string& taken : taken_) {
      if (taken == message) return;
    }
    if (!going_on_) return;
    if (step == break_at_ && break_before_) return Break(from);
    taken_.push_back(message);
    seen_ += message;
    const std::vector<Delivery> deliveries =
        attack_ == nullptr ? std::vector<Delivery>{{sas::Other(from), message}} : attack_(from, step, message);
    for (const Delivery& delivery : deliveries) {
      PlaceOf(delivery.to).kept.push_back(delivery.message);
      TellMessage(delivery.to, delivery.message);
    }
    if (step == reset_at_) {
      v1::ExchangeResponse ended = EndedResponse("OUT_OF_TIME", "the relay says that time is up");
      ended.mutable_ended()->set_over(reset_is_over_);
      EndBoth(ended);
    }
    if (step == sas::kLastStep) {
      completed_ = true;
      Deliver(sas::Role::kClaimer, Completed());
    }
    if (step == break_at_) Break(from);
  }

  void EndWait(sas::Role role) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    PlaceOf(role).end = Error(absl::StatusCode::kAborted, "WAIT_OVER", "the other side does not come");
    Signal(role);
  }

  void Break(sas::Role role) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    break_at_ = -1;
    PlaceOf(role).inbox.clear();
    PlaceOf(role).end = Error(absl::StatusCode::kUnavailable, "CONNECTION_CLOSED", "the connection broke");
    Signal(role);
  }

  v1::ExchangeResponse EndedResponse(const std::string& reason, const std::string& sentence)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    v1::ExchangeResponse response;
    response.mutable_ended()->set_attempt(attempt_);
    response.mutable_ended()->set_reason(reason);
    response.mutable_ended()->set_sentence(sentence);
    return response;
  }
  v1::ExchangeResponse Completed() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    v1::ExchangeResponse response = EndedResponse("INVITATION_COMPLETED", "done");
    response.mutable_ended()->set_over(true);
    return response;
  }
  void EndBoth(const v1::ExchangeResponse& ended) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    going_on_ = false;
    last_end_ = ended;
    for (const sas::Role role : {sas::Role::kGreeter, sas::Role::kClaimer}) Deliver(role, ended);
  }
  void TellExchanging(sas::Role role) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    v1::ExchangeResponse response;
    response.mutable_state()->set_phase(v1::State::PHASE_EXCHANGING);
    response.mutable_state()->set_attempt(attempt_);
    response.mutable_state()->set_peer_connected(true);
    Deliver(role, std::move(response));
  }
  void TellMessage(sas::Role role, const std::string& message) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    v1::ExchangeResponse response;
    response.mutable_message()->set_attempt(attempt_);
    response.mutable_message()->set_message(message);
    Deliver(role, std::move(response));
  }
  void Deliver(sas::Role role, v1::ExchangeResponse response) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    PlaceOf(role).inbox.push_back(std::move(response));
    Signal(role);
  }
  void Signal(sas::Role role) {
    const uint64_t one = 1;
    (void)!write(PlaceOf(role).fd, &one, sizeof(one));
  }

  mutable Mutex mutex_;
  Attack attack_;
  std::function<uint32_t(uint32_t)> next_attempt_;
  int reset_at_ = -1;
  bool reset_is_over_ = false;
  int break_at_ = -1;
  bool break_before_ = false;
  Place places_[2];
  uint32_t attempt_ = 0;
  bool going_on_ = false;
  bool completed_ = false;
  v1::ExchangeResponse last_end_;
  std::vector<std::string> taken_;
  std::string seen_;
};

}  // namespace parley::enrol

#endif  // PARLEY_CLIENTS_ENROL_FAKE_RELAY_H_
