#include <sys/un.h>

#include <algorithm>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/strip.h"
#include "lib/base/error.h"
#include "lib/store/etcd/etcd_store.h"
#include "lib/transport/address.h"

namespace parley::store {
namespace {

constexpr size_t kMaxPrefixBytes = 64;
constexpr size_t kMaxServiceBytes = 16;
constexpr size_t kMaxOrganisationBytes = 200;
// The kernel's limit.
constexpr size_t kMaxSocketPathBytes = sizeof(sockaddr_un::sun_path) - 1;

template <typename... Parts>
absl::Status BadOptions(const Parts&... parts) {
  return InvalidArgument("STORE_OPTIONS", parts...);
}

bool IsLoopback(absl::string_view host) {
  return host == "localhost" || host == "::1" || absl::StartsWith(host, "127.");
}

bool IsPrefix(absl::string_view prefix) {
  const auto good = [](char c) {
    return absl::ascii_isalnum(c) || absl::StrContains("-_./", absl::string_view(&c, 1));
  };
  return !prefix.empty() && prefix.size() <= kMaxPrefixBytes && std::all_of(prefix.begin(), prefix.end(), good) &&
         prefix.front() != '/' && prefix.back() != '/' && !absl::StrContains(prefix, "//");
}

bool IsService(absl::string_view service) {
  return !service.empty() && service.size() <= kMaxServiceBytes &&
         std::all_of(service.begin(), service.end(), absl::ascii_islower);
}

absl::Status CheckEndpoint(const std::string& endpoint, bool* needs_files) {
  absl::string_view rest = endpoint;
  if (absl::ConsumePrefix(&rest, "unix:")) {
    if (!absl::StartsWith(rest, "/")) return BadOptions(endpoint, " is not unix:/PATH");
    if (rest.size() <= kMaxSocketPathBytes) return absl::OkStatus();
    return BadOptions("the path of a socket has at most ", kMaxSocketPathBytes, " bytes, and not ", rest.size());
  }
  const bool secure = absl::ConsumePrefix(&rest, "https://");
  if (!secure && !absl::ConsumePrefix(&rest, "http://")) {
    return BadOptions("\"", endpoint, "\" is no member of an etcd; write https://HOST:PORT");
  }
  *needs_files |= secure;
  ASSIGN_OR_RETURN(const transport::HostPort where, transport::ParseHostPort(rest));
  if (where.host.empty()) return BadOptions(endpoint, " has no host; write https://HOST:PORT");
  if (secure || IsLoopback(where.host)) return absl::OkStatus();
  return BadOptions(endpoint, " would carry secrets in the clear; only an etcd of this machine may be reached by http");
}

}  // namespace

absl::Status CheckEtcdOptions(const EtcdOptions& options) {
  if (options.endpoints.empty()) return BadOptions("no member of the etcd is named");
  bool needs_files = false;
  for (const std::string& endpoint : options.endpoints) RETURN_IF_ERROR(CheckEndpoint(endpoint, &needs_files));
  if (!IsPrefix(options.prefix)) {
    return BadOptions("the prefix \"", options.prefix.substr(0, kMaxPrefixBytes), "\" must have 1 to ", kMaxPrefixBytes,
                      " letters, digits, '-', '_', '.' and single '/' between them");
  }
  if (!IsService(options.service)) return BadOptions("the service's name must have 1 to 16 small letters");
  if (options.organisation.size() > kMaxOrganisationBytes || absl::StrContains(options.organisation, '\n')) {
    return BadOptions("the organisation's name must be one line of at most ", kMaxOrganisationBytes, " bytes");
  }
  const bool has_files = !options.ca_file.empty() && !options.certificate_file.empty() && !options.key_file.empty();
  if (needs_files && !has_files) {
    return BadOptions("https needs three files: the CA of the etcd's members, this client's certificate, and its key");
  }
  return absl::OkStatus();
}

}  // namespace parley::store
