// Server reflection (grpc.reflection.v1alpha), by which grpcurl and its like learn what a service speaks.
//
// It stands in for gRPC's own, which is a synchronous service: threads would wait at the server's sockets for it.
#ifndef PARLEY_LIB_SERVICE_REFLECTION_H_
#define PARLEY_LIB_SERVICE_REFLECTION_H_

#include <memory>
#include <string>
#include <vector>

namespace grpc {
class Service;
}  // namespace grpc

namespace parley::service {

// Lists `services` and itself. What is asked about files and symbols is answered from what the program is linked with.
std::unique_ptr<grpc::Service> MakeReflection(std::vector<std::string> services);

}  // namespace parley::service

#endif  // PARLEY_LIB_SERVICE_REFLECTION_H_
