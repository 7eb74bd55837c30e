#include "clients/enrol/claimer.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "clients/enrol/payload.h"
#include "lib/base/error.h"
#include "lib/crypto/kdf.h"
#include "lib/crypto/signature.h"
#include "lib/crypto/x25519.h"

namespace parley::enrol {
namespace {

constexpr size_t kKeyBytes = 32;
constexpr int kNewcomerStep = 6;

absl::Status Unproven(absl::string_view what) {
  return Error(absl::StatusCode::kPermissionDenied, "ENROLMENT_UNPROVEN",
               absl::StrCat("the organisation's certificates do not have ", what,
                            " as the greeter gave it; nothing was kept: ask the greeter to look into keyd"));
}

// Whether the chain states of this device what the greeter said, and of its keys what they are.
absl::Status CheckChain(const trust::Chain& chain, const v1::Enrolled& enrolled, const device::Contents& own,
                        absl::string_view encryption_key) {
  RETURN_IF_ERROR(chain.Remembers({enrolled.head_sequence(), enrolled.head_hash()}));
  const trust::Device* const device = chain.FindDevice(enrolled.device());
  const trust::User* const user = chain.FindUser(enrolled.user());
  ASSIGN_OR_RETURN(const crypto::SigningKey key, crypto::SigningKey::FromSeed(own.signing_seed));
  if (device == nullptr || device->user != enrolled.user() || device->verification_key != key.verification_key() ||
      device->label != own.device_label || !chain.IsLive(enrolled.device())) {
    return Unproven("this device");
  }
  if (user == nullptr || user->name != enrolled.user_name() || user->role != enrolled.role() ||
      user->encryption_key != encryption_key) {
    return Unproven("this user");
  }
  return absl::OkStatus();
}

}  // namespace

device::Contents ContentsOfClaim(const keys::InvitationLink& invitation, const Secret& link, std::string device_label) {
  device::Contents contents;
  contents.organisation = invitation.organisation;
  contents.device_label = std::move(device_label);
  contents.signing_seed = crypto::SigningKey::Generate().seed().Clone();
  device::Enrolment enrolment;
  enrolment.role = sas::Role::kClaimer;
  enrolment.kind = static_cast<sas::Kind>(invitation.kind);
  enrolment.not_after = invitation.not_after;
  enrolment.link = link.Clone();
  if (enrolment.kind == sas::Kind::kUser) {
    contents.encryption_key = crypto::AgreementKey::Generate().private_key().Clone();
    contents.manifest_key = crypto::RandomSecret(kKeyBytes);
  }
  contents.enrolments.emplace(InvitationName(invitation.invitation), std::move(enrolment));
  return contents;
}

Claimer::Claimer(PartyOptions options, KeydConnector connect_keyd)
    : Party(sas::Role::kClaimer, std::move(options)), connect_keyd_(std::move(connect_keyd)) {}

absl::StatusOr<Secret> Claimer::MakePayload(int step, const Secret& received) {
  if (step == kNewcomerStep) return MakeNewcomer();
  RETURN_IF_ERROR(KeepEnrolled(received));
  // v1::Acknowledged has no fields yet.
  return Secret();
}

absl::StatusOr<Secret> Claimer::MakeNewcomer() const {
  const device::Contents& own = options().device->contents();
  ASSIGN_OR_RETURN(const crypto::SigningKey signing_key, crypto::SigningKey::FromSeed(own.signing_seed));
  v1::Newcomer newcomer;
  newcomer.set_verification_key(signing_key.verification_key());
  newcomer.set_device_label(own.device_label);
  if (enrolment().kind == sas::Kind::kUser) {
    ASSIGN_OR_RETURN(const crypto::AgreementKey key, crypto::AgreementKey::FromBytes(own.encryption_key));
    newcomer.set_encryption_key(key.public_key());
  }
  return Secret::Take(newcomer.SerializeAsString());
}

absl::Status Claimer::KeepEnrolled(const Secret& received) {
  ASSIGN_OR_RETURN(const EnrolledPayload enrolled, EnrolledPayload::Read(received, enrolment().kind));
  const device::Contents& own = options().device->contents();
  const bool is_device = enrolment().kind == sas::Kind::kDevice;
  ASSIGN_OR_RETURN(
      const crypto::AgreementKey encryption_key,
      crypto::AgreementKey::FromBytes(is_device ? enrolled.UserEncryptionKey() : own.encryption_key.Clone()));
  ASSIGN_OR_RETURN(keys::Credential credential, keys::ParseCredential(enrolled.Credential()));
  if (credential.role != enrolled->role() || credential.subject != enrolled->user_name()) {
    return Unproven("the credential");
  }
  ASSIGN_OR_RETURN(const std::unique_ptr<trust::TrustClient> keyd, connect_keyd_(credential));
  ASSIGN_OR_RETURN(const trust::Chain chain, keyd->FetchChain(enrolled->root_verification_key(), trust::Head()));
  RETURN_IF_ERROR(CheckChain(chain, *enrolled, own, encryption_key.public_key()));
  return UpdateEnrolment([&](device::Contents* contents, device::Enrolment*) {
    contents->root_key = enrolled->root_verification_key();
    contents->user_id = enrolled->user();
    contents->user_name = enrolled->user_name();
    contents->role = enrolled->role();
    contents->device_id = enrolled->device();
    contents->head = chain.head();
    contents->credential = std::move(credential);
    if (is_device) {
      contents->encryption_key = enrolled.UserEncryptionKey();
      contents->manifest_key = enrolled.UserManifestKey();
    }
    return absl::OkStatus();
  });
}

}  // namespace parley::enrol
