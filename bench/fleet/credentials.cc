#include "bench/fleet/credentials.h"

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "bench/fleet/labels.h"
#include "bench/measure.h"
#include "clients/chain/trust_client.h"
#include "lib/base/error.h"
#include "lib/crypto/kdf.h"
#include "lib/keys/identity.h"
#include "parley/key/v1/key_service.grpc.pb.h"
#include "parley/task/v1/participation_service.grpc.pb.h"

namespace parley::bench {
namespace {

constexpr int kCallers = 32;

// Runs `call` with 0 … count - 1 on many threads, each with a channel of its own.
template <typename Call>
absl::Status ForEach(int count, const std::string& address, const std::string& identity, const Secret& secret,
                     Call call) {
  std::atomic<int> next = 0;
  return OnThreads(kCallers, [&]() -> absl::Status {
    ASSIGN_OR_RETURN(const auto channel, Connect(address, identity, secret));
    for (int i = next++; i < count; i = next++) RETURN_IF_ERROR(call(*channel, i));
    return absl::OkStatus();
  });
}

}  // namespace

absl::StatusOr<std::vector<task::v1::JoinResponse>> JoinAll(const keys::JoinKey& key, int count) {
  std::vector<task::v1::JoinResponse> joined(count);
  const auto join = [&](const transport::Channel& channel, int i) {
    task::v1::JoinRequest request;
    request.set_client(absl::StrCat("client-", i));
    request.set_nonce(crypto::RandomBytes(32));
    grpc::ClientContext context;
    const auto stub = task::v1::ParticipationService::NewStub(channel.grpc());
    return Annotate(channel.Explain(stub->Join(&context, request, &joined[i])), "join");
  };
  RETURN_IF_ERROR(ForEach(count, key.address, key.identity, key.secret, join));
  return joined;
}

absl::StatusOr<std::vector<keys::Credential>> IssueAll(const std::string& admin, int count) {
  ASSIGN_OR_RETURN(const keys::Credential credential, keys::ReadCredentialFile(admin));
  ASSIGN_OR_RETURN(const keys::AudienceKey* const key, credential.KeyFor(keys::kKeyd));
  std::vector<keys::Credential> issued(count);
  const auto issue = [&](const transport::Channel& channel, int i) {
    key::v1::IssueCredentialRequest request;
    request.set_request_id(crypto::RandomUuid());
    request.set_role(access::v1::ROLE_DEVICE);
    request.set_subject(absl::StrCat("device-", i));
    GiveLabels(&request);
    key::v1::IssueCredentialResponse response;
    grpc::ClientContext context;
    const auto stub = key::v1::KeyService::NewStub(channel.grpc());
    const absl::Status status = channel.Explain(stub->IssueCredential(&context, request, &response));
    issued[i] = trust::ToCredential(&response);
    return Annotate(status, "issue a credential");
  };
  RETURN_IF_ERROR(ForEach(count, key->address, key->identity, key->secret, issue));
  return issued;
}

}  // namespace parley::bench
