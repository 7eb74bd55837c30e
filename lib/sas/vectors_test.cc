// tests/vectors/sas.json, made from docs/protocol/sas.md by a program that shares nothing with this library.
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/base/vectors_testing.h"
#include "lib/crypto/kdf.h"
#include "lib/sas/exchange.h"
#include "lib/sas/testing.h"

namespace parley::sas {
namespace {

Role RoleOf(const Vector& vector, const char* name) { return static_cast<Role>(vector.Number(name)); }

// The private key, then the nonce, then decoys from the system.
RandomSource Fixed(std::vector<std::string> draws) {
  return [draws, next = size_t{0}](size_t size) mutable {
    return next < draws.size() ? Secret::CopyOf(draws[next++]) : crypto::RandomSecret(size);
  };
}

// An exchange of the file, brought forward message by message.
class Replayed {
 public:
  explicit Replayed(const Vector& vector) : vector_(vector) {
    const Context context{vector.Text("organisation"), vector.Text("invitation"),
                          static_cast<uint32_t>(vector.Number("attempt")), static_cast<Kind>(vector.Number("kind"))};
    EXPECT_EQ(HexEncode(EncodeContext(context)), vector.Text("context"));
    sides_.emplace(Role::kGreeter, Begin(Role::kGreeter, context, "greeter"));
    sides_.emplace(Role::kClaimer, Begin(Role::kClaimer, context, "claimer"));
    for (const Role role : {Role::kGreeter, Role::kClaimer}) Listen(role);
    messages_ = vector.List("messages");
  }

  Exchange& side(Role role) { return sides_.at(role); }

  // Through all messages before the one that `receiver` gets at `step`.
  void AdvanceTo(Role receiver, uint32_t step) {
    for (const Vector& message : messages_) {
      if (RoleOf(message, "sender") == Other(receiver) && message.Number("step") == step) break;
      Deliver(message);
    }
    People();
  }

  void Finish() {
    for (const Vector& message : messages_) Deliver(message);
  }

 private:
  Exchange Begin(Role role, const Context& context, const std::string& name) {
    return *ExchangeTestAccess::Begin(
        role, context, kBitsPerLetter,
        Fixed({vector_.Bytes((name + "_private_key").c_str()), vector_.Bytes((name + "_nonce").c_str())}));
  }

  // Codes are read and picked, and payloads sent, as soon as they can be.
  void People() {
    Exchange& greeter = side(Role::kGreeter);
    Exchange& claimer = side(Role::kClaimer);
    if (greeter.next() == Next::kChoice) {
      ASSERT_NE(claimer.own_code(), nullptr);
      EXPECT_EQ(claimer.own_code()->Expose(), vector_.Text("claimer_code"));
      ASSERT_TRUE(greeter.Pick(ChoiceHeard(greeter, *claimer.own_code())).ok());
      EXPECT_EQ(greeter.own_code()->Expose(), vector_.Text("greeter_code"));
      ASSERT_TRUE(claimer.Pick(ChoiceHeard(claimer, *greeter.own_code())).ok());
      Listen(Role::kClaimer);
    }
    const std::vector<std::string> payloads = vector_.Texts("payloads");
    for (auto& [role, exchange] : sides_) {
      if (exchange.next() != Next::kPayload) continue;
      const Secret payload = Secret::Take(*HexDecode(payloads[exchange.step() - 6]));
      ASSERT_TRUE(exchange.SendPayload(payload).ok());
      Listen(role);
    }
  }

  void Deliver(const Vector& message) {
    People();
    const Role sender = RoleOf(message, "sender");
    const uint32_t step = message.Number("step");
    EXPECT_EQ(HexEncode(said_.at({sender, step})), message.Text("bytes")) << "step " << step;
    Exchange& receiver = side(Other(sender));
    ASSERT_TRUE(receiver.Receive(message.Bytes("bytes")).ok()) << "step " << step;
    Listen(Other(sender));
    if (step >= 6) {
      const std::vector<std::string> payloads = vector_.Texts("payloads");
      EXPECT_EQ(HexEncode(receiver.payload().Expose()), payloads[step - 6]);
    }
  }

  void Listen(Role role) {
    const std::string& message = side(role).last_sent();
    said_[{role, static_cast<uint32_t>(message[3])}] = message;
  }

  Vector vector_;
  std::map<Role, Exchange> sides_;
  std::vector<Vector> messages_;
  std::map<std::pair<Role, uint32_t>, std::string> said_;
};

TEST(SasVectors, ExchangesByteByByte) {
  const std::vector<Vector> vectors = Vector::Read("sas.json").List("exchanges");
  ASSERT_GE(vectors.size(), 4u);
  for (const Vector& vector : vectors) {
    Replayed replayed(vector);
    replayed.Finish();
    for (const Role role : {Role::kGreeter, Role::kClaimer}) {
      EXPECT_EQ(replayed.side(role).next(), Next::kDone);
      EXPECT_EQ(HexEncode(ExchangeTestAccess::transcript(replayed.side(role))),
                vector.List("messages").back().Text("transcript_after"));
    }
  }
}

TEST(SasVectors, RefusalsEachForItsReason) {
  const Vector vectors = Vector::Read("sas.json");
  const Vector exchange = vectors.List("exchanges").front();
  const std::vector<Vector> refusals = vectors.List("refusals");
  ASSERT_GE(refusals.size(), 100u);
  for (const Vector& refusal : refusals) {
    Replayed replayed(exchange);
    const Role receiver = RoleOf(refusal, "receiver");
    replayed.AdvanceTo(receiver, refusal.Number("step"));
    EXPECT_EQ(Reason(replayed.side(receiver).Receive(refusal.Bytes("bytes")).status()), refusal.Text("reason"))
        << "step " << refusal.Number("step") << ": " << refusal.Text("bytes");
  }
}

}  // namespace
}  // namespace parley::sas
