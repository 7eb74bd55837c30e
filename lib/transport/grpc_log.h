// Turns gRPC's log into lines of ours (lib/base/log.h).
//
// gRPC writes its own log to standard error unchanged, and some of its lines repeat what a peer has sent: a peer could
// write lines that look like ours. Here each of them becomes one field of one line, escaped, at most 1 KiB of it.
// Beyond 20 lines at once and 5 a second they are dropped, and the next line says how many.
//
// GRPC_VERBOSITY still chooses what gRPC logs: errors, unless it is set.
#ifndef PARLEY_LIB_TRANSPORT_GRPC_LOG_H_
#define PARLEY_LIB_TRANSPORT_GRPC_LOG_H_

namespace parley::transport {

// Takes gRPC's log over for the whole process, until it ends. May be called from any thread, and more than once.
void TakeGrpcLog();

}  // namespace parley::transport

#endif  // PARLEY_LIB_TRANSPORT_GRPC_LOG_H_
