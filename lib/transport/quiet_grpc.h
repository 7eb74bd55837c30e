// gRPC for a process that mostly waits, such as an agent that is connected and has nothing to do.
//
// A gRPC 1.51 process that only waits wakes 3.5 times a second: it looks at its timers once a second in each of several
// shards, in two systems of timers, and polls each channel every five seconds in case that nobody else does. In a
// process that has called UseGrpcQuietly it wakes when a timer is due. Timers are as exact as before.
//
// The shards' timers can only be reached by functions that libgrpc exports without a header of its own. They are used
// with gRPC 1.51 alone, and where they exist; elsewhere that part is left as gRPC has it.
//
// tools/bench idle measures it.
#ifndef PARLEY_LIB_TRANSPORT_QUIET_GRPC_H_
#define PARLEY_LIB_TRANSPORT_QUIET_GRPC_H_

#include "absl/time/time.h"

namespace parley::transport {

// Called once, before anything in the process uses gRPC, and while the process has one thread: for a moment it sets an
// environment variable. gRPC stays initialized until the process ends.
void UseGrpcQuietly();

// How often a channel of this process asks a silent server for a sign of life: 30 seconds, or 130 in a quiet process.
// Not to notice a dead network, for which the kernel probes the connection and wakes nobody; but a server that hangs.
absl::Duration SignOfLifeInterval();

}  // namespace parley::transport

#endif  // PARLEY_LIB_TRANSPORT_QUIET_GRPC_H_
