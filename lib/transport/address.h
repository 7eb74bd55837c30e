// Parses, resolves and writes "host:port", and lists of these.
//
// Threads: free functions without state; a SocketAddress or SocketPair belongs to one thread at a time.
#ifndef PARLEY_LIB_TRANSPORT_ADDRESS_H_
#define PARLEY_LIB_TRANSPORT_ADDRESS_H_

#include <netinet/in.h>
#include <sys/socket.h>

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "lib/base/fd.h"

namespace parley::transport {

struct HostPort {
  // A host without brackets; empty means every address of this machine.
  std::string host;
  // Decimal digits.
  std::string port;
};

// Parses "host:port", "192.0.2.7:7443", "[2001:db8::1]:7443" or ":7443". Returns INVALID_ARGUMENT (ADDRESS_INVALID) for
// the rest.
absl::StatusOr<HostPort> ParseHostPort(absl::string_view text);

// Parses the servers to dial: "host:port", or up to 16 of these with commas between, as in
// "taskd-0.example:7443,taskd-1.example:7443". Returns INVALID_ARGUMENT (ADDRESS_INVALID) for the rest, and for a
// server without a host or with port 0.
absl::StatusOr<std::vector<HostPort>> ParseServers(absl::string_view text);

// Returns the name with which a client greets the server (SNI): the host in lower case without a dot at its end; empty
// if it is an address or no DNS name.
std::string ServerName(const HostPort& where);

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t size = 0;
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
  sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
  // Returns the address as the kernel has it, to compare it with others.
  std::string bytes() const { return std::string(reinterpret_cast<const char*>(&storage), size); }
};

// Returns the addresses of a host, in the order in which to try them. Asks the name service, and so blocks, unless
// `numeric_only`. Returns NOT_FOUND (NAME_NOT_FOUND).
absl::StatusOr<std::vector<SocketAddress>> Resolve(const HostPort& where, bool passive, bool numeric_only);

// Returns "192.0.2.7:50123" or "[2001:db8::1]:50123". An IPv4 address that is mapped to IPv6 is written as IPv4.
std::string FormatAddress(const SocketAddress& address);

// Returns what counts as one source: an IPv4 address, or the /64 network that one IPv6 customer has.
std::string SourceOf(const SocketAddress& address);

// Returns the abstract Unix address "\0{name}".
SocketAddress AbstractAddress(absl::string_view name);

// Two ends of a stream that belong together, non-blocking; both are none if there are no descriptors.
struct SocketPair {
  // The end whose name the other one sees.
  Fd named;
  Fd other;
};
// Connects two sockets, the first of which has this abstract name.
SocketPair MakeSocketPair(absl::string_view name);

}  // namespace parley::transport

#endif  // PARLEY_LIB_TRANSPORT_ADDRESS_H_
