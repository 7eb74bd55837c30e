// An enrolled agent against servers that would have it apply what no operator wants.
#include <atomic>
#include <memory>

#include "clients/agent/session_testing.h"
#include "lib/trust/operator_signature.h"
#include "lib/trust/testing.h"

namespace parley::agent {
namespace {

using trust::TestMember;

class OperatorTest : public SessionTest {
 protected:
  OperatorTest() : chain_(*trust::Chain::Create(founding_.root_verification_key)) {
    EXPECT_EQ(chain_.AppendTogether(founding_.certificates, clock_.Now()), absl::OkStatus());
    EXPECT_EQ(chain_.AppendTogether(bob_.EnrolledBy(alice_, chain_, clock_.Now()), clock_.Now()), absl::OkStatus());
    taskd_.Publish(new_);
    taskd_.faults.manifest = [this](task::v1::SignedManifest* manifest) { Sign(bob_, manifest); };
  }

  void Sign(const TestMember& member, task::v1::SignedManifest* manifest) {
    MutexLock lock(&chain_mutex_);
    *manifest->mutable_operator_signature() =
        trust::SignAsOperator(manifest->manifest(), member.device.id, member.signing_key, chain_.head(), clock_.Now());
  }
  void RevokeBob() {
    MutexLock lock(&chain_mutex_);
    EXPECT_EQ(chain_.Append(alice_.Maker(chain_, clock_.Now()).RevokeUser(bob_.user.id), clock_.Now()),
              absl::OkStatus());
  }
  JoinOptions Enrolled(bool require) {
    JoinOptions options = Options();
    options.require_operator_signature = require;
    options.chain = [this]() -> absl::StatusOr<std::shared_ptr<const trust::Chain>> {
      ++fetches_;
      MutexLock lock(&chain_mutex_);
      if (failures_ > 0) {
        --failures_;
        return Error(absl::StatusCode::kUnavailable, "CONNECTION_REFUSED", "keyd is away");
      }
      return std::make_shared<const trust::Chain>(chain_);
    };
    return options;
  }
  void ExpectRefused(JoinOptions options, const std::string& reason) {
    const auto outcome = Join(std::move(options), &log_);
    EXPECT_EQ(Reason(outcome.status()), reason) << outcome.status();
    EXPECT_EQ(taskd_.state(), Participant::STATE_DECLINED);
    EXPECT_EQ(taskd_.detail(), outcome.status().message());
    ExpectNothingApplied();
  }
  void ExpectApplied(JoinOptions options) {
    const auto outcome = Join(std::move(options), &log_);
    ASSERT_EQ(outcome.status(), absl::OkStatus());
    EXPECT_TRUE(outcome->ok());
    EXPECT_EQ(Installed(), merged_);
  }

  const TestMember alice_{"alice", access::v1::ROLE_ADMIN}, bob_{"bob"};
  const trust::Founding founding_ = trust::Founding::Make(alice_.user, alice_.device, clock_.Now());
  Mutex chain_mutex_;
  trust::Chain chain_;
  int failures_ = 0;
  std::atomic<int> fetches_ = 0;
};

TEST_F(OperatorTest, AppliesWhatAnOperatorSigned) { ExpectApplied(Enrolled(true)); }

TEST_F(OperatorTest, AppliesNothingElseWhereThatIsDemanded) {
  taskd_.faults.manifest = nullptr;
  ExpectRefused(Enrolled(true), "OPERATOR_SIGNATURE_MISSING");
}

TEST_F(OperatorTest, AppliesWhatNobodySignedWhereThatIsNotDemanded) {
  taskd_.faults.manifest = nullptr;
  ExpectApplied(Enrolled(false));
  EXPECT_EQ(fetches_, 0);
}

TEST_F(OperatorTest, RefusesABadSignatureEvenWhereNoneIsDemanded) {
  taskd_.faults.manifest = [this](task::v1::SignedManifest* manifest) {
    Sign(bob_, manifest);
    manifest->mutable_operator_signature()->mutable_signature()->back() ^= 1;
  };
  ExpectRefused(Enrolled(false), "OPERATOR_SIGNATURE");
}

TEST_F(OperatorTest, RefusesARevokedOperatorsEvenWhereNoneIsDemanded) {
  RevokeBob();
  ExpectRefused(Enrolled(false), "OPERATOR_REVOKED");
}

// A signature from before the revocation is one as well, since its time is the signer's word.
TEST_F(OperatorTest, RefusesWhatARevokedOperatorSignedBefore) {
  taskd_.faults.manifest = [this, first = task::v1::SignedManifest()](task::v1::SignedManifest* manifest) mutable {
    if (!first.has_operator_signature()) {
      Sign(bob_, manifest);
      first = *manifest;
      RevokeBob();
    }
    *manifest = first;
  };
  ExpectRefused(Enrolled(true), "OPERATOR_REVOKED");
}

TEST_F(OperatorTest, RefusesAnotherManifestsSignature) {
  const task::v1::SignedManifest other = [this] {
    task::v1::SignedManifest manifest = taskd_.SignedManifest(1, {{"site.conf", "other"}});
    Sign(bob_, &manifest);
    return manifest;
  }();
  taskd_.faults.manifest = [other](task::v1::SignedManifest* manifest) {
    *manifest->mutable_operator_signature() = other.operator_signature();
  };
  ExpectRefused(Enrolled(true), "OPERATOR_SIGNATURE");
}

TEST_F(OperatorTest, RefusesAnOutsiders) {
  const TestMember eve("eve", access::v1::ROLE_ADMIN);
  taskd_.faults.manifest = [this, &eve](task::v1::SignedManifest* manifest) { Sign(eve, manifest); };
  ExpectRefused(Enrolled(true), "OPERATOR_UNKNOWN");
}

TEST_F(OperatorTest, ARevocationAfterTheOfferCountsToTheLastMoment) {
  JoinOptions options = Enrolled(true);
  // The first time it is the offer that is verified.
  options.chain = [this, fetch = options.chain] {
    if (fetches_ == 1) RevokeBob();
    return fetch();
  };
  const auto outcome = Join(std::move(options), &log_);
  EXPECT_EQ(taskd_.state(), Participant::STATE_ROLLED_BACK);
  EXPECT_EQ(taskd_.reason(), "operator_revoked");
  EXPECT_FALSE(outcome.ok() && outcome->ok());
  ExpectNothingApplied();
}

TEST_F(OperatorTest, WaitsForTheChain) {
  failures_ = 2;
  ExpectApplied(Enrolled(false));
  EXPECT_EQ(log_.Count("hindered connection_refused"), 1);
  EXPECT_EQ(taskd_.negotiations(), 1);
}

// It is told once, and looked at with pauses that grow, over the one connection that stands.
TEST_F(OperatorTest, DoesNotBesetTheChainsServer) {
  JoinOptions options = Enrolled(false);
  options.min_recheck = absl::Milliseconds(50);
  options.max_recheck = absl::Milliseconds(200);
  options.hindrance_timeout = absl::Milliseconds(700);
  failures_ = 1'000'000;
  EXPECT_EQ(Reason(Join(std::move(options), &log_).status()), "CONNECTION_REFUSED");
  EXPECT_LT(fetches_, 40);
  EXPECT_EQ(log_.Count("hindered connection_refused"), 1);
  EXPECT_EQ(taskd_.negotiations(), 1);
  EXPECT_EQ(taskd_.state(), Participant::STATE_INELIGIBLE);
  ExpectNothingApplied();
}

// The machine's clock is behind when it starts, and is set while the agent waits.
TEST_F(OperatorTest, WaitsForAClockThatIsBehind) {
  const absl::Time now = clock_.Now();
  clock_.Advance(-absl::Hours(1));
  taskd_.faults.manifest = [this, now](task::v1::SignedManifest* manifest) {
    MutexLock lock(&chain_mutex_);
    *manifest->mutable_operator_signature() =
        trust::SignAsOperator(manifest->manifest(), bob_.device.id, bob_.signing_key, chain_.head(), now);
  };
  StartFollowing(Enrolled(true));
  log_.Await("hindered operator_time");
  taskd_.AwaitState(Participant::STATE_INELIGIBLE);
  clock_.Advance(absl::Hours(1));
  log_.Await("confirmed 1");
  StopIt();
  EXPECT_EQ(Installed(), merged_);
}

TEST_F(OperatorTest, SaysOfEachRevisionWhoSignedIt) {
  StartFollowing(Enrolled(true));
  log_.Await("confirmed 1");
  taskd_.Publish({{"site.conf", "newer"}});
  log_.Await("confirmed 2");
  StopIt();
  EXPECT_EQ(log_.Count("signed by bob"), 2);
  EXPECT_TRUE(log_.Has("offered 1"));
  EXPECT_TRUE(log_.Has("offered 2"));
}

TEST_F(OperatorTest, AChainThatIsRefusedIsNoReasonToApply) {
  JoinOptions options = Enrolled(true);
  options.chain = []() -> absl::StatusOr<std::shared_ptr<const trust::Chain>> {
    return Error(absl::StatusCode::kDataLoss, "CHAIN_ROLLED_BACK", "somebody cut it off");
  };
  ExpectRefused(std::move(options), "CHAIN_ROLLED_BACK");
}

TEST_F(OperatorTest, ADemandNeedsAChain) {
  JoinOptions options = Options();
  options.require_operator_signature = true;
  EXPECT_EQ(Reason(Join(std::move(options), &log_).status()), "NO_CHAIN");
}

TEST_F(OperatorTest, WithoutAChainSignaturesAreNotLookedAt) {
  RevokeBob();
  ExpectApplied(Options());
}

}  // namespace
}  // namespace parley::agent
