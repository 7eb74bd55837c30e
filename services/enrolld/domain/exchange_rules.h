// The rules by which one invitation's messages are passed on: docs/protocol/sas.md, "The relay".
//
// The rules decide and do nothing: each event changes the relay, and says in an Effects what to store, and what to tell
// whom afterwards. The caller stores first. If that fails it tells nothing, throws the relay away and makes another
// from what is stored, as if the service had been restarted.
//
// The relay learns no secret: it reads of a message what lib/sas's ReadMessage reads, the header and the length.
//
// Threads: one at a time.
#ifndef PARLEY_SERVICES_ENROLLD_DOMAIN_EXCHANGE_RULES_H_
#define PARLEY_SERVICES_ENROLLD_DOMAIN_EXCHANGE_RULES_H_

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "lib/sas/message.h"
#include "parley/enrol/v1/exchange_service.pb.h"
#include "services/enrolld/domain/record.pb.h"

namespace parley::enrolld {

// How long the relay waits for what. The end of a wait ends the attempt, with a reason to both.
struct Leases {
  // The wait for the other side to come.
  absl::Duration waiting = absl::Hours(1);
  // The wait for a step that machines make, and for one that people make: they read codes to each other before step 4.
  absl::Duration machine = absl::Minutes(5);
  absl::Duration people = absl::Minutes(15);
  // The wait for a side whose stream broke.
  absl::Duration away = absl::Minutes(2);
  // The wait for the greeter to take step 8.
  absl::Duration done = absl::Hours(1);
};

// Names a message: the side that sends it, and its step.
struct Slot {
  int step = 0;
  sas::Role sender = sas::Role::kGreeter;
  bool operator<(const Slot& other) const { return std::tie(step, sender) < std::tie(other.step, other.sender); }
  bool operator==(const Slot& other) const { return step == other.step && sender == other.sender; }
};
using Steps = std::map<Slot, StepRecord>;

// A stream of a party. The caller draws the number, which is never 0, and uses it once.
using StreamId = uint64_t;

// Where a stream of a party can be.
struct Place {
  // 0 while nobody is there.
  StreamId stream = 0;
  // When the party began to wait; in an attempt, when its last stream broke.
  absl::Time since;
  // The party that waits. The record has those of an attempt.
  Party party;
};

// Who is there: both sides of the attempt, and those that wait for one.
struct Places {
  Place greeter;
  Place claimer;
  Place greeter_waits;
  Place claimer_waits;
};
inline constexpr std::array<Place Places::*, 4> kPlaces = {&Places::greeter, &Places::claimer, &Places::greeter_waits,
                                                           &Places::claimer_waits};

// The party that says hello.
struct CallingParty {
  sas::Role role = sas::Role::kGreeter;
  // "admin/alice".
  std::string actor;
};

struct Effects {
  // What to store in one commit: the record and these messages; all messages are dropped first, if `wipe` is set.
  bool record_changed = false;
  std::vector<Slot> taken;
  bool wipe = false;
  // What to tell afterwards, in order.
  std::vector<std::pair<StreamId, enrol::v1::ExchangeResponse>> tell;
  // The streams that end with an error.
  std::vector<std::pair<StreamId, absl::Status>> refuse;
  // An entry for the audit log.
  struct Event {
    std::string actor;
    std::string action;
    std::string outcome = "ok";
    std::string detail;
  };
  std::vector<Event> events;
};

class ExchangeRules {
 public:
  // `organisation` is the name that both sides must mean. Every wait begins at `now` at the earliest. Nobody is there
  // unless `places` says so.
  ExchangeRules(std::string organisation, const Leases& leases, InvitationRecord record, Steps steps, absl::Time now,
                std::optional<Places> places = std::nullopt);

  // Takes a party's first message on a stream, or its wish for another attempt.
  Effects Hello(StreamId stream, const CallingParty& who, const enrol::v1::Hello& hello, absl::Time now);
  Effects TakeMessage(StreamId stream, const enrol::v1::Message& message, absl::Time now);
  Effects Stop(StreamId stream, const CallingParty& who, const enrol::v1::Stop& stop, absl::Time now);
  Effects Done(StreamId stream, const enrol::v1::Done& done);
  // Says that the stream is gone.
  Effects Gone(StreamId stream, absl::Time now);
  // Says that time has passed.
  Effects AdvanceTime(absl::Time now);
  // Cancels by an inviter's wish. Returns FAILED_PRECONDITION if the invitation has ended in another way.
  absl::StatusOr<Effects> Cancel(absl::string_view actor, absl::string_view reason, absl::Time now);
  // For changes of the record that are not the relay's, such as what became of an e-mail.
  InvitationRecord* mutable_record() { return &record_; }

  // Returns when to call AdvanceTime again.
  absl::Time Deadline() const;
  const InvitationRecord& record() const { return record_; }
  const Steps& steps() const { return steps_; }
  const Places& places() const { return places_; }
  // Returns how things stand for a stream in the attempt that is going on; no value for any other.
  std::optional<enrol::v1::ExchangeResponse> StateFor(StreamId stream) const;
  std::string id() const;
  // Returns the invitation in the form that is shown, with the parties that are there.
  enrol::v1::Invitation Show() const;
  bool pending() const { return record_.invitation().state() == enrol::v1::Invitation::STATE_PENDING; }
  // Returns whether there is nothing left to wait for.
  bool idle() const {
    return !pending() && !record_.has_attempt() && places_.greeter.stream == 0 && places_.claimer.stream == 0;
  }

 private:
  // Why an attempt ends.
  struct Ending {
    std::string reason;
    std::string peer_reason;
    // The sentence for the person at either side.
    std::string sentence;
    bool suspected = false;
    std::string actor;
    // The side that caused it hears another sentence.
    StreamId stopped_by = 0;
  };

  Place& SideOf(sas::Role role) { return role == sas::Role::kGreeter ? places_.greeter : places_.claimer; }
  Place& WaitingOf(sas::Role role) {
    return role == sas::Role::kGreeter ? places_.greeter_waits : places_.claimer_waits;
  }
  const Party& PartyOf(sas::Role role) const;
  // The role of a stream in the attempt that is going on.
  std::optional<sas::Role> RoleInAttempt(StreamId stream) const;
  bool exchanging() const { return pending() && record_.has_attempt(); }
  bool Has(int step, sas::Role sender) const { return steps_.count({step, sender}) > 0; }
  void StopWaiting(StreamId stream);
  // Returns the step that is open: all messages of the steps before it are here. 9 means that all are.
  int OpenStep() const;
  absl::Time StepDeadline() const;

  void Resume(StreamId stream, const CallingParty& who, const enrol::v1::Hello& hello, Effects* effects);
  void Attach(StreamId stream, sas::Role role, int from_step, Effects* effects);
  bool MakeWay(StreamId stream, const CallingParty& who, const enrol::v1::Hello& hello, absl::Time now,
               Effects* effects);
  void Wait(StreamId stream, const CallingParty& who, const enrol::v1::Hello& hello, absl::Time now, Effects* effects);
  void BeginAttempt(absl::Time now, Effects* effects);
  void AcceptMessage(sas::Role role, int step, const std::string& message, absl::Time now, Effects* effects);
  void Complete(absl::Time now, Effects* effects);
  void EndAttempt(Ending ending, absl::Time now, Effects* effects);
  bool Suspect(uint32_t attempt);
  bool LockDue() const;
  // Does nothing if the invitation has ended already.
  void EndState(enrol::v1::Invitation::State state, absl::string_view actor, absl::string_view sentence, absl::Time now,
                Effects* effects);
  void EndInvitation(enrol::v1::Invitation::State state, absl::string_view actor, absl::string_view sentence,
                     absl::Time now, Effects* effects);
  void TellState(sas::Role role, Effects* effects) const;
  enrol::v1::ExchangeResponse StateOf(sas::Role role) const;
  void Wipe(Effects* effects);
  enrol::v1::Ended EndedNow(uint32_t attempt) const;
  bool Suspects(uint32_t attempt) const;

  const std::string organisation_;
  const Leases leases_;
  const absl::Time loaded_;
  InvitationRecord record_;
  Steps steps_;
  Places places_;
};

}  // namespace parley::enrolld

#endif  // PARLEY_SERVICES_ENROLLD_DOMAIN_EXCHANGE_RULES_H_
