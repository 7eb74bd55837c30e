#include "clients/chain/trust_client.h"

#include <chrono>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "grpcpp/grpcpp.h"
#include "lib/base/error.h"
#include "lib/keys/dial.h"
#include "lib/keys/identity.h"
#include "lib/transport/channel.h"
#include "lib/transport/dialer.h"
#include "parley/trust/v1/trust_service.grpc.pb.h"

namespace parley::trust {
namespace {

constexpr int kPageSize = 1000;
constexpr std::chrono::seconds kCallSeconds(30);

class RemoteKeyd final : public TrustClient {
 public:
  RemoteKeyd(std::unique_ptr<transport::Channel> channel, Clock* clock)
      : channel_(std::move(channel)), stub_(v1::TrustService::NewStub(channel_->grpc())), clock_(clock) {}

  absl::StatusOr<Chain> FetchChain(absl::string_view root_verification_key, const Head& seen) override {
    ASSIGN_OR_RETURN(Chain chain, Chain::Create(root_verification_key));
    RETURN_IF_ERROR(ReadRest(&chain));
    // First what says most: a chain that lost its end may also end in the middle of a pair.
    RETURN_IF_ERROR(chain.Remembers(seen));
    RETURN_IF_ERROR(chain.CheckWhole());
    return chain;
  }

  absl::Status ExtendChain(Chain* chain) override {
    RETURN_IF_ERROR(ReadRest(chain));
    return chain->CheckWhole();
  }

  absl::StatusOr<v1::EnrolResponse> Enrol(const v1::EnrolRequest& request) override {
    return Call(&v1::TrustService::Stub::Enrol, request);
  }

 private:
  absl::Status ReadRest(Chain* chain) {
    v1::ListCertificatesRequest request;
    request.set_page_size(kPageSize);
    while (true) {
      request.set_after_sequence(chain->head().sequence);
      ASSIGN_OR_RETURN(const v1::ListCertificatesResponse page,
                       Call(&v1::TrustService::Stub::ListCertificates, request));
      if (page.last_sequence() < request.after_sequence()) {
        return Error(absl::StatusCode::kDataLoss, "CHAIN_ROLLED_BACK",
                     absl::StrCat("keyd's chain of trust ends at certificate ", page.last_sequence(), " and has had ",
                                  request.after_sequence(), "; somebody cut it off: do not go on, and ask your admin"));
      }
      for (const v1::SignedCertificate& certificate : page.certificates()) {
        RETURN_IF_ERROR(chain->Append(certificate, clock_->Now()));
      }
      // What was appended meanwhile comes with the next page; an empty one is the end, whatever it says.
      if (page.certificates().empty() || chain->head().sequence >= page.last_sequence()) return absl::OkStatus();
    }
  }

  template <typename Request, typename Response>
  absl::StatusOr<Response> Call(grpc::Status (v1::TrustService::Stub::*method)(grpc::ClientContext*, const Request&,
                                                                               Response*),
                                const Request& request) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + kCallSeconds);
    Response response;
    const grpc::Status status = (stub_.get()->*method)(&context, request, &response);
    if (status.ok()) return response;
    return channel_->Explain(status);
  }

  const std::unique_ptr<transport::Channel> channel_;
  const std::unique_ptr<v1::TrustService::Stub> stub_;
  Clock* const clock_;
};

}  // namespace

keys::Credential ToCredential(key::v1::IssueCredentialResponse* response) {
  keys::Credential credential;
  credential.role = response->record().role();
  credential.subject = response->record().subject();
  credential.serial = std::string(absl::StripPrefix(response->record().name(), "credentials/"));
  credential.not_after = absl::FromUnixSeconds(response->record().expire_time().seconds());
  credential.ca_pem = response->ca_pem();
  for (key::v1::AudienceSecret& secret : *response->mutable_secrets()) {
    keys::AudienceKey key;
    key.audience = secret.audience();
    key.address = secret.address();
    key.identity = secret.identity();
    key.secret = Secret::Take(std::move(*secret.mutable_secret()));
    credential.keys.push_back(std::move(key));
  }
  return credential;
}

absl::StatusOr<std::unique_ptr<TrustClient>> ConnectKeyd(const keys::Credential& credential, Clock* clock) {
  ASSIGN_OR_RETURN(transport::Dialer::Options options, keys::DialOptions(credential, keys::kKeyd, clock));
  ASSIGN_OR_RETURN(std::unique_ptr<transport::Channel> channel, transport::Channel::Create(std::move(options)));
  return std::make_unique<RemoteKeyd>(std::move(channel), clock);
}

}  // namespace parley::trust
