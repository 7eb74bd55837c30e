// Keeps a service in step with keyd: its audience's keys, the revocations, its server certificate, the labels of
// devices where it asks for them.
//
//   ASSIGN_OR_RETURN(auto follower, KeyFollower::Create({.credential_path = …, .names = {"taskd.example"}}));
//   RETURN_IF_ERROR(follower->WaitUntilReady(absl::Seconds(30)));
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
// listener. While keyd is away the service goes on with what it knows, for a limited time (contact.h), and the follower
// reconnects with back-off. When keyd refuses the credential, or it has expired, its file is read again: keyd writes a
// new one before the old one ends.
//
// Threads: all methods may be called from any thread. Up to five threads of its own.
#ifndef PARLEY_LIB_KEYCLIENT_KEY_FOLLOWER_H_
#define PARLEY_LIB_KEYCLIENT_KEY_FOLLOWER_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "lib/base/clock.h"
#include "lib/base/secret.h"
#include "lib/keyclient/contact.h"
#include "lib/keyclient/device_labels.h"
#include "lib/keys/key_source.h"
#include "lib/rpc/audit.h"
#include "lib/rpc/metrics.h"

namespace parley::transport {
class Listener;
}  // namespace parley::transport

namespace parley::keyclient {

class KeyFollower {
 public:
  struct Options {
    // A service credential, mode 0600, as keyd writes it at its first start; its subject is the audience.
    std::string credential_path;
    // DNS names and IP addresses for the server certificate. None: no certificate is asked for.
    std::vector<std::string> names;
    // The service's own refusals, such as of keys that it minted and revoked itself: for the key source.
    keys::AudienceKeySource::Refusal refusal;
    // Whether the service needs the labels of devices. Being ready does not include them: DeviceLabels::Find says
    // whether keyd has told them.
    bool follow_labels = false;
    // How long the service may go on without hearing from keyd before it admits nobody new. Infinite: for ever.
    absl::Duration away_limit = absl::InfiniteDuration();
    Contact::OnChange on_contact;
    // Must outlive the follower.
    Clock* clock = Clock::System();
  };

  struct Certificate {
    // Empty when Options::names is.
    std::string certificate_pem;
    Secret private_key_pem;
    // The organisation's.
    std::string ca_pem;
  };

  // Reads the credential and begins to connect. The errors of keys::ReadCredentialFile; INVALID_ARGUMENT
  // (CREDENTIAL_ROLE) unless it is a service's with a key for keyd.
  static absl::StatusOr<std::unique_ptr<KeyFollower>> Create(Options options);
  // Whether the file has a credential that Create would take and that has not expired; connects to nothing.
  // CREDENTIAL_EXPIRED besides the errors of Create.
  static absl::Status CheckCredential(const std::string& path);
  // Sends what the audit log still holds, for at most 5 seconds.
  ~KeyFollower();

  // After the timeout the reason why keyd could not be reached or refused, with its address; DEADLINE_EXCEEDED when
  // there is none.
  absl::Status WaitUntilReady(absl::Duration timeout);

  // The audience: "taskd". keyd's name for this service.
  const std::string& audience() const;
  // For minting keys of the audience (join keys, members). Lives as long as the follower.
  keys::Keyring* keyring();
  // For the door. Lives as long as the follower.
  keys::AudienceKeySource* key_source();
  // Shows when the credential that is in use ends and when keyd was heard last, as long as what is returned lives; the
  // follower must outlive that.
  rpc::Metrics::Source Count(rpc::Metrics* metrics);
  // The newest one; ready only after WaitUntilReady.
  Certificate certificate() const;

  // From now on this listener is kept in step; at most one. It must live until Detach, which waits for a call to
  // it that is under way.
  void Attach(transport::Listener* listener);
  void Detach();

  // Each credential that keyd has revoked: those known by now at once, later ones from a thread of the follower, one
  // call at a time. Until StopObserving, which waits for a call that is under way.
  using OnRevoked = std::function<void(const std::string& serial, absl::Time not_after)>;
  void Observe(OnRevoked on_revoked);
  void StopObserving();

  // What operators say of devices, with Options::follow_labels. Lives as long as the follower.
  DeviceLabels* labels();

  // Events go to keyd in batches, in order, and again until keyd has them; at most 10,000 wait. Lives as long as the
  // follower.
  rpc::AuditLog* audit_log();

 private:
  class Impl;
  explicit KeyFollower(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace parley::keyclient

#endif  // PARLEY_LIB_KEYCLIENT_KEY_FOLLOWER_H_
