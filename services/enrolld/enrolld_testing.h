// A real enrolld in this process, behind a real door, on a store in a folder of its own; and both sides of exchanges.
// keyd is left out: the keyring is filled by hand.
#ifndef PARLEY_SERVICES_ENROLLD_ENROLLD_TESTING_H_
#define PARLEY_SERVICES_ENROLLD_ENROLLD_TESTING_H_

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "grpcpp/client_context.h"
#include "lib/base/clock.h"
#include "lib/base/mutex.h"
#include "lib/keys/identity.h"
#include "lib/keys/invitation_link.h"
#include "lib/keys/key_source.h"
#include "lib/rpc/audit.h"
#include "lib/sas/exchange.h"
#include "lib/store/store.h"
#include "lib/transport/grpc_door.h"
#include "parley/enrol/v1/exchange_service.grpc.pb.h"
#include "parley/enrol/v1/invitation_service.grpc.pb.h"
#include "services/enrolld/service/enrolld.h"

namespace parley::enrolld {

using enrol::v1::CreateInvitationRequest;
using enrol::v1::CreateInvitationResponse;
using enrol::v1::Ended;
using enrol::v1::ExchangeRequest;
using enrol::v1::ExchangeResponse;
using enrol::v1::ExchangeService;
using enrol::v1::Invitation;
using enrol::v1::InvitationService;

class FakeAuditLog final : public rpc::AuditLog {
 public:
  void Record(key::v1::AuditEvent event) override;
  // Whether there is an event of this action and outcome.
  bool Has(absl::string_view action, absl::string_view outcome) const;
  // All that was ever recorded, as bytes.
  std::string Text() const;

 private:
  mutable Mutex mutex_;
  std::vector<key::v1::AuditEvent> events_ ABSL_GUARDED_BY(mutex_);
};

// A connection under one key. Errors as absl::Status, with their reason.
class TestClient {
 public:
  TestClient(const std::string& address, const keys::Keyring::Minted& key, Clock* clock);

  InvitationService::Stub& invitations() { return *invitations_; }
  ExchangeService::Stub& exchanges() { return *exchanges_; }
  std::shared_ptr<grpc::Channel> channel() { return channel_->grpc(); }

  template <typename Request, typename Response>
  absl::StatusOr<Response> Call(grpc::Status (InvitationService::Stub::*method)(grpc::ClientContext*, const Request&,
                                                                                Response*),
                                const Request& request) {
    grpc::ClientContext context;
    SetDeadline(&context);
    Response response;
    const absl::Status status = Explain((invitations_.get()->*method)(&context, request, &response));
    if (!status.ok()) return status;
    return response;
  }
  static void SetDeadline(grpc::ClientContext* context);
  absl::Status Explain(const grpc::Status& status) const;

 private:
  std::unique_ptr<transport::Channel> channel_;
  std::unique_ptr<InvitationService::Stub> invitations_;
  std::unique_ptr<ExchangeService::Stub> exchanges_;
};

// One stream, and whatever its owner wants to say on it.
class TestStream {
 public:
  TestStream(TestClient* client, std::string invitation, char instance);
  ~TestStream();

  void Hello(uint32_t attempt = 0, uint32_t step = 0);
  void Send(uint32_t attempt, const std::string& message);
  void Stop(uint32_t attempt, const std::string& reason, bool suspected);
  void Done(uint32_t attempt);
  // The next response; unset when the stream has ended.
  ExchangeResponse Read();
  // Skips to the next one of its kind; empty when the stream ended before.
  enrol::v1::State ReadState();
  std::string ReadMessage();
  Ended ReadEnded();
  // This side says no more; how the stream ended.
  absl::Status Finish();
  // Breaks off.
  void Cancel();

 private:
  bool Write(const ExchangeRequest& request) { return stream_->Write(request); }

  TestClient* const client_;
  const std::string invitation_;
  const char instance_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReaderWriter<ExchangeRequest, ExchangeResponse>> stream_;
  bool finished_ = false;
};

class EnrolldTest : public testing::Test {
 protected:
  EnrolldTest();
  ~EnrolldTest() override;

  // A new process on the same store; connections are lost.
  void Restart() {
    Stop();
    Start();
  }
  void Start();
  // Without a word to anybody when `drain` is false, as when the process is killed.
  void Stop(bool drain = true);

  keys::Keyring::Minted Mint(access::v1::Role role, const std::string& subject,
                             absl::Duration ttl = absl::Hours(24 * 90));
  std::unique_ptr<TestClient> Connect(const keys::Keyring::Minted& key);
  std::unique_ptr<TestClient> Connect(access::v1::Role role, const std::string& subject);
  // With the key of a link.
  std::unique_ptr<TestClient> Claimer(const CreateInvitationResponse& invited);
  keys::InvitationLink Link(const CreateInvitationResponse& invited);
  // Made anew by Restart.
  TestClient& admin() { return *admin_; }

  static CreateInvitationRequest NewUser(const std::string& name, access::v1::Role role = access::v1::ROLE_OPERATOR);
  // By the admin.
  CreateInvitationResponse Invite(const std::string& name);
  Invitation Get(const std::string& name);

  // The relay's names for both sides.
  static sas::Context ContextOf(const std::string& invitation, uint32_t attempt);

  FakeClock clock_;
  FakeAuditLog audit_;
  std::string folder_;
  Mailer* mailer_ = nullptr;
  std::unique_ptr<store::Store> store_;

 private:
  keys::Keyring keyring_;
  Secret root_;
  std::string address_ = "127.0.0.1:0";
  std::unique_ptr<keys::AudienceKeySource> key_source_;
  std::unique_ptr<transport::GrpcDoor> door_;
  std::unique_ptr<Enrolld> enrolld_;
  std::unique_ptr<TestClient> admin_;
};

}  // namespace parley::enrolld

#endif  // PARLEY_SERVICES_ENROLLD_ENROLLD_TESTING_H_
