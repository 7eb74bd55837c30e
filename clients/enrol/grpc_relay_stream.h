// Makes the stream to enrolld: parley.enrol.v1.ExchangeService over TLS-PSK.
#ifndef PARLEY_CLIENTS_ENROL_GRPC_RELAY_STREAM_H_
#define PARLEY_CLIENTS_ENROL_GRPC_RELAY_STREAM_H_

#include <memory>

#include "absl/status/statusor.h"
#include "clients/enrol/relay_stream.h"
#include "lib/transport/dialer.h"

namespace parley::enrol {

// Returns the errors of transport::Channel::Create.
absl::StatusOr<std::unique_ptr<RelayStream>> ConnectRelay(transport::Dialer::Options options);

}  // namespace parley::enrol

#endif  // PARLEY_CLIENTS_ENROL_GRPC_RELAY_STREAM_H_
