// Bytes as a certificate and as an operator's signature; and bytes as what members of an organisation state.
#include <stdlib.h>

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "lib/base/error.h"
#include "lib/trust/operator_signature.h"
#include "lib/trust/testing.h"

namespace parley::trust {
namespace {

constexpr size_t kMostStatements = 13;
// Longer ones are certificates.
constexpr size_t kLongestScript = 64;

void Require(bool condition) {
  if (!condition) abort();
}

// Members with keys that are always the same: what a script does must not depend on chance.
const std::vector<TestMember>& Members() {
  static const auto* const members = [] {
    auto* made = new std::vector<TestMember>();
    const access::v1::Role roles[] = {access::v1::ROLE_ADMIN, access::v1::ROLE_OPERATOR, access::v1::ROLE_DEVICE,
                                      access::v1::ROLE_ADMIN, access::v1::ROLE_AUDITOR};
    for (size_t i = 0; i < 5; ++i) {
      TestMember member(std::string(1, static_cast<char>('a' + i)), roles[i]);
      member.user.id = std::string(kIdBytes, static_cast<char>(1 + i));
      member.device.id = std::string(kIdBytes, static_cast<char>(101 + i));
      made->push_back(std::move(member));
    }
    made->push_back(TestMember::DeviceOf((*made)[1], "phone"));
    made->back().device.id = std::string(kIdBytes, 120);
    return made;
  }();
  return *members;
}

void CheckBytes(const std::string& bytes) {
  v1::SignedCertificate certificate;
  certificate.set_certificate_bytes(bytes);
  certificate.set_signature(std::string(crypto::kSignatureBytes, 's'));
  const auto read = ParseCertificate(certificate);
  if (read.ok()) {
    Require(read->SerializeAsString() == bytes);
  } else {
    Require(Reason(read.status()) == "CHAIN_MALFORMED");
  }
  task::v1::SignedManifest manifest;
  if (!manifest.mutable_operator_signature()->ParseFromString(bytes)) return;
  const Chain chain = *Chain::Create(std::string(32, 'r'));
  Require(absl::StartsWith(Reason(VerifyOperator(manifest, chain, absl::UnixEpoch()).status()), "OPERATOR_"));
}

v1::SignedCertificate Statement(CertificateMaker* maker, uint8_t what, const TestMember& about) {
  switch (what % 6) {
    case 0:
      return maker->AddUser(about.user);
    case 1:
      return maker->AddDevice(about.user.id, about.device);
    case 2:
      return maker->RevokeUser(about.user.id);
    case 3:
      return maker->RevokeDevice(about.device.id);
    default:
      return maker->ChangeRole(about.user.id, static_cast<access::v1::Role>(1 + what / 6 % 3));
  }
}

bool HasAdmin(const Chain& chain) {
  const std::vector<const User*> users = chain.Users();
  return std::any_of(users.begin(), users.end(), [&chain](const User* user) {
    const auto devices = chain.DevicesOf(user->id);
    return user->role == access::v1::ROLE_ADMIN &&
           std::any_of(devices.begin(), devices.end(), [&](const Device* device) { return chain.IsLive(device->id); });
  });
}

void Play(absl::string_view script) {
  const std::vector<TestMember>& members = Members();
  const absl::Time now = absl::FromUnixSeconds(1'700'000'000);
  static const Founding founding = Founding::Make(members[0].user, members[0].device, now);
  Chain chain = *Chain::Create(founding.root_verification_key);
  Require(chain.AppendTogether(founding.certificates, now).ok());
  bool whole = true;
  for (size_t i = 0; i + 1 < std::min(script.size(), 2 * kMostStatements); i += 2) {
    const auto who = static_cast<uint8_t>(script[i]), what = static_cast<uint8_t>(script[i + 1]);
    CertificateMaker maker = members[who % 6].Maker(chain, now);
    const v1::SignedCertificate certificate = Statement(&maker, what, members[who / 6 % 6]);
    const Head before = chain.head();
    const absl::Status appended = chain.Append(certificate, now);
    Require(appended.ok() || absl::StartsWith(Reason(appended), "CHAIN_"));
    Require(chain.head().sequence == before.sequence + (appended.ok() ? 1 : 0) && chain.Remembers(before).ok());
    if (appended.ok()) whole = what % 6 != 0;
    Require(chain.CheckWhole().ok() == whole);
    Require(HasAdmin(chain));
    Require(chain.Append(certificate, now).ok() == false);
  }
}

}  // namespace
}  // namespace parley::trust

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  parley::trust::CheckBytes(bytes);
  if (size <= parley::trust::kLongestScript) parley::trust::Play(bytes);
  return 0;
}
