#include "clients/enrol/party.h"

#include <poll.h>

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "lib/base/may_pass.h"
#include "lib/crypto/kdf.h"
#include "lib/sas/reason.h"

namespace parley::enrol {
namespace {

constexpr size_t kInstanceBytes = 16;
constexpr absl::Duration kFirstBackoff = absl::Milliseconds(200);
constexpr absl::Duration kLongestBackoff = absl::Seconds(5);
// For the relay's word on an end, and for its word that all is done.
constexpr absl::Duration kLastWord = absl::Seconds(10);
constexpr absl::Duration kCompletion = absl::Seconds(30);
// Attempts that end before anything is at stake, of which each is followed by another without a word.
constexpr int kMostQuietEnds = 3;
// What the relay takes of a sentence.
constexpr size_t kMaxSentenceBytes = 200;

// The message that this side answers with its nonce, or its answer to the other's.
constexpr int NonceStep(sas::Role role) { return role == sas::Role::kGreeter ? 1 : 2; }

absl::Status Cancelled() { return Error(absl::StatusCode::kCancelled, "CANCELLED", "stopped by the person here"); }

// Waits for the descriptor, cancel_fd or the time. CANCELLED when it was cancel_fd.
absl::Status WaitFor(int fd, int cancel_fd, absl::Duration at_most) {
  pollfd fds[] = {{cancel_fd, POLLIN, 0}, {fd, POLLIN, 0}};
  const int64_t milliseconds = absl::ToInt64Milliseconds(std::clamp(at_most, absl::ZeroDuration(), absl::Hours(1)));
  if (poll(fds, 2, static_cast<int>(milliseconds) + 1) > 0 && (fds[0].revents & POLLIN) != 0) return Cancelled();
  return absl::OkStatus();
}

// Returns as much of a sentence as the relay takes, cut between two characters.
std::string Shortened(absl::string_view sentence) {
  if (sentence.size() <= kMaxSentenceBytes) return std::string(sentence);
  size_t size = kMaxSentenceBytes;
  while (size > 0 && (static_cast<uint8_t>(sentence[size]) & 0xc0) == 0x80) --size;
  return std::string(sentence.substr(0, size));
}

// Takes back that the latest attempt was counted before its nonce left.
void TakeBack(sas::Attempts* attempts) {
  attempts->suspected -= 1;
  attempts->Acknowledge();
}

absl::Status EndedStatus(const v1::Ended& ended) {
  const std::string& reason = ended.peer_reason().empty() ? ended.reason() : ended.peer_reason();
  return Error(absl::StatusCode::kFailedPrecondition, reason.empty() ? "ATTEMPT_ENDED" : reason,
               ended.sentence().empty() ? "the attempt has ended" : ended.sentence());
}

}  // namespace

std::string InvitationName(absl::string_view id) { return absl::StrCat("invitations/", id); }

Party::Party(sas::Role role, PartyOptions options)
    : role_(role),
      options_(std::move(options)),
      name_(InvitationName(options_.invitation)),
      instance_(crypto::RandomBytes(kInstanceBytes)),
      backoff_(kFirstBackoff, kLongestBackoff) {}

const device::Enrolment& Party::enrolment() const { return options_.device->contents().enrolments.at(name_); }

absl::Status Party::UpdateEnrolment(const std::function<absl::Status(device::Contents*, device::Enrolment*)>& change) {
  return options_.device->Update([&](device::Contents* contents) {
    const auto found = contents->enrolments.find(name_);
    if (found != contents->enrolments.end()) return change(contents, &found->second);
    return Error(absl::StatusCode::kFailedPrecondition, "DEVICE_FILE_CHANGED",
                 "another command has ended this enrolment; begin it again");
  });
}

absl::Status Party::UpdateAttempts(void (*change)(sas::Attempts*)) {
  return UpdateEnrolment([change](device::Contents*, device::Enrolment* enrolment) {
    change(&enrolment->attempts);
    return absl::OkStatus();
  });
}

// --- Streams --------------------------------------------------------------------------------------------------------

absl::Status Party::Run() {
  RETURN_IF_ERROR(Restore());
  while (true) {
    const absl::Status status = RunStream();
    if (status.ok()) return status;
    if (!stream_broke_) return GiveUp(status);
    if (!MayPass(status)) return Refused(status);
    if (const absl::Status waited = Reconnect(status); !waited.ok()) return GiveUp(waited);
  }
}

absl::Status Party::Restore() {
  const device::Enrolment& kept = enrolment();
  if (!kept.exchange.empty()) {
    ASSIGN_OR_RETURN(exchange_, sas::Exchange::RestoreState(kept.exchange));
    instance_ = kept.instance;
    return absl::OkStatus();
  }
  if (!kept.attempts.unseen) return absl::OkStatus();
  const AttemptEnd end = {kept.attempts.last,
                          Error(absl::StatusCode::kFailedPrecondition, sas::kStopped,
                                "the last attempt broke off between the exchange of keys and the comparison of codes"),
                          /*suspected=*/true,
                          /*person_decides=*/true,
                          kept.attempts.suspected,
                          !kept.attempts.locked()};
  ASSIGN_OR_RETURN(const bool go_on, options_.person->OnAttemptEnded(end));
  if (!go_on || !end.may_go_on) return end.why;
  return UpdateAttempts([](sas::Attempts* attempts) { attempts->Acknowledge(); });
}

absl::Status Party::RunStream() {
  stream_broke_ = false;
  interruption_.reset();
  RETURN_IF_ERROR(options_.relay->Open());
  SayHello();
  if (exchange_.has_value()) {
    // Messages of step 0 may cross: the commitment answers the greeter, and does not prove that the claimer was heard.
    if (role_ == sas::Role::kClaimer && exchange_->step() == 2) SendMessage(opening_);
    SendMessage(exchange_->last_sent());
    RETURN_IF_ERROR(Advance());
  }
  while (!finished_) {
    const bool last_word = exchange_.has_value() && exchange_->next() == sas::Next::kDone;
    const absl::Time until = last_word ? absl::Now() + kCompletion : absl::InfiniteFuture();
    ASSIGN_OR_RETURN(const std::optional<v1::ExchangeResponse> response, Await(until, /*may_cancel=*/true));
    if (!response.has_value()) {
      return Error(absl::StatusCode::kDeadlineExceeded, "UNACKNOWLEDGED",
                   "this device is enrolled, but the enrolment service does not say that the other side was told; run "
                   "the same command once more");
    }
    give_up_at_ = absl::InfiniteFuture();
    backoff_.Reset();
    RETURN_IF_ERROR(Handle(*response));
  }
  return absl::OkStatus();
}

absl::Status Party::Reconnect(const absl::Status& why) {
  const absl::Time now = options_.clock->Now();
  if (give_up_at_ == absl::InfiniteFuture()) give_up_at_ = now + options_.reconnect_for;
  if (now >= give_up_at_) return why;
  options_.person->OnDisconnected(why, give_up_at_);
  return WaitBeforeRetry();
}

absl::Status Party::WaitBeforeRetry() { return WaitFor(-1, options_.cancel_fd, backoff_.Next()); }

absl::Status Party::Refused(const absl::Status& why) {
  const std::string reason = Reason(why);
  // A claimer's key dies with its invitation.
  over_ = absl::StartsWith(reason, "INVITATION_") || (role_ == sas::Role::kClaimer && reason == "KEY_REFUSED");
  if (!exchange_.has_value()) return why;
  if (exchange_->next() == sas::Next::kDone) return Finish();
  exchange_->Stop(why.message()).IgnoreError();
  return AttemptOver(why, /*may_go_on=*/false);
}

absl::Status Party::GiveUp(absl::Status why) {
  if (!exchange_.has_value() || exchange_->confirmed()) return why;
  ReportStop(why);
  const absl::Status counted = AttemptOver(why, /*may_go_on=*/false);
  return counted.ok() ? why : counted;
}

void Party::SayHello() {
  v1::ExchangeRequest request;
  v1::Hello& hello = *request.mutable_hello();
  hello.set_invitation(name_);
  hello.set_instance(instance_);
  if (exchange_.has_value()) {
    hello.set_attempt(exchange_->context().attempt);
    // The other side's next: of this step, or, when this side speaks at it, of the one after.
    const bool awaited = exchange_->next() == sas::Next::kMessage;
    int step = awaited ? exchange_->step() : exchange_->step() + 1;
    if (exchange_->next() == sas::Next::kChoice) step = role_ == sas::Role::kGreeter ? 4 : 5;
    hello.set_step(static_cast<uint32_t>(std::min(step, sas::kLastStep)));
  }
  options_.relay->Send(request);
}

void Party::SendMessage(const std::string& message) {
  v1::ExchangeRequest request;
  request.mutable_message()->set_attempt(exchange_->context().attempt);
  request.mutable_message()->set_message(message);
  options_.relay->Send(request);
}

absl::StatusOr<std::optional<v1::ExchangeResponse>> Party::TakeNext() {
  // What interrupted a question came before all that the relay still has, and nothing behind it may be lost.
  return interruption_.has_value() ? *std::exchange(interruption_, std::nullopt) : options_.relay->Take();
}

absl::StatusOr<std::optional<v1::ExchangeResponse>> Party::Await(absl::Time until, bool may_cancel) {
  while (true) {
    const absl::StatusOr<std::optional<v1::ExchangeResponse>> taken = TakeNext();
    stream_broke_ = !taken.ok();
    if (!taken.ok() || taken->has_value()) return taken;
    const absl::Duration left = until - absl::Now();
    if (left <= absl::ZeroDuration()) return std::optional<v1::ExchangeResponse>();
    RETURN_IF_ERROR(WaitFor(options_.relay->fd(), may_cancel ? options_.cancel_fd : -1, left));
  }
}

// --- The relay speaks -----------------------------------------------------------------------------------------------

absl::Status Party::Handle(const v1::ExchangeResponse& response) {
  switch (response.response_case()) {
    case v1::ExchangeResponse::kState:
      return OnState(response.state());
    case v1::ExchangeResponse::kMessage:
      return OnMessage(response.message());
    case v1::ExchangeResponse::kEnded:
      return OnEnded(response.ended());
    case v1::ExchangeResponse::RESPONSE_NOT_SET:
      return absl::OkStatus();  // It is of a newer service, which may have more to say than this client knows.
  }
  return absl::OkStatus();
}

absl::Status Party::OnState(const v1::State& state) {
  if (state.phase() == v1::State::PHASE_WAITING) {
    if (!exchange_.has_value()) options_.person->OnPresence(Presence::kWaiting);
    return absl::OkStatus();
  }
  if (state.phase() != v1::State::PHASE_EXCHANGING) return absl::OkStatus();
  if (!exchange_.has_value()) return Begin(state.attempt());
  if (state.attempt() != exchange_->context().attempt) {
    return Stop(Error(absl::StatusCode::kFailedPrecondition, sas::kOtherAttempt,
                      "the enrolment service began another attempt in the middle of one"));
  }
  options_.person->OnPresence(state.peer_connected() ? Presence::kPresent : Presence::kAway);
  return absl::OkStatus();
}

absl::Status Party::Begin(uint32_t attempt) {
  RETURN_IF_ERROR(UpdateEnrolment(
      [attempt](device::Contents*, device::Enrolment* enrolment) { return enrolment->attempts.Begin(attempt); }));
  counted_ = false;
  const sas::Context context = {options_.device->contents().organisation, options_.invitation, attempt,
                                enrolment().kind};
  ASSIGN_OR_RETURN(exchange_, sas::Exchange::Begin(role_, context));
  options_.person->OnPresence(Presence::kPresent);
  options_.person->OnAttempt(attempt);
  opening_ = exchange_->last_sent();
  SendMessage(opening_);
  return absl::OkStatus();
}

absl::Status Party::OnMessage(const v1::Message& message) {
  if (!exchange_.has_value() || message.attempt() != exchange_->context().attempt ||
      exchange_->next() == sas::Next::kDone) {
    return absl::OkStatus();
  }
  if (exchange_->next() == sas::Next::kMessage && exchange_->step() == NonceStep(role_)) {
    RETURN_IF_ERROR(CountBeforeNonce());
  }
  const bool was_confirmed = exchange_->confirmed();
  const absl::StatusOr<std::string> reply = exchange_->Receive(message.message());
  if (!reply.ok()) return Reason(reply.status()) == sas::kReplayed ? absl::OkStatus() : Stop(reply.status());
  RETURN_IF_ERROR(StoreState());
  if (!reply->empty()) SendMessage(*reply);
  if (exchange_->confirmed() && !was_confirmed) options_.person->OnConfirmed();
  return Advance();
}

absl::Status Party::OnEnded(const v1::Ended& ended) {
  over_ = ended.over();
  if (!exchange_.has_value()) return over_ ? EndedStatus(ended) : absl::OkStatus();
  if (ended.attempt() != exchange_->context().attempt) {
    return over_ ? Stop(EndedStatus(ended)) : absl::OkStatus();
  }
  // Step 8 was sent, or got to the greeter in an earlier run.
  const bool completed = ended.reason() == "INVITATION_COMPLETED";
  if (exchange_->next() == sas::Next::kDone || (completed && role_ == sas::Role::kGreeter && exchange_->step() == 8)) {
    return completed ? Finish() : EndedStatus(ended);
  }
  exchange_->Stop(ended.sentence()).IgnoreError();
  relay_suspects_ = ended.suspected();
  v1::ExchangeRequest request;
  v1::Stop& stop = *request.mutable_stop();
  stop.set_attempt(ended.attempt());
  stop.set_reason(std::string(sas::kStopped));
  stop.set_suspected(exchange_->suspected());
  options_.relay->Send(request);
  return AttemptOver(EndedStatus(ended), /*may_go_on=*/!over_);
}

// --- This side's part -----------------------------------------------------------------------------------------------

absl::Status Party::Advance() {
  while (exchange_.has_value() && !finished_ && !interruption_.has_value()) {
    switch (exchange_->next()) {
      case sas::Next::kChoice:
        RETURN_IF_ERROR(Choose());
        break;
      case sas::Next::kPayload:
        RETURN_IF_ERROR(SendPayload());
        break;
      case sas::Next::kDone:
        return role_ == sas::Role::kGreeter ? Finish() : absl::OkStatus();
      case sas::Next::kMessage:
      case sas::Next::kEnded:
        return absl::OkStatus();
    }
  }
  return absl::OkStatus();
}

absl::Status Party::Choose() {
  person_decides_ = true;
  if (exchange_->own_code() != nullptr) options_.person->OnReadAloud(*exchange_->own_code());
  const auto question_stands = [this] {
    absl::StatusOr<std::optional<v1::ExchangeResponse>> taken = options_.relay->Take();
    if (taken.ok() && !taken->has_value()) return true;
    if (taken.ok() && (*taken)->has_state() && (*taken)->state().attempt() == exchange_->context().attempt) {
      options_.person->OnPresence((*taken)->state().peer_connected() ? Presence::kPresent : Presence::kAway);
      return true;
    }
    // The same bytes again, of which the person need not know; any other message ends the exchange now.
    if (taken.ok() && (*taken)->has_message() &&
        ((*taken)->message().attempt() != exchange_->context().attempt ||
         Reason(exchange_->Receive((*taken)->message().message()).status()) == sas::kReplayed)) {
      return true;
    }
    interruption_ = std::move(taken);
    return false;
  };
  const absl::StatusOr<std::optional<size_t>> choice =
      options_.person->Choose(exchange_->choices(), {options_.relay->fd(), question_stands});
  if (interruption_.has_value()) return absl::OkStatus();
  RETURN_IF_ERROR(choice.status());
  const absl::StatusOr<std::string> reply = exchange_->Pick(*choice);
  if (!reply.ok()) return Stop(reply.status());
  if (!reply->empty()) SendMessage(*reply);
  if (role_ == sas::Role::kGreeter && exchange_->own_code() != nullptr) {
    options_.person->OnReadAloud(*exchange_->own_code());
  }
  return absl::OkStatus();
}

absl::Status Party::SendPayload() {
  const absl::Time give_up_at = options_.clock->Now() + options_.reconnect_for;
  absl::StatusOr<Secret> payload = MakePayload(exchange_->step(), exchange_->payload());
  while (!payload.ok() && MayPass(payload.status()) && options_.clock->Now() < give_up_at) {
    options_.person->OnDisconnected(payload.status(), give_up_at);
    RETURN_IF_ERROR(WaitBeforeRetry());
    payload = MakePayload(exchange_->step(), exchange_->payload());
  }
  // The state is kept, so that another run goes on from here.
  if (!payload.ok()) return MayPass(payload.status()) ? payload.status() : Stop(payload.status());
  backoff_.Reset();
  ASSIGN_OR_RETURN(const std::string message, exchange_->SendPayload(*payload));
  RETURN_IF_ERROR(StoreState());
  SendMessage(message);
  return absl::OkStatus();
}

// The claimer knows that step 8 has arrived, or the greeter has it.
absl::Status Party::Finish() {
  const uint32_t attempt = exchange_->context().attempt;
  RETURN_IF_ERROR(options_.device->Update([this](device::Contents* contents) {
    contents->enrolments.erase(name_);
    return absl::OkStatus();
  }));
  finished_ = over_ = true;
  if (role_ == sas::Role::kClaimer) return absl::OkStatus();
  v1::ExchangeRequest request;
  request.mutable_done()->set_attempt(attempt);
  options_.relay->Send(request);
  // Until it has taken that; what it says does not matter any more, and it wipes by itself after a while.
  const absl::Time until = absl::Now() + kLastWord;
  while (true) {
    const auto response = Await(until, /*may_cancel=*/false);
    if (!response.ok() || !response->has_value() || (*response)->has_ended()) return absl::OkStatus();
  }
}

// --- What is remembered ---------------------------------------------------------------------------------------------

absl::Status Party::CountBeforeNonce() {
  if (counted_) return absl::OkStatus();
  counted_ = true;
  return UpdateAttempts([](sas::Attempts* attempts) { attempts->Suspect(); });
}

absl::Status Party::StoreState() {
  if (!exchange_->confirmed()) return absl::OkStatus();
  return UpdateEnrolment([this](device::Contents*, device::Enrolment* enrolment) -> absl::Status {
    ASSIGN_OR_RETURN(enrolment->exchange, exchange_->SaveState());
    enrolment->instance = instance_;
    if (!counted_) return absl::OkStatus();
    counted_ = false;
    TakeBack(&enrolment->attempts);
    return absl::OkStatus();
  });
}

void Party::ReportStop(const absl::Status& why) {
  exchange_->Stop(why.message()).IgnoreError();
  v1::ExchangeRequest request;
  v1::Stop& stop = *request.mutable_stop();
  stop.set_attempt(exchange_->context().attempt);
  const std::string reason = Reason(why);
  stop.set_reason(reason.empty() || reason == "CANCELLED" ? std::string(sas::kStopped) : reason);
  stop.set_sentence(Shortened(why.message()));
  stop.set_suspected(exchange_->suspected());
  options_.relay->Send(request);
  const absl::Time until = absl::Now() + kLastWord;
  while (true) {
    const auto response = Await(until, /*may_cancel=*/false);
    if (!response.ok() || !response->has_value()) return;
    if (!(*response)->has_ended() || (*response)->ended().attempt() != stop.attempt()) continue;
    over_ = (*response)->ended().over();
    relay_suspects_ = (*response)->ended().suspected();
    return;
  }
}

absl::Status Party::Stop(const absl::Status& why) {
  person_decides_ = true;
  ReportStop(why);
  const bool broke = stream_broke_;
  RETURN_IF_ERROR(AttemptOver(why, /*may_go_on=*/!over_));
  if (!broke) return absl::OkStatus();
  stream_broke_ = true;
  return Error(absl::StatusCode::kUnavailable, "STREAM_ENDED", "the connection to the enrolment service broke");
}

absl::Status Party::AttemptOver(const absl::Status& why, bool may_go_on) {
  const bool relay_suspects = std::exchange(relay_suspects_, false);
  const bool suspected = exchange_->suspected() || relay_suspects;
  const uint32_t attempt = exchange_->context().attempt;
  const bool was_counted = std::exchange(counted_, false);
  exchange_.reset();
  stream_broke_ = false;
  instance_ = crypto::RandomBytes(kInstanceBytes);
  RETURN_IF_ERROR(UpdateEnrolment([&](device::Contents*, device::Enrolment* enrolment) {
    enrolment->exchange = Secret();
    enrolment->instance.clear();
    if (suspected && !was_counted) enrolment->attempts.Suspect();
    if (!suspected && was_counted) TakeBack(&enrolment->attempts);
    return absl::OkStatus();
  }));
  const sas::Attempts attempts = enrolment().attempts;
  const bool person_decides = std::exchange(person_decides_, false) || suspected || ++quiet_ends_ > kMostQuietEnds;
  const AttemptEnd end = {attempt, why, suspected, person_decides, attempts.suspected, may_go_on && !attempts.locked()};
  ASSIGN_OR_RETURN(const bool go_on, options_.person->OnAttemptEnded(end));
  if (!go_on || !end.may_go_on) return why;
  RETURN_IF_ERROR(UpdateAttempts([](sas::Attempts* attempts) { attempts->Acknowledge(); }));
  SayHello();
  return absl::OkStatus();
}

}  // namespace parley::enrol
