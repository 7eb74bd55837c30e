// A hostile relay, with the whole protocol at its disposal, between two honest sides and two people who listen.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "lib/base/error.h"
#include "lib/crypto/x25519.h"
#include "lib/sas/attempts.h"
#include "lib/sas/exchange.h"
#include "lib/sas/reason.h"
#include "lib/sas/testing.h"

namespace parley::sas {
namespace {

constexpr int kShortBitsPerLetter = 2;  // Codes of 8 bits.

Context TestContext(uint32_t attempt = 1) { return Context{"acme", "inv-7k3q", attempt, Kind::kUser}; }

const Keys& KeysOf(const Exchange& exchange) { return ExchangeTestAccess::keys(exchange); }

// Two honest sides, and Mallory's two fake ones: a claimer for the greeter, a greeter for the claimer.
struct Attack {
  Attack(SeededRandom* random, int bits, uint32_t attempt = 1)
      : greeter(Begin(Role::kGreeter, random, bits, attempt)),
        claimer(Begin(Role::kClaimer, random, bits, attempt)),
        fake_greeter(Begin(Role::kGreeter, random, bits, attempt)),
        fake_claimer(Begin(Role::kClaimer, random, bits, attempt)) {}

  static Exchange Begin(Role role, SeededRandom* random, int bits, uint32_t attempt) {
    return *ExchangeTestAccess::Begin(role, TestContext(attempt), bits, random->Source());
  }

  // Steps 0 to 3 between an honest side and its fake counterpart; afterwards Mallory knows this side's codes.
  static void ExchangeNonces(Exchange* greets, Exchange* claims) {
    ASSERT_TRUE(greets->Receive(claims->last_sent()).ok());
    const auto commitment = claims->Receive(greets->last_sent());
    const auto greeter_nonce = greets->Receive(*commitment);
    const auto claimer_nonce = claims->Receive(*greeter_nonce);
    ASSERT_TRUE(greets->Receive(*claimer_nonce).ok());
  }

  Exchange greeter, claimer, fake_greeter, fake_claimer;
};

struct Tally {
  int tries = 0;
  int first_code = 0;   // Alice found in her list what Bob read.
  int second_code = 0;  // Bob found in his what Alice would read.
  int both = 0;
  int noticed = 0;
};

// What the two people do once the codes are on their screens, and whether Mallory gets through.
void LetPeopleCompare(Attack* attack, Tally* tally) {
  ++tally->tries;
  const bool second = KeysOf(attack->greeter).greeter_code == KeysOf(attack->claimer).greeter_code;
  tally->second_code += second;
  const auto picked = attack->greeter.Pick(ChoiceHeard(attack->greeter, *attack->claimer.own_code()));
  if (!picked.ok()) {
    EXPECT_TRUE(attack->greeter.suspected());
    ++tally->noticed;
    return;
  }
  ++tally->first_code;
  const auto confirmation = attack->claimer.Pick(ChoiceHeard(attack->claimer, *attack->greeter.own_code()));
  if (!confirmation.ok()) {
    EXPECT_TRUE(attack->claimer.suspected());
    ++tally->noticed;
    return;
  }
  EXPECT_TRUE(second);
  ++tally->both;
}

// Whether `count` of `tries` fits a chance of 2^-8: within four standard deviations, which chance alone leaves one
// time in 16,000; the seed makes the outcome the same every time.
void ExpectFits8Bits(const char* what, int count, int tries) {
  const double p = 1.0 / 256;
  const double expected = tries * p;
  const double deviation = std::sqrt(tries * p * (1 - p));
  printf("%s: %d of %d, expected %.0f +- %.1f\n", what, count, tries, expected, 4 * deviation);
  EXPECT_NEAR(count, expected, 4 * deviation) << what;
}

TEST(ManInTheMiddle, IsHeardExceptWhenACodeIsGuessed) {
  SeededRandom random(20240601);
  Tally greeter_first, claimer_first;
  constexpr int kTriesEach = 5120;
  for (int i = 0; i < kTriesEach; ++i) {
    Attack attack(&random, kShortBitsPerLetter);
    Attack::ExchangeNonces(&attack.greeter, &attack.fake_claimer);
    Attack::ExchangeNonces(&attack.fake_greeter, &attack.claimer);
    LetPeopleCompare(&attack, &greeter_first);
  }
  for (int i = 0; i < kTriesEach; ++i) {
    Attack attack(&random, kShortBitsPerLetter);
    Attack::ExchangeNonces(&attack.fake_greeter, &attack.claimer);
    Attack::ExchangeNonces(&attack.greeter, &attack.fake_claimer);
    LetPeopleCompare(&attack, &claimer_first);
  }
  for (const Tally& tally : {greeter_first, claimer_first}) {
    ASSERT_EQ(tally.tries, kTriesEach);
    ExpectFits8Bits("code read by the claimer", tally.first_code, tally.tries);
    ExpectFits8Bits("code read by the greeter", tally.second_code, tally.tries);
    EXPECT_EQ(tally.noticed + tally.both, tally.tries);
    EXPECT_LE(tally.both, 2) << "0.1 expected: both codes at once are 16 bits here";
  }
  ExpectFits8Bits("either order, claimer's code", greeter_first.first_code + claimer_first.first_code, 2 * kTriesEach);
  ExpectFits8Bits("either order, greeter's code", greeter_first.second_code + claimer_first.second_code,
                  2 * kTriesEach);
}

// The commitment is there against this attack. It does find nonces that make the codes equal; so it is the refusal that
// stops it, not luck.
TEST(ManInTheMiddle, TheGreeterRefusesASearchForMatchingNonces) {
  SeededRandom random(5);
  int found = 0;
  for (int round = 0; round < 4; ++round) {
    Attack attack(&random, kShortBitsPerLetter);
    Attack::ExchangeNonces(&attack.fake_greeter, &attack.claimer);
    const uint32_t wanted = KeysOf(attack.claimer).claimer_code;

    const crypto::AgreementKey mallory = crypto::AgreementKey::Generate();
    const Context context = TestContext();
    const std::string key_message = EncodeHeader(context, Role::kClaimer, 0) + mallory.public_key();
    const std::string honest_key_message = attack.greeter.last_sent();
    ASSERT_TRUE(attack.greeter.Receive(key_message).ok());
    const absl::string_view greeter_key = absl::string_view(honest_key_message).substr(kHeaderBytes);
    const std::string commitment =
        EncodeHeader(context, Role::kClaimer, 1) +
        Commitment(Secret::Take(random.Bytes(kNonceBytes)), context, mallory.public_key(), greeter_key);
    const std::string greeter_nonce = *attack.greeter.Receive(commitment);
    Transcript before(context);
    for (const std::string& message : {honest_key_message, key_message, commitment, greeter_nonce}) before.Add(message);
    const Secret shared = *mallory.Agree(greeter_key);
    for (int tries = 0; tries < 4096; ++tries) {
      const std::string reveal = EncodeHeader(context, Role::kClaimer, 3) + random.Bytes(kNonceBytes);
      Transcript transcript = before;
      transcript.Add(reveal);
      if (DeriveKeys(shared, transcript, kShortBitsPerLetter).claimer_code != wanted) continue;
      ++found;
      EXPECT_EQ(Reason(attack.greeter.Receive(reveal).status()), kBadCommitment);
      EXPECT_TRUE(attack.greeter.suspected());
      break;
    }
  }
  EXPECT_EQ(found, 4);
}

TEST(ManInTheMiddle, TheClaimerRefusesASearchForMatchingNonces) {
  SeededRandom random(5);
  int found = 0;
  for (int round = 0; round < 4; ++round) {
    Attack attack(&random, kShortBitsPerLetter);
    Attack::ExchangeNonces(&attack.greeter, &attack.fake_claimer);
    const uint32_t wanted = KeysOf(attack.greeter).claimer_code;

    const Context context = TestContext();
    const crypto::AgreementKey mallory = crypto::AgreementKey::Generate();
    const std::string key_message = EncodeHeader(context, Role::kGreeter, 0) + mallory.public_key();
    const std::string honest_key_message = attack.claimer.last_sent();
    const std::string commitment = *attack.claimer.Receive(key_message);
    // The claimer's nonce comes only for a greeter's nonce; a better one found afterwards comes too late.
    const std::string header = EncodeHeader(context, Role::kGreeter, 2);
    const std::string claimer_nonce = *attack.claimer.Receive(header + random.Bytes(kNonceBytes));
    const Secret shared = *mallory.Agree(absl::string_view(honest_key_message).substr(kHeaderBytes));
    for (int tries = 0; tries < 4096; ++tries) {
      const std::string better = header + random.Bytes(kNonceBytes);
      Transcript transcript(context);
      for (const std::string& message : {key_message, honest_key_message, commitment, better, claimer_nonce}) {
        transcript.Add(message);
      }
      if (DeriveKeys(shared, transcript, kShortBitsPerLetter).claimer_code != wanted) continue;
      ++found;
      EXPECT_EQ(Reason(attack.claimer.Receive(better).status()), kChanged);
      EXPECT_TRUE(attack.claimer.suspected());
      break;
    }
  }
  EXPECT_EQ(found, 4);
}

// One attempt as a client carries it out: it counts for itself.
struct Client {
  Role role;
  Attempts attempts;
  int nonces_given = 0;

  void Finish(const Exchange& exchange) {
    nonces_given += ExchangeTestAccess::nonce_out(exchange);
    if (exchange.suspected()) attempts.Suspect();
  }
};

// Mallory knows after the nonces that her codes do not match, breaks off in a way that looks harmless, and asks for
// another attempt, as often as the clients go along.
TEST(ManInTheMiddle, GetsOneTryUntilAPersonIsToldAndThreeInAll) {
  const std::vector<std::function<void(Exchange*)>> ways_to_break_off = {
      [](Exchange* exchange) { exchange->Stop("the connection was lost").IgnoreError(); },
      [](Exchange* exchange) { exchange->Receive("\x02").IgnoreError(); },
      [](Exchange* exchange) { exchange->Receive("").IgnoreError(); },
  };
  for (const auto& break_off : ways_to_break_off) {
    SeededRandom random(11);
    Client greeter{Role::kGreeter, {}}, claimer{Role::kClaimer, {}};
    uint32_t attempt = 0;
    int acknowledged = 0;
    for (int asked = 0; asked < 1000; ++asked) {
      ++attempt;
      const bool greeter_goes_on = greeter.attempts.Begin(attempt).ok();
      const bool claimer_goes_on = claimer.attempts.Begin(attempt).ok();
      if (!greeter_goes_on || !claimer_goes_on) {
        // Nothing but a person who was told and insists moves either of them.
        EXPECT_EQ(greeter.nonces_given, acknowledged + 1);
        EXPECT_EQ(claimer.nonces_given, acknowledged + 1);
        if (greeter.attempts.locked() && claimer.attempts.locked()) break;
        greeter.attempts.Acknowledge();
        claimer.attempts.Acknowledge();
        ++acknowledged;
        continue;
      }
      Attack attack(&random, kBitsPerLetter, attempt);
      Attack::ExchangeNonces(&attack.greeter, &attack.fake_claimer);
      Attack::ExchangeNonces(&attack.fake_greeter, &attack.claimer);
      break_off(&attack.greeter);
      break_off(&attack.claimer);
      greeter.Finish(attack.greeter);
      claimer.Finish(attack.claimer);
    }
    EXPECT_EQ(acknowledged, 2);
    EXPECT_EQ(greeter.nonces_given, 3);
    EXPECT_EQ(claimer.nonces_given, 3);
  }
}

// Before a nonce is out, starting over tells Mallory nothing, so it costs people nothing.
TEST(ManInTheMiddle, LearnsNothingFromAttemptsThatEndBeforeANonce) {
  SeededRandom random(12);
  Client claimer{Role::kClaimer, {}};
  for (uint32_t attempt = 1; attempt <= 100; ++attempt) {
    ASSERT_TRUE(claimer.attempts.Begin(attempt).ok());
    Attack attack(&random, kBitsPerLetter, attempt);
    ASSERT_TRUE(attack.claimer.Receive(attack.fake_greeter.last_sent()).ok());
    attack.claimer.Stop("the connection was lost").IgnoreError();
    claimer.Finish(attack.claimer);
  }
  EXPECT_EQ(claimer.nonces_given, 0);
  EXPECT_EQ(claimer.attempts.suspected, 0u);
}

// Mallory plays at random with everything she has seen or made: delivers, alters, reorders, replays, crosses
// attempts, resets. People compare the codes as they should.
class RandomAttack {
 public:
  // One move in `patience` goes against the protocol.
  RandomAttack(uint64_t seed, uint64_t patience) : random_(seed), patience_(patience) {
    for (const Role role : {Role::kGreeter, Role::kClaimer}) {
      Reset(role);
      fakes_.emplace(role, Attack::Begin(role, &random_, kBitsPerLetter, attempt_));
      pool_.push_back(fakes_.at(role).last_sent());
    }
  }

  void Run() {
    for (int event = 0; event < 80; ++event) {
      Act();
      for (const Role role : {Role::kGreeter, Role::kClaimer}) Check(role);
    }
  }
  int completed = 0;
  std::set<std::string> reasons;

 private:
  // Breaks an attempt off and asks for another; the person, who is told, always agrees.
  void Reset(Role role) {
    if (auto old = honest_.find(role); old != honest_.end()) {
      if (old->second.next() == Next::kDone) return;
      old->second.Stop("reset").IgnoreError();
      if (old->second.suspected()) attempts_[role].Suspect();
      attempts_[role].Acknowledge();
      if (!attempts_[role].Begin(attempt_ + 1).ok()) return;
      ++attempt_;
      honest_.erase(old);
    }
    honest_.emplace(role, Attack::Begin(role, &random_, kBitsPerLetter, attempt_));
    pool_.push_back(honest_.at(role).last_sent());
  }

  void Act() {
    const Role role = random_.Below(2) == 0 ? Role::kGreeter : Role::kClaimer;
    const uint64_t dice = random_.Below(100);
    if (random_.Below(patience_) == 0) return Reset(role);
    const bool fake = dice < 30;
    Exchange& exchange = fake ? fakes_.at(role) : honest_.at(role);
    switch (exchange.next()) {
      case Next::kMessage:
        return Deliver(&exchange);
      case Next::kChoice: {
        // Mallory sees her own codes' right answers; an honest side has only the phone.
        const Secret* spoken = honest_.at(Other(role)).own_code();
        if (fake) return Keep(exchange.Pick(ExchangeTestAccess::right_choice(exchange)));
        if (spoken != nullptr) return Keep(exchange.Pick(ChoiceHeard(exchange, *spoken)));
        return Deliver(&exchange);
      }
      case Next::kPayload:
        Remember(exchange);
        return Keep(exchange.SendPayload(Secret::CopyOf("payload")));
      default:
        return;
    }
  }

  void Deliver(Exchange* to) {
    std::vector<const std::string*> fitting;
    for (const std::string& message : pool_) {
      if (message[3] == to->step() && message[2] == static_cast<char>(Other(to->role()))) fitting.push_back(&message);
    }
    const bool meddle = random_.Below(patience_) == 0;
    if (fitting.empty() && !meddle) return;
    std::string message = meddle ? pool_[random_.Below(pool_.size())] : *fitting[random_.Below(fitting.size())];
    if (random_.Below(patience_) == 0) {
      const size_t at = random_.Below(3) == 0 ? random_.Below(8) : random_.Below(message.size());
      message[at] = static_cast<char>(message[at] ^ (1 << random_.Below(8)));
      pool_.push_back(message);
    }
    Remember(*to);
    Keep(to->Receive(message));
    Remember(*to);
  }

  void Keep(const absl::StatusOr<std::string>& message) {
    if (!message.ok()) {
      reasons.insert(Reason(message.status()));
    } else if (!message->empty()) {
      pool_.push_back(*message);
    }
  }

  // The keys that an honest side had at any time.
  void Remember(const Exchange& exchange) {
    for (const Role role : {Role::kGreeter, Role::kClaimer}) {
      if (&exchange == &honest_.at(role) && !KeysOf(exchange).seal_greeter.empty()) {
        keys_[role].insert(std::string(KeysOf(exchange).seal_greeter.Expose()));
      }
    }
  }

  // Whoever confirmed shares keys with the other honest side, and never with Mallory.
  void Check(Role role) {
    const Exchange& exchange = honest_.at(role);
    if (!exchange.confirmed()) return;
    if (exchange.next() == Next::kDone) ++completed;
    const Secret& key = KeysOf(exchange).seal_greeter;
    if (key.empty()) return;
    EXPECT_EQ(keys_[Other(role)].count(std::string(key.Expose())), 1u);
    for (const auto& [unused, fake] : fakes_) EXPECT_FALSE(KeysOf(fake).seal_greeter == key);
  }

  SeededRandom random_;
  const uint64_t patience_;
  uint32_t attempt_ = 1;
  std::map<Role, Exchange> honest_, fakes_;
  std::map<Role, Attempts> attempts_;
  std::map<Role, std::set<std::string>> keys_;
  std::vector<std::string> pool_;
};

TEST(ManInTheMiddle, WhoPlaysAtRandomNeverSharesAKeyThatAPersonConfirmed) {
  std::set<std::string> reasons;
  int completed = 0;
  for (uint64_t seed = 0; seed < 3000; ++seed) {
    RandomAttack attack(seed, 5 << seed % 6);
    attack.Run();
    completed += attack.completed > 0;
    reasons.insert(attack.reasons.begin(), attack.reasons.end());
  }
  // The play is worth something only if it reaches both the end and the refusals.
  EXPECT_GT(completed, 20);
  for (const absl::string_view reason :
       {kWrongVersion, kOtherOrganisation, kOtherInvitation, kOtherKind, kOtherAttempt, kWrongRole, kWrongStep,
        kReplayed, kChanged, kBadCommitment, kBadMac, kNotAuthentic, kNoneOfThese}) {
    EXPECT_EQ(reasons.count(std::string(reason)), 1u) << reason;
  }
}

// What the relay sees holds no code and nothing of what the two sides tell each other.
TEST(Relay, SeesNoCodeAndNoPayload) {
  SeededRandom random(9);
  Attack honest(&random, kBitsPerLetter);
  Exchange &greeter = honest.greeter, &claimer = honest.claimer;
  std::string seen = greeter.last_sent() + claimer.last_sent();
  Attack::ExchangeNonces(&greeter, &claimer);
  seen += greeter.last_sent() + claimer.last_sent();
  const Secret claimer_code = claimer.own_code()->Clone();
  ASSERT_TRUE(greeter.Pick(ChoiceHeard(greeter, claimer_code)).ok());
  const Secret greeter_code = greeter.own_code()->Clone();
  const std::string mac = *claimer.Pick(ChoiceHeard(claimer, greeter_code));
  const std::string answer = *greeter.Receive(mac);
  ASSERT_TRUE(claimer.Receive(answer).ok());
  const Secret payload = Secret::CopyOf("the claimer's private matters");
  const std::string sealed = *claimer.SendPayload(payload);
  ASSERT_TRUE(greeter.Receive(sealed).ok());
  EXPECT_TRUE(greeter.payload() == payload);
  seen += mac + answer + sealed;
  for (const absl::string_view secret :
       {claimer_code.Expose(), greeter_code.Expose(), payload.Expose(), payload.Expose().substr(4, 8)}) {
    EXPECT_EQ(seen.find(std::string(secret)), std::string::npos);
  }
}

}  // namespace
}  // namespace parley::sas
