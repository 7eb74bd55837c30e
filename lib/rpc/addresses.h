// What addresses and names a service goes by.
#ifndef PARLEY_LIB_RPC_ADDRESSES_H_
#define PARLEY_LIB_RPC_ADDRESSES_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace parley::rpc {

// Whether a host:port means every interface, so that nobody can dial it.
bool IsEveryAddress(absl::string_view address);

// What others dial: `given`, or else what is listened on. PUBLIC_ADDRESS_MISSING, naming the flag, when that is every
// address.
absl::StatusOr<std::string> PublicAddress(absl::string_view flag, const std::string& given,
                                          const std::string& listening);

// For the server certificate when no names are given: localhost, its addresses, and the host's name.
std::vector<std::string> NamesOrDefault(const std::vector<std::string>& names);

}  // namespace parley::rpc

#endif  // PARLEY_LIB_RPC_ADDRESSES_H_
