// One side of a measurement: a gRPC server that echoes, and a client that puts load on one.
//
// Knows nothing of how they are connected, and uses no Protobuf, so that the same source links against gRPC with
// OpenSSL and against gRPC without any TLS.
#ifndef PARLEY_BENCH_DOOR_LOAD_H_
#define PARLEY_BENCH_DOOR_LOAD_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace grpc {
class CallbackGenericService;
class Channel;
}  // namespace grpc

namespace parley::bench {

// /bench/Echo gives a message back; /bench/Download sends 64 KiB messages until it is cancelled.
std::unique_ptr<grpc::CallbackGenericService> MakeService();

// How a client reaches the server.
struct Reach {
  // A new channel with a connection of its own.
  std::function<std::shared_ptr<grpc::Channel>()> connect;
  // Connects, completes TLS, waits for the server's first byte and leaves. False when that failed. From any thread.
  std::function<bool()> handshake;
};

// Reads commands from standard input, a line each, and answers each with a line of figures:
//   unary IN_FLIGHT SECONDS → "RATE P50_MICROS P99_MICROS"
//   stream SECONDS          → "MIB_PER_SECOND"
//   handshakes SECONDS      → "RATE"
//   idle COUNT              → "COUNT", when so many connections have made one call; they stay until the next idle.
// Returns at the end of the input.
void RunClient(const Reach& reach);

// Prints "ready ADDRESS" and returns when standard input ends.
void AwaitEnd(const std::string& address);

// Lets the process open as many descriptors as the system gives.
void RaiseLimits();

}  // namespace parley::bench

#endif  // PARLEY_BENCH_DOOR_LOAD_H_
