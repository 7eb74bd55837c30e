#include "lib/sas/exchange.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "lib/crypto/hash.h"
#include "lib/crypto/kdf.h"
#include "lib/sas/reason.h"

namespace parley::sas {
namespace {

absl::Status NotNow(absl::string_view sentence) { return FailedPrecondition(kNotNow, sentence); }

bool Same(absl::string_view expected, absl::string_view actual) {
  return Secret::CopyOf(expected) == Secret::CopyOf(actual);
}

}  // namespace

bool SuspectsAttack(absl::string_view reason) {
  for (const absl::string_view harmless :
       {kWrongVersion, kReplayed, kStopped, kAttemptReused, kLocked, kUnseen, kNotNow, kBadContext, kBadState}) {
    if (reason == harmless) return false;
  }
  return true;
}

Exchange::Exchange(Role role, const Context& context, Settings settings)
    : role_(role), context_(context), settings_(std::move(settings)), transcript_(context) {}

absl::StatusOr<Exchange> Exchange::Begin(Role role, const Context& context) {
  return BeginWith(role, context, Settings{kBitsPerLetter, crypto::RandomSecret});
}

absl::StatusOr<Exchange> Exchange::BeginWith(Role role, const Context& context, Settings settings) {
  RETURN_IF_ERROR(CheckContext(context));
  Exchange exchange(role, context, std::move(settings));
  ASSIGN_OR_RETURN(crypto::AgreementKey key,
                   crypto::AgreementKey::FromBytes(exchange.settings_.random(crypto::kX25519Bytes)));
  exchange.last_sent_ = absl::StrCat(EncodeHeader(context, role, 0), key.public_key());
  exchange.key_.emplace(std::move(key));
  return exchange;
}

absl::StatusOr<std::string> Exchange::Receive(absl::string_view bytes) {
  if (next_ == Next::kEnded) return ending_;
  const absl::StatusOr<Message> message = ReadMessage(context_, bytes);
  if (!message.ok()) return End(message.status());
  if (absl::Status turn = CheckTurn(*message, bytes); !turn.ok()) {
    return Reason(turn) == kReplayed ? turn : End(std::move(turn));
  }
  received_[message->step] = crypto::Sha256(bytes);
  absl::StatusOr<std::string> reply = Take(*message, bytes);
  if (!reply.ok()) return End(reply.status());
  return reply;
}

absl::Status Exchange::CheckTurn(const Message& message, absl::string_view bytes) {
  if (message.sender == role_) {
    return InvalidArgument(kWrongRole, "a message of this side came back to it; the server is faulty or hostile");
  }
  if (!received_[message.step].empty()) {
    if (received_[message.step] == crypto::Sha256(bytes)) {
      return InvalidArgument(kReplayed, "the message of step ", message.step, " came again and was ignored");
    }
    return InvalidArgument(kChanged, "a second, different message of step ", message.step, " came");
  }
  if (next_ == Next::kChoice && message.step == 4) {
    return InvalidArgument(kTooEarly, "the claimer confirmed a code that was not shown yet; compare both codes aloud");
  }
  if (next_ != Next::kMessage || message.step != step_) {
    return InvalidArgument(kWrongStep, "the message of step ", message.step, " came out of order");
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> Exchange::Take(const Message& message, absl::string_view bytes) {
  switch (message.step) {
    case 0:
      return TakePublicKey(message.body, bytes);
    case 1:
      return TakeCommitment(message.body, bytes);
    case 2:
      return TakeGreeterNonce(bytes);
    case 3:
      return TakeClaimerNonce(message.body, bytes);
    case 4:
    case 5:
      return TakeConfirmation(message.body, bytes);
    default:
      return TakePayload(message, bytes);
  }
}

absl::StatusOr<std::string> Exchange::TakePublicKey(absl::string_view key, absl::string_view bytes) {
  if (!crypto::IsCanonicalPoint(key)) {
    return InvalidArgument(kInvalidPoint, "the ", peer_name(), "'s key is not encoded as any honest key is");
  }
  if (key == key_->public_key()) {
    return InvalidArgument(kReflectedKey, "this side's own key came back as the other side's");
  }
  absl::StatusOr<Secret> shared = key_->Agree(key);
  if (!shared.ok()) {
    return InvalidArgument(kSmallOrder, "the ", peer_name(), "'s key is of small order and would hide nothing");
  }
  shared_ = *std::move(shared);
  const bool greeter = role_ == Role::kGreeter;
  greeter_key_ = greeter ? key_->public_key() : std::string(key);
  claimer_key_ = greeter ? std::string(key) : key_->public_key();
  key_.reset();
  transcript_.Add(greeter ? last_sent_ : bytes);
  transcript_.Add(greeter ? bytes : last_sent_);
  if (greeter) {
    Await(1);
    return std::string();
  }
  Await(2);
  nonce_ = settings_.random(kNonceBytes);
  return Say(1, Commitment(nonce_, context_, claimer_key_, greeter_key_));
}

absl::StatusOr<std::string> Exchange::TakeCommitment(absl::string_view commitment, absl::string_view bytes) {
  commitment_ = std::string(commitment);
  transcript_.Add(bytes);
  Await(3);
  // Drawn no sooner: before the claimer is committed there is no nonce that anything could leak.
  nonce_ = settings_.random(kNonceBytes);
  nonce_out_ = true;
  return Say(2, nonce_.Expose());
}

absl::StatusOr<std::string> Exchange::TakeGreeterNonce(absl::string_view bytes) {
  transcript_.Add(bytes);
  nonce_out_ = true;
  std::string reply = Say(3, nonce_.Expose());
  OfferChoices();
  own_code_ = CodeLetters(keys_.claimer_code, settings_.bits_per_letter);
  return reply;
}

absl::StatusOr<std::string> Exchange::TakeClaimerNonce(absl::string_view nonce, absl::string_view bytes) {
  if (!Same(Commitment(Secret::CopyOf(nonce), context_, claimer_key_, greeter_key_), commitment_)) {
    return InvalidArgument(kBadCommitment,
                           "the claimer's nonce is not the one it had committed to; someone is in between");
  }
  transcript_.Add(bytes);
  OfferChoices();
  return std::string();
}

void Exchange::OfferChoices() {
  keys_ = DeriveKeys(shared_, transcript_, settings_.bits_per_letter);
  shared_ = Secret();
  nonce_ = Secret();
  const uint32_t right = role_ == Role::kGreeter ? keys_.claimer_code : keys_.greeter_code;
  const ChoiceSet set = MakeChoices(right, settings_.bits_per_letter, settings_.random);
  for (const uint32_t code : set.codes) choices_.push_back(CodeLetters(code, settings_.bits_per_letter));
  right_choice_ = set.right;
  next_ = Next::kChoice;
  step_ = 4;
}

absl::StatusOr<std::string> Exchange::Pick(std::optional<size_t> choice) {
  if (next_ == Next::kEnded) return ending_;
  if (next_ != Next::kChoice) return NotNow("there is no code to choose now");
  if (choice.has_value() && *choice >= kChoices) return NotNow("choose one of the four codes, or none of them");
  if (!choice.has_value()) {
    return End(InvalidArgument(kNoneOfThese, "the code that the ", peer_name(),
                               " read is none of those here; someone may stand in between"));
  }
  if (*choice != right_choice_) {
    return End(InvalidArgument(kWrongChoice, "this is not the ", peer_name(),
                               "'s code; someone may stand in between, or it was misheard"));
  }
  choices_.clear();
  if (role_ == Role::kGreeter) {
    own_code_ = CodeLetters(keys_.greeter_code, settings_.bits_per_letter);
    Await(4);
    return std::string();
  }
  Await(5);
  return SayConfirmation();
}

std::string Exchange::SayConfirmation() {
  const bool greeter = role_ == Role::kGreeter;
  const Secret& key = greeter ? keys_.confirm_greeter : keys_.confirm_claimer;
  return Say(greeter ? 5 : 4, crypto::HmacSha256(key, transcript_.hash()));
}

absl::StatusOr<std::string> Exchange::TakeConfirmation(absl::string_view mac, absl::string_view bytes) {
  const Secret& key = role_ == Role::kGreeter ? keys_.confirm_claimer : keys_.confirm_greeter;
  if (!Same(crypto::HmacSha256(key, transcript_.hash()), mac)) {
    return InvalidArgument(kBadMac, "the ", peer_name(), " did not see the same exchange; someone is in between");
  }
  transcript_.Add(bytes);
  std::string reply;
  if (role_ == Role::kGreeter) {
    reply = SayConfirmation();
    Await(6);
  } else {
    next_ = Next::kPayload;
    step_ = 6;
  }
  confirmed_ = true;
  own_code_ = Secret();
  keys_.confirm_greeter = Secret();
  keys_.confirm_claimer = Secret();
  return reply;
}

absl::StatusOr<std::string> Exchange::SendPayload(const Secret& payload) {
  if (next_ == Next::kEnded) return ending_;
  if (next_ != Next::kPayload) return NotNow("it is not this side's turn to send");
  if (payload.size() > kMaxPayloadBytes) {
    return InvalidArgument(kWrongLength, "a payload has at most ", kMaxPayloadBytes, " bytes");
  }
  const Secret& key = role_ == Role::kGreeter ? keys_.seal_greeter : keys_.seal_claimer;
  std::string message = Say(step_, Seal(key, transcript_, EncodeHeader(context_, role_, step_), step_, payload));
  payload_ = Secret();
  if (step_ == kLastStep) {
    ForgetSecrets();
    next_ = Next::kDone;
  } else {
    Await(step_ + 1);
  }
  return message;
}

absl::StatusOr<std::string> Exchange::TakePayload(const Message& message, absl::string_view bytes) {
  const Secret& key = role_ == Role::kGreeter ? keys_.seal_claimer : keys_.seal_greeter;
  ASSIGN_OR_RETURN(payload_, Open(key, transcript_, bytes.substr(0, kHeaderBytes), message.step, message.body));
  transcript_.Add(bytes);
  if (message.step == kLastStep) {
    Secret last = std::move(payload_);
    ForgetSecrets();
    payload_ = std::move(last);
    next_ = Next::kDone;
  } else {
    next_ = Next::kPayload;
    step_ = message.step + 1;
  }
  return std::string();
}

std::string Exchange::Say(int step, absl::string_view body) {
  last_sent_ = absl::StrCat(EncodeHeader(context_, role_, step), body);
  transcript_.Add(last_sent_);
  return last_sent_;
}

void Exchange::Await(int step) {
  next_ = Next::kMessage;
  step_ = step;
}

absl::Status Exchange::Stop(absl::string_view sentence) {
  if (next_ == Next::kEnded) return ending_;
  return End(Error(absl::StatusCode::kCancelled, kStopped, sentence));
}

bool Exchange::suspected() const {
  return next_ == Next::kEnded && ((nonce_out_ && !confirmed_) || SuspectsAttack(Reason(ending_)));
}

absl::Status Exchange::End(absl::Status why) {
  // What is done stays done: nothing that comes later can take it back.
  if (next_ == Next::kDone) return why;
  ending_ = why;
  next_ = Next::kEnded;
  ForgetSecrets();
  return why;
}

void Exchange::ForgetSecrets() {
  key_.reset();
  shared_ = Secret();
  nonce_ = Secret();
  keys_ = Keys();
  choices_.clear();
  own_code_ = Secret();
  payload_ = Secret();
}

}  // namespace parley::sas
