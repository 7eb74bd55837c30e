// Credential files, and contents that somebody gave a good checksum.
#include <google/protobuf/stubs/logging.h>
#include <stdlib.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/crypto/hash.h"
#include "lib/keys/credential.h"

namespace parley::keys {
namespace {

void CheckLine(absl::string_view line) {
  const auto credential = ParseCredential(Secret::CopyOf(line));
  if (!credential.ok()) {
    if (!absl::StartsWith(Reason(credential.status()), "CREDENTIAL_")) abort();
    return;
  }
  // What is read can be written, and is written the same way again.
  const Secret formatted = FormatCredential(*credential);
  const auto again = ParseCredential(formatted);
  if (!again.ok() || !(FormatCredential(*again) == formatted)) abort();
}

}  // namespace
}  // namespace parley::keys

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  // It would report every string that is not UTF-8.
  static const google::protobuf::LogSilencer silencer;
  const absl::string_view input(reinterpret_cast<const char*>(data), size);
  parley::keys::CheckLine(input);
  parley::keys::CheckLine(
      absl::StrCat("prc1.", parley::Base64UrlEncode(absl::StrCat(input, parley::crypto::Sha256(input).substr(0, 4)))));
  return 0;
}
