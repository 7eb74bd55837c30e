#include "clients/cli/chain.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "clients/chain/trust_client.h"
#include "clients/cli/format.h"
#include "clients/cli/unlock.h"
#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/base/mutex.h"
#include "lib/base/proto_time.h"
#include "lib/keys/identity.h"
#include "lib/keys/roles.h"
#include "lib/trust/operator_signature.h"
#include "parley/trust/v1/trust_service.grpc.pb.h"

namespace parley::cli {
namespace {

using trust::v1::TrustService;

// Each time another device was faster; nobody is that unlucky.
constexpr int kTries = 10;
// A shorter beginning of an id would be a matter of luck.
constexpr size_t kLeastIdDigits = 4;
// Of the credentials that a long-running command gets for its device: keyd's default.
constexpr absl::Duration kRenewedLife = absl::Hours(24 * 90);

absl::StatusOr<std::unique_ptr<trust::TrustClient>> Connect(const Globals& globals) {
  ASSIGN_OR_RETURN(keys::Credential credential, LoadCredential(ByDevice(globals)));
  UseServer(globals, keys::kKeyd, &credential);
  return trust::ConnectKeyd(credential, Clock::System());
}

// For commands whose --server is taskd's address: keyd's is the one in the credential.
Globals BesideTaskd(const Globals& globals) {
  Globals beside = globals;
  beside.server.clear();
  return beside;
}

// What was seen once is not let go of again.
absl::Status Remember(const trust::Chain& chain, device::DeviceFile* file) {
  if (file->contents().head == chain.head()) return absl::OkStatus();
  return file->Update([&chain](device::Contents* contents) {
    // Another command may have seen more meanwhile.
    if (contents->head.sequence > chain.head().sequence) return absl::OkStatus();
    RETURN_IF_ERROR(chain.Remembers(contents->head));
    contents->head = chain.head();
    return absl::OkStatus();
  });
}

// The device file of a command that runs long, the chain and the connection to keyd, from call to call.
class Member {
 public:
  Member(Globals globals, device::DeviceFile* file, std::unique_ptr<trust::TrustClient> keyd)
      : globals_(std::move(globals)), file_(file), keyd_(std::move(keyd)) {}

  absl::StatusOr<keys::Credential> Renew() {
    MutexLock lock(&mutex_);
    RETURN_IF_ERROR(RenewCredential(globals_, kRenewedLife).status());
    // The former connection ends with the former credential.
    ASSIGN_OR_RETURN(keyd_, Connect(globals_));
    return LoadCredential(ByDevice(globals_));
  }

  absl::StatusOr<std::shared_ptr<const trust::Chain>> GetChain() {
    MutexLock lock(&mutex_);
    std::shared_ptr<trust::Chain> next;
    if (chain_ == nullptr) {
      const device::Contents& contents = file_->contents();
      ASSIGN_OR_RETURN(trust::Chain chain, keyd_->FetchChain(contents.root_key, contents.head));
      next = std::make_shared<trust::Chain>(std::move(chain));
    } else {
      // A copy: others may be reading the one from before.
      next = std::make_shared<trust::Chain>(*chain_);
      RETURN_IF_ERROR(keyd_->ExtendChain(next.get()));
      if (next->head() == chain_->head()) return chain_;
    }
    RETURN_IF_ERROR(Remember(*next, file_));
    chain_ = std::move(next);
    return chain_;
  }

 private:
  const Globals globals_;
  Mutex mutex_;
  device::DeviceFile* const file_;
  std::unique_ptr<trust::TrustClient> keyd_ ABSL_GUARDED_BY(mutex_);
  std::shared_ptr<const trust::Chain> chain_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace

Globals ByDevice(const Globals& globals) {
  Globals by_device = globals;
  by_device.device_path = DevicePath(globals);
  by_device.credential_path.clear();
  return by_device;
}

absl::StatusOr<trust::Chain> FetchChain(const Globals& globals) {
  ASSIGN_OR_RETURN(device::DeviceFile* const file, OpenDevice(globals));
  ASSIGN_OR_RETURN(const std::unique_ptr<trust::TrustClient> keyd, Connect(globals));
  ASSIGN_OR_RETURN(trust::Chain chain, keyd->FetchChain(file->contents().root_key, file->contents().head));
  RETURN_IF_ERROR(Remember(chain, file));
  return chain;
}

absl::StatusOr<DeviceMembership> FollowDeviceMembership(const Globals& globals) {
  Globals beside = BesideTaskd(globals);
  ASSIGN_OR_RETURN(device::DeviceFile* const file, OpenDevice(globals));
  ASSIGN_OR_RETURN(std::unique_ptr<trust::TrustClient> keyd, Connect(beside));
  auto member = std::make_shared<Member>(std::move(beside), file, std::move(keyd));
  return DeviceMembership{[member] { return member->GetChain(); }, [member] { return member->Renew(); }};
}

absl::StatusOr<absl::Time> RenewCredential(const Globals& given, absl::Duration life) {
  const Globals globals = ByDevice(given);
  trust::v1::RenewCredentialRequest request;
  request.set_request_id(NewRequestId());
  *request.mutable_ttl() = ToProto(life);
  ASSIGN_OR_RETURN(device::DeviceFile* const file, OpenDevice(globals));
  ASSIGN_OR_RETURN(const std::unique_ptr<Connection> server, Connection::Open(globals, keys::kKeyd));
  const std::unique_ptr<TrustService::Stub> stub = TrustService::NewStub(server->channel());
  ASSIGN_OR_RETURN(trust::v1::RenewCredentialResponse response,
                   server->Call(stub.get(), &TrustService::Stub::RenewCredential, request));
  keys::Credential credential = trust::ToCredential(response.mutable_credential());
  const absl::Time until = credential.not_after;
  RETURN_IF_ERROR(file->Update([&credential](device::Contents* contents) {
    contents->credential = std::move(credential);
    return absl::OkStatus();
  }));
  return until;
}

absl::StatusOr<std::string> SignAsOperator(const Globals& globals, task::v1::SignedManifest* manifest) {
  ASSIGN_OR_RETURN(device::DeviceFile* const file, OpenDevice(globals));
  const device::Contents& contents = file->contents();
  ASSIGN_OR_RETURN(const crypto::SigningKey key, crypto::SigningKey::FromSeed(contents.signing_seed));
  ASSIGN_OR_RETURN(const trust::Chain chain, FetchChain(BesideTaskd(globals)));
  const absl::Time now = absl::Now();
  *manifest->mutable_operator_signature() =
      trust::SignAsOperator(manifest->manifest(), contents.device_id, key, chain.head(), now);
  // What no client would take is better refused here.
  ASSIGN_OR_RETURN(const trust::Operator signer, trust::VerifyOperator(*manifest, chain, now));
  return absl::StrCat(signer.user_name, " on ", signer.device_label);
}

absl::StatusOr<trust::v1::AppendCertificatesResponse> AppendCertificates(const Globals& globals,
                                                                         const std::string& reason,
                                                                         const MakeCertificates& make) {
  ASSIGN_OR_RETURN(device::DeviceFile* const file, OpenDevice(globals));
  const device::Contents& contents = file->contents();
  ASSIGN_OR_RETURN(const crypto::SigningKey key, crypto::SigningKey::FromSeed(contents.signing_seed));
  const std::string device_id = contents.device_id;
  ASSIGN_OR_RETURN(const std::unique_ptr<Connection> server, Connection::Open(ByDevice(globals), keys::kKeyd));
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

absl::StatusOr<const trust::Device*> FindDevice(const trust::Chain& chain, const std::string& whom) {
  std::vector<const trust::Device*> found;
  for (const trust::User* const user : chain.Users()) {
    for (const trust::Device* const device : chain.DevicesOf(user->id)) {
      const std::string id = HexEncode(device->id);
      if (whom == id || whom == trust::DeviceName(device->id)) return device;
      const bool begins = whom.size() >= kLeastIdDigits && absl::StartsWith(id, whom);
      if (chain.IsLive(device->id) && (begins || device->label == whom)) found.push_back(device);
    }
  }
  if (found.size() == 1) return found.front();
  if (found.empty()) {
    return Error(absl::StatusCode::kNotFound, "MEMBER_NOT_FOUND",
                 absl::StrCat("there is no device ", whom, "; see: parley device list"));
  }
  return Error(absl::StatusCode::kFailedPrecondition, "MEMBER_AMBIGUOUS",
               absl::StrCat(whom, " means ", found.size(), " devices; name one by its id, from: parley device list"));
}

absl::StatusOr<access::v1::Role> ParseRole(absl::string_view option, const std::string& text,
                                           const std::vector<access::v1::Role>& among) {
  std::vector<std::string> names;
  for (const access::v1::Role role : among) {
    names.push_back(keys::RoleName(role));
    if (absl::EqualsIgnoreCase(text, names.back())) return role;
  }
  return UsageError(absl::StrCat(option, " is one of ", absl::StrJoin(names, ", ")));
}

}  // namespace parley::cli
