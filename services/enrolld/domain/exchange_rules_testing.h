// A session for tests of ExchangeRules, without a store and without streams.
#ifndef PARLEY_SERVICES_ENROLLD_DOMAIN_EXCHANGE_RULES_TESTING_H_
#define PARLEY_SERVICES_ENROLLD_DOMAIN_EXCHANGE_RULES_TESTING_H_

#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "lib/base/error.h"
#include "lib/base/proto_time.h"
#include "services/enrolld/domain/exchange_rules.h"
#include "services/enrolld/domain/names.h"

namespace parley::enrolld {

// Plays the session: it numbers streams, collects what each was told, and loses all but what is stored on Restart.
class RelayTest : public testing::Test {
 protected:
  using Ended = enrol::v1::Ended;
  using ExchangeResponse = enrol::v1::ExchangeResponse;
  using Invitation = enrol::v1::Invitation;
  using Role = sas::Role;

  static constexpr absl::string_view kOrganisation = "Example";

  RelayTest() {
    Invitation& invitation = *stored_.mutable_invitation();
    invitation.set_name(InvitationName(std::string(32, 'a')));
    invitation.set_kind(Invitation::KIND_USER);
    invitation.set_user_name("bob");
    invitation.set_state(Invitation::STATE_PENDING);
    *invitation.mutable_expire_time() = ToProto(now_ + absl::Hours(48));
    Restart();
  }

  void Restart() { relay_.emplace(std::string(kOrganisation), leases_, stored_, stored_steps_, now_); }

  // Does what a session does with effects.
  void Apply(const Effects& effects) {
    if (effects.wipe) stored_steps_.clear();
    for (const Slot& slot : effects.taken) stored_steps_[slot] = relay_->steps().at(slot);
    if (effects.record_changed) stored_ = relay_->record();
    for (const auto& [stream, response] : effects.tell) told_[stream].push_back(response);
    for (const auto& [stream, status] : effects.refuse) {
      refused_[stream] = Reason(status);
      Apply(relay_->Gone(stream, now_));
    }
    for (const auto& event : effects.events) {
      events_.push_back(absl::StrCat(event.actor, " ", event.action, " ", event.outcome));
    }
  }

  static CallingParty Greeter(const std::string& name) { return {Role::kGreeter, "admin/" + name}; }
  static CallingParty Claimer() { return {Role::kClaimer, "invitee/aaaa"}; }

  StreamId Hello(const CallingParty& who, char instance, uint32_t attempt = 0, uint32_t step = 0, StreamId stream = 0) {
    enrol::v1::Hello hello;
    hello.set_invitation(stored_.invitation().name());
    hello.set_instance(std::string(16, instance));
    hello.set_attempt(attempt);
    hello.set_step(step);
    if (stream == 0) stream = ++streams_;
    Apply(relay_->Hello(stream, who, hello, now_));
    return stream;
  }

  std::string Bytes(Role sender, int step, uint32_t attempt = 0, char fill = 'x') const {
    sas::Context context = {std::string(kOrganisation), std::string(32, 'a'),
                            attempt == 0 ? relay_->record().invitation().attempts() : attempt, sas::Kind::kUser};
    return absl::StrCat(sas::EncodeHeader(context, sender, step), std::string(32, fill));
  }
  void SendBytes(StreamId stream, const std::string& bytes, uint32_t attempt = 0) {
    enrol::v1::Message message;
    message.set_attempt(attempt == 0 ? relay_->record().invitation().attempts() : attempt);
    message.set_message(bytes);
    Apply(relay_->TakeMessage(stream, message, now_));
  }
  void Send(StreamId stream, Role sender, int step, char fill = 'x') {
    SendBytes(stream, Bytes(sender, step, 0, fill));
  }

  // Lets both come, which begins an attempt.
  void Begin() {
    claimer_ = Hello(Claimer(), 'c');
    greeter_ = Hello(Greeter("alice"), 'g');
  }
  // Plays the honest exchange up to and with this step.
  void ExchangeUpTo(int last) {
    if (!relay_->record().has_attempt()) Begin();
    for (int step = 0; step <= last; ++step) {
      if (sas::SpeaksAt(Role::kGreeter, step)) Send(greeter_, Role::kGreeter, step);
      if (sas::SpeaksAt(Role::kClaimer, step)) Send(claimer_, Role::kClaimer, step);
    }
  }
  void Stop(StreamId stream, const CallingParty& who, uint32_t attempt, bool suspected,
            const std::string& reason = "SAS_MAC") {
    enrol::v1::Stop stop;
    stop.set_attempt(attempt);
    stop.set_reason(reason);
    stop.set_sentence("it ended");
    stop.set_suspected(suspected);
    Apply(relay_->Stop(stream, who, stop, now_));
  }
  void Advance(absl::Duration by) {
    now_ += by;
    Apply(relay_->AdvanceTime(now_));
  }
  void Done(uint32_t attempt) {
    enrol::v1::Done done;
    done.set_attempt(attempt);
    Apply(relay_->Done(greeter_, done));
  }

  // Returns the messages that a stream was given, as steps: "0 1 3".
  std::string Delivered(StreamId stream) {
    std::string steps;
    for (const ExchangeResponse& response : told_[stream]) {
      if (response.has_message()) absl::StrAppend(&steps, static_cast<int>(response.message().message()[3]), " ");
    }
    return steps;
  }
  Ended LastEnded(StreamId stream) {
    for (auto response = told_[stream].rbegin(); response != told_[stream].rend(); ++response) {
      if (response->has_ended()) return response->ended();
    }
    return Ended();
  }
  enrol::v1::State LastState(StreamId stream) {
    for (auto response = told_[stream].rbegin(); response != told_[stream].rend(); ++response) {
      if (response->has_state()) return response->state();
    }
    return enrol::v1::State();
  }
  bool Happened(const std::string& event) const {
    return std::find(events_.begin(), events_.end(), event) != events_.end();
  }
  Invitation::State state() const { return stored_.invitation().state(); }

  absl::Time now_ = absl::FromUnixSeconds(1'700'000'000);
  Leases leases_;
  InvitationRecord stored_;
  Steps stored_steps_;
  std::optional<ExchangeRules> relay_;
  StreamId streams_ = 0;
  StreamId greeter_ = 0;
  StreamId claimer_ = 0;
  std::map<StreamId, std::vector<ExchangeResponse>> told_;
  std::map<StreamId, std::string> refused_;
  std::vector<std::string> events_;
};

}  // namespace parley::enrolld

#endif  // PARLEY_SERVICES_ENROLLD_DOMAIN_EXCHANGE_RULES_TESTING_H_
