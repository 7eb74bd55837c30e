// The gRPC side of ExchangeService: its RPC passes the gate, and becomes a stream of an exchange.
//
// Threads: gRPC calls the method on any thread.
#ifndef PARLEY_SERVICES_ENROLLD_SERVICE_EXCHANGE_SERVICE_H_
#define PARLEY_SERVICES_ENROLLD_SERVICE_EXCHANGE_SERVICE_H_

#include "lib/rpc/gate.h"
#include "parley/enrol/v1/exchange_service.grpc.pb.h"
#include "services/enrolld/exchanges/exchange_stream.h"

namespace parley::enrolld {

// All parts must outlive the service.
class ExchangeServiceAdapter final : public enrol::v1::ExchangeService::CallbackService {
 public:
  ExchangeServiceAdapter(const rpc::Gate* gate, const ExchangeStream::Parts* parts) : gate_(gate), parts_(parts) {}

 private:
  grpc::ServerBidiReactor<enrol::v1::ExchangeRequest, enrol::v1::ExchangeResponse>* Exchange(
      grpc::CallbackServerContext*) override;

  const rpc::Gate* const gate_;
  const ExchangeStream::Parts* const parts_;
};

}  // namespace parley::enrolld

#endif  // PARLEY_SERVICES_ENROLLD_SERVICE_EXCHANGE_SERVICE_H_
