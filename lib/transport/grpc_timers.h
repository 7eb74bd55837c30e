// Makes gRPC 1.51 sleep until its earliest timer is due (quiet_grpc.h).
#ifndef PARLEY_LIB_TRANSPORT_GRPC_TIMERS_H_
#define PARLEY_LIB_TRANSPORT_GRPC_TIMERS_H_

namespace parley::transport {

// Must be called before gRPC is initialized. Returns false if this gRPC is another one, which then keeps its own way.
bool SleepUntilGrpcTimers();

}  // namespace parley::transport

#endif  // PARLEY_LIB_TRANSPORT_GRPC_TIMERS_H_
