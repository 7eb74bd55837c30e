// A keyd that lies, over the real door: no client takes a chain of it that the organisation's members did not make.
#include "clients/chain/trust_client.h"

#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "grpcpp/server_builder.h"
#include "gtest/gtest.h"
#include "lib/base/error.h"
#include "lib/base/mutex.h"
#include "lib/crypto/kdf.h"
#include "lib/keys/identity.h"
#include "lib/transport/grpc_door.h"
#include "lib/trust/testing.h"
#include "parley/trust/v1/trust_service.grpc.pb.h"

namespace parley::trust {
namespace {

using v1::SignedCertificate;

constexpr size_t kPage = 3;

// Lists what it is told to list, in small pages.
class LyingKeyd final : public v1::TrustService::Service, private transport::KeySource {
 public:
  LyingKeyd() : door_(*transport::GrpcDoor::Create({.address = "127.0.0.1:0", .threads = 1}, this)) {
    grpc::ServerBuilder builder;
    builder.RegisterService(this);
    EXPECT_EQ(door_->Serve(&builder), absl::OkStatus());
  }
  ~LyingKeyd() override {
    door_->Shutdown(absl::InfinitePast());
    door_->Wait();
  }

  void Serve(std::vector<SignedCertificate> certificates) {
    MutexLock lock(&mutex_);
    certificates_ = std::move(certificates);
    last_ = static_cast<int64_t>(certificates_.size());
  }
  // Claims that there is more than it gives.
  void Claim(int64_t last) {
    MutexLock lock(&mutex_);
    last_ = last;
  }
  keys::Credential Credential() const {
    keys::Credential credential;
    credential.not_after = absl::InfiniteFuture();
    credential.keys.push_back({"keyd", door_->listener().address(), "member", secret_.Clone()});
    return credential;
  }

 private:
  absl::StatusOr<Key> Find(absl::string_view, Want) override {
    Key key;
    key.psk = keys::DerivePsk(secret_);
    key.info = {"member", access::v1::ROLE_DEVICE, "web-1", absl::InfiniteFuture()};
    return key;
  }
  grpc::Status ListCertificates(grpc::ServerContext*, const v1::ListCertificatesRequest* request,
                                v1::ListCertificatesResponse* response) override {
    MutexLock lock(&mutex_);
    const auto begin = static_cast<size_t>(request->after_sequence());
    for (size_t i = begin; i < std::min(begin + kPage, certificates_.size()); ++i) {
      *response->add_certificates() = certificates_[i];
    }
    response->set_last_sequence(last_);
    return grpc::Status::OK;
  }

  const Secret secret_ = crypto::RandomSecret(keys::kSecretBytes);
  std::unique_ptr<transport::GrpcDoor> door_;
  Mutex mutex_;
  std::vector<SignedCertificate> certificates_ ABSL_GUARDED_BY(mutex_);
  int64_t last_ ABSL_GUARDED_BY(mutex_) = 0;
};

class ChainFromKeyd : public testing::Test {
 protected:
  ChainFromKeyd() : chain_(*Chain::Create(founding_.root_verification_key)) {
    Add(founding_.certificates);
    for (const TestMember* const member : {&bob_, &carol_}) Add(member->EnrolledBy(alice_, chain_, now_));
    // Bob is an admin for a time, then an operator; Carol is revoked.
    Add({alice_.Maker(chain_, now_).ChangeRole(bob_.user.id, access::v1::ROLE_ADMIN)});
    Add({alice_.Maker(chain_, now_).ChangeRole(bob_.user.id, access::v1::ROLE_OPERATOR)});
    Add({alice_.Maker(chain_, now_).RevokeUser(carol_.user.id)});
    clock_.Advance(absl::Minutes(1));
    connection_ = *ConnectKeyd(keyd_.Credential(), &clock_);
  }

  void Add(const std::vector<SignedCertificate>& certificates) {
    ASSERT_EQ(chain_.AppendTogether(certificates, now_), absl::OkStatus());
    story_.insert(story_.end(), certificates.begin(), certificates.end());
  }
  absl::StatusOr<Chain> Fetch(std::vector<SignedCertificate> told, const Head& seen = {}) {
    keyd_.Serve(std::move(told));
    return connection_->FetchChain(founding_.root_verification_key, seen);
  }
  // The true story, and then this.
  std::string ReasonAgainst(const SignedCertificate& last) {
    std::vector<SignedCertificate> told = story_;
    told.push_back(last);
    return Reason(Fetch(told).status());
  }
  SignedCertificate ResignedBy(const crypto::SigningKey& key, const SignedCertificate& certificate,
                               const std::function<void(v1::Certificate*)>& change) {
    v1::Certificate changed;
    EXPECT_TRUE(changed.ParseFromString(certificate.certificate_bytes()));
    change(&changed);
    return SignCertificate(changed, key);
  }

  FakeClock clock_;
  const absl::Time now_ = clock_.Now();
  const TestMember alice_{"alice", access::v1::ROLE_ADMIN}, bob_{"bob"}, carol_{"carol", access::v1::ROLE_ADMIN},
      eve_{"eve", access::v1::ROLE_ADMIN};
  const Founding founding_ = Founding::Make(alice_.user, alice_.device, now_);
  Chain chain_;
  std::vector<SignedCertificate> story_;
  LyingKeyd keyd_;
  std::unique_ptr<TrustClient> connection_;
};

TEST_F(ChainFromKeyd, TheTrueOneIsTaken) {
  const auto fetched = Fetch(story_, Head{2, chain_.HashAt(2)});
  ASSERT_EQ(fetched.status(), absl::OkStatus());
  EXPECT_EQ(fetched->head(), chain_.head());
  EXPECT_EQ(fetched->Users().size(), 3u);
}

TEST_F(ChainFromKeyd, AWrongAuthorIsRefused) {
  EXPECT_EQ(ReasonAgainst(eve_.Maker(chain_, now_).AddUser(eve_.user)), "CHAIN_AUTHOR_UNKNOWN");
  const SignedCertificate by_alice = alice_.Maker(chain_, now_).AddUser(eve_.user);
  EXPECT_EQ(ReasonAgainst(ResignedBy(eve_.signing_key, by_alice, [](v1::Certificate*) {})), "CHAIN_SIGNATURE");
}

TEST_F(ChainFromKeyd, ARevokedAuthorIsRefused) {
  EXPECT_EQ(ReasonAgainst(carol_.Maker(chain_, now_).AddUser(eve_.user)), "CHAIN_AUTHOR_REVOKED");
}

TEST_F(ChainFromKeyd, AMissingRoleIsRefused) {
  EXPECT_EQ(ReasonAgainst(bob_.Maker(chain_, now_).AddUser(eve_.user)), "CHAIN_ROLE");
}

TEST_F(ChainFromKeyd, TimeGoingBackIsRefused) {
  const SignedCertificate good = alice_.Maker(chain_, now_).AddUser(eve_.user);
  EXPECT_EQ(ReasonAgainst(ResignedBy(alice_.signing_key, good,
                                     [](v1::Certificate* certificate) {
                                       certificate->mutable_time()->set_seconds(certificate->time().seconds() - 60);
                                     })),
            "CHAIN_TIME");
  EXPECT_EQ(ReasonAgainst(alice_.Maker(chain_, now_ + absl::Hours(1)).AddUser(eve_.user)), "CHAIN_TIME");
}

TEST_F(ChainFromKeyd, ADroppedCertificateIsRefused) {
  for (size_t i = 0; i + 1 < story_.size(); ++i) {
    std::vector<SignedCertificate> told = story_;
    told.erase(told.begin() + static_cast<long>(i));
    EXPECT_EQ(Reason(Fetch(told).status()), "CHAIN_GAP") << i;
  }
}

TEST_F(ChainFromKeyd, ExchangedCertificatesAreRefused) {
  std::vector<SignedCertificate> told = story_;
  std::swap(told[2], told[4]);
  EXPECT_EQ(Reason(Fetch(told).status()), "CHAIN_GAP");
  told = story_;
  told.push_back(story_[2]);
  EXPECT_EQ(Reason(Fetch(told).status()), "CHAIN_DUPLICATE");
}

TEST_F(ChainFromKeyd, ARootThatIsUsedAgainIsRefused) {
  const crypto::SigningKey other_root = crypto::SigningKey::Generate();
  const SignedCertificate good = alice_.Maker(chain_, now_).AddUser(eve_.user);
  EXPECT_EQ(ReasonAgainst(
                ResignedBy(other_root, good, [](v1::Certificate* certificate) { certificate->clear_author_device(); })),
            "CHAIN_ROOT_REUSED");
}

TEST_F(ChainFromKeyd, AnotherOrganisationIsRefused) {
  const Founding other = Founding::Make(eve_.user, eve_.device, now_);
  EXPECT_EQ(Reason(Fetch(other.certificates).status()), "CHAIN_SIGNATURE");
}

TEST_F(ChainFromKeyd, ATruncatedOneIsRefusedByWhoHasSeenMore) {
  const Head seen = chain_.head();
  for (size_t size = 0; size < story_.size(); ++size) {
    const auto fetched = Fetch({story_.begin(), story_.begin() + static_cast<long>(size)}, seen);
    EXPECT_EQ(Reason(fetched.status()), "CHAIN_ROLLED_BACK") << size;
  }
}

TEST_F(ChainFromKeyd, AnotherStoryIsRefusedByWhoHasSeenTheFirst) {
  // All by the rules, with one and the same root: only the client's memory tells.
  Chain other = *Chain::Create(founding_.root_verification_key);
  ASSERT_EQ(other.AppendTogether(founding_.certificates, now_), absl::OkStatus());
  std::vector<SignedCertificate> told = founding_.certificates;
  for (const TestMember* const member : {&carol_, &bob_, &eve_}) {
    const auto enrolled = member->EnrolledBy(alice_, other, now_);
    ASSERT_EQ(other.AppendTogether(enrolled, now_), absl::OkStatus());
    told.insert(told.end(), enrolled.begin(), enrolled.end());
  }
  EXPECT_EQ(Fetch(told).status(), absl::OkStatus());
  EXPECT_EQ(Reason(Fetch(told, Head{4, chain_.HashAt(4)}).status()), "CHAIN_ROLLED_BACK");
}

TEST_F(ChainFromKeyd, AnEmptyOneAndAHalfUserAreRefused) {
  EXPECT_EQ(Reason(Fetch({}).status()), "CHAIN_EMPTY");
  EXPECT_EQ(Reason(Fetch({story_.begin(), story_.begin() + 3}).status()), "CHAIN_INCOMPLETE");
}

TEST_F(ChainFromKeyd, TheEndIsFoundThoughMoreIsClaimed) {
  keyd_.Serve(story_);
  keyd_.Claim(1'000'000);
  const auto fetched = connection_->FetchChain(founding_.root_verification_key, {});
  ASSERT_EQ(fetched.status(), absl::OkStatus());
  EXPECT_EQ(fetched->head(), chain_.head());
}

TEST_F(ChainFromKeyd, AnExtensionTakesWhatIsNewAndNoLess) {
  auto fetched = Fetch(story_);
  ASSERT_EQ(fetched.status(), absl::OkStatus());
  Add({alice_.Maker(chain_, now_).RevokeUser(bob_.user.id)});
  keyd_.Serve(story_);
  ASSERT_EQ(connection_->ExtendChain(&*fetched), absl::OkStatus());
  EXPECT_EQ(fetched->head(), chain_.head());
  EXPECT_FALSE(fetched->IsLive(bob_.device.id));
  keyd_.Serve({story_.begin(), story_.end() - 1});
  EXPECT_EQ(Reason(connection_->ExtendChain(&*fetched)), "CHAIN_ROLLED_BACK");
}

}  // namespace
}  // namespace parley::trust
