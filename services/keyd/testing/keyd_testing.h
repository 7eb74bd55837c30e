// A real keyd in a folder of its own, and clients of it, for tests.
#ifndef PARLEY_SERVICES_KEYD_TESTING_KEYD_TESTING_H_
#define PARLEY_SERVICES_KEYD_TESTING_KEYD_TESTING_H_

#include <stdlib.h>

#include <atomic>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "lib/base/clock.h"
#include "lib/base/error.h"
#include "lib/crypto/kdf.h"
#include "lib/keys/credential.h"
#include "lib/keys/identity.h"
#include "lib/transport/grpc_door.h"
#include "parley/key/v1/key_service.grpc.pb.h"
#include "parley/trust/v1/trust_service.grpc.pb.h"
#include "services/keyd/keyd.h"
#include "services/testing/service_test.h"

namespace parley::keyd {

class TestFolder {
 public:
  TestFolder() : path_(testing::TempDir() + "/keyd.XXXXXX") { EXPECT_NE(mkdtemp(path_.data()), nullptr); }
  ~TestFolder() { std::filesystem::remove_all(path_); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// Calls keyd with one credential.
class KeyClient : public ServiceClient {
 public:
  using Stub = key::v1::KeyService::Stub;
  using TrustStub = trust::v1::TrustService::Stub;

  // At the address that the credential says, or at another.
  KeyClient(const keys::Credential& credential, Clock* clock, const std::string& address = "")
      : KeyClient(**credential.KeyFor(keys::kKeyd), clock, address) {}

  // Calls a method of the stub: Call(&Stub::GetCredential, request, &response).
  template <typename Method, typename Request, typename Response>
  absl::Status Call(Method method, const Request& request, Response* response) {
    return CallOn(stub_.get(), method, request, response);
  }
  // The same of TrustService.
  template <typename Method, typename Request, typename Response>
  absl::Status CallTrust(Method method, const Request& request, Response* response) {
    return CallOn(trust_stub_.get(), method, request, response);
  }

  absl::StatusOr<key::v1::IssueCredentialResponse> Issue(access::v1::Role role, const std::string& subject,
                                                         const std::string& request_id = crypto::RandomUuid()) {
    key::v1::IssueCredentialRequest request;
    request.set_request_id(request_id);
    request.set_role(role);
    request.set_subject(subject);
    key::v1::IssueCredentialResponse response;
    RETURN_IF_ERROR(Call(&Stub::IssueCredential, request, &response));
    return response;
  }
  absl::Status Revoke(const std::string& name) {
    key::v1::RevokeCredentialRequest request;
    request.set_name(name);
    key::v1::CredentialRecord record;
    return Call(&Stub::RevokeCredential, request, &record);
  }
  absl::StatusOr<uint32_t> Rotate(uint32_t retire_before) {
    key::v1::RotateRootRequest request;
    request.set_retire_before(retire_before);
    key::v1::RotateRootResponse response;
    RETURN_IF_ERROR(Call(&Stub::RotateRoot, request, &response));
    return response.primary_epoch();
  }
  Stub* stub() { return stub_.get(); }
  TrustStub* trust_stub() { return trust_stub_.get(); }

 private:
  KeyClient(const keys::AudienceKey& key, Clock* clock, const std::string& address)
      : ServiceClient(address.empty() ? key.address : address, {key.identity, key.secret.Clone()}, clock),
        stub_(key::v1::KeyService::NewStub(channel())),
        trust_stub_(trust::v1::TrustService::NewStub(channel())) {}

  template <typename Service, typename Method, typename Request, typename Response>
  absl::Status CallOn(Service* stub, Method method, const Request& request, Response* response) {
    ASSIGN_OR_RETURN(*response, ServiceClient::Call(stub, method, request));
    return absl::OkStatus();
  }

  std::unique_ptr<Stub> stub_;
  std::unique_ptr<TrustStub> trust_stub_;
};

// What IssueCredential answered, as its holder keeps it.
inline keys::Credential ToCredential(const key::v1::IssueCredentialResponse& response) {
  keys::Credential credential;
  credential.role = response.record().role();
  credential.subject = response.record().subject();
  credential.serial = response.record().name().substr(std::string("credentials/").size());
  credential.not_after = absl::FromUnixSeconds(response.record().expire_time().seconds());
  credential.ca_pem = response.ca_pem();
  for (const key::v1::AudienceSecret& secret : response.secrets()) {
    credential.keys.push_back(
        {secret.audience(), secret.address(), secret.identity(), Secret::CopyOf(secret.secret())});
  }
  return credential;
}

class TestKeyd {
 public:
  TestKeyd() { options.data = folder_.path() + "/data"; }
  ~TestKeyd() { Stop(); }

  absl::Status Start();
  void Stop();

  std::string CredentialPath(const std::string& name) const {
    return options.data + "/credentials/" + name + ".credential";
  }
  keys::Credential CredentialOf(const std::string& name) const {
    return *keys::ReadCredentialFile(CredentialPath(name));
  }
  std::unique_ptr<KeyClient> Connect(const keys::Credential& credential) {
    return std::make_unique<KeyClient>(credential, &clock);
  }
  // Connects with a credential that another keyd wrote.
  std::unique_ptr<KeyClient> ConnectHere(const keys::Credential& credential) {
    return std::make_unique<KeyClient>(credential, &clock, address_);
  }
  std::unique_ptr<KeyClient> ConnectAs(const std::string& name) { return Connect(CredentialOf(name)); }

  Host::Options options;
  // What other keyds have open as well; options.kek_file must be given then.
  std::shared_ptr<store::Store> shared_store;
  absl::Duration lease = absl::Seconds(10);
  std::atomic<bool> admits{true};
  FakeClock clock;

 private:
  absl::Status Serve();

  TestFolder folder_;
  std::string address_ = "127.0.0.1:0";
  std::unique_ptr<transport::GrpcDoor> door_;
  std::unique_ptr<Keyd> keyd_;
};

// A keyd that has started, and its audit log.
class KeydTest : public testing::Test {
 protected:
  void SetUp() override;
  // Starts it again, which fails. Returns the reason; the error's sentence is in `message_`.
  std::string StartError();
  // Returns the whole log, once its chain is verified.
  std::vector<key::v1::AuditEvent> VerifiedLog();
  static int CountOf(const std::vector<key::v1::AuditEvent>& events, const std::string& action);

  TestKeyd keyd_;
  std::string message_;
};

}  // namespace parley::keyd

#endif  // PARLEY_SERVICES_KEYD_TESTING_KEYD_TESTING_H_
