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
  // Draws a key pair; the message of step 0 is last_sent(). Returns INVALID_ARGUMENT (SAS_CONTEXT).
  static absl::StatusOr<Exchange> Begin(Role role, const Context& context);

  Role role() const { return role_; }
  const Context& context() const { return context_; }
  Next next() const { return next_; }
  int step() const { return step_; }
  // Returns the message that was sent last, for a caller that lost its connection and does not know whether the relay
  // has it.
  const std::string& last_sent() const { return last_sent_; }

  // Takes the other side's message and returns what to send now, or an empty text if it is not this side's turn.
  // SAS_REPLAYED changes nothing; any other error has ended the exchange (reason.h).
  absl::StatusOr<std::string> Receive(absl::string_view message);

  // Returns four codes at kChoice, one of which is the other side's, and nothing at other times.
  const std::vector<Secret>& choices() const { return choices_; }
  // Returns what the person here reads aloud, or null before it is time. The claimer's code comes with the choices. The
  // greeter's comes only after its own right choice: nobody confirms towards a claimer that was not heard.
  const Secret* own_code() const { return own_code_.empty() ? nullptr : &own_code_; }
  // Takes the code that was heard, by its index in choices(); nullopt means "none of these". Returns what to send now,
  // or an empty text. SAS_NONE_OF_THESE and SAS_WRONG_CHOICE end the exchange; SAS_NOT_NOW means that there is nothing
  // to pick.
  absl::StatusOr<std::string> Pick(std::optional<size_t> choice);

  // Returns whether both codes were compared, and the other side proved that it knows.
  bool confirmed() const { return confirmed_; }

  // Seals the payload at kPayload, and returns the message of step(). The claimer's at step 8 says that what came at
  // step 7 is safely kept, so write that first. Returns INVALID_ARGUMENT (SAS_LENGTH) above kMaxPayloadBytes, or
  // SAS_NOT_NOW.
  absl::StatusOr<std::string> SendPayload(const Secret& payload);
  // Returns what the other side sealed last, until this side answers.
  const Secret& payload() const { return payload_; }

  // Gives up, because the person cancelled, the other side stopped, or time is up; the sentence says which. Returns the
  // ending, which is an error.
  absl::Status Stop(absl::string_view sentence);
  // Returns OK until the exchange has ended.
  const absl::Status& ending() const { return ending_; }
  // Returns whether the end must be shown to the person and counted against the invitation (attempts.h): only an
  // attacker causes its reason, or a nonce was out, so that whoever broke it off may have known the codes.
  bool suspected() const;

  // Returns what a restart needs to go on, from confirmed() until the end. It holds keys: seal it before it touches a
  // disk, and write it before the message that goes with it is sent. Returns FAILED_PRECONDITION (SAS_NOT_NOW) before
  // confirmed(), because a state that could be rolled back would give an attacker more tries.
  absl::StatusOr<Secret> SaveState() const;
  // Returns INVALID_ARGUMENT (SAS_STATE) for what SaveState did not make.
  static absl::StatusOr<Exchange> RestoreState(const Secret& state);

 private:
  // Shortens codes and fixes randomness. Its only definition is in the testonly target :testing.
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
  // The SHA-256 of what came at each step; empty until then.
  std::array<std::string, kLastStep + 1> received_;

  // The key pair, until the other side's key has come.
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
