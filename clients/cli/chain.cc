#include "clients/cli/chain.h"

#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/strip.h"
#include "clients/chain/keyd.h"
#include "clients/cli/unlock.h"
#include "lib/base/error.h"
#include "lib/keys/identity.h"
#include "parley/trust/v1/trust_service.grpc.pb.h"

namespace parley::cli {
namespace {

using trust::v1::TrustService;

// Each time another device was faster; nobody is that unlucky.
constexpr int kTries = 10;

}  // namespace

Globals ByDevice(const Globals& globals) {
  Globals by_device = globals;
  by_device.device_path = DevicePath(globals);
  by_device.credential_path.clear();
  return by_device;
}

absl::StatusOr<trust::Chain> FetchChain(const Globals& globals) {
  ASSIGN_OR_RETURN(device::DeviceFile* const file, OpenDevice(globals));
  const device::Contents& contents = file->contents();
  ASSIGN_OR_RETURN(keys::Credential credential, LoadCredential(ByDevice(globals)));
  for (keys::AudienceKey& key : credential.keys) {
    if (!globals.server.empty() && key.audience == keys::kKeyd) key.address = globals.server;
  }
  ASSIGN_OR_RETURN(const std::unique_ptr<trust::Keyd> keyd, trust::ConnectKeyd(credential, Clock::System()));
  ASSIGN_OR_RETURN(trust::Chain chain, keyd->FetchChain(contents.root_key, contents.head));
  if (contents.head == chain.head()) return chain;
  RETURN_IF_ERROR(file->Update([&chain](device::Contents* changed) {
    // Another command may have seen more meanwhile.
    if (changed->head.sequence < chain.head().sequence) changed->head = chain.head();
    return chain.Remembers(changed->head);
  }));
  return chain;
}

absl::StatusOr<trust::v1::AppendCertificatesResponse> AppendCertificates(const Globals& globals,
                                                                         const std::string& reason,
                                                                         const MakeCertificates& make) {
  ASSIGN_OR_RETURN(device::DeviceFile* const file, OpenDevice(globals));
  const device::Contents& contents = file->contents();
  ASSIGN_OR_RETURN(const crypto::SigningKey key, crypto::SigningKey::FromSeed(contents.signing_seed));
  const std::string device_id = contents.device_id;
  ASSIGN_OR_RETURN(const std::unique_ptr<Server> server, Server::Connect(ByDevice(globals), keys::kKeyd));
  const std::unique_ptr<TrustService::Stub> stub = TrustService::NewStub(server->channel());
  absl::Status moved;
  for (int i = 0; i < kTries; ++i) {
    ASSIGN_OR_RETURN(const trust::Chain chain, FetchChain(globals));
    trust::CertificateMaker maker(chain, device_id, &key, absl::Now());
    std::vector<trust::v1::SignedCertificate> certificates;
    RETURN_IF_ERROR(make(chain, &maker, &certificates));
    trust::v1::AppendCertificatesRequest request;
    *request.mutable_certificates() = {certificates.begin(), certificates.end()};
    request.set_reason(reason);
    absl::StatusOr<trust::v1::AppendCertificatesResponse> response =
        server->Call(stub.get(), &TrustService::Stub::AppendCertificates, request);
    if (response.ok() || Reason(response.status()) != "CHAIN_MOVED") return response;
    moved = response.status();
  }
  return moved;
}

std::string RoleText(access::v1::Role role) {
  return absl::AsciiStrToLower(absl::StripPrefix(access::v1::Role_Name(role), "ROLE_"));
}

}  // namespace parley::cli
