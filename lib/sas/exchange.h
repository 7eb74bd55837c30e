// One side of an enrolment by short authentication strings, as a state machine: messages in, messages out.
//
// The greeter (an enrolled admin) and the claimer (the newcomer) never meet but through a relay that may be hostile,
// and a phone that they trust. Guarantees: when a side is confirmed(), the other person's device holds the same keys,
// unless an active attacker guessed a 20-bit code in the one try that it gets; payloads are read and written by the
// two devices alone; whatever differs from the protocol ends the exchange with a reason of its own (reason.h), and
// an end is final. docs/protocol/sas.md has every byte.
//
// Does no I/O, knows no time and logs nothing: to wait, give up, carry messages and save state is the caller's.
//
// Threads: as any value; one thread at a time.
//
//   ASSIGN_OR_RETURN(Exchange exchange, Exchange::Begin(Role::kClaimer, context));
//   Send(exchange.last_sent());
//   while (exchange.next() == Next::kMessage) {
//     ASSIGN_OR_RETURN(std::string reply, exchange.Receive(Wait()));   // Reason() says why, and Stop tells the relay
//     if (!reply.empty()) Send(reply);
//   }
//   // Next::kChoice: show exchange.own_code() and exchange.choices(), then Pick; and so on until Next::kDone.
#ifndef PARLEY_LIB_SAS_EXCHANGE_H_
#define PARLEY_LIB_SAS_EXCHANGE_H_

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "lib/base/secret.h"
#include "lib/crypto/x25519.h"
#include "lib/sas/code.h"
#include "lib/sas/key_schedule.h"
#include "lib/sas/message.h"

namespace parley::sas {

// What moves the exchange on.
enum class Next : uint8_t {
  kMessage = 1,  // Receive(), of the other side's message at step().
  kChoice = 2,   // Pick(), by the person here.
  kPayload = 3,  // SendPayload(), at step().
  kDone = 4,
  kEnded = 5,  // ending() says why.
};

class Exchange {
 public:
  // Draws a key pair; the message of step 0 is last_sent(). INVALID_ARGUMENT: SAS_CONTEXT.
  static absl::StatusOr<Exchange> Begin(Role role, const Context& context);

  Role role() const { return role_; }
  const Context& context() const { return context_; }
  Next next() const { return next_; }
  int step() const { return step_; }
  // For a caller that lost its connection and does not know whether the relay has this one.
  const std::string& last_sent() const { return last_sent_; }

  // Takes the other side's message and returns what to send now; empty when it is not this side's turn.
  // SAS_REPLAYED changes nothing; any other error has ended the exchange (reason.h).
  absl::StatusOr<std::string> Receive(absl::string_view message);

  // At kChoice: four codes, one of which is the other side's; empty otherwise.
  const std::vector<Secret>& choices() const { return choices_; }
  // What the person here reads aloud, or null when it is not time. The claimer's comes with the choices; the
  // greeter's only after its own right choice: nobody confirms towards a claimer that was not heard.
  const Secret* own_code() const { return own_code_.empty() ? nullptr : &own_code_; }
  // The code that was heard, by its index in choices(); nullopt is "none of these". Returns what to send now, or
  // empty. SAS_NONE_OF_THESE and SAS_WRONG_CHOICE end the exchange; SAS_NOT_NOW when there is nothing to pick.
  absl::StatusOr<std::string> Pick(std::optional<size_t> choice);

  // Both codes were compared, and the other side proved that it knows.
  bool confirmed() const { return confirmed_; }

  // At kPayload: seals and returns the message of step(). The claimer's at step 8 says that what came at step 7 is
  // safely kept, so write it first. INVALID_ARGUMENT: SAS_LENGTH above kMaxPayloadBytes; SAS_NOT_NOW.
  absl::StatusOr<std::string> SendPayload(const Secret& payload);
  // What the other side sealed last, until this side answers.
  const Secret& payload() const { return payload_; }

  // Gives up: the person cancelled, the other side stopped, time is up. The sentence says which. Returns the ending.
  absl::Status Stop(absl::string_view sentence);
  // OK until the exchange has ended.
  const absl::Status& ending() const { return ending_; }
  // Whether the end must be shown to the person and counted against the invitation (attempts.h): the reason is one
  // that only an attacker causes, or a nonce was out, so that whoever broke it off may have known the codes.
  bool suspected() const;

  // What a restart needs to go on, from confirmed() until the end. It holds keys: seal it before it touches a disk,
  // and write it before the message that goes with it is sent. FAILED_PRECONDITION (SAS_NOT_NOW) before that: a
  // state that could be rolled back would give an attacker more tries.
  absl::StatusOr<Secret> SaveState() const;
  // INVALID_ARGUMENT: SAS_STATE.
  static absl::StatusOr<Exchange> RestoreState(const Secret& state);

 private:
  // Shortens codes and fixes randomness; its only definition is in the testonly target :testing.
  friend class ExchangeTestAccess;
  struct Settings {
    int bits_per_letter = kBitsPerLetter;
    RandomSource random;
  };

  Exchange(Role role, const Context& context, Settings settings);
  static absl::StatusOr<Exchange> BeginWith(Role role, const Context& context, Settings settings);

  absl::Status CheckTurn(const Message& message, absl::string_view bytes);
  absl::StatusOr<std::string> Take(const Message& message, absl::string_view bytes);
  absl::StatusOr<std::string> TakePublicKey(absl::string_view key, absl::string_view bytes);
  absl::StatusOr<std::string> TakeCommitment(absl::string_view commitment, absl::string_view bytes);
  absl::StatusOr<std::string> TakeGreeterNonce(absl::string_view bytes);
  absl::StatusOr<std::string> TakeClaimerNonce(absl::string_view nonce, absl::string_view bytes);
  absl::StatusOr<std::string> TakeConfirmation(absl::string_view mac, absl::string_view bytes);
  absl::StatusOr<std::string> TakePayload(const Message& message, absl::string_view bytes);

  std::string Say(int step, absl::string_view body);
  std::string SayConfirmation();
  void OfferChoices();
  void Await(int step);
  absl::Status End(absl::Status why);
  void ForgetSecrets();
  absl::string_view peer_name() const { return role_ == Role::kGreeter ? "claimer" : "greeter"; }

  Role role_;
  Context context_;
  Settings settings_;
  Next next_ = Next::kMessage;
  int step_ = 0;
  Transcript transcript_;
  std::string last_sent_;
  // SHA-256 of what came at each step; empty until then.
  std::array<std::string, kLastStep + 1> received_;

  // Until the other side's came.
  std::optional<crypto::AgreementKey> key_;
  std::string greeter_key_;
  std::string claimer_key_;
  Secret shared_;
  std::string commitment_;
  Secret nonce_;
  Keys keys_;
  size_t right_choice_ = 0;
  std::vector<Secret> choices_;
  Secret own_code_;
  Secret payload_;

  bool nonce_out_ = false;
  bool confirmed_ = false;
  absl::Status ending_;
};

}  // namespace parley::sas

#endif  // PARLEY_LIB_SAS_EXCHANGE_H_
