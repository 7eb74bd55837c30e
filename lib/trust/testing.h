// Members of an organisation for tests.
#ifndef PARLEY_LIB_TRUST_TESTING_H_
#define PARLEY_LIB_TRUST_TESTING_H_

#include <string>
#include <vector>

#include "lib/crypto/x25519.h"
#include "lib/trust/certificate.h"
#include "lib/trust/chain.h"

namespace parley::trust {

// A user with one device, and the keys of both.
struct TestMember {
  explicit TestMember(const std::string& name, access::v1::Role role = access::v1::ROLE_OPERATOR)
      : user{NewId(), name, role, crypto::AgreementKey::Generate().public_key()},
        signing_key(crypto::SigningKey::Generate()),
        device{NewId(), name + "'s laptop", signing_key.verification_key()} {}

  // A further device of the same user.
  static TestMember DeviceOf(const TestMember& other, const std::string& label) {
    TestMember member(other.user.name, other.user.role);
    member.user = other.user;
    member.device.label = label;
    return member;
  }

  // What this member signs next.
  CertificateMaker Maker(const Chain& chain, absl::Time now) const {
    return CertificateMaker(chain, device.id, &signing_key, now);
  }

  // This one enrolled by another.
  std::vector<v1::SignedCertificate> EnrolledBy(const TestMember& author, const Chain& chain, absl::Time now) const {
    CertificateMaker maker = author.Maker(chain, now);
    std::vector<v1::SignedCertificate> certificates;
    if (author.user.id != user.id) certificates.push_back(maker.AddUser(user));
    certificates.push_back(maker.AddDevice(user.id, device));
    return certificates;
  }

  NewUser user;
  crypto::SigningKey signing_key;
  NewDevice device;
};

}  // namespace parley::trust

#endif  // PARLEY_LIB_TRUST_TESTING_H_
