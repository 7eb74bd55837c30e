#include "lib/sas/exchange.h"

#include <gtest/gtest.h>

#include <array>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/sas/attempts.h"
#include "lib/sas/reason.h"
#include "lib/sas/testing.h"

namespace parley::sas {
namespace {

Context TestContext() { return Context{"acme", "inv-7k3q", 1, Kind::kUser}; }

// Both sides and the two people, driven one event at a time over an honest relay.
struct Pair {
  explicit Pair(const Context& context = TestContext(), uint64_t seed = 7)
      : random(seed),
        greeter(*ExchangeTestAccess::Begin(Role::kGreeter, context, kBitsPerLetter, random.Source())),
        claimer(*ExchangeTestAccess::Begin(Role::kClaimer, context, kBitsPerLetter, random.Source())) {
    to_claimer.push_back(greeter.last_sent());
    to_greeter.push_back(claimer.last_sent());
  }

  Exchange& side(Role role) { return role == Role::kGreeter ? greeter : claimer; }
  std::deque<std::string>& inbox(Role role) { return role == Role::kGreeter ? to_greeter : to_claimer; }

  static Secret Payload(int step) { return Secret::CopyOf("payload of step " + std::to_string(step)); }

  // One thing that can happen; false when nothing can.
  bool Advance() {
    for (const Role role : {Role::kGreeter, Role::kClaimer}) {
      Exchange& exchange = side(role);
      Exchange& other = side(Other(role));
      if (exchange.next() == Next::kMessage && !inbox(role).empty()) {
        const std::string message = inbox(role).front();
        inbox(role).pop_front();
        Post(role, exchange.Receive(message));
        if (exchange.next() == Next::kPayload || exchange.next() == Next::kDone) {
          heard[role] += std::string(exchange.payload().Expose()) + ";";
        }
        return true;
      }
      if (exchange.next() == Next::kChoice && other.own_code() != nullptr) {
        Post(role, exchange.Pick(ChoiceHeard(exchange, *other.own_code())));
        return true;
      }
      if (exchange.next() == Next::kPayload) {
        Post(role, exchange.SendPayload(Payload(exchange.step())));
        return true;
      }
    }
    return false;
  }

  void Post(Role from, absl::StatusOr<std::string> message) {
    ASSERT_TRUE(message.ok()) << message.status();
    if (!message->empty()) inbox(Other(from)).push_back(*message);
  }

  // Until `role` waits for the message of `step` and it is there.
  void AdvanceTo(Role role, int step) {
    while (!(side(role).next() == Next::kMessage && side(role).step() == step && !inbox(role).empty())) {
      ASSERT_TRUE(Advance());
    }
  }
  void AdvanceUntil(const std::function<bool()>& condition) {
    while (!condition()) ASSERT_TRUE(Advance());
  }

  SeededRandom random;
  Exchange greeter;
  Exchange claimer;
  std::deque<std::string> to_greeter, to_claimer;
  std::map<Role, std::string> heard;
};

struct Delivery {
  Role receiver;
  int step;
};
// Every message there is, by who receives it.
constexpr std::array<Delivery, 10> kDeliveries = {{{Role::kGreeter, 0},
                                                   {Role::kClaimer, 0},
                                                   {Role::kGreeter, 1},
                                                   {Role::kClaimer, 2},
                                                   {Role::kGreeter, 3},
                                                   {Role::kGreeter, 4},
                                                   {Role::kClaimer, 5},
                                                   {Role::kGreeter, 6},
                                                   {Role::kClaimer, 7},
                                                   {Role::kGreeter, 8}}};

// Stops where the delivery is due and gives the receiver `change(genuine message)`; then the reason of its end.
std::string ReasonFor(const Delivery& delivery, const std::function<std::string(Pair&, std::string)>& change) {
  Pair pair;
  pair.AdvanceTo(delivery.receiver, delivery.step);
  Exchange& receiver = pair.side(delivery.receiver);
  const auto reply = receiver.Receive(change(pair, pair.inbox(delivery.receiver).front()));
  if (reply.ok()) return "";
  EXPECT_EQ(receiver.next(), Next::kEnded);
  EXPECT_EQ(receiver.ending(), reply.status());
  // An end is final, and gives the same reason again.
  EXPECT_EQ(receiver.Receive(pair.inbox(delivery.receiver).front()).status(), reply.status());
  EXPECT_EQ(receiver.Pick(0).status(), reply.status());
  EXPECT_EQ(receiver.SendPayload(Secret(1)).status(), reply.status());
  EXPECT_TRUE(receiver.choices().empty());
  EXPECT_EQ(receiver.own_code(), nullptr);
  EXPECT_TRUE(receiver.payload().empty());
  return Reason(reply.status());
}

void ExpectEverywhere(absl::string_view reason, const std::function<std::string(Pair&, std::string)>& change) {
  for (const Delivery& delivery : kDeliveries) {
    EXPECT_EQ(ReasonFor(delivery, change), reason) << "step " << delivery.step;
  }
}

TEST(Exchange, BringsBothSidesToTheSameKeysAndPayloads) {
  for (const Kind kind : {Kind::kUser, Kind::kDevice}) {
    Context context = TestContext();
    context.kind = kind;
    Pair pair(context);
    while (pair.Advance()) {
    }
    EXPECT_EQ(pair.greeter.next(), Next::kDone);
    EXPECT_EQ(pair.claimer.next(), Next::kDone);
    EXPECT_TRUE(pair.greeter.confirmed());
    EXPECT_TRUE(pair.claimer.confirmed());
    EXPECT_EQ(ExchangeTestAccess::transcript(pair.greeter), ExchangeTestAccess::transcript(pair.claimer));
    EXPECT_EQ(pair.heard[Role::kGreeter], "payload of step 6;payload of step 8;");
    EXPECT_EQ(pair.heard[Role::kClaimer], ";payload of step 7;");
    EXPECT_FALSE(pair.greeter.suspected());
    EXPECT_FALSE(pair.claimer.suspected());
  }
}

TEST(Exchange, UsesFreshKeysAndNoncesInProduction) {
  std::set<std::string> keys;
  for (int i = 0; i < 8; ++i) keys.insert(Exchange::Begin(Role::kGreeter, TestContext())->last_sent());
  EXPECT_EQ(keys.size(), 8u);
}

TEST(Exchange, RefusesAContextThatNamesNothing) {
  for (const Context& context :
       {Context{"", "i", 1, Kind::kUser}, Context{"o", "", 1, Kind::kUser}, Context{"o", "i", 0, Kind::kUser},
        Context{std::string(256, 'o'), "i", 1, Kind::kUser}, Context{"o", "i", 1, static_cast<Kind>(3)}}) {
    EXPECT_EQ(Reason(Exchange::Begin(Role::kGreeter, context).status()), kBadContext);
  }
}

TEST(Context, NeverSharesItsBytesWithAnother) {
  std::set<std::string> encodings;
  for (const char* organisation : {"a", "ab", "abc"}) {
    for (const char* invitation : {"c", "bc", "b"}) {
      for (const uint32_t attempt : {1u, 256u}) {
        for (const Kind kind : {Kind::kUser, Kind::kDevice}) {
          encodings.insert(EncodeContext({organisation, invitation, attempt, kind}));
        }
      }
    }
  }
  EXPECT_EQ(encodings.size(), 36u);
}

// What a relay refuses without a key.
TEST(Message, IsReadOnlyFromTheSideThatSpeaksAtItsStep) {
  const std::map<Role, std::set<int>> speaks = {{Role::kGreeter, {0, 2, 5, 7}}, {Role::kClaimer, {0, 1, 3, 4, 6, 8}}};
  for (const auto& [sender, steps] : speaks) {
    for (int step = 0; step <= kLastStep; ++step) {
      const std::string bytes = EncodeHeader(TestContext(), sender, step) + std::string(32, 'x');
      const auto message = ReadMessage(TestContext(), bytes);
      if (steps.count(step) == 0) {
        EXPECT_EQ(Reason(message.status()), kWrongRole);
        continue;
      }
      ASSERT_TRUE(message.ok()) << message.status();
      EXPECT_EQ(message->sender, sender);
      EXPECT_EQ(message->step, step);
      EXPECT_EQ(message->body, std::string(32, 'x'));
    }
  }
}

TEST(Refusal, OfAnotherVersion) {
  ExpectEverywhere(kWrongVersion, [](Pair&, std::string message) {
    message[0] = 2;
    return message;
  });
  ExpectEverywhere(kWrongVersion, [](Pair&, std::string) { return "\x02"; });
}

// The other side means something else: its own message, with a good body, at every step.
TEST(Refusal, OfAnotherOrganisationInvitationKindAndAttempt) {
  const auto with = [](const std::function<void(Context*)>& edit) {
    return [edit](Pair& pair, std::string message) {
      Context context = TestContext();
      edit(&context);
      const Message read = *ReadMessage(TestContext(), message);
      return EncodeHeader(context, read.sender, read.step) + std::string(read.body);
    };
  };
  ExpectEverywhere(kOtherOrganisation, with([](Context* context) { context->organisation = "evil"; }));
  ExpectEverywhere(kOtherInvitation, with([](Context* context) { context->invitation = "inv-0000"; }));
  ExpectEverywhere(kOtherKind, with([](Context* context) { context->kind = Kind::kDevice; }));
  ExpectEverywhere(kOtherAttempt, with([](Context* context) { context->attempt = 2; }));
}

TEST(Refusal, OfSwappedRoles) {
  ExpectEverywhere(kWrongRole, [](Pair&, std::string message) {
    message[2] = static_cast<char>(3 - message[2]);
    return message;
  });
  ExpectEverywhere(kWrongRole, [](Pair&, std::string message) {
    message[2] = 0;
    return message;
  });
  // One's own messages, sent back as they are.
  for (const Delivery& delivery : kDeliveries) {
    EXPECT_EQ(
        ReasonFor(delivery, [&](Pair& pair, const std::string&) { return pair.side(delivery.receiver).last_sent(); }),
        kWrongRole);
  }
}

TEST(Refusal, OfShortAndLongMessages) {
  ExpectEverywhere(kWrongLength, [](Pair&, std::string message) { return message.substr(0, kHeaderBytes); });
  ExpectEverywhere(kWrongLength, [](Pair&, std::string message) { return message.substr(0, kHeaderBytes - 1); });
  ExpectEverywhere(kWrongLength, [](Pair&, std::string) { return ""; });
  ExpectEverywhere(kWrongLength,
                   [](Pair&, std::string message) { return message + std::string(kMaxMessageBytes, 'x'); });
  for (const Delivery& delivery : kDeliveries) {
    // Keys, commitments, nonces and MACs have one length; a zero at the end of an HMAC key would change nothing.
    const absl::string_view reason = delivery.step <= 5 ? kWrongLength : kNotAuthentic;
    EXPECT_EQ(ReasonFor(delivery, [](Pair&, std::string message) { return message + '\0'; }), reason);
    EXPECT_EQ(ReasonFor(delivery, [](Pair&, std::string message) { return message.substr(0, message.size() - 1); }),
              reason);
  }
}

TEST(Refusal, OfStepsOutOfOrder) {
  for (const Delivery& delivery : kDeliveries) {
    for (int step = delivery.step + 1; step <= kLastStep; ++step) {
      if (!SpeaksAt(Other(delivery.receiver), step)) continue;
      EXPECT_EQ(ReasonFor(delivery,
                          [&](Pair&, const std::string&) {
                            return EncodeHeader(TestContext(), Other(delivery.receiver), step) + std::string(32, 'x');
                          }),
                kWrongStep);
    }
    EXPECT_EQ(ReasonFor(delivery,
                        [&](Pair&, std::string message) {
                          message[3] = 9;
                          return message;
                        }),
              kWrongStep);
  }
}

TEST(Refusal, OfPointsThatAreNoHonestKey) {
  const std::string header_greeter = EncodeHeader(TestContext(), Role::kGreeter, 0);
  const std::string header_claimer = EncodeHeader(TestContext(), Role::kClaimer, 0);
  for (const Role role : {Role::kGreeter, Role::kClaimer}) {
    const auto reason = [&](const std::string& point) {
      return ReasonFor({role, 0}, [&](Pair&, const std::string&) {
        return (role == Role::kGreeter ? header_claimer : header_greeter) + point;
      });
    };
    EXPECT_EQ(reason(std::string(32, '\0')), kSmallOrder);
    EXPECT_EQ(reason("\x01" + std::string(31, '\0')), kSmallOrder);
    EXPECT_EQ(reason(*HexDecode("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800")), kSmallOrder);
    EXPECT_EQ(reason(*HexDecode("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157")), kSmallOrder);
    EXPECT_EQ(reason(*HexDecode("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f")), kSmallOrder);
    // The same points in an encoding that no honest side makes, and the highest bit set on a good one.
    EXPECT_EQ(reason(*HexDecode("edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f")), kInvalidPoint);
    EXPECT_EQ(reason(std::string(31, '\0') + "\x80"), kInvalidPoint);
    EXPECT_EQ(reason("\x09" + std::string(30, '\0') + "\x80"), kInvalidPoint);
    EXPECT_EQ(reason(std::string(32, '\xFF')), kInvalidPoint);
    EXPECT_EQ(ReasonFor({role, 0},
                        [&](Pair& pair, const std::string&) {
                          return (role == Role::kGreeter ? header_claimer : header_greeter) +
                                 pair.side(role).last_sent().substr(kHeaderBytes);
                        }),
              kReflectedKey);
  }
}

TEST(Refusal, OfANonceThatWasNotCommittedTo) {
  EXPECT_EQ(ReasonFor({Role::kGreeter, 3},
                      [](Pair&, std::string message) {
                        message.back() = static_cast<char>(message.back() ^ 1);
                        return message;
                      }),
            kBadCommitment);
}

TEST(Refusal, OfAWrongMac) {
  for (const Delivery& delivery : {Delivery{Role::kGreeter, 4}, Delivery{Role::kClaimer, 5}}) {
    for (size_t i = kHeaderBytes; i < kHeaderBytes + kMacBytes; ++i) {
      EXPECT_EQ(ReasonFor(delivery,
                          [&](Pair&, std::string message) {
                            message[i] = static_cast<char>(message[i] ^ 1);
                            return message;
                          }),
                kBadMac);
    }
  }
  // The claimer's own MAC, sent back to it under the greeter's header.
  EXPECT_EQ(ReasonFor({Role::kClaimer, 5},
                      [](Pair& pair, const std::string& message) {
                        return message.substr(0, kHeaderBytes) + pair.claimer.last_sent().substr(kHeaderBytes);
                      }),
            kBadMac);
}

TEST(Refusal, OfAChangedPayload) {
  for (const Delivery& delivery : {kDeliveries[7], kDeliveries[8], kDeliveries[9]}) {
    Pair pair;
    pair.AdvanceTo(delivery.receiver, delivery.step);
    const size_t size = pair.inbox(delivery.receiver).front().size();
    for (size_t i = kHeaderBytes; i < size; ++i) {
      EXPECT_EQ(ReasonFor(delivery,
                          [&](Pair&, std::string message) {
                            message[i] = static_cast<char>(message[i] ^ 0x80);
                            return message;
                          }),
                kNotAuthentic);
    }
  }
  // Step 6 in the place of step 8: same key, other step.
  EXPECT_EQ(ReasonFor({Role::kGreeter, 8},
                      [](Pair&, const std::string& message) {
                        Pair again;
                        again.AdvanceTo(Role::kGreeter, 6);
                        return message.substr(0, kHeaderBytes) + again.to_greeter.front().substr(kHeaderBytes);
                      }),
            kNotAuthentic);
}

// A message that was taken may come again from a relay that restarted: it changes nothing, ever.
TEST(Replay, OfEveryMessageAtEveryMomentChangesNothing) {
  Pair pair;
  std::map<Role, std::vector<std::string>> taken;
  const auto replay_all = [&] {
    for (const auto& [role, messages] : taken) {
      Exchange& exchange = pair.side(role);
      for (const std::string& message : messages) {
        const Next next = exchange.next();
        const std::string transcript = ExchangeTestAccess::transcript(exchange);
        EXPECT_EQ(Reason(exchange.Receive(message).status()), kReplayed);
        EXPECT_EQ(exchange.next(), next);
        EXPECT_EQ(ExchangeTestAccess::transcript(exchange), transcript);
      }
    }
  };
  do {
    replay_all();
    for (const Role role : {Role::kGreeter, Role::kClaimer}) {
      if (pair.side(role).next() == Next::kMessage && !pair.inbox(role).empty()) {
        taken[role].push_back(pair.inbox(role).front());
        break;
      }
    }
  } while (pair.Advance());
  replay_all();
  EXPECT_EQ(pair.greeter.next(), Next::kDone);
  EXPECT_EQ(pair.claimer.next(), Next::kDone);
}

TEST(Replay, WithOtherBytesEndsTheExchange) {
  for (const Delivery& delivery : kDeliveries) {
    Pair pair;
    pair.AdvanceTo(delivery.receiver, delivery.step);
    Exchange& receiver = pair.side(delivery.receiver);
    std::string message = pair.inbox(delivery.receiver).front();
    ASSERT_TRUE(receiver.Receive(message).ok());
    message.back() = static_cast<char>(message.back() ^ 1);
    const bool done = receiver.next() == Next::kDone;
    EXPECT_EQ(Reason(receiver.Receive(message).status()), kChanged) << "step " << delivery.step;
    // What is done stays done.
    EXPECT_EQ(receiver.next(), done ? Next::kDone : Next::kEnded);
  }
}

TEST(Choice, OfNoneOrOfADecoyEndsTheExchangeAsASuspectedAttack) {
  for (const Role role : {Role::kGreeter, Role::kClaimer}) {
    for (const bool none : {true, false}) {
      Pair pair;
      pair.AdvanceUntil([&] {
        return pair.side(role).next() == Next::kChoice &&
               (role == Role::kGreeter || pair.greeter.own_code() != nullptr);
      });
      Exchange& exchange = pair.side(role);
      const size_t decoy = (ExchangeTestAccess::right_choice(exchange) + 1) % kChoices;
      const auto result = exchange.Pick(none ? std::nullopt : std::optional<size_t>(decoy));
      EXPECT_EQ(Reason(result.status()), none ? kNoneOfThese : kWrongChoice);
      EXPECT_EQ(exchange.next(), Next::kEnded);
      EXPECT_TRUE(exchange.suspected());
    }
  }
}

TEST(Choice, ShowsTheGreetersCodeOnlyAfterTheClaimersWasPicked) {
  Pair pair;
  pair.AdvanceUntil([&] { return pair.greeter.next() == Next::kChoice; });
  ASSERT_NE(pair.claimer.own_code(), nullptr);
  EXPECT_EQ(pair.greeter.own_code(), nullptr);
  ASSERT_TRUE(pair.greeter.Pick(ChoiceHeard(pair.greeter, *pair.claimer.own_code())).ok());
  ASSERT_NE(pair.greeter.own_code(), nullptr);
  EXPECT_EQ(pair.greeter.own_code()->size(), 4u);
}

TEST(Choice, IsRefusedWhenItWasGuessedBeforeTheCodeWasRead) {
  Pair pair;
  pair.AdvanceUntil([&] { return pair.greeter.next() == Next::kChoice; });
  // Bob clicks the right one by luck: Alice has not even seen her code.
  const auto confirmation = pair.claimer.Pick(ExchangeTestAccess::right_choice(pair.claimer));
  ASSERT_TRUE(confirmation.ok());
  EXPECT_EQ(Reason(pair.greeter.Receive(*confirmation).status()), kTooEarly);
  EXPECT_TRUE(pair.greeter.suspected());
}

TEST(Choice, IsPossibleOnlyWhenThereIsOne) {
  Pair pair;
  EXPECT_EQ(Reason(pair.greeter.Pick(0).status()), kNotNow);
  EXPECT_EQ(Reason(pair.greeter.Pick(std::nullopt).status()), kNotNow);
  EXPECT_EQ(Reason(pair.greeter.SendPayload(Secret(1)).status()), kNotNow);
  EXPECT_EQ(pair.greeter.next(), Next::kMessage);
  pair.AdvanceUntil([&] { return pair.greeter.next() == Next::kChoice; });
  EXPECT_EQ(Reason(pair.greeter.Pick(kChoices).status()), kNotNow);
  EXPECT_EQ(pair.greeter.next(), Next::kChoice);
}

TEST(Payload, IsBoundedAndMayBeEmpty) {
  Pair pair;
  pair.AdvanceUntil([&] { return pair.claimer.next() == Next::kPayload; });
  EXPECT_EQ(Reason(pair.claimer.SendPayload(Secret(kMaxPayloadBytes + 1)).status()), kWrongLength);
  const auto largest = pair.claimer.SendPayload(Secret(kMaxPayloadBytes));
  ASSERT_TRUE(largest.ok());
  EXPECT_EQ(largest->size(), kMaxMessageBytes);
  pair.AdvanceUntil([&] { return pair.greeter.next() == Next::kMessage && pair.greeter.step() == 6; });
  ASSERT_TRUE(pair.greeter.Receive(*largest).ok());
  EXPECT_EQ(pair.greeter.payload().size(), kMaxPayloadBytes);
}

TEST(Payload, OfNoBytesIsSealedToo) {
  Pair pair;
  pair.AdvanceUntil([&] { return pair.claimer.next() == Next::kPayload; });
  const auto message = pair.claimer.SendPayload(Secret());
  ASSERT_TRUE(message.ok());
  EXPECT_EQ(message->size(), kHeaderBytes + kSealTagBytes);
  pair.AdvanceUntil([&] { return pair.greeter.next() == Next::kMessage && pair.greeter.step() == 6; });
  EXPECT_TRUE(pair.greeter.Receive(*message).ok());
}

TEST(Stop, IsSuspectOnlyWhileANonceIsOutAndNothingConfirmed) {
  for (const Role role : {Role::kGreeter, Role::kClaimer}) {
    Pair pair;
    bool suspect_seen = false;
    do {
      Pair copy;  // The same seed, so the same run.
      copy.AdvanceUntil([&] {
        return ExchangeTestAccess::transcript(copy.side(role)) == ExchangeTestAccess::transcript(pair.side(role)) &&
               copy.side(role).next() == pair.side(role).next();
      });
      Exchange& exchange = copy.side(role);
      const bool expected = ExchangeTestAccess::nonce_out(exchange) && !exchange.confirmed();
      const bool done = exchange.next() == Next::kDone;
      EXPECT_EQ(Reason(exchange.Stop("the claimer went away")), kStopped);
      EXPECT_EQ(exchange.suspected(), expected);
      EXPECT_EQ(exchange.next(), done ? Next::kDone : Next::kEnded);
      suspect_seen |= expected;
    } while (pair.Advance());
    EXPECT_TRUE(suspect_seen);
  }
}

TEST(SavedState, GoesOnFromEveryMomentAfterConfirmation) {
  Pair pair;
  int saved = 0;
  do {
    for (const Role role : {Role::kGreeter, Role::kClaimer}) {
      Exchange& exchange = pair.side(role);
      const absl::StatusOr<Secret> state = exchange.SaveState();
      if (!exchange.confirmed()) {
        EXPECT_EQ(Reason(state.status()), kNotNow);
        continue;
      }
      ASSERT_TRUE(state.ok());
      auto restored = Exchange::RestoreState(*state);
      ASSERT_TRUE(restored.ok());
      EXPECT_EQ(restored->next(), exchange.next());
      EXPECT_EQ(restored->step(), exchange.step());
      EXPECT_EQ(restored->last_sent(), exchange.last_sent());
      EXPECT_EQ(restored->SaveState()->Expose(), state->Expose());
      exchange = std::move(*restored);
      ++saved;
    }
  } while (pair.Advance());
  EXPECT_GE(saved, 10);
  EXPECT_EQ(pair.greeter.next(), Next::kDone);
  EXPECT_EQ(pair.claimer.next(), Next::kDone);
  EXPECT_EQ(pair.heard[Role::kClaimer], ";payload of step 7;");
}

TEST(SavedState, IsRefusedWhenCutOrFromNowhere) {
  Pair pair;
  pair.AdvanceUntil([&] { return pair.greeter.next() == Next::kPayload; });
  const std::string state(pair.greeter.SaveState()->Expose());
  for (size_t size = 0; size < state.size(); ++size) {
    EXPECT_EQ(Reason(Exchange::RestoreState(Secret::CopyOf(state.substr(0, size))).status()), kBadState);
  }
  EXPECT_EQ(Reason(Exchange::RestoreState(Secret::CopyOf(state + "x")).status()), kBadState);
  for (size_t at = 0; at < 8; ++at) {  // Magic, role, moment, step, kind.
    std::string other = state;
    other[at] = '\x09';
    EXPECT_EQ(Reason(Exchange::RestoreState(Secret::CopyOf(other)).status()), kBadState) << at;
  }
}

TEST(Attempts, AreUsedOnceAndLockedAfterThreeSuspicions) {
  Attempts attempts;
  EXPECT_EQ(Reason(attempts.Begin(0)), kAttemptReused);
  EXPECT_TRUE(attempts.Begin(1).ok());
  EXPECT_EQ(Reason(attempts.Begin(1)), kAttemptReused);
  EXPECT_TRUE(attempts.Begin(5).ok());
  EXPECT_EQ(Reason(attempts.Begin(4)), kAttemptReused);
  attempts.Suspect();
  EXPECT_EQ(Reason(attempts.Begin(6)), kUnseen);
  attempts.Acknowledge();
  EXPECT_TRUE(attempts.Begin(6).ok());
  attempts.Suspect();
  attempts.Suspect();
  attempts.Acknowledge();
  EXPECT_TRUE(attempts.locked());
  EXPECT_EQ(Reason(attempts.Begin(7)), kLocked);
  attempts.Suspect();
  EXPECT_EQ(attempts.suspected, Attempts::kMaxSuspected);
}

}  // namespace
}  // namespace parley::sas
