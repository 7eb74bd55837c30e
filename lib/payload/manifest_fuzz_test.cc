// Manifests that were signed by a key that is in the wrong hands, and signed manifests as they come in.
#include <stdlib.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "lib/payload/manifest.h"

namespace parley::payload {
namespace {

const crypto::SigningKey& TheKey() {
  static const crypto::SigningKey* const key =
      new crypto::SigningKey(*crypto::SigningKey::FromSeed(Secret::CopyOf(std::string(32, 's'))));
  return *key;
}

const absl::Time kNow = absl::FromUnixSeconds(1'700'000'000);

void CheckSigned(absl::string_view manifest) {
  task::v1::SignedManifest signed_manifest;
  signed_manifest.set_manifest(std::string(manifest));
  signed_manifest.set_signature(TheKey().Sign(absl::StrCat(absl::string_view("parley manifest v1\0", 19), manifest)));
  const auto verified = VerifyManifest(signed_manifest, TheKey().verification_key(), "tasks/nginx", kNow);
  if (!verified.ok()) return;
  if (!ValidateFiles(verified->files()).ok() || DigestFiles(verified->files()) != verified->digest()) abort();
  if (TotalBytes(verified->files()) != verified->size() || verified->size() > kMaxPayloadBytes) abort();
  if (verified->task() != "tasks/nginx" || verified->revision() < 1) abort();
}

void CheckIncoming(absl::string_view bytes) {
  task::v1::SignedManifest signed_manifest;
  if (!signed_manifest.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return;
  // Nobody guesses a signature.
  if (VerifyManifest(signed_manifest, TheKey().verification_key(), "tasks/nginx", kNow).ok()) abort();
}

}  // namespace
}  // namespace parley::payload

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::string_view input(reinterpret_cast<const char*>(data), size);
  parley::payload::CheckSigned(input);
  parley::payload::CheckIncoming(input);
  return 0;
}
