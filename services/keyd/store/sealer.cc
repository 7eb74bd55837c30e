#include "services/keyd/store/sealer.h"

#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/crypto/kdf.h"

namespace parley::keyd {
namespace {

constexpr size_t kMaxKekFileBytes = 256;

std::string AssociatedData(absl::string_view purpose) {
  return absl::StrCat("parley v1 sealed", absl::string_view("\0", 1), purpose);
}

}  // namespace

absl::StatusOr<Sealer> Sealer::Create(const Secret& kek) {
  if (kek.size() != kKekBytes) {
    return InvalidArgument("KEK_MALFORMED", "a key-encryption key has 32 bytes");
  }
  ASSIGN_OR_RETURN(crypto::Aead aead,
                   crypto::Aead::Create(crypto::Hkdf(kek, "parley v1 keyd seal", crypto::kAeadKeyBytes)));
  return Sealer(std::move(aead));
}

records::Sealed Sealer::Seal(const Secret& secret, absl::string_view purpose) const {
  records::Sealed sealed;
  sealed.set_nonce(crypto::RandomBytes(crypto::kAeadNonceBytes));
  sealed.set_bytes(aead_.Seal(sealed.nonce(), secret.Expose(), AssociatedData(purpose)));
  return sealed;
}

absl::StatusOr<Secret> Sealer::Open(const records::Sealed& sealed, absl::string_view purpose) const {
  if (sealed.nonce().size() == crypto::kAeadNonceBytes) {
    absl::StatusOr<Secret> secret = aead_.Open(sealed.nonce(), sealed.bytes(), AssociatedData(purpose));
    if (secret.ok()) return secret;
  }
  return FailedPrecondition(
      "KEK_WRONG",
      "the key-encryption key is not the one that this data was sealed under; put back the file that belongs "
      "to this folder");
}

absl::StatusOr<Secret> ReadKek(const std::string& path) {
  ASSIGN_OR_RETURN(Secret content, ReadSecretFile(path, kMaxKekFileBytes));
  if (content.size() == kKekBytes) return content;
  std::string hex = absl::AsciiStrToLower(absl::StripTrailingAsciiWhitespace(content.Expose()));
  auto bytes = HexDecode(hex);
  WipeString(&hex);
  if (bytes.has_value() && bytes->size() == kKekBytes) return Secret::Take(*std::move(bytes));
  return InvalidArgument("KEK_MALFORMED", path,
                         " is not a key-encryption key: it must hold 32 bytes, or 64 hex digits");
}

absl::StatusOr<Secret> MakeKek(const std::string& path) {
  Secret kek = crypto::RandomSecret(kKekBytes);
  RETURN_IF_ERROR(WriteSecretFile(path, Secret::Take(HexEncode(kek.Expose()))));
  return kek;
}

}  // namespace parley::keyd
