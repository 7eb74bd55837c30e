#include "services/enrolld/domain/exchange_rules.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "lib/base/proto_time.h"
#include "lib/sas/attempts.h"
#include "lib/sas/reason.h"
#include "services/enrolld/domain/names.h"
#include "services/enrolld/domain/validation.h"

namespace parley::enrolld {
namespace {

using enrol::v1::Ended;
using enrol::v1::ExchangeResponse;
using enrol::v1::Invitation;
using sas::Role;

constexpr int kNonceStep = 2;
constexpr int kConfirmStep = 5;
constexpr int kPeopleStep = 4;
constexpr int kSpendingStep = 7;

absl::string_view RoleNoun(Role role) { return role == Role::kGreeter ? "greeter" : "claimer"; }

absl::Status Replaced() {
  return Error(absl::StatusCode::kAborted, "STREAM_REPLACED", "the same participant has connected on another stream");
}

absl::Status Busy(Role role, absl::string_view actor) {
  if (role == Role::kGreeter) {
    return Error(absl::StatusCode::kFailedPrecondition, "GREETER_BUSY",
                 absl::StrCat(actor, " is greeting this newcomer; wait until that has ended"));
  }
  return Error(absl::StatusCode::kFailedPrecondition, "CLAIMER_BUSY",
               "another device is claiming this invitation and has compared its codes; wait until that has ended");
}

absl::Status AttemptUnknown(uint32_t attempt) {
  return Error(absl::StatusCode::kInvalidArgument, "ATTEMPT_UNKNOWN",
               absl::StrCat("there was no attempt ", attempt, " of this invitation"));
}

ExchangeResponse EndedResponse(Ended ended) {
  ExchangeResponse response;
  *response.mutable_ended() = std::move(ended);
  return response;
}

ExchangeResponse MessageResponse(uint32_t attempt, const std::string& message) {
  ExchangeResponse response;
  response.mutable_message()->set_attempt(attempt);
  response.mutable_message()->set_message(message);
  return response;
}

}  // namespace

ExchangeRules::ExchangeRules(std::string organisation, const Leases& leases, InvitationRecord record, Steps steps,
                             absl::Time now, std::optional<Places> places)
    : organisation_(std::move(organisation)),
      leases_(leases),
      loaded_(now),
      record_(std::move(record)),
      steps_(std::move(steps)),
      places_(places.has_value() ? *std::move(places) : Places{.greeter = {0, now}, .claimer = {0, now}}) {}

std::string ExchangeRules::id() const { return InvitationId(record_.invitation()); }

const Party& ExchangeRules::PartyOf(Role role) const {
  return role == Role::kGreeter ? record_.attempt().greeter() : record_.attempt().claimer();
}

std::optional<Role> ExchangeRules::RoleInAttempt(StreamId stream) const {
  if (places_.greeter.stream == stream) return Role::kGreeter;
  if (places_.claimer.stream == stream) return Role::kClaimer;
  return std::nullopt;
}

int ExchangeRules::OpenStep() const {
  if (!Has(0, Role::kGreeter) || !Has(0, Role::kClaimer)) return 0;
  for (int step = 1; step <= sas::kLastStep; ++step) {
    const Role speaker = sas::SpeaksAt(Role::kGreeter, step) ? Role::kGreeter : Role::kClaimer;
    if (!Has(step, speaker)) return step;
  }
  return sas::kLastStep + 1;
}

absl::Time ExchangeRules::StepDeadline() const {
  // After a restart every wait has its whole time again.
  absl::Time since = std::max(loaded_, ToTime(record_.attempt().begin_time()));
  for (const auto& [slot, step] : steps_) since = std::max(since, ToTime(step.time()));
  return since + (OpenStep() == kPeopleStep ? leases_.people : leases_.machine);
}

absl::Time ExchangeRules::Deadline() const {
  absl::Time deadline = absl::InfiniteFuture();
  const auto at = [&deadline](absl::Time time) { deadline = std::min(deadline, time); };
  if (pending()) at(ToTime(record_.invitation().expire_time()));
  for (const Place* const place : {&places_.greeter_waits, &places_.claimer_waits}) {
    if (place->stream != 0) at(place->since + leases_.waiting);
  }
  if (exchanging()) {
    at(StepDeadline());
    for (const Place* const side : {&places_.greeter, &places_.claimer}) {
      if (side->stream == 0) at(side->since + leases_.away);
    }
  } else if (record_.has_attempt()) {
    at(ToTime(record_.invitation().end_time()) + leases_.done);
  }
  return deadline;
}

Invitation ExchangeRules::Show() const {
  Invitation shown = record_.invitation();
  shown.set_claimer_waiting(places_.claimer_waits.stream != 0);
  if (places_.greeter_waits.stream != 0) shown.set_greeter(places_.greeter_waits.party.actor());
  if (exchanging()) shown.set_greeter(record_.attempt().greeter().actor());
  return shown;
}

bool ExchangeRules::Suspects(uint32_t attempt) const {
  return std::find(record_.suspected().begin(), record_.suspected().end(), attempt) != record_.suspected().end();
}

bool ExchangeRules::Suspect(uint32_t attempt) {
  if (Suspects(attempt)) return false;
  record_.add_suspected(attempt);
  record_.mutable_invitation()->set_suspected_attempts(static_cast<uint32_t>(record_.suspected_size()));
  return true;
}

void ExchangeRules::StopWaiting(StreamId stream) {
  for (Place* const place : {&places_.greeter_waits, &places_.claimer_waits}) {
    if (place->stream == stream) *place = Place();
  }
}

// --- Who comes ------------------------------------------------------------------------------------------------------

Effects ExchangeRules::Hello(StreamId stream, const CallingParty& who, const enrol::v1::Hello& hello, absl::Time now) {
  Effects effects;
  StopWaiting(stream);
  if (const absl::Status status = ValidateHello(hello); !status.ok()) {
    effects.refuse.emplace_back(stream, status);
  } else if (hello.attempt() > 0) {
    Resume(stream, who, hello, &effects);
  } else if (!pending()) {
    effects.refuse.emplace_back(stream, EndedError(record_.invitation()));
  } else if (MakeWay(stream, who, hello, now, &effects)) {
    Wait(stream, who, hello, now, &effects);
  }
  return effects;
}

// A side comes back with its state.
void ExchangeRules::Resume(StreamId stream, const CallingParty& who, const enrol::v1::Hello& hello, Effects* effects) {
  if (hello.attempt() > record_.invitation().attempts()) {
    effects->refuse.emplace_back(stream, AttemptUnknown(hello.attempt()));
    return;
  }
  const bool current = record_.has_attempt() && record_.attempt().number() == hello.attempt();
  if (!current || (!pending() && who.role == Role::kClaimer)) {
    effects->tell.emplace_back(stream, EndedResponse(EndedNow(hello.attempt())));
  } else if (PartyOf(who.role).instance() != hello.instance() || PartyOf(who.role).actor() != who.actor) {
    effects->refuse.emplace_back(stream, Busy(who.role, PartyOf(who.role).actor()));
  } else {
    Attach(stream, who.role, static_cast<int>(hello.step()), effects);
  }
}

void ExchangeRules::Attach(StreamId stream, Role role, int from_step, Effects* effects) {
  const StreamId before = SideOf(role).stream;
  if (before != 0 && before != stream) effects->refuse.emplace_back(before, Replaced());
  SideOf(role).stream = stream;
  TellState(role, effects);
  for (const auto& [slot, step] : steps_) {
    if (slot.sender == role || slot.step < from_step) continue;
    effects->tell.emplace_back(stream, MessageResponse(record_.attempt().number(), step.message()));
  }
  if (before == 0) TellState(sas::Other(role), effects);
}

// Ends the attempt that is going on where a newcomer may do that; false when the newcomer was refused.
bool ExchangeRules::MakeWay(StreamId stream, const CallingParty& who, const enrol::v1::Hello& hello, absl::Time now,
                            Effects* effects) {
  if (!exchanging()) return true;
  Place& side = SideOf(who.role);
  const Party& party = PartyOf(who.role);
  const bool same = party.instance() == hello.instance() || side.stream == stream;
  // The greeter's key is its own, so it is known again. All claimers have the same.
  const bool came_back = who.role == Role::kGreeter && side.stream == 0 && party.actor() == who.actor;
  Ending ending{.actor = who.actor};
  if (same || came_back) {
    if (side.stream != 0 && side.stream != stream) effects->refuse.emplace_back(side.stream, Replaced());
    side.stream = 0;
    ending.reason = "PEER_LOST_STATE";
    ending.sentence = absl::StrCat("the ", RoleNoun(who.role), " lost its state and begins anew");
  } else if (who.role == Role::kClaimer && !Has(kConfirmStep, Role::kGreeter)) {
    ending.reason = "SECOND_CLAIMER";
    ending.sentence = "a second device claimed this invitation; find out who else has the link before you go on";
  } else {
    effects->refuse.emplace_back(stream, Busy(who.role, party.actor()));
    return false;
  }
  EndAttempt(std::move(ending), now, effects);
  if (pending()) return true;
  effects->refuse.emplace_back(stream, EndedError(record_.invitation()));
  return false;
}

void ExchangeRules::Wait(StreamId stream, const CallingParty& who, const enrol::v1::Hello& hello, absl::Time now,
                         Effects* effects) {
  Place& place = WaitingOf(who.role);
  if (place.stream != 0) {
    const bool same = place.party.instance() == hello.instance();
    if (!same && who.role == Role::kGreeter) {
      effects->refuse.emplace_back(stream, Busy(who.role, place.party.actor()));
      return;
    }
    // The newest claimer waits: an older one may be gone.
    effects->refuse.emplace_back(
        place.stream, same ? Replaced()
                           : Error(absl::StatusCode::kAborted, "CLAIMER_REPLACED",
                                   "another device claims this invitation now; is the link in the right hands?"));
  }
  place.stream = stream;
  place.since = now;
  place.party.set_actor(who.actor);
  place.party.set_instance(hello.instance());
  if (places_.greeter_waits.stream != 0 && places_.claimer_waits.stream != 0) return BeginAttempt(now, effects);
  ExchangeResponse response;
  response.mutable_state()->set_phase(enrol::v1::State::PHASE_WAITING);
  effects->tell.emplace_back(stream, std::move(response));
}

void ExchangeRules::BeginAttempt(absl::Time now, Effects* effects) {
  Wipe(effects);
  const uint32_t number = record_.invitation().attempts() + 1;
  record_.mutable_invitation()->set_attempts(number);
  AttemptRecord& attempt = *record_.mutable_attempt();
  attempt.set_number(number);
  *attempt.mutable_begin_time() = ToProto(now);
  *attempt.mutable_greeter() = places_.greeter_waits.party;
  *attempt.mutable_claimer() = places_.claimer_waits.party;
  places_.greeter.stream = places_.greeter_waits.stream;
  places_.claimer.stream = places_.claimer_waits.stream;
  places_.greeter_waits = places_.claimer_waits = Place();
  effects->events.push_back(
      {attempt.greeter().actor(), "enrolment.attempt_begun", "ok", absl::StrCat("attempt ", number)});
  TellState(Role::kGreeter, effects);
  TellState(Role::kClaimer, effects);
}

void ExchangeRules::TellState(Role role, Effects* effects) const {
  const StreamId stream = role == Role::kGreeter ? places_.greeter.stream : places_.claimer.stream;
  if (stream != 0) effects->tell.emplace_back(stream, StateOf(role));
}

ExchangeResponse ExchangeRules::StateOf(Role role) const {
  const Place& peer = role == Role::kGreeter ? places_.claimer : places_.greeter;
  ExchangeResponse response;
  response.mutable_state()->set_phase(enrol::v1::State::PHASE_EXCHANGING);
  response.mutable_state()->set_attempt(record_.attempt().number());
  response.mutable_state()->set_peer_connected(peer.stream != 0);
  return response;
}

std::optional<ExchangeResponse> ExchangeRules::StateFor(StreamId stream) const {
  const std::optional<Role> role = RoleInAttempt(stream);
  if (!role.has_value() || !exchanging()) return std::nullopt;
  return StateOf(*role);
}

// --- What they say --------------------------------------------------------------------------------------------------

Effects ExchangeRules::TakeMessage(StreamId stream, const enrol::v1::Message& message, absl::Time now) {
  Effects effects;
  const std::optional<Role> role = RoleInAttempt(stream);
  // The message is of an attempt that ended while it was on its way.
  if (!role.has_value() || !exchanging() || message.attempt() < record_.attempt().number()) return effects;
  const sas::Context context = {organisation_, id(), record_.attempt().number(),
                                static_cast<sas::Kind>(record_.invitation().kind())};
  const absl::StatusOr<sas::Message> read = sas::ReadMessage(context, message.message());
  std::string reason = Reason(read.status());
  if (read.ok()) {
    const auto taken = steps_.find({read->step, *role});
    if (read->sender != *role) {
      reason = std::string(sas::kWrongRole);
    } else if (taken != steps_.end()) {
      if (taken->second.message() == message.message()) return effects;
      reason = std::string(sas::kChanged);
    } else if (read->step == OpenStep()) {
      AcceptMessage(*role, read->step, message.message(), now, &effects);
      return effects;
    } else {
      reason = std::string(sas::kWrongStep);
    }
  }
  const std::string sentence =
      absl::StrCat("a message of the ", RoleNoun(*role), " is not one that the exchange allows now (", reason, ")");
  EndAttempt({"MESSAGE_REFUSED", reason, sentence, sas::SuspectsAttack(reason), PartyOf(*role).actor()}, now, &effects);
  return effects;
}

void ExchangeRules::AcceptMessage(Role role, int step, const std::string& message, absl::Time now, Effects* effects) {
  StepRecord& record = steps_[{step, role}];
  record.set_message(message);
  *record.mutable_time() = ToProto(now);
  effects->taken.push_back({step, role});
  if (const StreamId peer = SideOf(sas::Other(role)).stream; peer != 0) {
    effects->tell.emplace_back(peer, MessageResponse(record_.attempt().number(), message));
  }
  if (step == sas::kLastStep) Complete(now, effects);
}

void ExchangeRules::Complete(absl::Time now, Effects* effects) {
  // Step 8 stays until the greeter has it.
  effects->wipe = true;
  steps_.erase(steps_.begin(), std::prev(steps_.end()));
  EndState(Invitation::STATE_COMPLETED, record_.attempt().claimer().actor(), "the newcomer is enrolled", now, effects);
  if (places_.claimer.stream == 0) return;
  effects->tell.emplace_back(places_.claimer.stream, EndedResponse(EndedNow(record_.attempt().number())));
  places_.claimer.stream = 0;
}

Effects ExchangeRules::Done(StreamId stream, const enrol::v1::Done& done) {
  Effects effects;
  if (done.attempt() > record_.invitation().attempts()) {
    effects.refuse.emplace_back(stream, AttemptUnknown(done.attempt()));
    return effects;
  }
  if (RoleInAttempt(stream) == Role::kGreeter) {
    if (pending()) {
      effects.refuse.emplace_back(stream, Error(absl::StatusCode::kFailedPrecondition, "STEP_8_MISSING",
                                                "the newcomer has not acknowledged its credentials yet"));
      return effects;
    }
    places_.greeter.stream = 0;
    record_.clear_attempt();
    Wipe(&effects);
  }
  effects.tell.emplace_back(stream, EndedResponse(EndedNow(done.attempt())));
  return effects;
}

Effects ExchangeRules::Stop(StreamId stream, const CallingParty& who, const enrol::v1::Stop& stop, absl::Time now) {
  Effects effects;
  absl::Status status = ValidateStop(stop);
  if (status.ok() && stop.attempt() > record_.invitation().attempts()) status = AttemptUnknown(stop.attempt());
  if (!status.ok()) {
    effects.refuse.emplace_back(stream, status);
    return effects;
  }
  StopWaiting(stream);
  if (stop.attempt() == 0) return effects;
  effects.events.push_back({who.actor, "enrolment.side_ended", stop.reason(),
                            absl::StrCat("attempt ", stop.attempt(), " at the ", RoleNoun(who.role),
                                         stop.suspected() ? ", suspected attack" : "")});
  if (exchanging() && RoleInAttempt(stream).has_value() && stop.attempt() == record_.attempt().number()) {
    const std::string sentence =
        stop.sentence().empty() ? absl::StrCat("the other side stopped (", stop.reason(), ")") : stop.sentence();
    EndAttempt({"PEER_STOPPED", stop.reason(), sentence, stop.suspected(), who.actor, stream}, now, &effects);
  } else if (stop.suspected() && record_.invitation().state() != Invitation::STATE_COMPLETED &&
             Suspect(stop.attempt())) {
    effects.record_changed = true;
    if (pending() && LockDue()) {
      EndInvitation(Invitation::STATE_LOCKED, who.actor, kLockedSentence, now, &effects);
    }
  }
  return effects;
}

// --- Ends -----------------------------------------------------------------------------------------------------------

Effects ExchangeRules::Gone(StreamId stream, absl::Time now) {
  Effects effects;
  StopWaiting(stream);
  const std::optional<Role> role = RoleInAttempt(stream);
  if (!role.has_value()) return effects;
  SideOf(*role) = {0, now};
  if (exchanging()) TellState(sas::Other(*role), &effects);
  return effects;
}

Effects ExchangeRules::AdvanceTime(absl::Time now) {
  Effects effects;
  if (pending() && now >= ToTime(record_.invitation().expire_time())) {
    EndInvitation(Invitation::STATE_EXPIRED, "", "nobody was enrolled with it in its time", now, &effects);
    return effects;
  }
  for (Place* const place : {&places_.greeter_waits, &places_.claimer_waits}) {
    if (place->stream == 0 || now < place->since + leases_.waiting) continue;
    effects.refuse.emplace_back(
        place->stream, Error(absl::StatusCode::kAborted, "WAIT_OVER",
                             "the other side did not come in the time allowed; agree when to meet and try again"));
    *place = Place();
  }
  if (!exchanging()) {
    if (!record_.has_attempt() || now < ToTime(record_.invitation().end_time()) + leases_.done) return effects;
    record_.clear_attempt();
    places_.greeter.stream = 0;
    Wipe(&effects);
    return effects;
  }
  Ending ending;
  if (now >= StepDeadline()) {
    ending.reason = "OUT_OF_TIME";
    ending.sentence = absl::StrCat("the next step (", OpenStep(), ") did not come in the time allowed");
  } else {
    for (const Role role : {Role::kGreeter, Role::kClaimer}) {
      const Place& side = SideOf(role);
      if (side.stream != 0 || now < side.since + leases_.away) continue;
      ending.reason = "PEER_AWAY";
      ending.sentence = absl::StrCat("the ", RoleNoun(role), " was disconnected for too long");
    }
  }
  if (!ending.reason.empty()) EndAttempt(std::move(ending), now, &effects);
  return effects;
}

absl::StatusOr<Effects> ExchangeRules::Cancel(absl::string_view actor, absl::string_view reason, absl::Time now) {
  Effects effects;
  if (record_.invitation().state() == Invitation::STATE_CANCELED) return effects;
  if (!pending()) return EndedError(record_.invitation());
  EndInvitation(Invitation::STATE_CANCELED, actor, reason.empty() ? "its inviter took it back" : reason, now, &effects);
  return effects;
}

bool ExchangeRules::LockDue() const {
  return record_.suspected_size() >= static_cast<int>(sas::Attempts::kMaxSuspected);
}

void ExchangeRules::EndAttempt(Ending ending, absl::Time now, Effects* effects) {
  const uint32_t number = record_.attempt().number();
  // After the nonces a relay in the middle knows whether it would be found out: whatever ends the attempt then may be
  // its way out.
  const bool nonce_out = Has(kNonceStep, Role::kGreeter) && !Has(kConfirmStep, Role::kGreeter);
  const bool suspected = (ending.suspected || nonce_out) && Suspect(number);
  // From step 7 on the newcomer may hold its credentials.
  const bool spent = Has(kSpendingStep, Role::kGreeter);
  AttemptEnd& end = *record_.mutable_last_end();
  end.set_attempt(number);
  end.set_reason(ending.reason);
  end.set_peer_reason(ending.peer_reason);
  end.set_sentence(ending.sentence);
  record_.clear_attempt();
  Wipe(effects);
  effects->events.push_back(
      {ending.actor, "enrolment.attempt_ended", ending.reason,
       absl::StrCat("attempt ", number, ": ", ending.sentence, ending.peer_reason.empty() ? "" : " ",
                    ending.peer_reason, suspected ? "; suspected attack" : "")});
  if (spent) {
    EndState(Invitation::STATE_CLOSED, ending.actor,
             "the newcomer may be enrolled: it got its credentials, and never "
             "acknowledged them",
             now, effects);
  } else if (LockDue()) {
    EndState(Invitation::STATE_LOCKED, ending.actor, kLockedSentence, now, effects);
  }
  for (Place* const side : {&places_.greeter, &places_.claimer}) {
    if (side->stream == 0) continue;
    Ended ended = EndedNow(number);
    if (side->stream == ending.stopped_by) ended.set_reason("STOPPED");
    effects->tell.emplace_back(side->stream, EndedResponse(std::move(ended)));
    side->stream = 0;
  }
}

void ExchangeRules::EndInvitation(Invitation::State state, absl::string_view actor, absl::string_view sentence,
                                  absl::Time now, Effects* effects) {
  if (exchanging()) {
    // The state first, so that both sides hear of it; unless the attempt had gone too far.
    if (!Has(kSpendingStep, Role::kGreeter)) EndState(state, actor, sentence, now, effects);
    EndAttempt({.reason = StateReason(state), .sentence = std::string(sentence), .actor = std::string(actor)}, now,
               effects);
  }
  if (pending()) EndState(state, actor, sentence, now, effects);
  for (Place* const place : {&places_.greeter_waits, &places_.claimer_waits}) {
    if (place->stream == 0) continue;
    effects->tell.emplace_back(place->stream, EndedResponse(EndedNow(0)));
    *place = Place();
  }
}

void ExchangeRules::EndState(Invitation::State state, absl::string_view actor, absl::string_view sentence,
                             absl::Time now, Effects* effects) {
  Invitation& invitation = *record_.mutable_invitation();
  if (invitation.state() != Invitation::STATE_PENDING) return;
  invitation.set_state(state);
  *invitation.mutable_end_time() = ToProto(now);
  invitation.set_end_sentence(std::string(sentence));
  effects->record_changed = true;
  effects->events.push_back(
      {std::string(actor), absl::StrCat("invitation.", StateNoun(state)), "ok", std::string(sentence)});
}

void ExchangeRules::Wipe(Effects* effects) {
  steps_.clear();
  effects->wipe = true;
  effects->record_changed = true;
}

Ended ExchangeRules::EndedNow(uint32_t attempt) const {
  const Invitation& invitation = record_.invitation();
  Ended ended;
  ended.set_attempt(attempt);
  if (attempt != 0 && record_.last_end().attempt() == attempt) {
    ended.set_reason(record_.last_end().reason());
    ended.set_peer_reason(record_.last_end().peer_reason());
    ended.set_sentence(record_.last_end().sentence());
  } else if (!pending()) {
    ended.set_reason(StateReason(invitation.state()));
    ended.set_sentence(invitation.end_sentence());
  } else {
    ended.set_reason("ATTEMPT_ENDED");
    ended.set_sentence("the attempt ended while this side was away, and another one came after it");
  }
  ended.set_suspected(Suspects(attempt));
  ended.set_suspected_attempts(invitation.suspected_attempts());
  ended.set_over(!pending());
  ended.set_may_be_enrolled(invitation.state() == Invitation::STATE_CLOSED && attempt == invitation.attempts());
  return ended;
}

}  // namespace parley::enrolld
