// A real enrolld in this process, and both sides of exchanges.
#ifndef PARLEY_SERVICES_ENROLLD_TESTING_ENROLLD_TESTING_H_
#define PARLEY_SERVICES_ENROLLD_TESTING_ENROLLD_TESTING_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "grpcpp/client_context.h"
#include "lib/keys/identity.h"
#include "lib/keys/invitation_link.h"
#include "lib/sas/exchange.h"
#include "parley/enrol/v1/exchange_service.grpc.pb.h"
#include "parley/enrol/v1/invitation_service.grpc.pb.h"
#include "services/enrolld/enrolld.h"
#include "services/testing/service_test.h"

namespace parley::enrolld {

using enrol::v1::CreateInvitationRequest;
using enrol::v1::CreateInvitationResponse;
using enrol::v1::Ended;
using enrol::v1::ExchangeRequest;
using enrol::v1::ExchangeResponse;
using enrol::v1::ExchangeService;
using enrol::v1::Invitation;
using enrol::v1::InvitationService;

class EnrolldTestClient : public ServiceClient {
 public:
  EnrolldTestClient(const std::string& address, const keys::Keyring::Minted& key, Clock* clock);

  ExchangeService::Stub& exchanges() { return *exchanges_; }

  // Call(&InvitationService::Stub::GetInvitation, request): the response or the error.
  template <typename Method, typename Request>
  auto Call(Method method, const Request& request) {
    return ServiceClient::Call(invitations_.get(), method, request);
  }

 private:
  std::unique_ptr<InvitationService::Stub> invitations_;
  std::unique_ptr<ExchangeService::Stub> exchanges_;
};

// One stream, and whatever its owner wants to say on it.
class TestStream {
 public:
  TestStream(EnrolldTestClient* client, std::string invitation, char instance);
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

  const std::shared_ptr<const transport::Channel> connection_;
  const std::string invitation_;
  const char instance_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReaderWriter<ExchangeRequest, ExchangeResponse>> stream_;
  bool finished_ = false;
};

class EnrolldTest : public ServiceTest {
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

  keyd_client::EndedCredentials& ended_credentials() { return enrolld_->ended_credentials(); }

  std::unique_ptr<EnrolldTestClient> Connect(const keys::Keyring::Minted& key);
  std::unique_ptr<EnrolldTestClient> Connect(access::v1::Role role, const std::string& subject);
  // With the key of a link.
  std::unique_ptr<EnrolldTestClient> Claimer(const CreateInvitationResponse& invited);
  keys::InvitationLink Link(const CreateInvitationResponse& invited);
  // Made anew by Restart.
  EnrolldTestClient& admin() { return *admin_; }

  static CreateInvitationRequest NewUser(const std::string& name, access::v1::Role role = access::v1::ROLE_OPERATOR);
  // By the admin.
  CreateInvitationResponse Invite(const std::string& name);
  Invitation Get(const std::string& name);

  Mailer* mailer_ = nullptr;

 private:
  std::unique_ptr<Enrolld> enrolld_;
  std::unique_ptr<EnrolldTestClient> admin_;
};

}  // namespace parley::enrolld

#endif  // PARLEY_SERVICES_ENROLLD_TESTING_ENROLLD_TESTING_H_
