// What a session does in which order.
#include "services/enrolld/exchanges/exchange_session.h"

#include <stdlib.h>

#include <filesystem>
#include <memory>
#include <string>

#include "gtest/gtest.h"
#include "lib/base/proto_time.h"
#include "lib/store/sqlite_store.h"
#include "services/testing/service_test.h"

namespace parley::enrolld {
namespace {

constexpr char kId[] = "0123456789abcdef0123456789abcdef";

// A participant that needs this long to hear how it ended.
class SlowListener final : public SessionStream {
 public:
  SlowListener(FakeClock* clock, absl::Duration needs) : clock_(clock), needs_(needs) {}
  void Deliver(const enrol::v1::ExchangeResponse& response) override {
    if (response.has_ended()) clock_->Advance(needs_);
  }
  void End(const absl::Status&) override {}

 private:
  FakeClock* const clock_;
  const absl::Duration needs_;
};

class RoomTest : public testing::Test {
 protected:
  RoomTest()
      : folder_(testing::TempDir() + "/session.XXXXXX"),
        store_(*store::OpenSqliteStore({.path = std::string(mkdtemp(folder_.data())) + "/store.db", .clock = &clock_})),
        invitations_(store_.get()),
        timers_(&clock_),
        workers_(1) {
    parts_.store = &invitations_;
    parts_.clock = &clock_;
    parts_.timers = &timers_;
    parts_.workers = &workers_;
    parts_.audit = &audit_;
    parts_.organisation = "example";
    parts_.revoke = [this](const std::string&, absl::Time) { ++revoked_; };
    parts_.idle = [](const std::string&) {};
    InvitationRecord record;
    record.mutable_invitation()->set_name(std::string("invitations/") + kId);
    record.mutable_invitation()->set_kind(enrol::v1::Invitation::KIND_USER);
    record.mutable_invitation()->set_state(enrol::v1::Invitation::STATE_PENDING);
    *record.mutable_invitation()->mutable_expire_time() = ToProto(clock_.Now() + absl::Hours(24));
    EXPECT_TRUE(invitations_.Create(record, nullptr).ok());
    session_ = std::make_shared<ExchangeSession>(&parts_, kId);
    EXPECT_TRUE(session_->Open().ok());
  }
  ~RoomTest() override {
    timers_.Stop();
    std::filesystem::remove_all(folder_);
  }

  void Claim(absl::Duration needs) {
    enrol::v1::Hello hello;
    hello.set_invitation(std::string("invitations/") + kId);
    hello.set_instance(std::string(16, 'i'));
    session_->Hello(1, std::make_shared<SlowListener>(&clock_, needs), {sas::Role::kClaimer, "invitee/bob"}, hello);
  }

  FakeClock clock_;
  std::string folder_;
  const std::unique_ptr<store::Store> store_;
  InvitationStore invitations_;
  TimerQueue timers_;
  rpc::WorkerPool workers_;
  FakeAuditLog audit_;
  EnrolldParts parts_;
  int revoked_ = 0;
  std::shared_ptr<ExchangeSession> session_;
};

TEST_F(RoomTest, LastWordsHaveTheirTimeFromTheEndOn) {
  Claim(absl::Seconds(4));
  ASSERT_TRUE(session_->Cancel("admin/alice", "").ok());
  // The time was over while the claimer was told.
  EXPECT_EQ(revoked_, 1);
}

TEST_F(RoomTest, AClaimerHearsTheEndBeforeItsKeyIsRefused) {
  Claim(absl::ZeroDuration());
  ASSERT_TRUE(session_->Cancel("admin/alice", "").ok());
  EXPECT_EQ(revoked_, 0);
  session_->Gone(1);
  EXPECT_EQ(revoked_, 1);
}

}  // namespace
}  // namespace parley::enrolld
