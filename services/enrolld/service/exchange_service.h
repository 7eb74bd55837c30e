// The gRPC side of ExchangeService: its RPC passes the gate, and becomes a stream of an exchange.
//
// Threads: gRPC calls the method on any thread.
#ifndef PARLEY_SERVICES_ENROLLD_SERVICE_EXCHANGE_SERVICE_H_
#define PARLEY_SERVICES_ENROLLD_SERVICE_EXCHANGE_SERVICE_H_

#include <memory>

#include "lib/rpc/start_stream.h"
#include "parley/enrol/v1/exchange_service.grpc.pb.h"
#include "services/enrolld/exchanges/exchange_stream.h"

namespace parley::enrolld {

// All parts must outlive the service.
class ExchangeServiceAdapter final : public enrol::v1::ExchangeService::CallbackService {
 public:
  ExchangeServiceAdapter(const rpc::Gate* gate, const EnrolldParts* parts, ExchangeSessions* sessions)
      : gate_(gate), parts_(parts), sessions_(sessions) {}

 private:
  ExchangeStream::Reactor* Exchange(grpc::CallbackServerContext* context) override {
    return rpc::StartStream(
        *gate_, context, "parley.enrol.v1.ExchangeService.Exchange",
        [&](const rpc::Caller& caller) { return std::make_shared<ExchangeStream>(parts_, sessions_, caller); });
  }

  const rpc::Gate* const gate_;
  const EnrolldParts* const parts_;
  ExchangeSessions* const sessions_;
};

}  // namespace parley::enrolld

#endif  // PARLEY_SERVICES_ENROLLD_SERVICE_EXCHANGE_SERVICE_H_
