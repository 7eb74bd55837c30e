#include "lib/service/addresses.h"

#include <unistd.h>

#include "absl/strings/match.h"
#include "lib/base/error.h"

namespace parley::service {

bool IsEveryAddress(absl::string_view address) {
  return absl::StartsWith(address, "0.0.0.0:") || absl::StartsWith(address, "[::]:") || absl::StartsWith(address, ":");
}

absl::StatusOr<std::string> PublicAddress(absl::string_view flag, const std::string& given,
                                          const std::string& listening) {
  if (!given.empty()) return given;
  if (!IsEveryAddress(listening)) return listening;
  return InvalidArgument("PUBLIC_ADDRESS_MISSING", "nobody can connect to ", listening,
                         ", which means every address; say with ", flag,
                         " what others connect to, like parley.example:7443");
}

std::vector<std::string> NamesOrDefault(const std::vector<std::string>& names) {
  if (!names.empty()) return names;
  std::vector<std::string> local = {"localhost", "127.0.0.1", "::1"};
  char host[256] = {};
  if (gethostname(host, sizeof(host) - 1) == 0 && host[0] != '\0') local.emplace_back(host);
  return local;
}

}  // namespace parley::service
