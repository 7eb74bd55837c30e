// Identities from the network, and claims as a holder of the audience's key could seal them.
#include <stdlib.h>

#include <map>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "lib/base/encoding.h"
#include "lib/crypto/aead.h"
#include "lib/crypto/kdf.h"
#include "lib/keys/identity.h"

namespace parley::keys {
namespace {

Secret AudienceKey() { return Secret::CopyOf(std::string(kSecretBytes, 'k')); }

const Keyring& TheKeyring() {
  static const Keyring* const keyring = [] {
    auto* const made = new Keyring;
    std::map<uint32_t, Secret> keys;
    keys.emplace(1, AudienceKey());
    if (!made->Replace(std::move(keys), 1).ok()) abort();
    return made;
  }();
  return *keyring;
}

std::string SealAsIdentity(absl::string_view claims) {
  static const crypto::Aead* const aead =
      new crypto::Aead(*crypto::Aead::Create(crypto::Hkdf(AudienceKey(), "parley v1 identity", 32)));
  const std::string header("\x01\x00\x00\x00\x01", 5);
  return Base64UrlEncode(absl::StrCat(header, aead->Seal(std::string(12, '\0'), claims, header)));
}

void CheckIdentity(absl::string_view identity) {
  const auto opened = TheKeyring().Open(identity);
  if (!opened.ok()) return;
  // What opens is what minting makes: no claims have two identities.
  const auto minted = TheKeyring().Mint(opened->claims);
  if (!minted.ok() || minted->identity != identity || !(minted->secret == opened->secret)) abort();
}

}  // namespace
}  // namespace parley::keys

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::string_view input(reinterpret_cast<const char*>(data), size);
  parley::keys::CheckIdentity(input);
  parley::keys::CheckIdentity(parley::keys::SealAsIdentity(input));
  return 0;
}
