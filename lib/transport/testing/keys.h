// A KeySource that is a map, and credentials for both ways in.
#ifndef PARLEY_LIB_TRANSPORT_TESTING_KEYS_H_
#define PARLEY_LIB_TRANSPORT_TESTING_KEYS_H_

#include <map>
#include <string>

#include "absl/strings/str_cat.h"
#include "lib/base/mutex.h"
#include "lib/crypto/certificate.h"
#include "lib/crypto/kdf.h"
#include "lib/transport/peer.h"

namespace parley::transport {

// The PSK of a name: any 32 bytes that differ.
inline Secret PskOf(absl::string_view name) {
  return crypto::Hkdf(Secret::CopyOf("root of the tests, 32 bytes long"), absl::StrCat("psk ", name), 32);
}

inline crypto::EcKey EcKeyOf(absl::string_view name) {
  return *crypto::EcKey::Derive(
      crypto::Hkdf(Secret::CopyOf("root of the tests, 32 bytes long"), absl::StrCat("ec ", name), 32));
}

class FakeKeys final : public KeySource {
 public:
  // Identity, key id and subject are all `name`.
  void Add(const std::string& name, absl::Time not_after = absl::InfiniteFuture()) {
    MutexLock lock(&mutex_);
    keys_[name] = KeyInfo{.key_id = name, .role = 7, .subject = name, .not_after = not_after};
  }
  // Adds a person or a service.
  void AddPreferred(const std::string& name) {
    MutexLock lock(&mutex_);
    keys_[name] = KeyInfo{.key_id = name, .role = 2, .subject = name, .preferred = true};
  }
  void Revoke(const std::string& name) {
    MutexLock lock(&mutex_);
    keys_.erase(name);
  }

  absl::StatusOr<Key> Find(absl::string_view identity, Want want) override {
    MutexLock lock(&mutex_);
    const auto found = keys_.find(std::string(identity));
    if (found == keys_.end()) return absl::NotFoundError("no such key");
    Key key{.info = found->second};
    if (want == Want::kPsk) {
      key.psk = PskOf(identity);
    } else {
      key.public_key = EcKeyOf(identity).PublicKey();
    }
    return key;
  }

 private:
  Mutex mutex_;
  std::map<std::string, KeyInfo> keys_ ABSL_GUARDED_BY(mutex_);
};

struct ServerCertificate {
  std::string ca_pem;
  std::string pem;
  Secret key_pem;
};

inline ServerCertificate MakeTestServerCertificate(absl::Time now) {
  const crypto::EcKey ca = EcKeyOf("ca");
  const crypto::EcKey server = EcKeyOf("server");
  ServerCertificate made;
  made.ca_pem = *crypto::MakeCaCertificate(ca, "Test", now, now + absl::Hours(24));
  made.pem = *crypto::MakeServerCertificate(ca, made.ca_pem, server.PublicKey(), {"localhost", "127.0.0.1"}, now,
                                            now + absl::Hours(24));
  made.key_pem = server.ToPem();
  return made;
}

}  // namespace parley::transport

#endif  // PARLEY_LIB_TRANSPORT_TESTING_KEYS_H_
