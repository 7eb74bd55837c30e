// Both sides of an exchange of lib/sas with their people, for tests: whatever server each of them talks to.
#ifndef PARLEY_SERVICES_ENROLLD_TESTING_TWO_SIDES_TEST_H_
#define PARLEY_SERVICES_ENROLLD_TESTING_TWO_SIDES_TEST_H_

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "lib/base/error.h"
#include "lib/sas/exchange.h"
#include "services/enrolld/testing/enrolld_testing.h"

namespace parley::enrolld {

// One side with its person: says hello, exchanges, and picks what it hears.
class Side {
 public:
  Side(sas::Role role, std::string invitation) : role_(role), invitation_(std::move(invitation)) {}

  // (Re)connects; a side in an attempt resumes it.
  void Connect(EnrolldTestClient* client) {
    stream_ = nullptr;
    stream_ = std::make_unique<TestStream>(client, invitation_, role_ == sas::Role::kGreeter ? 'g' : 'c');
    if (!exchange_.has_value()) {
      stream_->Hello();
      return;
    }
    stream_->Hello(exchange_->context().attempt, static_cast<uint32_t>(exchange_->step()));
    EXPECT_EQ(stream_->ReadState().phase(), enrol::v1::State::PHASE_EXCHANGING);
    Send(exchange_->last_sent());
  }
  void Begin() {
    enrol::v1::State state;
    do {
      state = stream_->ReadState();
    } while (state.phase() == enrol::v1::State::PHASE_WAITING);
    ASSERT_EQ(state.phase(), enrol::v1::State::PHASE_EXCHANGING);
    exchange_.emplace(
        *sas::Exchange::Begin(role_, {"Example", invitation_.substr(12), state.attempt(), sas::Kind::kUser}));
    Send(exchange_->last_sent());
  }
  // Takes one message and answers it.
  void Receive() {
    const absl::StatusOr<std::string> reply = exchange_->Receive(stream_->ReadMessage());
    // What came again after a reconnection.
    if (Reason(reply.status()) == "SAS_REPLAYED") return Receive();
    ASSERT_TRUE(reply.ok()) << reply.status();
    Send(*reply);
  }
  void Pick(const Secret& heard) {
    for (size_t i = 0; i < exchange_->choices().size(); ++i) {
      if (!(exchange_->choices()[i] == heard)) continue;
      const absl::StatusOr<std::string> reply = exchange_->Pick(i);
      ASSERT_TRUE(reply.ok()) << reply.status();
      return Send(*reply);
    }
    FAIL() << "the code that was heard is not among the choices";
  }
  void Say(const std::string& payload) { Send(*exchange_->SendPayload(Secret::CopyOf(payload))); }

  sas::Exchange& exchange() { return *exchange_; }
  TestStream& stream() { return *stream_; }
  uint32_t attempt() const { return exchange_->context().attempt; }

 private:
  void Send(const std::string& message) {
    if (!message.empty()) stream_->Send(exchange_->context().attempt, message);
  }

  const sas::Role role_;
  const std::string invitation_;
  std::unique_ptr<TestStream> stream_;
  std::optional<sas::Exchange> exchange_;
};

inline constexpr char kNewcomer[] = "the newcomer's public keys, name and label";
inline constexpr char kEnrolled[] = "ids, certificates, and a credential that nobody else may read";
inline constexpr char kSaved[] = "all of it is safely kept";

class TwoSides {
 protected:
  void Meet(const std::string& invitation) {
    greeter_.emplace(sas::Role::kGreeter, invitation);
    claimer_.emplace(sas::Role::kClaimer, invitation);
  }
  // One move of the exchange; they come in this order.
  void Move(int move) {
    switch (move) {
      case 0:
        return claimer_->Receive();  // G0; says 1.
      case 1:
        return greeter_->Receive();  // C0.
      case 2:
        return greeter_->Receive();  // C1; says 2.
      case 3:
        return claimer_->Receive();  // G2; says 3.
      case 4:
        return greeter_->Receive();  // C3.
      case 5:
        code_ = claimer_->exchange().own_code()->Clone();
        greeter_->Pick(code_);
        return claimer_->Pick(*greeter_->exchange().own_code());  // Says 4.
      case 6:
        return greeter_->Receive();  // C4; says 5.
      case 7:
        claimer_->Receive();  // G5.
        return claimer_->Say(kNewcomer);
      case 8:
        greeter_->Receive();  // C6.
        EXPECT_EQ(greeter_->exchange().payload().Expose(), kNewcomer);
        return greeter_->Say(kEnrolled);
      case 9:
        claimer_->Receive();  // G7.
        EXPECT_EQ(claimer_->exchange().payload().Expose(), kEnrolled);
        return claimer_->Say(kSaved);
      case 10:
        greeter_->Receive();  // C8.
        EXPECT_EQ(greeter_->exchange().payload().Expose(), kSaved);
        greeter_->stream().Done(greeter_->attempt());
        EXPECT_EQ(greeter_->stream().ReadEnded().reason(), "INVITATION_COMPLETED");
    }
  }
  static constexpr int kMoves = 11;

  std::optional<Side> greeter_;
  std::optional<Side> claimer_;
  Secret code_;
};

}  // namespace parley::enrolld

#endif  // PARLEY_SERVICES_ENROLLD_TESTING_TWO_SIDES_TEST_H_
