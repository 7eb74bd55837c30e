// Whole exchanges of lib/sas through a real enrolld: restarts, attacks on its rules, and what it never learns.
#include "lib/sas/exchange.h"

#include <dirent.h>

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "services/enrolld/testing/enrolld_testing.h"

namespace parley::enrolld {
namespace {

using sas::Exchange;
using sas::Next;
using sas::Role;

// One side with its person: says hello, exchanges, and picks what it hears.
class Side {
 public:
  Side(EnrolldTest* test, Role role, std::string invitation) : role_(role), invitation_(std::move(invitation)) {}

  // (Re)connects; a side in an attempt resumes it.
  void Connect(EnrolldTestClient* client) {
    stream_ = nullptr;
    stream_ = std::make_unique<TestStream>(client, invitation_, role_ == Role::kGreeter ? 'g' : 'c');
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
    exchange_.emplace(*Exchange::Begin(role_, {"Example", invitation_.substr(12), state.attempt(), sas::Kind::kUser}));
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

  Exchange& exchange() { return *exchange_; }
  TestStream& stream() { return *stream_; }
  uint32_t attempt() const { return exchange_->context().attempt; }

 private:
  void Send(const std::string& message) {
    if (!message.empty()) stream_->Send(exchange_->context().attempt, message);
  }

  const Role role_;
  const std::string invitation_;
  std::unique_ptr<TestStream> stream_;
  std::optional<Exchange> exchange_;
};

constexpr char kNewcomer[] = "the newcomer's public keys, name and label";
constexpr char kEnrolled[] = "ids, certificates, and a credential that nobody else may read";
constexpr char kSaved[] = "all of it is safely kept";

class ExchangeTest : public EnrolldTest {
 protected:
  void SetUp() override {
    invited_ = Invite("bob");
    name_ = invited_.invitation().name();
    greeter_.emplace(this, Role::kGreeter, name_);
    claimer_.emplace(this, Role::kClaimer, name_);
    Reconnect();
    claimer_->Begin();
    greeter_->Begin();
  }
  void TearDown() override {
    greeter_.reset();
    claimer_.reset();
    claiming_.reset();
  }
  void Reconnect() {
    claiming_ = Claimer(invited_);
    claimer_->Connect(claiming_.get());
    greeter_->Connect(&admin());
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

  CreateInvitationResponse invited_;
  std::string name_;
  std::unique_ptr<EnrolldTestClient> claiming_;
  std::optional<Side> greeter_;
  std::optional<Side> claimer_;
  Secret code_;
};

TEST_F(ExchangeTest, EnrolsANewcomer) {
  for (int move = 0; move < kMoves; ++move) Move(move);
  EXPECT_EQ(greeter_->exchange().next(), Next::kDone);
  EXPECT_EQ(claimer_->exchange().next(), Next::kDone);
  EXPECT_EQ(claimer_->stream().ReadEnded().reason(), "INVITATION_COMPLETED");
  EXPECT_TRUE(greeter_->stream().Finish().ok());
  const Invitation invitation = Get(name_);
  EXPECT_EQ(invitation.state(), Invitation::STATE_COMPLETED);
  EXPECT_EQ(invitation.attempts(), 1u);
  EXPECT_TRUE(audit_.Has("invitation.created", "ok"));
  EXPECT_TRUE(audit_.Has("enrolment.attempt_begun", "ok"));
  EXPECT_TRUE(audit_.Has("invitation.completed", "ok"));
}

// The service is killed before each move; both sides come back with what they have, and go on.
TEST_F(ExchangeTest, ARestartAtAnyStepLosesNothing) {
  for (int move = 0; move < kMoves; ++move) {
    SCOPED_TRACE(move);
    Stop(false);
    Start();
    // Once step 8 was taken the invitee's key opens nothing: the claimer is through.
    if (Get(name_).state() == Invitation::STATE_PENDING) {
      Reconnect();
    } else {
      greeter_->Connect(&admin());
    }
    Move(move);
  }
  EXPECT_EQ(Get(name_).state(), Invitation::STATE_COMPLETED);
  EXPECT_EQ(Get(name_).suspected_attempts(), 0u);
}

// Bytes that would be a betrayal, searched for in every file of the service and in the audit log.
TEST_F(ExchangeTest, NeitherCodesNorPayloadsNorKeysAreWrittenAnywhere) {
  for (int move = 0; move < kMoves - 1; ++move) {
    Move(move);
    std::string seen = audit_.Text();
    for (const auto& file : std::filesystem::directory_iterator(folder_)) {
      absl::StrAppend(&seen, *ReadFile(file.path(), 64 << 20));
    }
    ASSERT_TRUE(absl::StrContains(seen, name_.substr(12))) << "the search finds what is there";
    for (const absl::string_view secret :
         {absl::string_view(kNewcomer), absl::string_view(kEnrolled), absl::string_view(kSaved)}) {
      EXPECT_FALSE(absl::StrContains(seen, secret)) << move;
    }
    if (!code_.empty()) EXPECT_FALSE(absl::StrContains(seen, code_.Expose())) << move;
    const keys::InvitationLink link = Link(invited_);
    EXPECT_FALSE(absl::StrContains(seen, link.secret.Expose())) << "the link's key is made, not kept";
  }
}

TEST_F(ExchangeTest, AfterTheEndTheLinkOpensNothing) {
  for (int move = 0; move < kMoves; ++move) Move(move);
  EXPECT_EQ(claimer_->stream().ReadEnded().reason(), "INVITATION_COMPLETED");
  // The claimer has not gone by itself: it is closed, moments later.
  clock_.Advance(absl::Seconds(4));
  EXPECT_EQ(claimer_->stream().Read().response_case(), 0);
  EXPECT_FALSE(claimer_->stream().Finish().ok());
  const auto again = Claimer(invited_);
  TestStream stream(again.get(), name_, 'x');
  stream.Hello();
  EXPECT_EQ(Reason(stream.Finish()), "KEY_REFUSED") << "in the handshake";
}

TEST_F(ExchangeTest, CancelingEndsItForBothAndClosesTheDoor) {
  for (int move = 0; move < 5; ++move) Move(move);
  enrol::v1::CancelInvitationRequest request;
  request.set_name(name_);
  request.set_reason("wrong person");
  ASSERT_TRUE(admin().Call(&InvitationService::Stub::CancelInvitation, request).ok());
  for (Side* const side : {&*greeter_, &*claimer_}) {
    const Ended ended = side->stream().ReadEnded();
    EXPECT_EQ(ended.reason(), "INVITATION_CANCELED");
    EXPECT_EQ(ended.sentence(), "wrong person");
    EXPECT_TRUE(ended.over());
    EXPECT_TRUE(ended.suspected());
  }
  EXPECT_TRUE(claimer_->stream().Finish().ok());
  // Once the server knows that the claimer has heard it, there is not even a handshake.
  absl::Status refused;
  do {
    const auto again = Claimer(invited_);
    TestStream stream(again.get(), name_, 'x');
    stream.Hello();
    refused = stream.Finish();
    ASSERT_FALSE(refused.ok());
  } while (Reason(refused) != "KEY_REFUSED");
}

TEST_F(ExchangeTest, ARefusedMessageEndsItForBothAndIsAudited) {
  Move(0);
  claimer_->stream().Send(1, std::string(1, sas::kVersion));
  EXPECT_EQ(greeter_->stream().ReadEnded().peer_reason(), "SAS_LENGTH");
  EXPECT_EQ(claimer_->stream().ReadEnded().peer_reason(), "SAS_LENGTH");
  EXPECT_TRUE(audit_.Has("enrolment.attempt_ended", "MESSAGE_REFUSED"));
  EXPECT_EQ(Get(name_).suspected_attempts(), 1u);
}

TEST_F(ExchangeTest, ABrokenStreamIsMissedAndThenGivenUp) {
  Move(0);
  claimer_->stream().Cancel();
  while (greeter_->stream().ReadState().peer_connected()) {
  }
  clock_.Advance(absl::Minutes(2));
  EXPECT_EQ(greeter_->stream().ReadEnded().reason(), "PEER_AWAY");
}

TEST_F(ExchangeTest, ASecondClaimerIsTurnedAwayAfterTheCodes) {
  // Up to the claimer's receiving of step 5: so the server has it.
  for (int move = 0; move < 8; ++move) Move(move);
  const auto other = Claimer(invited_);
  TestStream second(other.get(), name_, 'd');
  second.Hello();
  EXPECT_EQ(Reason(second.Finish()), "CLAIMER_BUSY");
  for (int move = 8; move < kMoves; ++move) Move(move);
}

TEST_F(ExchangeTest, ReportsOfSuspicionLockIt) {
  for (uint32_t attempt = 1; attempt <= 3; ++attempt) {
    greeter_->stream().Stop(attempt, "SAS_COMMITMENT", true);
    EXPECT_EQ(claimer_->stream().ReadEnded().peer_reason(), "SAS_COMMITMENT");
    EXPECT_EQ(greeter_->stream().ReadEnded().over(), attempt == 3);
    if (attempt == 3) break;
    // The same streams go on to the next attempt.
    claimer_->stream().Hello();
    greeter_->stream().Hello();
    claimer_->Begin();
    greeter_->Begin();
  }
  EXPECT_EQ(Get(name_).state(), Invitation::STATE_LOCKED);
  EXPECT_TRUE(audit_.Has("invitation.locked", "ok"));
  EXPECT_TRUE(audit_.Has("enrolment.side_ended", "SAS_COMMITMENT"));
}

}  // namespace
}  // namespace parley::enrolld
