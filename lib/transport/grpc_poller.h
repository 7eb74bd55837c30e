// Lets the event loop that relays a connection's bytes also do what gRPC does with them (docs/adr/0015-one-thread.md).
//
// gRPC 1.51 leaves the callbacks of calls, and whatever its sockets need, to threads of its own. They wait for the same
// sockets that a relay has just written into, so each message is handed from thread to thread. In a process that has
// called PollGrpcInLoop, the shared loop polls gRPC right after it has relayed, and callbacks run on it: they must not
// block. A thread that waits for the end of a synchronous call may still do a part of the work, as it always does.
//
// Threads: PollGrpcInLoop may be called on any thread, before others use gRPC.
//
// gRPC has no interface for this. It is done with functions that libgrpc exports without a header of their own, with
// gRPC 1.51 alone, and where they are found; elsewhere gRPC's own threads go on.
#ifndef PARLEY_LIB_TRANSPORT_GRPC_POLLER_H_
#define PARLEY_LIB_TRANSPORT_GRPC_POLLER_H_

namespace parley::transport {

// Must be called before anything in the process uses gRPC; further calls do nothing. gRPC stays initialized until the
// process ends. Returns whether the shared loop polls gRPC.
bool PollGrpcInLoop();

// While one exists, and the shared loop polls gRPC, what completes within an operation that this thread begins calls
// back before that operation returns, instead of on another thread. Handlers and callbacks of other calls on the same
// connection may run there as well: the thread must hold no lock that any of them takes.
class CallbacksAtOnce {
 public:
  CallbacksAtOnce();
  ~CallbacksAtOnce();
  CallbacksAtOnce(const CallbacksAtOnce&) = delete;
  CallbacksAtOnce& operator=(const CallbacksAtOnce&) = delete;

 private:
  const bool before_;
};

}  // namespace parley::transport

#endif  // PARLEY_LIB_TRANSPORT_GRPC_POLLER_H_
