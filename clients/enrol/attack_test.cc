// What somebody can do who is the enrolment service, or keyd: everything that one in the middle can.
//
// The real greeter and claimer with real device files run against a relay that does as it likes. Whatever it does: a
// newcomer that believes it is enrolled has its own keys in the chain, a stranger's keys are never in it, and each
// attempt that may have been an attack is counted and shown on both sides.
#include <gtest/gtest.h>
#include <stdlib.h>

#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "clients/enrol/claimer.h"
#include "clients/enrol/fake_keyd.h"
#include "clients/enrol/fake_people.h"
#include "clients/enrol/fake_relay.h"
#include "clients/enrol/greeter.h"
#include "lib/base/error.h"
#include "lib/crypto/signature.h"
#include "lib/sas/exchange.h"

namespace parley::enrol {
namespace {

using sas::Role;

constexpr char kInvitation[] = "0123456789abcdef0123456789abcdef";

// Made once: each costs a derivation of its key.
device::DeviceFile* FileNamed(const std::string& name) {
  static std::map<std::string, std::unique_ptr<device::DeviceFile>>* const files =
      new std::map<std::string, std::unique_ptr<device::DeviceFile>>();
  std::unique_ptr<device::DeviceFile>& file = (*files)[name];
  if (file == nullptr) {
    std::string folder = testing::TempDir() + "/enrol-XXXXXX";
    const std::string path = std::string(mkdtemp(folder.data())) + "/" + name;
    file = std::make_unique<device::DeviceFile>(
        *device::DeviceFile::Create(path, Secret::CopyOf("a long password"), device::Contents()));
  }
  return file.get();
}

class Attack : public testing::Test {
 protected:
  Attack() : alice_("alice", access::v1::ROLE_ADMIN) { Begin(); }

  // Everything from the beginning, as the first thing and between two attacks of one test.
  void Begin() {
    keyd_ = std::make_unique<FakeKeyd>(alice_);
    relay_ = std::make_unique<FakeRelay>();
    Reset(FileNamed("alice"), AliceContents());
    Reset(FileNamed("bob"), BobContents());
  }

  void Reset(device::DeviceFile* file, device::Contents contents) {
    ASSERT_TRUE(file->Update([&](device::Contents* changed) {
                      *changed = std::move(contents);
                      return absl::OkStatus();
                    })
                    .ok());
  }
  device::Contents AliceContents() {
    device::Contents contents;
    contents.organisation = "example";
    contents.root_key = keyd_->root();
    contents.user_id = alice_.user.id;
    contents.device_id = alice_.device.id;
    contents.user_name = "alice";
    contents.role = access::v1::ROLE_ADMIN;
    contents.signing_seed = alice_.signing_key.seed().Clone();
    device::Enrolment enrolment;
    enrolment.user_name = "bob";
    enrolment.user_role = access::v1::ROLE_OPERATOR;
    contents.enrolments.emplace(InvitationName(kInvitation), std::move(enrolment));
    return contents;
  }
  static device::Contents BobContents() {
    keys::InvitationLink link;
    link.organisation = "example";
    link.invitation = kInvitation;
    return ContentsOfClaim(link, Secret::CopyOf("link"), "Bob's phone");
  }

  // Both to their ends.
  void Run() {
    Phone from_alice, from_bob;
    alice_person_ = std::make_unique<FakePerson>(&from_alice, &from_bob);
    bob_person_ = std::make_unique<FakePerson>(&from_bob, &from_alice);
    alice_person_->patience = bob_person_->patience = patience_;
    const std::unique_ptr<trust::TrustClient> alices_keyd = keyd_->Connect();
    const std::unique_ptr<RelayStream> alices_end = relay_->For(Role::kGreeter), bobs_end = relay_->For(Role::kClaimer);
    Greeter greeter({kInvitation, FileNamed("alice"), alices_end.get(), alice_person_.get()}, alices_keyd.get());
    Claimer claimer({kInvitation, FileNamed("bob"), bobs_end.get(), bob_person_.get()},
                    [this](const keys::Credential&) -> absl::StatusOr<std::unique_ptr<trust::TrustClient>> {
                      return keyd_->Connect();
                    });
    std::thread bob([&] {
      bob_ended_ = claimer.Run();
      from_bob.HangUp();
      relay_->Leave(Role::kClaimer);
    });
    alice_ended_ = greeter.Run();
    alice_is_over_ = greeter.over();
    from_alice.HangUp();
    relay_->Leave(Role::kGreeter);
    bob.join();
  }

  const device::Contents& alice() { return FileNamed("alice")->contents(); }
  const device::Contents& bob() { return FileNamed("bob")->contents(); }
  uint32_t Suspected(const device::Contents& contents) {
    const auto found = contents.enrolments.find(InvitationName(kInvitation));
    return found == contents.enrolments.end() ? 0 : found->second.attempts.suspected;
  }

  // Nobody but Bob's own device can be in the chain, and Bob is only enrolled when it is.
  void ExpectNobodyElseIsIn() {
    const trust::Chain chain = keyd_->chain();
    const crypto::SigningKey key = *crypto::SigningKey::FromSeed(bob().signing_seed);
    for (const trust::User* const user : chain.Users()) {
      for (const trust::Device* const device : chain.DevicesOf(user->id)) {
        EXPECT_TRUE(device->id == alice_.device.id || device->verification_key == key.verification_key())
            << "a stranger is in the chain";
      }
    }
    if (bob().enrolled()) {
      EXPECT_NE(chain.FindDevice(bob().device_id), nullptr);
      EXPECT_EQ(bob().root_key, keyd_->root());
    }
  }
  void ExpectEnrolled() {
    EXPECT_TRUE(alice_ended_.ok()) << alice_ended_;
    EXPECT_TRUE(bob_ended_.ok()) << bob_ended_;
    EXPECT_TRUE(bob().enrolled());
    EXPECT_TRUE(bob().enrolments.empty());
    EXPECT_TRUE(alice().enrolments.empty());
    ExpectNobodyElseIsIn();
  }
  void ExpectNobodyEnrolled() {
    EXPECT_FALSE(alice_ended_.ok());
    EXPECT_FALSE(bob_ended_.ok());
    EXPECT_FALSE(bob().enrolled());
    ExpectNobodyElseIsIn();
  }

  const trust::TestMember alice_;
  std::unique_ptr<FakeKeyd> keyd_;
  std::unique_ptr<FakeRelay> relay_;
  int patience_ = 0;
  std::unique_ptr<FakePerson> alice_person_, bob_person_;
  absl::Status alice_ended_, bob_ended_;
  bool alice_is_over_ = false;
};

// Ten messages: greeter's and claimer's of step 0, then one a step.
struct Slot {
  Role from;
  int step;
};
const std::vector<Slot>& Slots() {
  static const auto* const slots = new std::vector<Slot>([] {
    std::vector<Slot> made;
    for (int step = 0; step <= sas::kLastStep; ++step) {
      for (const Role role : {Role::kGreeter, Role::kClaimer}) {
        if (sas::SpeaksAt(role, step)) made.push_back({role, step});
      }
    }
    return made;
  }());
  return *slots;
}
std::string NameOf(const testing::TestParamInfo<Slot>& info) {
  return absl::StrCat(info.param.from == Role::kGreeter ? "Greeter" : "Claimer", info.param.step);
}

class AttackEach : public Attack, public testing::WithParamInterface<Slot> {
 protected:
  bool IsIt(Role from, int step) const { return from == GetParam().from && step == GetParam().step; }
};
INSTANTIATE_TEST_SUITE_P(Message, AttackEach, testing::ValuesIn(Slots()), NameOf);

TEST_F(Attack, NobodyAttacksAndBobIsEnrolled) {
  Run();
  ExpectEnrolled();
  EXPECT_EQ(Suspected(alice()) + Suspected(bob()), 0u);
  EXPECT_TRUE(alice_person_->ends.empty());
  const trust::Chain chain = keyd_->chain();
  const trust::User* const user = chain.FindUserByName("bob");
  ASSERT_NE(user, nullptr);
  EXPECT_EQ(user->role, access::v1::ROLE_OPERATOR);
}

TEST_P(AttackEach, ChangedBodyLetsNobodyIn) {
  relay_->set_attack([this](Role from, int step, std::string message) -> std::vector<FakeRelay::Delivery> {
    if (IsIt(from, step)) message.back() = static_cast<char>(message.back() ^ 1);
    return {{sas::Other(from), std::move(message)}};
  });
  Run();
  if (GetParam().step == sas::kLastStep) {
    // Bob has verified and kept everything; Alice hears that something was changed.
    EXPECT_EQ(Reason(alice_ended_), "SAS_SEAL");
    EXPECT_TRUE(bob().enrolled());
    return ExpectNobodyElseIsIn();
  }
  ExpectNobodyEnrolled();
  EXPECT_GE(Suspected(alice()) + Suspected(bob()), 1u);
}

TEST_P(AttackEach, ChangedHeaderIsRefusedByItsName) {
  const std::vector<std::pair<size_t, std::string>> fields = {{0, "SAS_VERSION"},
                                                              {1, "SAS_OTHER_KIND"},
                                                              {2, "SAS_ROLE"},
                                                              {3, "SAS_STEP"},
                                                              {7, "SAS_OTHER_ATTEMPT"},
                                                              {8, "SAS_OTHER_ORGANISATION"},
                                                              {24, "SAS_OTHER_INVITATION"}};
  for (const auto& [position, reason] : fields) {
    Begin();
    relay_->set_attack([this, at = position](Role from, int step, std::string message) {
      if (IsIt(from, step)) message[at] = static_cast<char>(at == 3 ? 99 : message[at] ^ 3);
      return std::vector<FakeRelay::Delivery>{{sas::Other(from), std::move(message)}};
    });
    Run();
    ExpectNobodyElseIsIn();
    const absl::Status& receiver = GetParam().from == Role::kGreeter ? bob_ended_ : alice_ended_;
    EXPECT_EQ(Reason(receiver), reason) << receiver;
  }
}

TEST_P(AttackEach, RepeatedMessageChangesNothing) {
  relay_->set_attack([](Role from, int, const std::string& message) -> std::vector<FakeRelay::Delivery> {
    return {{sas::Other(from), message}, {sas::Other(from), message}};
  });
  Run();
  ExpectEnrolled();
}

TEST_P(AttackEach, ReflectedMessageLetsNobodyIn) {
  relay_->set_attack([this](Role from, int step, const std::string& message) -> std::vector<FakeRelay::Delivery> {
    return {{IsIt(from, step) ? from : sas::Other(from), message}};
  });
  Run();
  if (GetParam().step != sas::kLastStep) return ExpectNobodyEnrolled();
  ExpectNobodyElseIsIn();
}

TEST_P(AttackEach, BrokenConnectionIsMendedAndNothingIsLost) {
  relay_->set_break_at(GetParam().step, /*before=*/GetParam().from == Role::kGreeter);
  Run();
  ExpectEnrolled();
}

TEST_P(AttackEach, ResetsGetThreeTriesAndEachIsSeen) {
  patience_ = 100;
  relay_->set_reset_at(GetParam().step);
  int begun = 0;
  // Where nothing is at stake yet it may go on for ever, unseen and in vain.
  relay_->set_next_attempt([&begun](uint32_t last) {
    ++begun;
    return begun > 5 ? 1 : last + 1;
  });
  Run();
  ExpectNobodyElseIsIn();
  // With step 7 Bob has all that he needs; Alice is told that he may.
  EXPECT_EQ(bob().enrolled(), GetParam().step >= 7);
  const bool nonce_out = GetParam().step >= 2 && GetParam().step <= 4;
  if (!nonce_out) return;
  EXPECT_LE(relay_->attempts(), 3u);
  // Alice is sure with step 4; Bob is not before step 5.
  const FakePerson& unsure = GetParam().step == 4 ? *bob_person_ : *alice_person_;
  EXPECT_EQ(unsure.ends.size(), relay_->attempts());
  for (const AttemptEnd& end : unsure.ends) EXPECT_TRUE(end.suspected);
}

TEST_F(Attack, StopsWithTheFirstSuspicionUnlessThePersonWantsMore) {
  relay_->set_reset_at(3);
  Run();
  ExpectNobodyEnrolled();
  EXPECT_EQ(relay_->attempts(), 1u);
  EXPECT_EQ(alice_person_->ends.size(), 1u);
  EXPECT_EQ(bob_person_->ends.size(), 1u);
}

TEST_F(Attack, UsesNoAttemptNumberTwice) {
  patience_ = 100;
  relay_->set_reset_at(0);
  relay_->set_next_attempt([](uint32_t) { return 7; });
  Run();
  ExpectNobodyEnrolled();
  EXPECT_TRUE(Reason(alice_ended_) == "SAS_ATTEMPT_REUSED" || Reason(bob_ended_) == "SAS_ATTEMPT_REUSED");
}

// One who runs the protocol properly with both: keys, nonces and commitments of its own.
class Impostor {
 public:
  std::vector<FakeRelay::Delivery> operator()(Role from, int step, const std::string& message) {
    std::optional<sas::Exchange>& mine = from == Role::kGreeter ? towards_greeter_ : towards_claimer_;
    std::vector<FakeRelay::Delivery> deliveries;
    if (!mine.has_value()) {
      const sas::Context context = {"example", kInvitation, 1, sas::Kind::kUser};
      mine = *sas::Exchange::Begin(sas::Other(from), context);
      deliveries.push_back({from, mine->last_sent()});
    }
    const absl::StatusOr<std::string> reply = mine->Receive(message);
    if (reply.ok() && !reply->empty()) deliveries.push_back({from, *reply});
    // It guesses at the phone: any choice is as good as another.
    if (mine->next() == sas::Next::kChoice) {
      const absl::StatusOr<std::string> picked = mine->Pick(0);
      if (picked.ok() && !picked->empty()) deliveries.push_back({from, *picked});
    }
    return deliveries;
  }

 private:
  std::optional<sas::Exchange> towards_greeter_, towards_claimer_;
};

TEST_F(Attack, ManInTheMiddleIsHeardByBoth) {
  auto impostor = std::make_shared<Impostor>();
  relay_->set_attack(
      [impostor](Role from, int step, const std::string& message) { return (*impostor)(from, step, message); });
  Run();
  ExpectNobodyEnrolled();
  EXPECT_EQ(Suspected(alice()), 1u);
  EXPECT_EQ(Suspected(bob()), 1u);
  EXPECT_EQ(alice_person_->confirmations + bob_person_->confirmations, 0);
  EXPECT_EQ(keyd_->certificates().size(), 2u);
}

// Passes nothing on. With one side it exchanges keys, as the other, up to the comparison of codes; then it sends the
// next message of the other, which only somebody sends that has guessed. The other side hears of an attempt that
// begins, and nothing more.
class ImpostorTowards {
 public:
  explicit ImpostorTowards(Role victim) : victim_(victim) {}

  std::vector<FakeRelay::Delivery> operator()(Role from, int, const std::string& message) {
    if (from != victim_) return {};
    std::vector<FakeRelay::Delivery> deliveries;
    if (!mine_.has_value()) {
      mine_ = *sas::Exchange::Begin(sas::Other(victim_), {"example", kInvitation, 1, sas::Kind::kUser});
      deliveries.push_back({victim_, mine_->last_sent()});
    }
    const absl::StatusOr<std::string> reply = mine_->Receive(message);
    if (reply.ok() && !reply->empty()) deliveries.push_back({victim_, *reply});
    if (mine_->next() == sas::Next::kChoice) {
      std::string guessed = mine_->last_sent();
      guessed[3] = victim_ == Role::kGreeter ? 4 : 5;
      deliveries.push_back({victim_, guessed});
    }
    return deliveries;
  }

 private:
  const Role victim_;
  std::optional<sas::Exchange> mine_;
};

TEST_F(Attack, AttackOnOneSideIsHeardByBoth) {
  for (const Role victim : {Role::kGreeter, Role::kClaimer}) {
    Begin();
    auto impostor = std::make_shared<ImpostorTowards>(victim);
    relay_->set_attack(
        [impostor](Role from, int step, const std::string& message) { return (*impostor)(from, step, message); });
    Run();
    ExpectNobodyEnrolled();
    const absl::Status& attacked = victim == Role::kGreeter ? alice_ended_ : bob_ended_;
    EXPECT_EQ(Reason(attacked), victim == Role::kGreeter ? "SAS_TOO_EARLY" : "SAS_STEP") << attacked;
    EXPECT_EQ(Suspected(alice()), 1u);
    EXPECT_EQ(Suspected(bob()), 1u);
    for (const FakePerson* const person : {alice_person_.get(), bob_person_.get()}) {
      ASSERT_EQ(person->ends.size(), 1u);
      EXPECT_TRUE(person->ends[0].suspected);
      EXPECT_TRUE(person->ends[0].person_decides);
    }
  }
}

TEST_F(Attack, EndBehindTheMessageThatInterruptsTheChoiceIsHeard) {
  relay_->set_attack([](Role from, int step, const std::string& message) -> std::vector<FakeRelay::Delivery> {
    if (from != Role::kClaimer || step != 3) return {{sas::Other(from), message}};
    std::string early = message;
    early[3] = 4;
    return {{Role::kGreeter, message}, {Role::kGreeter, early}};
  });
  relay_->set_reset_at(3, /*over=*/true);
  Run();
  ExpectNobodyEnrolled();
  EXPECT_EQ(Reason(alice_ended_), "SAS_TOO_EARLY");
  EXPECT_TRUE(alice_is_over_);
}

TEST_F(Attack, ClaimerThatConfirmsTooEarlyIsFoundOut) {
  relay_->set_attack([](Role from, int step, const std::string& message) -> std::vector<FakeRelay::Delivery> {
    if (from != Role::kClaimer || step != 3) return {{sas::Other(from), message}};
    std::string early = message;
    early[3] = 4;
    return {{Role::kGreeter, message}, {Role::kGreeter, early}};
  });
  Run();
  ExpectNobodyEnrolled();
  EXPECT_EQ(Reason(alice_ended_), "SAS_TOO_EARLY");
}

TEST_F(Attack, RelayLearnsNothingOfTheKeysAndTheCredential) {
  Run();
  ExpectEnrolled();
  const std::string seen = relay_->Seen();
  EXPECT_FALSE(absl::StrContains(seen, "a credential's secret"));
  EXPECT_FALSE(absl::StrContains(seen, "Bob's phone"));
  EXPECT_FALSE(absl::StrContains(seen, keyd_->root()));
  EXPECT_FALSE(absl::StrContains(seen, bob().signing_seed.Expose()));
}

TEST_F(Attack, KeydThatLosesItsAnswerEnrolsNobodyTwice) {
  keyd_->set_lose_answer();
  Run();
  ExpectEnrolled();
  EXPECT_EQ(keyd_->certificates().size(), 4u);
}

TEST_F(Attack, RefusedEnrolmentLeavesNothingToRevoke) {
  // Somebody else has taken the name meanwhile.
  const std::unique_ptr<trust::TrustClient> keyd = keyd_->Connect();
  trust::v1::EnrolRequest request;
  request.set_request_id("another");
  for (const auto& certificate :
       trust::TestMember("bob").EnrolledBy(alice_, keyd_->chain(), absl::Now() - absl::Seconds(1))) {
    *request.add_certificates() = certificate;
  }
  ASSERT_TRUE(keyd->Enrol(request).ok());
  Run();
  EXPECT_EQ(Reason(alice_ended_), "CHAIN_TAKEN") << alice_ended_;
  EXPECT_FALSE(bob().enrolled());
  EXPECT_TRUE(alice().enrolments.at(InvitationName(kInvitation)).certificates.empty());
}

TEST_F(Attack, ClaimerKeepsNothingThatTheChainDoesNotProve) {
  const trust::TestMember mallory("mallory", access::v1::ROLE_ADMIN);
  const FakeKeyd other(mallory);
  const std::vector<std::pair<std::string, std::function<void(std::vector<trust::v1::SignedCertificate>*)>>> forgeries =
      {{"CHAIN_ROLLED_BACK", [](auto* chain) { chain->resize(2); }},
       {"CHAIN_GAP", [](auto* chain) { chain->erase(chain->begin() + 2); }},
       {"CHAIN_SIGNATURE", [&other](auto* chain) { *chain = other.certificates(); }},
       {"CHAIN_SIGNATURE", [](auto* chain) { chain->back().mutable_signature()->back() ^= 1; }}};
  for (const auto& [reason, forgery] : forgeries) {
    Begin();
    // Alice's own look at the chain is before Bob is in it.
    keyd_->set_forgery([&forgery = forgery](auto* chain) {
      if (chain->size() > 2) forgery(chain);
    });
    Run();
    EXPECT_FALSE(bob().enrolled());
    EXPECT_EQ(Reason(bob_ended_), reason) << bob_ended_;
    EXPECT_FALSE(alice_ended_.ok());
  }
}

}  // namespace
}  // namespace parley::enrol
