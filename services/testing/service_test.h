// A service in this process behind a real door, on a store in a folder of its own, and clients of it. keyd is left out:
// the keyring is filled by hand.
#ifndef PARLEY_SERVICES_TESTING_SERVICE_TEST_H_
#define PARLEY_SERVICES_TESTING_SERVICE_TEST_H_

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "grpcpp/client_context.h"
#include "grpcpp/server_builder.h"
#include "lib/audit/audit_log.h"
#include "lib/base/clock.h"
#include "lib/base/encoding.h"
#include "lib/base/mutex.h"
#include "lib/keys/identity.h"
#include "lib/keys/key_source.h"
#include "lib/store/store.h"
#include "lib/transport/channel.h"
#include "lib/transport/grpc_door.h"
#include "lib/transport/testing/loopback.h"

namespace parley {

class FakeAuditLog final : public audit::AuditLog {
 public:
  void Record(key::v1::AuditEvent event) override;
  // Whether there is an event of this action and outcome.
  bool Has(absl::string_view action, absl::string_view outcome) const;
  // How many events of this action there are.
  int Count(absl::string_view action) const;
  // All that was ever recorded, as bytes.
  std::string Text() const;

 private:
  mutable Mutex mutex_;
  std::vector<key::v1::AuditEvent> events_ ABSL_GUARDED_BY(mutex_);
};

// A connection under one key. Errors as absl::Status, with their reason.
class ServiceClient {
 public:
  ServiceClient(const std::string& address, const keys::Keyring::Minted& key, Clock* clock);

  std::shared_ptr<grpc::Channel> channel() const { return connection_->grpc(); }
  // What a stream keeps, which may outlive its client, to explain its own end.
  std::shared_ptr<const transport::Channel> connection() const { return connection_; }

  // Call(&stub, &TaskService::Stub::GetTask, request): the response or the error.
  template <typename Stub, typename Request, typename Response>
  absl::StatusOr<Response> Call(Stub* stub,
                                grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
                                const Request& request) {
    grpc::ClientContext context;
    SetDeadline(&context);
    Response response;
    const absl::Status status = Explain((stub->*method)(&context, request, &response));
    if (!status.ok()) return status;
    return response;
  }
  // Longer than anything takes that goes well.
  static void SetDeadline(grpc::ClientContext* context);
  // Why a connection could not be made, when that is why.
  absl::Status Explain(const grpc::Status& status) const;

 private:
  const std::shared_ptr<const transport::Channel> connection_;
};

class ServiceTest : public ::testing::Test {
 protected:
  // Keys are the audience's.
  explicit ServiceTest(const std::string& audience);
  ~ServiceTest() override;

  keys::Keyring::Minted Mint(access::v1::Role role, const std::string& subject,
                             absl::Duration ttl = absl::Hours(24 * 90));
  // A key that a service has a record of: the serial is that one's.
  keys::Keyring::Minted MintAgain(access::v1::Role role, const std::string& subject, const std::string& serial,
                                  absl::Duration ttl = absl::Hours(24 * 90));

  // For a further process of the same service.
  const keys::Keyring* keyring() const { return &keyring_; }

  // The store and the door, opened; on the same port every time.
  void Open();
  // What every service's configuration has; between Open and Serve.
  template <typename Config>
  Config NewConfig() {
    Config config;
    config.store = store_.get();
    config.keyring = &keyring_;
    config.public_address = address_;
    config.audit = &audit_;
    config.clock = &clock_;
    config.workers = 8;
    config.find_peer = [this](const grpc::ServerContextBase& context) { return door_->PeerOf(context); };
    config.revoke = [this](const std::string& serial, absl::Time not_after) { RevokeAtDoor(serial, not_after); };
    return config;
  }
  // The key is refused from now on, and its connections close: what the service's follower of keyd does.
  void RevokeAtDoor(const std::string& serial, absl::Time not_after);
  void Serve(grpc::ServerBuilder* builder);
  // Connections have `grace` to end by themselves. What was served may go afterwards, and then Close.
  void Shutdown(absl::Duration grace);
  void Close();

  FakeClock clock_;
  FakeAuditLog audit_;
  std::string folder_;
  std::string address_ = transport::OwnLoopback();
  std::unique_ptr<store::Store> store_;

 private:
  keys::Keyring keyring_;
  std::unique_ptr<keys::AudienceKeySource> key_source_;
  std::unique_ptr<transport::GrpcDoor> door_;
};

}  // namespace parley

#endif  // PARLEY_SERVICES_TESTING_SERVICE_TEST_H_
