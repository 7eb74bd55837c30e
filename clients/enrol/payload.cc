#include "clients/enrol/payload.h"

#include <string>

#include "lib/base/error.h"
#include "lib/crypto/signature.h"
#include "lib/crypto/x25519.h"
#include "lib/trust/certificate.h"

namespace parley::enrol {
namespace {

constexpr size_t kKeyBytes = 32;

void Put(const Secret& secret, std::string* field) {
  const absl::string_view bytes = secret.Expose();
  field->assign(bytes.data(), bytes.size());
}

bool IsGood(const v1::Enrolled& enrolled, sas::Kind kind) {
  const size_t user_key_bytes = kind == sas::Kind::kDevice ? kKeyBytes : 0;
  return enrolled.user().size() == trust::kIdBytes && enrolled.device().size() == trust::kIdBytes &&
         trust::IsUserName(enrolled.user_name()) &&
         enrolled.root_verification_key().size() == crypto::kVerificationKeyBytes && enrolled.head_sequence() > 0 &&
         enrolled.head_hash().size() == trust::kHashBytes &&
         enrolled.user_encryption_private_key().size() == user_key_bytes &&
         enrolled.user_manifest_key().size() == user_key_bytes;
}

}  // namespace

absl::StatusOr<v1::Newcomer> ReadNewcomer(const Secret& payload, sas::Kind kind) {
  v1::Newcomer newcomer;
  const absl::string_view bytes = payload.Expose();
  const bool read = newcomer.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
  const bool key_fits = kind == sas::Kind::kUser ? crypto::IsCanonicalPoint(newcomer.encryption_key())
                                                 : newcomer.encryption_key().empty();
  if (read && key_fits && newcomer.verification_key().size() == crypto::kVerificationKeyBytes &&
      trust::IsDeviceLabel(newcomer.device_label())) {
    return newcomer;
  }
  return Error(absl::StatusCode::kInvalidArgument, "NEWCOMER_MALFORMED",
               "what the newcomer's device says of itself is malformed; it may need another version of parley");
}

EnrolledPayload::~EnrolledPayload() {
  for (std::string* const secret : {enrolled_.mutable_credential(), enrolled_.mutable_user_encryption_private_key(),
                                    enrolled_.mutable_user_manifest_key()}) {
    WipeString(secret);
  }
}

absl::StatusOr<EnrolledPayload> EnrolledPayload::Read(const Secret& payload, sas::Kind kind) {
  EnrolledPayload read;
  const absl::string_view bytes = payload.Expose();
  if (read->ParseFromArray(bytes.data(), static_cast<int>(bytes.size())) && IsGood(*read, kind)) return read;
  return Error(absl::StatusCode::kInvalidArgument, "ENROLLED_MALFORMED",
               "what the greeter's device gave is malformed; it may need another version of parley");
}

Secret EnrolledPayload::Serialize() const {
  Secret bytes(enrolled_.ByteSizeLong());
  enrolled_.SerializeToArray(bytes.mutable_bytes(), static_cast<int>(bytes.size()));
  return bytes;
}

void EnrolledPayload::SetCredential(const Secret& line) { Put(line, enrolled_.mutable_credential()); }

void EnrolledPayload::SetUserKeys(const Secret& encryption_key, const Secret& manifest_key) {
  Put(encryption_key, enrolled_.mutable_user_encryption_private_key());
  Put(manifest_key, enrolled_.mutable_user_manifest_key());
}

}  // namespace parley::enrol
