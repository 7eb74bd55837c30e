// Keeps gRPC quiet in a process that mostly waits, such as an agent that is connected and has nothing to do.
//
// A gRPC 1.51 process that only waits wakes 3.5 times a second: it looks at its timers once a second in each of several
// shards, in two systems of timers, and polls each channel every five seconds in case that nobody else does. A process
// that has called UseGrpcQuietly wakes when a timer is due. Timers are as exact as before.
//
// The shards' timers can only be reached by functions that libgrpc exports without a header of its own. They are used
// with gRPC 1.51 alone, and where they exist; elsewhere that part is left as gRPC has it.
//
// tools/bench idle measures the result.
#ifndef PARLEY_LIB_TRANSPORT_QUIET_GRPC_H_
#define PARLEY_LIB_TRANSPORT_QUIET_GRPC_H_

#include "absl/time/time.h"

namespace parley::transport {

// Must be called once, before anything in the process uses gRPC, and while the process has one thread, because it sets
// an environment variable for a moment. gRPC stays initialized until the process ends.
void UseGrpcQuietly();

// Initializes gRPC for as long as the process lives. When the last object of gRPC 1.51 goes, it shuts itself down and
// waits for its executor, which may poll for 10 more seconds.
void KeepGrpcInitialized();

// How a channel finds out that a server hangs: a server that was silent for `after` while a call is under way is asked
// for a sign of life, and has to give it `within`.
struct SignOfLife {
  absl::Duration after;
  absl::Duration within;
};
// Returns 4 and 3 seconds, so that a client is at another replica within 10 seconds even if its next dial waits for the
// server that hangs, whose kernel accepts; in a quiet process 130 and 20 seconds. For a machine or a network that died
// the kernel probes the connection, and wakes nobody.
SignOfLife GetSignOfLife();

}  // namespace parley::transport

#endif  // PARLEY_LIB_TRANSPORT_QUIET_GRPC_H_
