#include "services/enrolld/service/exchange_service.h"

#include <memory>

#include "lib/rpc/start_stream.h"

namespace parley::enrolld {
using namespace enrol::v1;  // NOLINT: the whole API is adapted here.

grpc::ServerBidiReactor<ExchangeRequest, ExchangeResponse>* ExchangeServiceAdapter::Exchange(
    grpc::CallbackServerContext* context) {
  return rpc::StartStream(*gate_, context, "parley.enrol.v1.ExchangeService.Exchange",
                          [&](const rpc::Caller& caller) { return std::make_shared<ExchangeStream>(parts_, caller); });
}

}  // namespace parley::enrolld
