// The server of a service that follows keyd, from its flags to its end: what taskd and enrolld have in common.
//
//   ASSIGN_OR_RETURN(const auto server, service::FollowingServer::Open(options, RestApi(), &process));
//   Taskd::Config config;
//   config.store = server->store();
//   config.keyring = server->keyring();
//   …
//   ASSIGN_OR_RETURN(const auto taskd, Taskd::Create(std::move(config)));
//   return server->Run([&](grpc::ServerBuilder* builder) { taskd->Register(builder); }, [&] { taskd->Drain(); });
//
// Threads: Open and Run block; what the accessors return may be used from any thread.
#ifndef PARLEY_LIB_SERVICE_FOLLOWING_SERVER_H_
#define PARLEY_LIB_SERVICE_FOLLOWING_SERVER_H_

#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lib/audit/audit_log.h"
#include "lib/base/mutex.h"
#include "lib/keyd_client/ended_credentials.h"
#include "lib/keyd_client/key_follower.h"
#include "lib/rest/server.h"
#include "lib/rpc/gate.h"
#include "lib/service/process.h"
#include "lib/store/replicas.h"
#include "lib/store/store.h"
#include "lib/transport/grpc_door.h"

namespace grpc {
class ServerBuilder;
}  // namespace grpc

namespace parley::service {

class ConfigCheck;
class ServiceFlags;

struct ServerOptions : ServiceOptions {
  // The "host:port" that others dial. If empty, it is the address that is listened on, which must not be every address
  // then.
  std::string public_address;
  // The path of the credential.
  std::string keyd_credential;
  // The "host:port" at which keyd is dialled: keyd_client::KeyFollower::Options::keyd_address.
  std::string keyd_address;
  // A duration such as "1m", or "unlimited": keyd_client::KeyFollower::Options::away_limit.
  std::string keyd_away_limit = "1m";
  // Whether the service needs the labels of devices (keyd_client::KeyFollower::Options::follow_labels). This is no
  // flag.
  bool follow_labels = false;
};

class FollowingServer {
 public:
  // Adds "--public-address", "--keyd-credential", "--keyd-address" and "--keyd-away-limit". `where` says what the
  // address goes into.
  static void AddFlags(ServerOptions* options, const std::string& where, ServiceFlags* flags);
  // Finds for --check-config what Open would find, without connecting or listening.
  static void Check(const ServerOptions& options, ConfigCheck* check);

  // Opens the store (OpenServiceStore), waits for keyd, without an end, and listens; no peer is accepted before Run,
  // and health is NOT_SERVING. `process` must outlive the server. Returns PUBLIC_ADDRESS_MISSING, CANCELLED (STOPPED)
  // if the process is told to stop meanwhile, or the errors of OpenServiceStore, of keyd_client::KeyFollower, of
  // Listener::Create and of rest::Server::Attach.
  static absl::StatusOr<std::unique_ptr<FollowingServer>> Open(const ServerOptions& options, rest::Server::Options rest,
                                                               Process* process);

  store::Store* store() const { return store_.get(); }
  // Returns the processes that share the store; null when it is this one's alone.
  store::Replicas* replicas() const { return replicas_.get(); }
  // Joins those processes, if there are any. Returns the errors of store::Replicas::Join.
  absl::Status Join() { return replicas_ == nullptr ? absl::OkStatus() : replicas_->Join(); }
  // Calls what Replicas::Options names, as long as the returned value lives: whoever it calls must outlive that. Before
  // the first call nothing is read and nobody told.
  std::shared_ptr<void> FollowReplicas(std::function<absl::Status()> read_anew, std::function<void(bool)> on_change);

  const std::string& public_address() const { return public_address_; }
  // Returns the organisation of the certificate authority in which the service's own certificate ends.
  const std::string& organisation() const { return organisation_; }
  keys::Keyring* keyring() const { return follower_->keyring(); }
  audit::AuditLog* audit_log() const { return follower_->audit_log(); }
  // Returns the labels of devices, with ServerOptions::follow_labels.
  keyd_client::DeviceLabels* labels() const { return follower_->labels(); }
  rpc::Gate::FindPeer FindPeer() const;
  // Returns a function that refuses a key from now on and closes its connections. `serial` is in bytes.
  std::function<void(const std::string& serial, absl::Time not_after)> Revoke() const;

  // Tells `ended` which credentials keyd has revoked, as long as the returned value lives. On return, what depends on
  // those that were revoked so far has ended. Returns UNAVAILABLE (REVOCATIONS_PENDING).
  absl::StatusOr<std::shared_ptr<void>> FollowRevocations(keyd_client::EndedCredentials* ended);

  // Serves until the process is told to stop. It then accepts no new peer, `drain` ends the streams, calls finish
  // within kShutdownGrace, and their answers are sent, in this order. What both functions use must outlive the server.
  // Returns the errors of GrpcDoor::Serve and of Process::Serving.
  absl::Status Run(const std::function<void(grpc::ServerBuilder*)>& add_services, const std::function<void()>& drain);

 private:
  FollowingServer() = default;
  void ShareStore(const std::string& service);

  Process* process_ = nullptr;
  std::unique_ptr<store::Store> store_;
  // Held while they are called.
  Mutex telling_;
  std::function<absl::Status()> read_anew_ ABSL_GUARDED_BY(telling_);
  std::function<void(bool)> on_change_ ABSL_GUARDED_BY(telling_);
  std::unique_ptr<keyd_client::KeyFollower> follower_;
  std::unique_ptr<transport::GrpcDoor> door_;
  std::unique_ptr<rest::Server> rest_;
  std::string public_address_;
  std::string organisation_;
  // Leaves first.
  std::unique_ptr<store::Replicas> replicas_;
};

}  // namespace parley::service

#endif  // PARLEY_LIB_SERVICE_FOLLOWING_SERVER_H_
