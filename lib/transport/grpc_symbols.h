// Functions that libgrpc exports without a header of their own, and calls through its symbol table.
//
// Threads: all may be called from any thread.
#ifndef PARLEY_LIB_TRANSPORT_GRPC_SYMBOLS_H_
#define PARLEY_LIB_TRANSPORT_GRPC_SYMBOLS_H_

#include <dlfcn.h>

namespace parley::transport {

// Returns gRPC's function of this name, before which one of this program stands, or null if there is none.
template <typename Function>
Function* NextSymbol(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

// Returns whether a library that calls the function of this name finds `ours`, and ours finds gRPC's.
template <typename Function>
bool StandsBefore(const char* name, Function* ours) {
  return dlsym(RTLD_DEFAULT, name) == reinterpret_cast<void*>(ours) && NextSymbol<Function>(name) != nullptr;
}

}  // namespace parley::transport

#endif  // PARLEY_LIB_TRANSPORT_GRPC_SYMBOLS_H_
