// The addresses and names that a service goes by.
#ifndef PARLEY_LIB_SERVICE_ADDRESSES_H_
#define PARLEY_LIB_SERVICE_ADDRESSES_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace parley::service {

// Returns whether a host:port means every interface, so that nobody can dial it.
bool IsEveryAddress(absl::string_view address);

// Returns what others dial: `given`, or else the address that is listened on. Returns PUBLIC_ADDRESS_MISSING, naming
// the flag, if that is every address.
absl::StatusOr<std::string> PublicAddress(absl::string_view flag, const std::string& given,
                                          const std::string& listening);

// Returns the names for the server certificate. If none are given, they are localhost, its addresses, and the host's
// name.
std::vector<std::string> NamesOrDefault(const std::vector<std::string>& names);

}  // namespace parley::service

#endif  // PARLEY_LIB_SERVICE_ADDRESSES_H_
