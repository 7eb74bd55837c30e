// gRPC's closures on one thread that sleeps until the next is due. See quiet_grpc.h.
#ifndef PARLEY_LIB_TRANSPORT_GRPC_ENGINE_H_
#define PARLEY_LIB_TRANSPORT_GRPC_ENGINE_H_

namespace parley::transport {

// Takes the place of the engine that gRPC 1.51 makes by itself. That one has a thread for timers, which wakes once a
// second, and two for closures. Before gRPC is initialized.
//
// gRPC 1.51 uses an engine for closures alone. Ours refuses what else the interface has: connections, listeners, names.
void UseSleepingEngine();

}  // namespace parley::transport

#endif  // PARLEY_LIB_TRANSPORT_GRPC_ENGINE_H_
