#include "clients/operator/membership.h"

#include <optional>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "lib/base/clock.h"
#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/base/mutex.h"
#include "lib/base/proto_time.h"
#include "lib/crypto/kdf.h"
#include "lib/keys/identity.h"
#include "lib/trust/operator_signature.h"
#include "parley/trust/v1/trust_service.grpc.pb.h"

namespace parley::ops {
namespace {

using trust::v1::TrustService;

// Each time another device was faster; nobody is that unlucky.
constexpr int kTries = 10;
// A shorter beginning of an id would be a matter of luck.
constexpr size_t kLeastIdDigits = 4;
// What a long-running program asks for its device: keyd's default.
constexpr absl::Duration kRenewedLife = absl::Hours(24 * 90);

// The chain and the connection to keyd, from call to call.
class Follower {
 public:
  Follower(device::DeviceFile* file, std::unique_ptr<trust::TrustClient> keyd)
      : file_(file), membership_(file), keyd_(std::move(keyd)) {}

  absl::StatusOr<keys::Credential> Renew() {
    MutexLock lock(&mutex_);
    RETURN_IF_ERROR(membership_.RenewCredential(kRenewedLife).status());
    // The former connection ends with the former credential.
    ASSIGN_OR_RETURN(keyd_, membership_.Connect());
    return CopyCredential(*file_);
  }

  absl::StatusOr<std::shared_ptr<const trust::Chain>> GetChain() {
    MutexLock lock(&mutex_);
    ASSIGN_OR_RETURN(chain_, membership_.ExtendChain(keyd_.get(), chain_));
    return chain_;
  }

 private:
  device::DeviceFile* const file_;
  const Membership membership_;
  Mutex mutex_;
  std::unique_ptr<trust::TrustClient> keyd_ ABSL_GUARDED_BY(mutex_);
  std::shared_ptr<const trust::Chain> chain_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace

absl::StatusOr<keys::Credential> CopyCredential(const device::DeviceFile& file) {
  return keys::ParseCredential(keys::FormatCredential(*file.contents().credential));
}

absl::StatusOr<keys::Credential> Membership::CredentialForKeyd() const {
  ASSIGN_OR_RETURN(keys::Credential credential, CopyCredential(*file_));
  UseAddress(keys::kKeyd, keyd_address_, &credential);
  return credential;
}

absl::StatusOr<std::unique_ptr<trust::TrustClient>> Membership::Connect() const {
  ASSIGN_OR_RETURN(const keys::Credential credential, CredentialForKeyd());
  return trust::ConnectKeyd(credential, Clock::System());
}

absl::StatusOr<std::unique_ptr<Connection>> Membership::OpenKeyd() const {
  ASSIGN_OR_RETURN(const keys::Credential credential, CredentialForKeyd());
  return Connection::Open(credential, file_->path(), keys::kKeyd);
}

// What was seen once is not let go of again.
absl::Status Membership::Remember(const trust::Chain& chain) const {
  if (file_->contents().head == chain.head()) return absl::OkStatus();
  return file_->Update([&chain](device::Contents* contents) {
    // Another program may have seen more meanwhile.
    if (contents->head.sequence > chain.head().sequence) return absl::OkStatus();
    RETURN_IF_ERROR(chain.Remembers(contents->head));
    contents->head = chain.head();
    return absl::OkStatus();
  });
}

absl::StatusOr<trust::Chain> Membership::FetchChain() const {
  ASSIGN_OR_RETURN(const std::unique_ptr<trust::TrustClient> keyd, Connect());
  ASSIGN_OR_RETURN(trust::Chain chain, keyd->FetchChain(file_->contents().root_key, file_->contents().head));
  RETURN_IF_ERROR(Remember(chain));
  return chain;
}

absl::StatusOr<std::shared_ptr<const trust::Chain>> Membership::ExtendChain(
    trust::TrustClient* keyd, std::shared_ptr<const trust::Chain> before) const {
  std::shared_ptr<trust::Chain> next;
  if (before == nullptr) {
    ASSIGN_OR_RETURN(trust::Chain chain, keyd->FetchChain(file_->contents().root_key, file_->contents().head));
    next = std::make_shared<trust::Chain>(std::move(chain));
  } else {
    // A copy: others may be reading the one from before.
    next = std::make_shared<trust::Chain>(*before);
    RETURN_IF_ERROR(keyd->ExtendChain(next.get()));
    if (next->head() == before->head()) return before;
  }
  RETURN_IF_ERROR(Remember(*next));
  return next;
}

absl::StatusOr<trust::v1::AppendCertificatesResponse> Membership::AppendCertificate(const std::string& reason,
                                                                                    const MakeCertificate& make) const {
  const device::Contents& contents = file_->contents();
  ASSIGN_OR_RETURN(const crypto::SigningKey key, crypto::SigningKey::FromSeed(contents.signing_seed));
  const std::string device_id = contents.device_id;
  ASSIGN_OR_RETURN(const std::unique_ptr<Connection> server, OpenKeyd());
  absl::Status moved;
  for (int i = 0; i < kTries; ++i) {
    ASSIGN_OR_RETURN(const trust::Chain chain, FetchChain());
    trust::CertificateMaker maker(chain, device_id, &key, absl::Now());
    trust::v1::AppendCertificatesRequest request;
    ASSIGN_OR_RETURN(*request.add_certificates(), make(chain, &maker));
    request.set_reason(reason);
    absl::StatusOr<trust::v1::AppendCertificatesResponse> response =
        server->Call<TrustService>(&TrustService::Stub::AppendCertificates, request);
    if (response.ok() || Reason(response.status()) != "CHAIN_MOVED") return response;
    moved = response.status();
  }
  return moved;
}

absl::StatusOr<std::string> Membership::SignAsOperator(task::v1::SignedManifest* manifest) const {
  const device::Contents& contents = file_->contents();
  ASSIGN_OR_RETURN(const crypto::SigningKey key, crypto::SigningKey::FromSeed(contents.signing_seed));
  ASSIGN_OR_RETURN(const trust::Chain chain, FetchChain());
  const absl::Time now = absl::Now();
  *manifest->mutable_operator_signature() =
      trust::SignAsOperator(manifest->manifest(), contents.device_id, key, chain.head(), now);
  // What no client would take is better refused here.
  ASSIGN_OR_RETURN(const trust::Operator signer, trust::VerifyOperator(*manifest, chain, now));
  return absl::StrCat(signer.user_name, " on ", signer.device_label);
}

absl::StatusOr<absl::Time> Membership::RenewCredential(absl::Duration life) const {
  trust::v1::RenewCredentialRequest request;
  request.set_request_id(crypto::RandomUuid());
  *request.mutable_ttl() = ToProto(life);
  ASSIGN_OR_RETURN(const std::unique_ptr<Connection> server, OpenKeyd());
  ASSIGN_OR_RETURN(trust::v1::RenewCredentialResponse response,
                   server->Call<TrustService>(&TrustService::Stub::RenewCredential, request));
  keys::Credential credential = trust::ToCredential(response.mutable_credential());
  const absl::Time until = credential.not_after;
  RETURN_IF_ERROR(file_->Update([&credential](device::Contents* contents) {
    contents->credential = std::move(credential);
    return absl::OkStatus();
  }));
  return until;
}

absl::StatusOr<DeviceMembership> FollowDeviceMembership(device::DeviceFile* file) {
  ASSIGN_OR_RETURN(std::unique_ptr<trust::TrustClient> keyd, Membership(file).Connect());
  auto follower = std::make_shared<Follower>(file, std::move(keyd));
  return DeviceMembership{[follower] { return follower->GetChain(); }, [follower] { return follower->Renew(); }};
}

absl::StatusOr<const trust::User*> FindUser(const trust::Chain& chain, const std::string& whom) {
  const trust::User* user = chain.FindUserByName(whom);
  if (user == nullptr) {
    std::optional<std::string> id = trust::ParseUserName(whom);
    if (!id.has_value()) id = trust::ParseUserName("users/" + whom);
    if (id.has_value()) user = chain.FindUser(*id);
  }
  if (user != nullptr) return user;
  return Error(absl::StatusCode::kNotFound, "MEMBER_NOT_FOUND",
               absl::StrCat("there is no user \"", whom, "\"; see: parley user list"));
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
                 absl::StrCat("there is no device \"", whom, "\"; see: parley device list"));
  }
  return Error(absl::StatusCode::kFailedPrecondition, "MEMBER_AMBIGUOUS",
               absl::StrCat(whom, " means ", found.size(), " devices; name one by its id, from: parley device list"));
}

}  // namespace parley::ops
