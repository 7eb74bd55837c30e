#include "lib/device/seal.h"

#include <argon2.h>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/crypto/aead.h"
#include "lib/crypto/kdf.h"

namespace parley::device {
namespace {

constexpr absl::string_view kMagic = "prd1";
constexpr uint32_t kLeastMemoryKib = 128 * 1024;
constexpr uint32_t kLeastPasses = 3;
constexpr uint32_t kMostMemoryKib = 1024 * 1024;
constexpr uint32_t kMostPasses = 32;
constexpr uint32_t kMostLanes = 16;

std::string EncodeHeader(const KeyParameters& parameters, absl::string_view nonce) {
  return absl::StrCat(kMagic, BigEndian(parameters.memory_kib, 4), BigEndian(parameters.passes, 4),
                      BigEndian(parameters.lanes, 4), parameters.salt, nonce);
}

absl::Status CheckMagic(absl::string_view file) {
  if (absl::ConsumePrefix(&file, kMagic)) return absl::OkStatus();
  if (file.size() > 4 && file.substr(0, 3) == kMagic.substr(0, 3) && absl::ascii_isdigit(file[3])) {
    return InvalidArgument("DEVICE_FILE_VERSION",
                           "the device file is of a newer version of Parley; upgrade parley on this machine");
  }
  return InvalidArgument("DEVICE_FILE_NOT_ONE",
                         "this is not a device file; one is made by `parley claim` and `parley org init`");
}

}  // namespace

KeyParameters NewKeyParameters() {
  return {kLeastMemoryKib, kLeastPasses, /*lanes=*/1, crypto::RandomBytes(kSaltBytes)};
}

absl::StatusOr<KeyParameters> ReadKeyParameters(absl::string_view file) {
  RETURN_IF_ERROR(CheckMagic(file));
  if (file.size() < kFileHeaderBytes + crypto::kAeadTagBytes) {
    return InvalidArgument(
        "DEVICE_FILE_DAMAGED",
        "the device file is cut short; restore it from a backup, or have this device enrolled again");
  }
  ByteReader reader(file.substr(kMagic.size()));
  KeyParameters parameters;
  parameters.memory_kib = static_cast<uint32_t>(reader.TakeNumber(4));
  parameters.passes = static_cast<uint32_t>(reader.TakeNumber(4));
  parameters.lanes = static_cast<uint32_t>(reader.TakeNumber(4));
  parameters.salt = std::string(reader.Take(kSaltBytes));
  if (parameters.memory_kib < kLeastMemoryKib || parameters.passes < kLeastPasses || parameters.lanes < 1 ||
      parameters.memory_kib > kMostMemoryKib || parameters.passes > kMostPasses || parameters.lanes > kMostLanes) {
    return InvalidArgument("DEVICE_FILE_PARAMETERS", "the device file asks for Argon2id with ",
                           parameters.memory_kib / 1024, " MiB and ", parameters.passes,
                           " passes, which Parley never writes: somebody changed it; restore it "
                           "from a backup, or have this device enrolled again");
  }
  return parameters;
}

absl::StatusOr<Secret> DeriveFileKey(const Secret& password, const KeyParameters& parameters) {
  Secret key(kFileKeyBytes);
  const absl::string_view typed = password.Expose();
  const int result =
      argon2id_hash_raw(parameters.passes, parameters.memory_kib, parameters.lanes, typed.data(), typed.size(),
                        parameters.salt.data(), parameters.salt.size(), key.mutable_bytes(), key.size());
  if (result == ARGON2_OK) return key;
  return Error(absl::StatusCode::kResourceExhausted, "DEVICE_FILE_MEMORY",
               "the password could not be turned into a key (", argon2_error_message(result), "); that needs ",
               parameters.memory_kib / 1024, " MiB of free memory");
}

std::string SealFile(const Secret& key, const KeyParameters& parameters, const Secret& plaintext) {
  const std::string nonce = crypto::RandomBytes(crypto::kAeadNonceBytes);
  const std::string header = EncodeHeader(parameters, nonce);
  const absl::StatusOr<crypto::Aead> aead = crypto::Aead::Create(key);
  return absl::StrCat(header, aead->Seal(nonce, plaintext.Expose(), header));
}

absl::StatusOr<Secret> OpenFile(const Secret& key, absl::string_view file) {
  RETURN_IF_ERROR(ReadKeyParameters(file).status());
  const absl::string_view header = file.substr(0, kFileHeaderBytes);
  ASSIGN_OR_RETURN(const crypto::Aead aead, crypto::Aead::Create(key));
  absl::StatusOr<Secret> plaintext =
      aead.Open(header.substr(kFileHeaderBytes - crypto::kAeadNonceBytes), file.substr(kFileHeaderBytes), header);
  if (plaintext.ok()) return plaintext;
  return Unauthenticated(
      "DEVICE_FILE_PASSWORD",
      "the password is not this device file's, or the file is damaged; try again, or restore the file from a "
      "backup");
}

}  // namespace parley::device
