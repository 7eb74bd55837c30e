// The door without TLS: the same hops, through the same kinds of socket, with the bytes copied as they are. What this
// costs, no relay beside gRPC can avoid, whatever it does with the bytes.
//
// For measuring alone: the threads live as long as the process, an error ends it, and bulk in both directions at once
// could block it.
#ifndef PARLEY_BENCH_DOOR_COPY_RELAY_H_
#define PARLEY_BENCH_DOOR_COPY_RELAY_H_

#include <string>

namespace parley::bench {

// Listens on a TCP port and joins each connection to a local one. Returns "127.0.0.1:port"; `abstract_name` is the
// server's name among abstract sockets.
std::string ListenCopied(const std::string& abstract_name);

// Listens on an abstract socket and joins each connection to a TCP one. Returns a target for gRPC.
std::string DialCopied(const std::string& address);

}  // namespace parley::bench

#endif  // PARLEY_BENCH_DOOR_COPY_RELAY_H_
