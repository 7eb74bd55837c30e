// Several enrollds on one store, each behind a door of its own, with the audit log and the mail server of its own,
// which a test may kill.
#ifndef PARLEY_SERVICES_ENROLLD_TESTING_REPLICA_TESTING_H_
#define PARLEY_SERVICES_ENROLLD_TESTING_REPLICA_TESTING_H_

#include <array>
#include <filesystem>
#include <memory>
#include <string>

#include "lib/store/replicas.h"
#include "lib/store/shared_store_testing.h"
#include "services/enrolld/testing/enrolld_testing.h"
#include "services/enrolld/testing/fake_mailer_test.h"

namespace parley::enrolld {

class Replica {
 public:
  // All of these must outlive this.
  Replica(store::Store* store, const keys::Keyring* keyring, FakeClock* clock)
      : store_(store), keyring_(keyring), clock_(clock), shared_(store) {}
  ~Replica() { Stop(); }

  void Start();
  // Ends in order: its parties are told, and it leaves the others.
  void Stop();
  // Nothing of it reaches the store any more, and its connections break. Its lease has not ended.
  void Kill();
  // What time does to the lease of a process that was killed.
  void EndLease() { ASSERT_EQ(store_->RevokeLease(lease_), absl::OkStatus()); }
  bool running() const { return enrolld_ != nullptr; }

  std::unique_ptr<EnrolldTestClient> Connect(const keys::Keyring::Minted& key) {
    return std::make_unique<EnrolldTestClient>(address_, key, clock_);
  }
  Enrolld& enrolld() { return *enrolld_; }
  store::SharedStore& store() { return shared_; }
  store::Replicas& replicas() { return *replicas_; }

  FakeAuditLog audit_;
  FakeMailer mailer_;
  // By real time; the store's clock stands still. By default the lease lasts as long as the process.
  absl::Duration ttl_ = absl::Hours(24 * 300);

 private:
  absl::Status ReadAnew();
  void SetReadsAnew(bool reads_anew);
  void Shutdown(absl::Duration grace);

  store::Store* const store_;
  const keys::Keyring* const keyring_;
  FakeClock* const clock_;
  store::SharedStore shared_;
  std::string address_ = transport::OwnLoopback();
  store::LeaseId lease_ = 0;
  std::unique_ptr<keys::AudienceKeySource> key_source_;
  std::unique_ptr<transport::GrpcDoor> door_;
  std::unique_ptr<store::Replicas> replicas_;
  std::unique_ptr<Enrolld> enrolld_;
  Mutex mutex_;
  bool reads_anew_ ABSL_GUARDED_BY(mutex_) = false;
};

// Two of them.
class ReplicaTest : public EnrolldTest {
 protected:
  ReplicaTest();
  ~ReplicaTest() override;

  CreateInvitationResponse InviteAt(int replica, CreateInvitationRequest request);
  CreateInvitationResponse InviteAt(int replica, const std::string& name) { return InviteAt(replica, NewUser(name)); }
  Invitation GetAt(int replica, const std::string& name);
  std::unique_ptr<EnrolldTestClient> AdminAt(int replica) {
    return replicas_[replica]->Connect(Mint(access::v1::ROLE_ADMIN, "alice"));
  }
  std::unique_ptr<EnrolldTestClient> ClaimerAt(int replica, const CreateInvitationResponse& invited) {
    keys::InvitationLink link = Link(invited);
    return replicas_[replica]->Connect(keys::Keyring::Minted{link.identity, std::move(link.secret)});
  }
  // The number of events of this action at both.
  int Audited(absl::string_view action) {
    return replicas_[0]->audit_.Count(action) + replicas_[1]->audit_.Count(action);
  }

  std::unique_ptr<store::Store> stored_;
  std::array<std::unique_ptr<Replica>, 2> replicas_;
};

}  // namespace parley::enrolld

#endif  // PARLEY_SERVICES_ENROLLD_TESTING_REPLICA_TESTING_H_
