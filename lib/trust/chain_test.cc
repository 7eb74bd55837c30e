// The chain's rules, each attacked.
#include "lib/trust/chain.h"

#include <gtest/gtest.h>

#include "lib/base/error.h"
#include "lib/trust/certificate.h"
#include "lib/trust/testing.h"

namespace parley::trust {
namespace {

using access::v1::ROLE_ADMIN;
using access::v1::ROLE_AUDITOR;
using access::v1::ROLE_DEVICE;
using access::v1::ROLE_OPERATOR;
using v1::Certificate;
using v1::SignedCertificate;

class ChainTest : public testing::Test {
 protected:
  ChainTest()
      : alice_("alice", ROLE_ADMIN),
        founding_(Founding::Make(alice_.user, alice_.device, now_)),
        chain_(*Chain::Create(founding_.root_verification_key)) {
    EXPECT_EQ(chain_.AppendTogether(founding_.certificates, now_), absl::OkStatus());
  }

  CertificateMaker By(const TestMember& author) { return author.Maker(chain_, now_); }
  void Enrol(const TestMember& member, const TestMember& author) {
    ASSERT_EQ(chain_.AppendTogether(member.EnrolledBy(author, chain_, now_), now_), absl::OkStatus());
  }
  void MustAppend(const SignedCertificate& certificate) {
    ASSERT_EQ(chain_.Append(certificate, now_), absl::OkStatus());
  }
  // Refused, and the chain is as it was.
  std::string Refusal(const SignedCertificate& certificate) {
    const Head before = chain_.head();
    const absl::Status status = chain_.Append(certificate, now_);
    EXPECT_FALSE(status.ok());
    EXPECT_EQ(chain_.head(), before);
    return Reason(status);
  }
  // The certificate as the author would sign it with something changed.
  SignedCertificate Changed(const SignedCertificate& certificate, const TestMember& author,
                            const std::function<void(Certificate*)>& change) {
    Certificate changed;
    EXPECT_TRUE(changed.ParseFromString(certificate.certificate_bytes()));
    change(&changed);
    return SignCertificate(changed, author.signing_key);
  }

  absl::Time now_ = absl::FromUnixSeconds(1'700'000'000);
  TestMember alice_;
  Founding founding_;
  Chain chain_;
};

TEST_F(ChainTest, BeginsWithTheFirstAdminAndTheirDevice) {
  const User* const alice = chain_.FindUserByName("alice");
  ASSERT_NE(alice, nullptr);
  EXPECT_EQ(alice->role, ROLE_ADMIN);
  EXPECT_EQ(alice->added, now_);
  ASSERT_EQ(chain_.DevicesOf(alice->id).size(), 1u);
  EXPECT_EQ(chain_.DevicesOf(alice->id)[0]->label, "alice's laptop");
  EXPECT_TRUE(chain_.IsLive(alice_.device.id));
  EXPECT_EQ(chain_.head().sequence, 2);
  EXPECT_EQ(chain_.CheckWhole(), absl::OkStatus());
}

TEST_F(ChainTest, GrowsByUsersDevicesRolesAndRevocations) {
  TestMember bob("bob"), web("web-1", ROLE_DEVICE);
  Enrol(bob, alice_);
  const TestMember phone = TestMember::DeviceOf(bob, "bob's phone");
  Enrol(phone, bob);
  Enrol(web, alice_);
  MustAppend(By(alice_).ChangeRole(bob.user.id, ROLE_ADMIN));
  // Bob is an admin now, on both devices.
  MustAppend(By(phone).RevokeDevice(bob.device.id));
  EXPECT_FALSE(chain_.IsLive(bob.device.id));
  EXPECT_TRUE(chain_.IsLive(phone.device.id));
  MustAppend(By(phone).RevokeUser(alice_.user.id));
  EXPECT_FALSE(chain_.IsLive(alice_.device.id));
  EXPECT_EQ(chain_.FindUserByName("alice"), nullptr);
  ASSERT_NE(chain_.FindUser(alice_.user.id), nullptr);
  EXPECT_TRUE(chain_.FindUser(alice_.user.id)->revoked.has_value());
  EXPECT_EQ(chain_.Users().size(), 3u);
}

TEST_F(ChainTest, TheNameOfARevokedUserIsFreeAgain) {
  const TestMember bob("bob"), another("bob");
  Enrol(bob, alice_);
  EXPECT_EQ(Refusal(By(alice_).AddUser(another.user)), "CHAIN_TAKEN");
  MustAppend(By(alice_).RevokeUser(bob.user.id));
  Enrol(another, alice_);
  EXPECT_EQ(chain_.FindUserByName("bob")->id, another.user.id);
}

TEST_F(ChainTest, RefusesTheRootAfterTheFounding) {
  const Founding other = Founding::Make(TestMember("eve", ROLE_ADMIN).user, TestMember("eve").device, now_);
  EXPECT_EQ(Refusal(other.certificates[0]), "CHAIN_DUPLICATE");
  // Even the right root key: no private half of it can exist, but if one did, it would be of no use.
  const crypto::SigningKey root = crypto::SigningKey::Generate();
  Chain below = *Chain::Create(root.verification_key());
  const auto as_root = [&](const SignedCertificate& certificate) {
    Certificate changed;
    EXPECT_TRUE(changed.ParseFromString(certificate.certificate_bytes()));
    changed.clear_author_device();
    return SignCertificate(changed, root);
  };
  const SignedCertificate user = as_root(alice_.Maker(below, now_).AddUser(alice_.user));
  ASSERT_EQ(below.Append(user, now_), absl::OkStatus());
  const SignedCertificate device = as_root(alice_.Maker(below, now_).AddDevice(alice_.user.id, alice_.device));
  ASSERT_EQ(below.Append(device, now_), absl::OkStatus());
  const TestMember eve("eve", ROLE_ADMIN);
  const SignedCertificate again = as_root(alice_.Maker(below, now_).AddUser(eve.user));
  EXPECT_EQ(Reason(below.Append(again, now_)), "CHAIN_ROOT_REUSED");
}

TEST_F(ChainTest, RefusesAFoundingByAnotherRoot) {
  const Founding other = Founding::Make(alice_.user, alice_.device, now_);
  Chain chain = *Chain::Create(founding_.root_verification_key);
  EXPECT_EQ(Reason(chain.AppendTogether(other.certificates, now_)), "CHAIN_SIGNATURE");
  EXPECT_EQ(Reason(chain.CheckWhole()), "CHAIN_EMPTY");
}

TEST_F(ChainTest, RefusesAFirstUserWhoIsNoAdmin) {
  const TestMember bob("bob", ROLE_OPERATOR);
  const Founding founding = Founding::Make(bob.user, bob.device, now_);
  Chain chain = *Chain::Create(founding.root_verification_key);
  EXPECT_EQ(Reason(chain.AppendTogether(founding.certificates, now_)), "CHAIN_ROLE");
}

TEST_F(ChainTest, RefusesAnUnknownAuthor) {
  const TestMember eve("eve", ROLE_ADMIN);
  EXPECT_EQ(Refusal(By(eve).AddUser(TestMember("bob").user)), "CHAIN_AUTHOR_UNKNOWN");
}

TEST_F(ChainTest, RefusesAnotherAuthorsSignature) {
  const TestMember bob("bob"), eve("eve", ROLE_ADMIN);
  Enrol(bob, alice_);
  SignedCertificate forged = By(alice_).AddUser(eve.user);
  EXPECT_EQ(Refusal(Changed(forged, bob, [](Certificate*) {})), "CHAIN_SIGNATURE");
  forged.mutable_signature()->back() ^= 1;
  EXPECT_EQ(Refusal(forged), "CHAIN_SIGNATURE");
}

TEST_F(ChainTest, RefusesARevokedAuthor) {
  const TestMember bob("bob", ROLE_ADMIN);
  Enrol(bob, alice_);
  const TestMember phone = TestMember::DeviceOf(bob, "phone");
  Enrol(phone, bob);
  MustAppend(By(alice_).RevokeDevice(bob.device.id));
  EXPECT_EQ(Refusal(By(bob).AddUser(TestMember("eve").user)), "CHAIN_AUTHOR_REVOKED");
  MustAppend(By(alice_).RevokeUser(bob.user.id));
  EXPECT_EQ(Refusal(By(phone).AddUser(TestMember("eve").user)), "CHAIN_AUTHOR_REVOKED");
}

TEST_F(ChainTest, RefusesABackdatedCertificateOfARevokedAuthor) {
  const TestMember bob("bob", ROLE_ADMIN);
  Enrol(bob, alice_);
  const SignedCertificate before = By(bob).AddUser(TestMember("eve").user);
  MustAppend(By(alice_).RevokeUser(bob.user.id));
  EXPECT_EQ(Refusal(before), "CHAIN_DUPLICATE");
  const Head head = chain_.head();
  EXPECT_EQ(Refusal(Changed(before, bob,
                            [&](Certificate* certificate) {
                              certificate->set_sequence(head.sequence + 1);
                              certificate->set_previous_hash(head.hash);
                            })),
            "CHAIN_AUTHOR_REVOKED");
}

TEST_F(ChainTest, OnlyAdminsAddUsersChangeRolesAndRevokeUsers) {
  const TestMember bob("bob", ROLE_OPERATOR), ann("ann", ROLE_AUDITOR), web("web-1", ROLE_DEVICE);
  for (const TestMember* const member : {&bob, &ann, &web}) Enrol(*member, alice_);
  for (const TestMember* const member : {&bob, &ann, &web}) {
    EXPECT_EQ(Refusal(By(*member).AddUser(TestMember("eve").user)), "CHAIN_ROLE");
    EXPECT_EQ(Refusal(By(*member).ChangeRole(member->user.id, ROLE_ADMIN)), "CHAIN_ROLE");
    EXPECT_EQ(Refusal(By(*member).RevokeUser(alice_.user.id)), "CHAIN_ROLE");
    EXPECT_EQ(Refusal(By(*member).RevokeUser(member->user.id)), "CHAIN_ROLE");
  }
}

TEST_F(ChainTest, ARoleThatWasTakenAwayIsOfNoUse) {
  const TestMember bob("bob", ROLE_ADMIN);
  Enrol(bob, alice_);
  MustAppend(By(alice_).ChangeRole(bob.user.id, ROLE_OPERATOR));
  EXPECT_EQ(Refusal(By(bob).AddUser(TestMember("eve").user)), "CHAIN_ROLE");
}

TEST_F(ChainTest, DevicesAreAddedByTheirOwnUserAlone) {
  const TestMember bob("bob"), web("web-1", ROLE_DEVICE);
  Enrol(bob, alice_);
  Enrol(web, alice_);
  const TestMember eve = TestMember::DeviceOf(bob, "eve's");
  // Not even by an admin, who would then sign as Bob.
  EXPECT_EQ(Refusal(By(alice_).AddDevice(bob.user.id, eve.device)), "CHAIN_ROLE");
  EXPECT_EQ(Refusal(By(bob).AddDevice(alice_.user.id, eve.device)), "CHAIN_ROLE");
  EXPECT_EQ(Refusal(By(web).AddDevice(web.user.id, eve.device)), "CHAIN_ROLE");
}

TEST_F(ChainTest, DevicesAreRevokedByTheirOwnUserOrAnAdmin) {
  const TestMember bob("bob"), ann("ann");
  Enrol(bob, alice_);
  Enrol(ann, alice_);
  EXPECT_EQ(Refusal(By(ann).RevokeDevice(bob.device.id)), "CHAIN_ROLE");
  MustAppend(By(bob).RevokeDevice(bob.device.id));
  MustAppend(By(alice_).RevokeDevice(ann.device.id));
  EXPECT_EQ(Refusal(By(alice_).RevokeDevice(ann.device.id)), "CHAIN_REVOKED");
}

TEST_F(ChainTest, AUserComesWithADeviceAtOnce) {
  const TestMember bob("bob"), ann("ann");
  CertificateMaker maker = By(alice_);
  const SignedCertificate user = maker.AddUser(bob.user);
  EXPECT_EQ(Reason(chain_.AppendTogether({user}, now_)), "CHAIN_INCOMPLETE");
  EXPECT_EQ(chain_.FindUserByName("bob"), nullptr);
  EXPECT_EQ(Reason(chain_.AppendTogether({user, maker.AddUser(ann.user)}, now_)), "CHAIN_INCOMPLETE");
  MustAppend(user);
  EXPECT_EQ(Reason(chain_.CheckWhole()), "CHAIN_INCOMPLETE");
  EXPECT_EQ(Refusal(By(alice_).AddDevice(alice_.user.id, ann.device)), "CHAIN_INCOMPLETE");
  EXPECT_EQ(Refusal(By(alice_).RevokeUser(bob.user.id)), "CHAIN_INCOMPLETE");
  MustAppend(By(alice_).AddDevice(bob.user.id, bob.device));
  EXPECT_EQ(chain_.CheckWhole(), absl::OkStatus());
}

TEST_F(ChainTest, TheFirstDeviceIsByTheAuthorOfItsUser) {
  const TestMember carol("carol", ROLE_ADMIN), bob("bob");
  Enrol(carol, alice_);
  MustAppend(By(alice_).AddUser(bob.user));
  EXPECT_EQ(Refusal(By(carol).AddDevice(bob.user.id, bob.device)), "CHAIN_INCOMPLETE");
}

TEST_F(ChainTest, TheLastAdminStays) {
  const TestMember bob("bob", ROLE_ADMIN);
  EXPECT_EQ(Refusal(By(alice_).RevokeUser(alice_.user.id)), "CHAIN_LAST_ADMIN");
  EXPECT_EQ(Refusal(By(alice_).RevokeDevice(alice_.device.id)), "CHAIN_LAST_ADMIN");
  EXPECT_EQ(Refusal(By(alice_).ChangeRole(alice_.user.id, ROLE_OPERATOR)), "CHAIN_LAST_ADMIN");
  Enrol(bob, alice_);
  // Bob is an admin still, but without a device he cannot act as one.
  MustAppend(By(alice_).RevokeDevice(bob.device.id));
  EXPECT_EQ(Refusal(By(alice_).RevokeUser(alice_.user.id)), "CHAIN_LAST_ADMIN");
}

TEST_F(ChainTest, TimeIncreases) {
  const TestMember bob("bob");
  const SignedCertificate good = By(alice_).AddUser(bob.user);
  const auto at = [&](absl::Time time) {
    return Changed(good, alice_, [&](Certificate* certificate) {
      certificate->mutable_time()->set_seconds(absl::ToUnixSeconds(time));
      certificate->mutable_time()->set_nanos(0);
    });
  };
  EXPECT_EQ(Refusal(at(now_)), "CHAIN_TIME");
  EXPECT_EQ(Refusal(at(now_ - absl::Hours(1))), "CHAIN_TIME");
  EXPECT_EQ(Refusal(at(now_ + kMaxClockAhead + absl::Seconds(1))), "CHAIN_TIME");
  EXPECT_EQ(chain_.Append(at(now_ + kMaxClockAhead), now_), absl::OkStatus());
}

TEST_F(ChainTest, CertificatesFollowEachOtherWithoutAGap) {
  const TestMember bob("bob"), ann("ann");
  const auto bobs = bob.EnrolledBy(alice_, chain_, now_);
  ASSERT_EQ(chain_.AppendTogether(bobs, now_), absl::OkStatus());
  const auto anns = ann.EnrolledBy(alice_, chain_, now_);
  EXPECT_EQ(Refusal(bobs[0]), "CHAIN_DUPLICATE");
  EXPECT_EQ(Refusal(bobs[1]), "CHAIN_DUPLICATE");
  EXPECT_EQ(Refusal(anns[1]), "CHAIN_GAP");
  // Bob's dropped from the middle, with and without a number made to fit.
  Chain cut = *Chain::Create(founding_.root_verification_key);
  ASSERT_EQ(cut.AppendTogether(founding_.certificates, now_), absl::OkStatus());
  EXPECT_EQ(Reason(cut.Append(anns[0], now_)), "CHAIN_GAP");
  const SignedCertificate renumbered =
      Changed(anns[0], alice_, [](Certificate* certificate) { certificate->set_sequence(3); });
  EXPECT_EQ(Reason(cut.Append(renumbered, now_)), "CHAIN_PREVIOUS");
}

TEST_F(ChainTest, IdsAndKeysAreUsedOnce) {
  const TestMember bob("bob");
  Enrol(bob, alice_);
  MustAppend(By(alice_).RevokeUser(bob.user.id));
  TestMember eve("eve");
  NewUser user = eve.user;
  user.id = bob.user.id;
  EXPECT_EQ(Refusal(By(alice_).AddUser(user)), "CHAIN_TAKEN");
  user = eve.user;
  user.encryption_key = bob.user.encryption_key;
  EXPECT_EQ(Refusal(By(alice_).AddUser(user)), "CHAIN_TAKEN");
  // A revoked device does not come back under another name.
  NewDevice device = eve.device;
  device.verification_key = bob.device.verification_key;
  EXPECT_EQ(Refusal(By(alice_).AddDevice(alice_.user.id, device)), "CHAIN_TAKEN");
  device = eve.device;
  device.id = bob.user.id;
  EXPECT_EQ(Refusal(By(alice_).AddDevice(alice_.user.id, device)), "CHAIN_TAKEN");
}

TEST_F(ChainTest, RefusesStatementsAboutTheUnknownAndTheRevoked) {
  const TestMember bob("bob"), eve("eve");
  Enrol(bob, alice_);
  EXPECT_EQ(Refusal(By(alice_).RevokeUser(eve.user.id)), "CHAIN_UNKNOWN");
  EXPECT_EQ(Refusal(By(alice_).RevokeDevice(eve.device.id)), "CHAIN_UNKNOWN");
  EXPECT_EQ(Refusal(By(alice_).ChangeRole(eve.user.id, ROLE_AUDITOR)), "CHAIN_UNKNOWN");
  EXPECT_EQ(Refusal(By(alice_).AddDevice(eve.user.id, eve.device)), "CHAIN_UNKNOWN");
  MustAppend(By(alice_).RevokeUser(bob.user.id));
  EXPECT_EQ(Refusal(By(alice_).RevokeUser(bob.user.id)), "CHAIN_REVOKED");
  EXPECT_EQ(Refusal(By(alice_).RevokeDevice(bob.device.id)), "CHAIN_REVOKED");
  EXPECT_EQ(Refusal(By(alice_).ChangeRole(bob.user.id, ROLE_AUDITOR)), "CHAIN_REVOKED");
  EXPECT_EQ(Refusal(By(alice_).AddDevice(bob.user.id, eve.device)), "CHAIN_REVOKED");
}

TEST_F(ChainTest, MachinesStayMachines) {
  const TestMember web("web-1", ROLE_DEVICE);
  Enrol(web, alice_);
  EXPECT_EQ(Refusal(By(alice_).ChangeRole(web.user.id, ROLE_ADMIN)), "CHAIN_ROLE");
  EXPECT_EQ(Refusal(By(alice_).ChangeRole(alice_.user.id, ROLE_DEVICE)), "CHAIN_MALFORMED");
  EXPECT_EQ(Refusal(By(alice_).ChangeRole(alice_.user.id, ROLE_ADMIN)), "CHAIN_ROLE");
}

TEST_F(ChainTest, RefusesWhatIsNotInItsForm) {
  const TestMember bob("bob");
  const SignedCertificate good = By(alice_).AddUser(bob.user);
  const std::vector<std::function<void(Certificate*)>> spoilings = {
      [](Certificate* c) { c->set_sequence(0); },
      [](Certificate* c) { c->set_sequence(-1); },
      [](Certificate* c) { c->mutable_previous_hash()->pop_back(); },
      [](Certificate* c) { c->clear_time(); },
      [](Certificate* c) { c->mutable_time()->set_nanos(1'000'000'000); },
      [](Certificate* c) { c->mutable_author_device()->pop_back(); },
      [](Certificate* c) { c->clear_statement(); },
      [](Certificate* c) { c->mutable_user()->mutable_user()->push_back('x'); },
      [](Certificate* c) { c->mutable_user()->set_name(""); },
      [](Certificate* c) { c->mutable_user()->set_name("Bob"); },
      [](Certificate* c) { c->mutable_user()->set_name(std::string(49, 'b')); },
      [](Certificate* c) { c->mutable_user()->set_role(access::v1::ROLE_SERVICE); },
      [](Certificate* c) { c->mutable_user()->set_role(access::v1::ROLE_UNSPECIFIED); },
      [](Certificate* c) { c->mutable_user()->set_encryption_key(std::string(32, '\0')); },    // Small order.
      [](Certificate* c) { c->mutable_user()->set_encryption_key(std::string(32, '\xff')); },  // Not canonical.
      [](Certificate* c) { c->mutable_user()->mutable_encryption_key()->pop_back(); },
      [](Certificate* c) { c->mutable_device()->set_label("no ids"); },
      [&](Certificate* c) { c->mutable_user_revocation()->set_user(bob.user.id + "x"); },
      [](Certificate* c) { c->mutable_device_revocation(); },
      [](Certificate* c) {
        c->mutable_time()->GetReflection()->MutableUnknownFields(c->mutable_time())->AddVarint(9, 1);
      },
  };
  for (size_t i = 0; i < spoilings.size(); ++i) {
    EXPECT_EQ(Refusal(Changed(good, alice_, spoilings[i])), "CHAIN_MALFORMED") << i;
  }
  // The same statement in other bytes.
  SignedCertificate other = good;
  Certificate repeated;
  repeated.set_sequence(3);
  other.set_certificate_bytes(good.certificate_bytes() + repeated.SerializeAsString());
  EXPECT_EQ(Refusal(other), "CHAIN_MALFORMED");
  other.set_certificate_bytes(std::string(kMaxCertificateBytes + 1, 'x'));
  EXPECT_EQ(Refusal(other), "CHAIN_MALFORMED");
  other = good;
  other.mutable_signature()->pop_back();
  EXPECT_EQ(Refusal(other), "CHAIN_MALFORMED");
  EXPECT_EQ(chain_.Append(good, now_), absl::OkStatus());
}

TEST_F(ChainTest, LabelsCanBeShown) {
  for (const char* const good : {"laptop", "Zoë's 电脑", "a"}) EXPECT_TRUE(IsDeviceLabel(good)) << good;
  for (const std::string& bad : {std::string(), std::string(65, 'a'), std::string("a\nb"), std::string("a\0b", 3),
                                 std::string("\x1b[2J"), std::string("\xc0\xaf"), std::string("\xed\xa0\x80"),
                                 std::string("\xe2\x80\xae"
                                             "evil"),
                                 std::string("\xf4\x90\x80\x80"), std::string("\xc3")}) {
    EXPECT_FALSE(IsDeviceLabel(bad)) << bad;
  }
}

TEST_F(ChainTest, ARefusedBatchLeavesNothingBehind) {
  const TestMember bob("bob"), carol("carol", ROLE_ADMIN);
  Enrol(bob, alice_);
  Enrol(carol, alice_);
  const Head before = chain_.head();
  CertificateMaker maker = By(alice_);
  const TestMember eve("eve"), phone = TestMember::DeviceOf(alice_, "phone");
  const std::vector<SignedCertificate> batch = {maker.ChangeRole(bob.user.id, ROLE_AUDITOR),
                                                maker.AddUser(eve.user),
                                                maker.AddDevice(eve.user.id, eve.device),
                                                maker.AddDevice(alice_.user.id, phone.device),
                                                maker.RevokeDevice(bob.device.id),
                                                maker.RevokeUser(carol.user.id),
                                                maker.RevokeUser(NewId())};
  EXPECT_EQ(Reason(chain_.AppendTogether(batch, now_)), "CHAIN_UNKNOWN");
  EXPECT_EQ(chain_.head(), before);
  EXPECT_EQ(chain_.FindUserByName("bob")->role, ROLE_OPERATOR);
  EXPECT_EQ(chain_.FindUser(eve.user.id), nullptr);
  EXPECT_EQ(chain_.FindDevice(phone.device.id), nullptr);
  EXPECT_EQ(chain_.DevicesOf(alice_.user.id).size(), 1u);
  EXPECT_TRUE(chain_.IsLive(bob.device.id));
  EXPECT_NE(chain_.FindUserByName("carol"), nullptr);
  // And nothing of it counts as used.
  Enrol(eve, alice_);
  Enrol(phone, alice_);
}

TEST_F(ChainTest, ARememberedHeadMustBeInTheChain) {
  const TestMember bob("bob"), ann("ann");
  Enrol(bob, alice_);
  const Head seen = chain_.head();
  EXPECT_EQ(chain_.Remembers(Head{}), absl::OkStatus());
  EXPECT_EQ(chain_.Remembers(seen), absl::OkStatus());
  Enrol(ann, alice_);
  EXPECT_EQ(chain_.Remembers(seen), absl::OkStatus());
  // The same root and rules, another story; and the same story, cut off.
  Chain other = *Chain::Create(founding_.root_verification_key);
  ASSERT_EQ(other.AppendTogether(founding_.certificates, now_), absl::OkStatus());
  EXPECT_EQ(Reason(other.Remembers(seen)), "CHAIN_ROLLED_BACK");
  ASSERT_EQ(other.AppendTogether(ann.EnrolledBy(alice_, other, now_), now_), absl::OkStatus());
  EXPECT_EQ(other.head().sequence, seen.sequence);
  EXPECT_EQ(Reason(other.Remembers(seen)), "CHAIN_ROLLED_BACK");
}

TEST_F(ChainTest, MakersKeepTimeGoingWhenTheClockDoesNot) {
  const TestMember bob("bob");
  now_ -= absl::Minutes(3);
  Enrol(bob, alice_);
  EXPECT_EQ(chain_.last_time(), now_ + absl::Minutes(3) + absl::Microseconds(3));
}

TEST_F(ChainTest, NamesOfUsersAndDevices) {
  EXPECT_EQ(ParseUserName(UserName(alice_.user.id)), alice_.user.id);
  EXPECT_EQ(ParseDeviceName(DeviceName(alice_.device.id)), alice_.device.id);
  EXPECT_FALSE(ParseUserName(DeviceName(alice_.device.id)).has_value());
  EXPECT_FALSE(ParseUserName("users/00").has_value());
  EXPECT_FALSE(ParseDeviceName("devices/" + std::string(32, 'x')).has_value());
}

TEST(ChainRoot, HasThirtyTwoBytes) { EXPECT_EQ(Reason(Chain::Create("short").status()), "CHAIN_ROOT_KEY"); }

}  // namespace
}  // namespace parley::trust
