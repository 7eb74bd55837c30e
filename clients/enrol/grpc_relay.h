// The stream to enrolld: parley.enrol.v1.ExchangeService over TLS-PSK.
#ifndef PARLEY_CLIENTS_ENROL_GRPC_RELAY_H_
#define PARLEY_CLIENTS_ENROL_GRPC_RELAY_H_

#include <memory>

#include "absl/status/statusor.h"
#include "clients/enrol/relay.h"
#include "lib/transport/dialer.h"

namespace parley::enrol {

// The errors of transport::Channel::Create.
absl::StatusOr<std::unique_ptr<Relay>> ConnectRelay(transport::Dialer::Options options);

}  // namespace parley::enrol

#endif  // PARLEY_CLIENTS_ENROL_GRPC_RELAY_H_
