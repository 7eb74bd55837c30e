// tests/vectors/sas.json, made from docs/protocol/sas.md by a program that shares nothing with this library.
#include <google/protobuf/struct.pb.h>
#include <google/protobuf/util/json_util.h>
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/crypto/kdf.h"
#include "lib/sas/exchange.h"
#include "lib/sas/testing.h"

namespace parley::sas {
namespace {

using google::protobuf::Struct;
using google::protobuf::Value;

class Object {
 public:
  explicit Object(const Value& value) : fields_(value.struct_value()) {}
  std::string Text(const char* name) const { return fields_.fields().at(name).string_value(); }
  std::string Bytes(const char* name) const { return *HexDecode(Text(name)); }
  uint32_t Number(const char* name) const { return static_cast<uint32_t>(fields_.fields().at(name).number_value()); }
  Role RoleOf(const char* name) const { return static_cast<Role>(Number(name)); }
  std::vector<Value> List(const char* name) const {
    const auto& values = fields_.fields().at(name).list_value().values();
    return {values.begin(), values.end()};
  }

 private:
  Struct fields_;
};

Object Vectors() {
  Value all;
  const std::string text = ReadFile("tests/vectors/sas.json", 1 << 20).value();
  EXPECT_TRUE(google::protobuf::util::JsonStringToMessage(text, all.mutable_struct_value()).ok());
  return Object(all);
}

// The private key, then the nonce, then decoys from the system.
RandomSource Fixed(std::vector<std::string> draws) {
  return [draws, next = size_t{0}](size_t size) mutable {
    return next < draws.size() ? Secret::CopyOf(draws[next++]) : crypto::RandomSecret(size);
  };
}

// An exchange of the file, brought forward message by message.
class Replayed {
 public:
  explicit Replayed(const Object& vector) : vector_(vector) {
    const Context context{vector.Text("organisation"), vector.Text("invitation"), vector.Number("attempt"),
                          static_cast<Kind>(vector.Number("kind"))};
    EXPECT_EQ(HexEncode(EncodeContext(context)), vector.Text("context"));
    sides_.emplace(Role::kGreeter, Begin(Role::kGreeter, context, "greeter"));
    sides_.emplace(Role::kClaimer, Begin(Role::kClaimer, context, "claimer"));
    for (const Role role : {Role::kGreeter, Role::kClaimer}) Listen(role);
    for (const Value& message : vector.List("messages")) messages_.emplace_back(message);
  }

  Exchange& side(Role role) { return sides_.at(role); }

  // Through all messages before the one that `receiver` gets at `step`.
  void AdvanceTo(Role receiver, uint32_t step) {
    for (const Object& message : messages_) {
      if (message.RoleOf("sender") == Other(receiver) && message.Number("step") == step) break;
      Deliver(message);
    }
    People();
  }

  void Finish() {
    for (const Object& message : messages_) Deliver(message);
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
    const std::vector<Value> payloads = vector_.List("payloads");
    for (auto& [role, exchange] : sides_) {
      if (exchange.next() != Next::kPayload) continue;
      const Secret payload = Secret::Take(*HexDecode(payloads[exchange.step() - 6].string_value()));
      ASSERT_TRUE(exchange.SendPayload(payload).ok());
      Listen(role);
    }
  }

  void Deliver(const Object& message) {
    People();
    const Role sender = message.RoleOf("sender");
    const uint32_t step = message.Number("step");
    EXPECT_EQ(HexEncode(said_.at({sender, step})), message.Text("bytes")) << "step " << step;
    Exchange& receiver = side(Other(sender));
    ASSERT_TRUE(receiver.Receive(message.Bytes("bytes")).ok()) << "step " << step;
    Listen(Other(sender));
    if (step >= 6) {
      const std::vector<Value> payloads = vector_.List("payloads");
      EXPECT_EQ(HexEncode(receiver.payload().Expose()), payloads[step - 6].string_value());
    }
  }

  void Listen(Role role) {
    const std::string& message = side(role).last_sent();
    said_[{role, static_cast<uint32_t>(message[3])}] = message;
  }

  Object vector_;
  std::map<Role, Exchange> sides_;
  std::vector<Object> messages_;
  std::map<std::pair<Role, uint32_t>, std::string> said_;
};

TEST(SasVectors, ExchangesByteByByte) {
  const std::vector<Value> vectors = Vectors().List("exchanges");
  ASSERT_GE(vectors.size(), 4u);
  for (const Value& value : vectors) {
    const Object vector(value);
    Replayed replayed(vector);
    replayed.Finish();
    for (const Role role : {Role::kGreeter, Role::kClaimer}) {
      EXPECT_EQ(replayed.side(role).next(), Next::kDone);
      EXPECT_EQ(HexEncode(ExchangeTestAccess::transcript(replayed.side(role))),
                Object(vector.List("messages").back()).Text("transcript_after"));
    }
  }
}

TEST(SasVectors, RefusalsEachForItsReason) {
  const Object vectors = Vectors();
  const Object exchange(vectors.List("exchanges").front());
  const std::vector<Value> refusals = vectors.List("refusals");
  ASSERT_GE(refusals.size(), 100u);
  for (const Value& value : refusals) {
    const Object refusal(value);
    Replayed replayed(exchange);
    const Role receiver = refusal.RoleOf("receiver");
    replayed.AdvanceTo(receiver, refusal.Number("step"));
    EXPECT_EQ(Reason(replayed.side(receiver).Receive(refusal.Bytes("bytes")).status()), refusal.Text("reason"))
        << "step " << refusal.Number("step") << ": " << refusal.Text("bytes");
  }
}

}  // namespace
}  // namespace parley::sas
