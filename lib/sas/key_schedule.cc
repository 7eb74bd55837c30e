#include "lib/sas/key_schedule.h"

#include "absl/strings/str_cat.h"
#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/crypto/aead.h"
#include "lib/crypto/hash.h"
#include "lib/crypto/kdf.h"
#include "lib/sas/code.h"
#include "lib/sas/reason.h"

namespace parley::sas {
namespace {

constexpr size_t kDerivedBytes = 32;
constexpr int kFullCodeBits = kCodeLetters * kBitsPerLetter;

Secret Derive(const Secret& shared, absl::string_view label, const Transcript& transcript) {
  return crypto::Hkdf(shared, absl::StrCat("parley sas ", label, transcript.hash()), kDerivedBytes);
}

std::string StepNonce(int step) {
  std::string nonce(crypto::kAeadNonceBytes, '\0');
  nonce.back() = static_cast<char>(step);
  return nonce;
}

}  // namespace

Transcript::Transcript(const Context& context) : hash_(crypto::Sha256(EncodeContext(context))) {}

Transcript Transcript::FromHash(absl::string_view hash) { return Transcript(std::string(hash)); }

void Transcript::Add(absl::string_view message) { hash_ = crypto::Sha256(absl::StrCat(hash_, message)); }

std::string Commitment(const Secret& nonce, const Context& context, absl::string_view claimer_key,
                       absl::string_view greeter_key) {
  return crypto::HmacSha256(nonce, absl::StrCat(EncodeContext(context), claimer_key, greeter_key));
}

Keys DeriveKeys(const Secret& shared, const Transcript& transcript, int bits_per_letter) {
  const Secret code = Secret::Take(crypto::HmacSha256(Derive(shared, "code", transcript), transcript.hash()));
  const uint64_t forty_bits = FromBigEndian(code.Expose().substr(0, 5));
  const uint64_t mask = (uint64_t{1} << (kCodeLetters * bits_per_letter)) - 1;
  Keys keys;
  keys.greeter_code = static_cast<uint32_t>(forty_bits >> kFullCodeBits & mask);
  keys.claimer_code = static_cast<uint32_t>(forty_bits & mask);
  keys.confirm_greeter = Derive(shared, "confirm greeter", transcript);
  keys.confirm_claimer = Derive(shared, "confirm claimer", transcript);
  keys.seal_greeter = Derive(shared, "seal greeter", transcript);
  keys.seal_claimer = Derive(shared, "seal claimer", transcript);
  return keys;
}

std::string Seal(const Secret& key, const Transcript& transcript, absl::string_view header, int step,
                 const Secret& payload) {
  const absl::StatusOr<crypto::Aead> aead = crypto::Aead::Create(key);
  return aead->Seal(StepNonce(step), payload.Expose(), absl::StrCat(transcript.hash(), header));
}

absl::StatusOr<Secret> Open(const Secret& key, const Transcript& transcript, absl::string_view header, int step,
                            absl::string_view sealed) {
  const absl::StatusOr<crypto::Aead> aead = crypto::Aead::Create(key);
  absl::StatusOr<Secret> payload = aead->Open(StepNonce(step), sealed, absl::StrCat(transcript.hash(), header));
  if (!payload.ok()) {
    return InvalidArgument(kNotAuthentic, "the message of step ", step, " was changed on its way; start a new attempt");
  }
  return payload;
}

}  // namespace parley::sas
