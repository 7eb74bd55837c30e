// The key store of an organisation, put together from what it is given: a store, a key-encryption key, a clock, a door.
//
//   ASSIGN_OR_RETURN(auto keyd, Keyd::Create(std::move(config)));
//   RETURN_IF_ERROR(keyd->Certify(&listener));
//   ASSIGN_OR_RETURN(door, GrpcDoor::Create(std::move(listener), keyd->key_source()));
//   RETURN_IF_ERROR(keyd->WriteCredentials(door->listener().address()));
//   keyd->Register(&builder);
//   RETURN_IF_ERROR(door->Serve(&builder));
//   …
//   keyd->Drain();  door->Shutdown(deadline);  door->Wait();  keyd.reset();
//
// Threads: workers and timers of its own; all methods may be called from any thread.
#ifndef PARLEY_SERVICES_KEYD_KEYD_H_
#define PARLEY_SERVICES_KEYD_KEYD_H_

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "lib/base/clock.h"
#include "lib/base/secret.h"
#include "lib/base/timer_queue.h"
#include "lib/rpc/metrics.h"
#include "lib/store/store.h"
#include "lib/transport/listener.h"
#include "services/keyd/service/key_service.h"
#include "services/keyd/service/trust_service.h"

namespace parley::audit {
class AuditBuffer;
}  // namespace parley::audit

namespace parley::keys {
class AudienceKeySource;
}  // namespace parley::keys

namespace parley::keyd {

class CredentialFiles;

class Keyd {
 public:
  // Everything pointed to must outlive keyd.
  struct Config {
    store::Store* store = nullptr;
    // 32 bytes, under which all secrets in the store are sealed.
    Secret kek;
    // Name of the organisation that the first start founds.
    std::string organisation;
    // host:port by audience, as credentials say them. An empty one for keyd: what is listened on.
    std::map<std::string, std::string> addresses;
    // DNS names and IP addresses for the server certificate.
    std::vector<std::string> names;
    // Folder of the credentials for this host. Made with mode 0700.
    std::string credential_folder;
    // Counts calls and credentials; may be null.
    rpc::Metrics* metrics = nullptr;
    Clock* clock = Clock::System();
    // GrpcDoor::PeerOf and GrpcDoor::listener. The door is made after keyd, and must be there before the first call.
    rpc::Gate::FindPeer find_peer;
    std::function<transport::Listener&()> listener;
  };

  // Loads the organisation, founding it first when the store has none. FAILED_PRECONDITION (KEK_WRONG);
  // INVALID_ARGUMENT (ORGANISATION); the errors of the store.
  static absl::StatusOr<std::unique_ptr<Keyd>> Create(Config config);
  // Writes what waits for the audit log. No RPC may be under way.
  ~Keyd();

  // Gives the listener a new certificate of the organisation's CA, which is renewed in time.
  absl::Status Certify(transport::Listener::Options* listener);
  // Who passes the door: those whose keys keyd has issued and not revoked.
  transport::KeySource* key_source();
  // Brings the credentials for this host up to date, now and then every hour. `listening` is host:port. The errors of
  // files.
  absl::Status WriteCredentials(const std::string& listening);
  // Makes another admin.credential, for an organisation that has lost its last one. The errors of files.
  absl::Status MakeAdminCredential();

  // Both services.
  void Register(grpc::ServerBuilder* builder);
  // Ends the streams, so that a server that stops does not wait for them.
  void Drain();

 private:
  explicit Keyd(Config config);
  absl::Status OpenKeys();
  void MakeServices();
  void OnRevoked(const key::v1::CredentialRecord& record, const rpc::Caller& caller);
  void OnRotated(bool retired);
  absl::Status RenewCertificate();
  void Upkeep();

  Config config_;
  const KeyStore store_;
  std::unique_ptr<Organisation> organisation_;
  std::unique_ptr<RootKeys> roots_;
  std::unique_ptr<Credentials> credentials_;
  std::unique_ptr<TrustAuthority> trust_;
  std::unique_ptr<CredentialFiles> files_;
  std::unique_ptr<keys::AudienceKeySource> key_source_;
  std::unique_ptr<audit::AuditBuffer> audit_;
  std::unique_ptr<rpc::WorkerPool> workers_;
  std::unique_ptr<rpc::Gate> gate_;
  rpc::LiveStreams streams_;
  ServiceParts parts_;
  KeyServiceAdapter key_service_{&parts_};
  TrustServiceAdapter trust_service_{&parts_};
  rpc::Metrics::Source metrics_;
  absl::Time certificate_expires_;
  // By the system's clock: connections close in real time.
  TimerQueue closing_{Clock::System()};
  TimerQueue upkeep_{config_.clock};
};

}  // namespace parley::keyd

#endif  // PARLEY_SERVICES_KEYD_KEYD_H_
