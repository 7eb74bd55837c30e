// Runs gRPC's closures on one thread that sleeps until the next is due (quiet_grpc.h).
#ifndef PARLEY_LIB_TRANSPORT_GRPC_ENGINE_H_
#define PARLEY_LIB_TRANSPORT_GRPC_ENGINE_H_

namespace parley::transport {

// Takes the place of the engine that gRPC 1.51 makes by itself, which has a thread for timers that wakes once a second,
// and two threads for closures. Must be called before gRPC is initialized.
//
// gRPC 1.51 uses an engine for closures alone. Ours refuses the rest of the interface: connections, listeners, names.
void UseSleepingEngine();

}  // namespace parley::transport

#endif  // PARLEY_LIB_TRANSPORT_GRPC_ENGINE_H_
