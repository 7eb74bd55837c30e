// An address for a test's server that is started again where it was.
#ifndef PARLEY_LIB_TRANSPORT_TESTING_LOOPBACK_H_
#define PARLEY_LIB_TRANSPORT_TESTING_LOOPBACK_H_

#include <random>
#include <string>

#include "absl/strings/str_cat.h"

namespace parley::transport {

// "127.x.y.z:0", with a host of this process's own. While the server is away nothing takes its port: other tests have
// other hosts, and connections on this machine begin at 127.0.0.1.
inline std::string OwnLoopback() {
  static const std::string* const host = [] {
    std::random_device random;
    const auto part = [&random] { return std::uniform_int_distribution<int>(1, 254)(random); };
    return new std::string(absl::StrCat("127.", part(), ".", part(), ".", part()));
  }();
  return *host + ":0";
}

}  // namespace parley::transport

#endif  // PARLEY_LIB_TRANSPORT_TESTING_LOOPBACK_H_
