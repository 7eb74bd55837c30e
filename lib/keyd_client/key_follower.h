// Keeps a service in step with keyd: its audience's keys, the revocations, its server certificate, the labels of
// devices where it asks for them.
//
//   ASSIGN_OR_RETURN(auto follower, KeyFollower::Create({.credential_path = …, .names = {"taskd.example"}}));
//   RETURN_IF_ERROR(follower->WaitUntilReady(process->stop_fd()));
//   KeyFollower::Certificate certificate = follower->certificate();
//   ASSIGN_OR_RETURN(auto door, GrpcDoor::Create({… certificate …}, follower->key_source()));
//   follower->Attach(&door->listener());
//   RETURN_IF_ERROR(door->Serve(&builder));
//   …
//   follower->Detach();  // before the door goes
//
// Guarantees: ready means that every live epoch and every revocation up to now is known, so a service that waits
// for it never accepts a revoked key. From then on a revocation closes the attached listener's connections under
// that key, a rotation that retires an epoch closes those under it, and a renewed certificate is given to the
// listener. While keyd is away the service goes on with what it knows, for as long as the lease that it has at keyd
// (contact.h), and the follower reconnects with back-off. After that nobody is admitted, and the attached listener's
// connections are closed; so no key is accepted whose revocation was acknowledged. Nobody is admitted again before the
// present keys are known as well; so no key is accepted whose root was retired meanwhile. When keyd refuses the
// credential, or it has expired, its file is read again: keyd writes a new one before the old one ends.
//
// Threads: all methods may be called from any thread. Up to seven threads of its own.
#ifndef PARLEY_LIB_KEYD_CLIENT_KEY_FOLLOWER_H_
#define PARLEY_LIB_KEYD_CLIENT_KEY_FOLLOWER_H_

#include <functional>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "grpcpp/client_context.h"
#include "lib/audit/audit_log.h"
#include "lib/base/clock.h"
#include "lib/base/error.h"
#include "lib/base/fd.h"
#include "lib/base/mutex.h"
#include "lib/base/secret.h"
#include "lib/keyd_client/contact.h"
#include "lib/keyd_client/device_labels.h"
#include "lib/keys/identity.h"
#include "lib/keys/key_source.h"
#include "lib/rpc/metrics.h"

namespace parley::transport {
class Listener;
}  // namespace parley::transport

namespace parley::audit {
class AuditBuffer;
}  // namespace parley::audit

namespace parley::keyd_client {

class KeydConnection;

class KeyFollower {
 public:
  struct Options {
    // The path of a service credential, mode 0600, as keyd writes it at its first start. Its subject is the audience.
    std::string credential_path;
    // The "host:port" at which keyd is dialled. If empty, it is the address in the credential, which may be one that
    // only clients can reach.
    std::string keyd_address;
    // DNS names and IP addresses for the server certificate; without any, none is asked for.
    std::vector<std::string> names;
    // Whether the service needs the labels of devices. Being ready does not include them: DeviceLabels::Find says
    // whether keyd has told them.
    bool follow_labels = false;
    // How long the service may go on without hearing from keyd before it admits nobody, and how long a revocation waits
    // for it then: 1 second to 24 hours. Infinite: it goes on for ever, and no revocation waits for it.
    absl::Duration away_limit = absl::InfiniteDuration();
    Contact::OnChange on_contact;
    Contact::Steady steady = TimeSinceBoot;
    // Says whether the service may admit anybody for reasons of its own; it answers from memory. Null: it may.
    std::function<absl::Status()> admits;
    // Must outlive the follower.
    Clock* clock = Clock::System();
  };

  struct Certificate {
    // PEM; empty if Options::names is.
    std::string certificate_pem;
    Secret private_key_pem;
    // The organisation's CA, in PEM.
    std::string ca_pem;
  };

  // Reads the credential and begins to connect. Returns the errors of keys::ReadCredentialFile, or INVALID_ARGUMENT
  // (CREDENTIAL_ROLE) unless it is a service's with a key for keyd, or INVALID_ARGUMENT (ADDRESS_INVALID) if
  // Options::keyd_address is no host:port.
  static absl::StatusOr<std::unique_ptr<KeyFollower>> Create(Options options);
  // Checks that the file has a credential that Create would take and that has not expired, without connecting. Returns
  // CREDENTIAL_EXPIRED, or the errors of Create.
  static absl::Status CheckCredential(const std::string& path);
  // Sends what the audit log still holds, for at most 5 seconds.
  ~KeyFollower();

  // Waits until the service is in step with keyd, for as long as that takes. It says in the log that it waits, and each
  // reason why keyd cannot be followed, repeatedly. Returns CANCELLED (STOPPED) as soon as `stop_fd` can be read, and
  // after the timeout the reason why keyd could not be reached or refused, or DEADLINE_EXCEEDED (KEYD_TIMEOUT).
  absl::Status WaitUntilReady(int stop_fd, absl::Duration timeout = absl::InfiniteDuration());

  // Returns the audience, keyd's name for this service: "taskd".
  const std::string& audience() const;
  // Returns the keyring that mints keys of the audience (join keys, members). It lives as long as the follower.
  keys::Keyring* keyring() { return &keyring_; }
  // Returns the key source for the door. It lives as long as the follower.
  keys::AudienceKeySource* key_source() { return &source_; }
  // Returns UNAVAILABLE (KEYD_AWAY) or the error of Options::admits while nobody is admitted, for the gate.
  absl::Status CheckAdmits() const {
    RETURN_IF_ERROR(contact_.CheckAdmits());
    return options_.admits ? options_.admits() : absl::OkStatus();
  }
  // Shows in the metrics when the present credential ends and when keyd was heard last, as long as the returned value
  // lives; the follower must outlive it.
  rpc::Metrics::Source Count(rpc::Metrics* metrics);
  // Returns the newest certificate. There is none before WaitUntilReady has succeeded.
  Certificate certificate() const;

  // Keeps this listener in step from now on; at most one. It must live until Detach, which waits for a call to it that
  // is under way.
  void Attach(transport::Listener* listener);
  void Detach() { Attach(nullptr); }

  // Called for each credential that keyd has revoked: at once for those known by now, later from a thread of the
  // follower, one call at a time, until StopObserving, which waits for a call that is under way.
  using OnRevoked = std::function<void(const std::string& serial, absl::Time not_after)>;
  void Observe(OnRevoked on_revoked);
  void StopObserving() { Observe(nullptr); }

  // Returns the labels of devices, which are followed with Options::follow_labels. They live as long as the follower.
  DeviceLabels* labels() { return &labels_; }

  // Returns a log whose events go to keyd in batches, in order, and repeatedly until keyd has them; at most 10,000
  // wait. It lives as long as the follower.
  audit::AuditLog* audit_log();

 private:
  KeyFollower(Options options, std::unique_ptr<KeydConnection> connection);
  // Runs `call` again and again until the follower stops, with pauses that grow while it fails.
  void Repeat(const std::function<absl::Status()>& call, bool KeyFollower::*stop = &KeyFollower::stopping_);
  absl::Status FollowKeys();
  absl::Status FollowRevocations();
  absl::Status FollowLabels();
  // Renews the lease at keyd.
  absl::Status KeepPlace();
  absl::Status CallKeepReplica(key::v1::KeepReplicaRequest request, key::v1::KeepReplicaResponse* response);
  void LeavePlace();
  // Closes all connections when the lease has run out.
  void WatchLease();
  absl::Status RenewCertificate();
  absl::Status UseKeys(key::v1::AudienceKeys* message);
  void UseRevocations(const key::v1::Revocations& message);
  // Calls it with the attached listener, if there is one.
  void WithListener(const std::function<void(transport::Listener*)>& call);
  absl::Status SendAudit(const std::vector<key::v1::AuditEvent>& events);
  // Whether the service knows of each revocation since it has a place among those that are waited for.
  bool InStep() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return caught_up_ && (!takes_place_ || (place_ > 0 && cursor_ >= place_));
  }
  // Whether the service knows the present keys as well.
  bool KnowsAll() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return has_keys_ && InStep(); }
  bool IsReady() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return KnowsAll() && (options_.names.empty() || !certificate_pem_.empty());
  }
  // Wakes everybody who waits for a change.
  void Changed() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void SayWhyNotReady(const absl::Status& why) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Options options_;
  const std::string replica_;
  const std::unique_ptr<KeydConnection> connection_;
  keys::Keyring keyring_;
  Contact contact_;
  keys::AudienceKeySource source_;
  DeviceLabels labels_;
  std::unique_ptr<audit::AuditBuffer> audit_;

  // Held while the listener is called, so that Detach waits.
  Mutex listener_mutex_;
  transport::Listener* listener_ ABSL_GUARDED_BY(listener_mutex_) = nullptr;

  // Held while the observer is called.
  Mutex observer_mutex_;
  OnRevoked on_revoked_ ABSL_GUARDED_BY(observer_mutex_);
  // What no observer has heard of yet.
  std::vector<std::pair<std::string, absl::Time>> unheard_ ABSL_GUARDED_BY(observer_mutex_);

  mutable Mutex mutex_;
  CondVar changed_;
  // No place is kept any more; what else goes on has its end after that.
  bool leaving_ ABSL_GUARDED_BY(mutex_) = false;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  // Whether the stream of keys has told those that hold, while there is one.
  bool has_keys_ ABSL_GUARDED_BY(mutex_) = false;
  // The stream of revocations, while there is one, and whether it has told all.
  grpc::ClientContext* revocations_ ABSL_GUARDED_BY(mutex_) = nullptr;
  bool caught_up_ ABSL_GUARDED_BY(mutex_) = false;
  int64_t cursor_ ABSL_GUARDED_BY(mutex_) = 0;
  // False with an infinite limit, or a keyd of an earlier version.
  bool takes_place_ ABSL_GUARDED_BY(mutex_) = true;
  // KeepReplicaResponse.revision; 0 at first.
  int64_t place_ ABSL_GUARDED_BY(mutex_) = 0;
  // Whether keyd may have given one, though no answer said so.
  bool may_have_place_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status last_error_ ABSL_GUARDED_BY(mutex_);
  // Whether this was ready once; the descriptor can be read from then on.
  bool ready_ ABSL_GUARDED_BY(mutex_) = false;
  const Fd ready_fd_;
  // The reasons that the log has had since that time.
  std::set<std::string> said_ ABSL_GUARDED_BY(mutex_);
  absl::Time said_since_ ABSL_GUARDED_BY(mutex_) = absl::InfinitePast();
  std::string certificate_pem_ ABSL_GUARDED_BY(mutex_);
  std::string ca_pem_ ABSL_GUARDED_BY(mutex_);
  Secret private_key_pem_ ABSL_GUARDED_BY(mutex_);
  absl::Time renew_at_ ABSL_GUARDED_BY(mutex_) = absl::InfinitePast();

  // Has been said in the log. Of the thread that follows labels.
  bool labels_unknown_ = false;
  uint64_t clock_subscription_ = 0;
  std::thread keeping_;
  std::vector<std::thread> threads_;
};

}  // namespace parley::keyd_client

#endif  // PARLEY_LIB_KEYD_CLIENT_KEY_FOLLOWER_H_
