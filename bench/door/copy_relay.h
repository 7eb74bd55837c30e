// The door without TLS: the same loop, the same hops and the same kinds of socket, with the bytes copied as they are.
// What this costs, no relay beside gRPC can avoid, whatever it does with the bytes.
//
// For measuring alone: nothing is freed before the process ends but the connections, and an error ends it.
//
// Threads: the functions may be called from any thread; connections are served in the shared event loop.
#ifndef PARLEY_BENCH_DOOR_COPY_RELAY_H_
#define PARLEY_BENCH_DOOR_COPY_RELAY_H_

#include <functional>
#include <string>

#include "lib/base/fd.h"

namespace parley::bench {

// Listens on a TCP port of this machine and joins each connection to a local socket, whose other end it hands over in
// the loop. Returns "127.0.0.1:port".
std::string ListenCopied(std::function<void(Fd local)> hand_over);

// Listens on an abstract socket and joins each connection to one to this address. Returns a target for gRPC.
std::string DialCopied(const std::string& address);

}  // namespace parley::bench

#endif  // PARLEY_BENCH_DOOR_COPY_RELAY_H_
