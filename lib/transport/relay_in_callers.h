// Lets the threads that wait for their calls in gRPC relay the bytes of a client's connections as well
// (docs/adr/0015-one-thread.md).
//
// gRPC 1.51 polls on whichever thread waits for a call. With a thread for the relay each message is handed over on its
// way: from the caller to the relay, and back. In a process that has called RelayInCallers the shared loop has no
// thread, and gRPC polls it together with its own sockets. So a call's thread does all of the call's work.
//
// What a synchronous call sends goes out before its operation returns, and what a callback sends as soon as the
// callback has returned. What comes in waits until a thread waits in gRPC, as it does in the sockets of any gRPC
// client; so does what the network does not take at once, and what a thread has sent by a completion queue.
//
// Threads: RelayInCallers may be called on any thread, before others use gRPC or a dialer.
//
// gRPC has no interface for this. It is done with functions that libgrpc exports without a header of their own, with
// gRPC 1.51 alone, and where they are found; elsewhere the shared loop has its thread.
#ifndef PARLEY_LIB_TRANSPORT_RELAY_IN_CALLERS_H_
#define PARLEY_LIB_TRANSPORT_RELAY_IN_CALLERS_H_

namespace parley::transport {

// For programs that are only clients, and use dialers through channels alone. Must be called before anything in the
// process uses gRPC, but after UseGrpcQuietly; further calls do nothing. gRPC stays initialized until the process ends.
// Returns whether callers relay.
bool RelayInCallers();

}  // namespace parley::transport

#endif  // PARLEY_LIB_TRANSPORT_RELAY_IN_CALLERS_H_
