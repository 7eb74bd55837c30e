#include "clients/operator/founding.h"

#include <utility>

#include "absl/time/clock.h"
#include "clients/chain/trust_client.h"
#include "lib/base/error.h"
#include "lib/crypto/kdf.h"
#include "lib/crypto/x25519.h"
#include "lib/trust/certificate.h"
#include "parley/trust/v1/trust_service.grpc.pb.h"

namespace parley::ops {
namespace {

using trust::v1::TrustService;

constexpr size_t kManifestKeyBytes = 32;
// What a founding that was begun is kept under, beside enrolments; no invitation has such a name.
constexpr char kFounding[] = "founding";

trust::v1::FoundOrganisationRequest RequestOf(const device::Contents& contents) {
  const device::Enrolment& begun = contents.enrolments.at(kFounding);
  trust::v1::FoundOrganisationRequest request;
  request.set_request_id(begun.request_id);
  request.set_root_verification_key(contents.root_key);
  for (const std::string& certificate : begun.certificates) {
    request.add_certificates()->ParseFromString(certificate);
  }
  return request;
}

absl::Status FinishFounding(device::DeviceFile* file, trust::v1::FoundOrganisationResponse* response) {
  keys::Credential credential = trust::ToCredential(response->mutable_credential());
  return file->Update([&](device::Contents* contents) -> absl::Status {
    ASSIGN_OR_RETURN(trust::Chain chain, trust::Chain::Create(contents->root_key));
    const trust::v1::FoundOrganisationRequest request = RequestOf(*contents);
    for (const auto& certificate : request.certificates()) RETURN_IF_ERROR(chain.Append(certificate, absl::Now()));
    contents->organisation = response->organisation();
    contents->head = chain.head();
    contents->credential = std::move(credential);
    contents->enrolments.erase(kFounding);
    return absl::OkStatus();
  });
}

}  // namespace

device::Contents MakeFounder(const std::string& user_name, const std::string& device_label) {
  const crypto::SigningKey signing_key = crypto::SigningKey::Generate();
  const crypto::AgreementKey encryption_key = crypto::AgreementKey::Generate();
  const trust::NewUser user{trust::NewId(), user_name, access::v1::ROLE_ADMIN, encryption_key.public_key()};
  const trust::NewDevice device{trust::NewId(), device_label, signing_key.verification_key()};
  const trust::Founding founding = trust::Founding::Make(user, device, absl::Now());

  device::Contents contents;
  contents.root_key = founding.root_verification_key;
  contents.user_id = user.id;
  contents.device_id = device.id;
  contents.user_name = user.name;
  contents.device_label = device.label;
  contents.role = user.role;
  contents.signing_seed = signing_key.seed().Clone();
  contents.encryption_key = encryption_key.private_key().Clone();
  contents.manifest_key = crypto::RandomSecret(kManifestKeyBytes);
  device::Enrolment& begun = contents.enrolments[kFounding];
  begun.request_id = crypto::RandomUuid();
  for (const auto& certificate : founding.certificates) begun.certificates.push_back(certificate.SerializeAsString());
  return contents;
}

bool IsFounding(const device::Contents& contents, const std::string& user) {
  return !contents.enrolled() && contents.enrolments.count(kFounding) == 1 && contents.user_name == user;
}

absl::Status FoundOrganisation(const Connection& keyd, device::DeviceFile* file) {
  absl::StatusOr<trust::v1::FoundOrganisationResponse> response =
      keyd.Call<TrustService>(&TrustService::Stub::FoundOrganisation, RequestOf(file->contents()));
  if (response.ok()) return FinishFounding(file, &*response);
  // Nothing is founded by this file, now or later.
  if (Reason(response.status()) == "CHAIN_FOUNDED") RETURN_IF_ERROR(file->Remove());
  return response.status();
}

}  // namespace parley::ops
