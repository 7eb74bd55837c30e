#include "lib/trust/operator_signature.h"

#include <gtest/gtest.h>

#include "lib/base/error.h"
#include "lib/trust/testing.h"

namespace parley::trust {
namespace {

using task::v1::SignedManifest;

class OperatorSignatureTest : public testing::Test {
 protected:
  OperatorSignatureTest() : chain_(*Chain::Create(founding_.root_verification_key)) {
    EXPECT_EQ(chain_.AppendTogether(founding_.certificates, now_), absl::OkStatus());
    EXPECT_EQ(chain_.AppendTogether(bob_.EnrolledBy(alice_, chain_, now_), now_), absl::OkStatus());
    manifest_ = SignedBy(bob_);
  }

  SignedManifest SignedBy(const TestMember& member, absl::string_view manifest = "a manifest") {
    SignedManifest signed_manifest;
    signed_manifest.set_manifest(std::string(manifest));
    *signed_manifest.mutable_operator_signature() =
        SignAsOperator(manifest, member.device.id, member.signing_key, chain_.head(), now_);
    return signed_manifest;
  }
  void MustAppend(const v1::SignedCertificate& certificate) {
    ASSERT_EQ(chain_.Append(certificate, now_), absl::OkStatus());
  }
  std::string Refusal(const SignedManifest& manifest) {
    return Reason(VerifyOperator(manifest, chain_, now_).status());
  }

  const absl::Time now_ = absl::FromUnixSeconds(1'700'000'000);
  const TestMember alice_{"alice", access::v1::ROLE_ADMIN}, bob_{"bob"};
  const Founding founding_ = Founding::Make(alice_.user, alice_.device, now_);
  Chain chain_;
  SignedManifest manifest_;
};

TEST_F(OperatorSignatureTest, SaysWhoStandsBehindAManifest) {
  const auto signer = VerifyOperator(manifest_, chain_, now_);
  ASSERT_EQ(signer.status(), absl::OkStatus());
  EXPECT_EQ(signer->user_name, "bob");
  EXPECT_EQ(signer->device_label, "bob's laptop");
  EXPECT_EQ(VerifyOperator(SignedBy(alice_), chain_, now_).status(), absl::OkStatus());
  // It goes on to be good when the chain grows.
  MustAppend(alice_.Maker(chain_, now_).AddDevice(alice_.user.id, TestMember::DeviceOf(alice_, "phone").device));
  EXPECT_EQ(VerifyOperator(manifest_, chain_, now_).status(), absl::OkStatus());
}

TEST_F(OperatorSignatureTest, EveryFieldIsSigned) {
  SignedManifest changed = manifest_;
  changed.mutable_manifest()->back() ^= 1;
  EXPECT_EQ(Refusal(changed), "OPERATOR_SIGNATURE");
  changed = manifest_;
  changed.mutable_operator_signature()->set_device(alice_.device.id);
  EXPECT_EQ(Refusal(changed), "OPERATOR_SIGNATURE");
  changed = manifest_;
  changed.mutable_operator_signature()->mutable_time()->set_seconds(1);
  EXPECT_EQ(Refusal(changed), "OPERATOR_SIGNATURE");
  changed = manifest_;
  changed.mutable_operator_signature()->mutable_time()->set_nanos(1);
  EXPECT_EQ(Refusal(changed), "OPERATOR_SIGNATURE");
  changed = manifest_;
  changed.mutable_operator_signature()->set_chain_sequence(1);
  EXPECT_EQ(Refusal(changed), "OPERATOR_SIGNATURE");
  changed = manifest_;
  changed.mutable_operator_signature()->mutable_chain_hash()->back() ^= 1;
  EXPECT_EQ(Refusal(changed), "OPERATOR_SIGNATURE");
  changed = manifest_;
  changed.mutable_operator_signature()->mutable_signature()->back() ^= 1;
  EXPECT_EQ(Refusal(changed), "OPERATOR_SIGNATURE");
  // Another manifest's signature.
  changed = SignedBy(bob_, "another manifest");
  changed.set_manifest("a manifest");
  EXPECT_EQ(Refusal(changed), "OPERATOR_SIGNATURE");
}

TEST_F(OperatorSignatureTest, RefusesWhatIsNone) {
  SignedManifest changed = manifest_;
  changed.clear_operator_signature();
  EXPECT_EQ(Refusal(changed), "OPERATOR_SIGNATURE_MISSING");
  changed.mutable_operator_signature();
  EXPECT_EQ(Refusal(changed), "OPERATOR_MALFORMED");
  changed = manifest_;
  changed.mutable_operator_signature()->mutable_device()->push_back('x');
  EXPECT_EQ(Refusal(changed), "OPERATOR_MALFORMED");
  changed = manifest_;
  changed.mutable_operator_signature()->clear_time();
  EXPECT_EQ(Refusal(changed), "OPERATOR_MALFORMED");
  changed = manifest_;
  changed.mutable_operator_signature()->set_chain_sequence(0);
  EXPECT_EQ(Refusal(changed), "OPERATOR_MALFORMED");
  EXPECT_EQ(Refusal(SignedBy(TestMember("eve"))), "OPERATOR_UNKNOWN");
}

TEST_F(OperatorSignatureTest, ARevocationCountsForEverythingThatWasEverSigned) {
  MustAppend(alice_.Maker(chain_, now_).RevokeDevice(bob_.device.id));
  EXPECT_EQ(Refusal(manifest_), "OPERATOR_REVOKED");
}

TEST_F(OperatorSignatureTest, ARevokedUsersDevicesAreRevoked) {
  MustAppend(alice_.Maker(chain_, now_).RevokeUser(bob_.user.id));
  EXPECT_EQ(Refusal(manifest_), "OPERATOR_REVOKED");
}

TEST_F(OperatorSignatureTest, OnlyOperatorsAndAdmins) {
  const TestMember web("web-1", access::v1::ROLE_DEVICE);
  ASSERT_EQ(chain_.AppendTogether(web.EnrolledBy(alice_, chain_, now_), now_), absl::OkStatus());
  EXPECT_EQ(Refusal(SignedBy(web)), "OPERATOR_ROLE");
  MustAppend(alice_.Maker(chain_, now_).ChangeRole(bob_.user.id, access::v1::ROLE_AUDITOR));
  EXPECT_EQ(Refusal(manifest_), "OPERATOR_ROLE");
}

TEST_F(OperatorSignatureTest, NotFromTheFuture) {
  EXPECT_EQ(Reason(VerifyOperator(manifest_, chain_, now_ - absl::Minutes(6)).status()), "OPERATOR_TIME");
  EXPECT_EQ(VerifyOperator(manifest_, chain_, now_ - absl::Minutes(5)).status(), absl::OkStatus());
}

TEST_F(OperatorSignatureTest, AChainThatHidesWhatTheOperatorHasSeenIsNoticed) {
  // Bob's laptop is revoked; Alice knows it, and signs. A server gives this client the chain from before.
  Chain cut = *Chain::Create(founding_.root_verification_key);
  ASSERT_EQ(cut.AppendTogether(founding_.certificates, now_), absl::OkStatus());
  MustAppend(alice_.Maker(chain_, now_).RevokeDevice(bob_.device.id));
  EXPECT_EQ(Reason(VerifyOperator(SignedBy(alice_), cut, now_).status()), "OPERATOR_CHAIN");
}

}  // namespace
}  // namespace parley::trust
