#include "lib/transport/address.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <string.h>
#include <sys/un.h>

#include <algorithm>
#include <cstddef>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "lib/base/error.h"

namespace parley::transport {
namespace {

// The four bytes of an IPv4 address that is written as IPv6, else null.
const uint8_t* MappedIpv4(const sockaddr_in6& address) {
  return IN6_IS_ADDR_V4MAPPED(&address.sin6_addr) ? address.sin6_addr.s6_addr + 12 : nullptr;
}

absl::Status Malformed(absl::string_view text) {
  return InvalidArgument("ADDRESS_INVALID", "\"", text,
                         "\" is not an address; write it as host:port, e.g. taskd.example:7443");
}

}  // namespace

absl::StatusOr<HostPort> ParseHostPort(absl::string_view text) {
  const size_t colon = text.rfind(':');
  if (colon == absl::string_view::npos || text.size() > 300) return Malformed(text);
  absl::string_view host = text.substr(0, colon);
  const absl::string_view port = text.substr(colon + 1);
  int number = 0;
  if (port.empty() || port.size() > 5 ||
      !std::all_of(port.begin(), port.end(), [](char c) { return c >= '0' && c <= '9'; }) ||
      !absl::SimpleAtoi(port, &number) || number > 65535) {
    return Malformed(text);
  }
  if (!host.empty() && host.front() == '[') {
    if (host.size() < 3 || host.back() != ']') return Malformed(text);
    host = host.substr(1, host.size() - 2);
  } else if (host.find_first_of(":[]/, ") != absl::string_view::npos) {
    return Malformed(text);
  }
  if (host.find('\0') != absl::string_view::npos) return Malformed(text);
  return HostPort{std::string(host), std::to_string(number)};
}

absl::StatusOr<std::vector<HostPort>> ParseServers(absl::string_view text) {
  constexpr size_t kMost = 16;
  std::vector<HostPort> servers;
  for (const absl::string_view each : absl::StrSplit(text, ',')) {
    ASSIGN_OR_RETURN(servers.emplace_back(), ParseHostPort(each));
    if (servers.back().host.empty() || servers.back().port == "0") {
      return InvalidArgument("ADDRESS_INVALID", "\"", each, "\" names no server; write it as host:port");
    }
  }
  if (servers.size() <= kMost) return servers;
  return InvalidArgument("ADDRESS_INVALID", "a list of servers has at most ", kMost,
                         "; give them one name with several addresses");
}

absl::StatusOr<std::vector<SocketAddress>> Resolve(const HostPort& where, bool passive, bool numeric_only) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV | (passive ? AI_PASSIVE : 0) | (numeric_only ? AI_NUMERICHOST : 0);
  addrinfo* found = nullptr;
  const int error = getaddrinfo(where.host.empty() ? nullptr : where.host.c_str(), where.port.c_str(), &hints, &found);
  if (error != 0) {
    return NotFound("NAME_NOT_FOUND", "cannot find the address of \"", where.host, "\" (", gai_strerror(error),
                    "); check the name, and the name service of this machine");
  }
  std::vector<SocketAddress> addresses;
  for (const addrinfo* each = found; each != nullptr; each = each->ai_next) {
    if (each->ai_addrlen > sizeof(sockaddr_storage)) continue;
    SocketAddress& address = addresses.emplace_back();
    memcpy(&address.storage, each->ai_addr, each->ai_addrlen);
    address.size = each->ai_addrlen;
  }
  freeaddrinfo(found);
  return addresses;
}

std::string ServerName(const HostPort& where) {
  constexpr size_t kMaxBytes = 253;
  std::string name = absl::AsciiStrToLower(absl::StripSuffix(where.host, "."));
  const auto allowed = [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return absl::ascii_islower(byte) || absl::ascii_isdigit(byte) || c == '-' || c == '.' || c == '_';
  };
  if (name.size() > kMaxBytes || !std::all_of(name.begin(), name.end(), allowed)) return "";
  // Some read "127.1" as an address: the last part of a name has a letter.
  const std::string last = name.substr(name.rfind('.') + 1);
  return std::any_of(last.begin(), last.end(),
                     [](char c) { return absl::ascii_islower(static_cast<unsigned char>(c)); })
             ? name
             : "";
}

std::string FormatAddress(const SocketAddress& address) {
  char text[INET6_ADDRSTRLEN] = "";
  if (address.storage.ss_family == AF_INET) {
    const auto& ipv4 = reinterpret_cast<const sockaddr_in&>(address.storage);
    inet_ntop(AF_INET, &ipv4.sin_addr, text, sizeof(text));
    return absl::StrCat(text, ":", ntohs(ipv4.sin_port));
  }
  if (address.storage.ss_family != AF_INET6) return "";
  const auto& ipv6 = reinterpret_cast<const sockaddr_in6&>(address.storage);
  if (const uint8_t* ipv4 = MappedIpv4(ipv6); ipv4 != nullptr) {
    inet_ntop(AF_INET, ipv4, text, sizeof(text));
    return absl::StrCat(text, ":", ntohs(ipv6.sin6_port));
  }
  inet_ntop(AF_INET6, &ipv6.sin6_addr, text, sizeof(text));
  return absl::StrCat("[", text, "]:", ntohs(ipv6.sin6_port));
}

std::string SourceOf(const SocketAddress& address) {
  if (address.storage.ss_family == AF_INET) {
    const auto& ipv4 = reinterpret_cast<const sockaddr_in&>(address.storage);
    return std::string(reinterpret_cast<const char*>(&ipv4.sin_addr), 4);
  }
  const auto& ipv6 = reinterpret_cast<const sockaddr_in6&>(address.storage);
  if (const uint8_t* ipv4 = MappedIpv4(ipv6); ipv4 != nullptr)
    return std::string(reinterpret_cast<const char*>(ipv4), 4);
  return std::string(reinterpret_cast<const char*>(&ipv6.sin6_addr), 8);
}

SocketAddress AbstractAddress(absl::string_view name) {
  SocketAddress address;
  auto& local = reinterpret_cast<sockaddr_un&>(address.storage);
  local.sun_family = AF_UNIX;
  const size_t length = std::min(name.size(), sizeof(local.sun_path) - 1);
  memcpy(local.sun_path + 1, name.data(), length);
  address.size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + length);
  return address;
}

SocketPair MakeSocketPair(absl::string_view name) {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) != 0) return SocketPair();
  SocketPair pair{Fd(ends[0]), Fd(ends[1])};
  const SocketAddress address = AbstractAddress(name);
  if (bind(pair.named.get(), address.get(), address.size) != 0) return SocketPair();
  return pair;
}

}  // namespace parley::transport
