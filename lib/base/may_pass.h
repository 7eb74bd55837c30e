// Tells errors of the way to a server, which pass, from what a server says of a call, which stays.
//
// Threads: a free function without state.
#ifndef PARLEY_LIB_BASE_MAY_PASS_H_
#define PARLEY_LIB_BASE_MAY_PASS_H_

#include "absl/status/status.h"

namespace parley {

// Returns whether a call that failed so may succeed over another connection, or at another replica: the server was not
// reached, did not answer in time, stopped, or was lost in the middle of the call. `error` has the reasons of
// lib/transport/channel.h. An error of gRPC's own has none, and is that of a connection that broke. Everything that a
// server says of the call itself is final, and so is a key that it refuses.
bool MayPass(const absl::Status& error);

}  // namespace parley

#endif  // PARLEY_LIB_BASE_MAY_PASS_H_
