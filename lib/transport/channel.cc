#include "lib/transport/channel.h"

#include <grpcpp/channel.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/channel_arguments.h>

#include <string>
#include <utility>

#include "lib/base/error.h"
#include "lib/transport/grpc_status.h"
#include "lib/transport/quiet_grpc.h"

namespace parley::transport {

namespace {

grpc::ChannelArguments Arguments(const std::string& address, absl::Duration timeout) {
  grpc::ChannelArguments arguments;
  // The first name, if there are several.
  arguments.SetString(GRPC_ARG_DEFAULT_AUTHORITY, address.substr(0, address.find(',')));
  // A dial has tried every address, so the pauses between dials are short: what gRPC adds to the time in which nobody
  // answers is a second at most.
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1000);
  // In truth how long gRPC waits for a connection: the dialer must give up first, as it knows why.
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, static_cast<int>(timeout / absl::Milliseconds(1)) + 5000);
  // Notices a server that hangs; a dead network is the relay's to notice. Without the last of these gRPC stops to ask
  // after two questions, for as long as the client has nothing to send.
  const SignOfLife sign = GetSignOfLife();
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, static_cast<int>(absl::ToInt64Milliseconds(sign.after)));
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, static_cast<int>(absl::ToInt64Milliseconds(sign.within)));
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  arguments.SetMaxReceiveMessageSize(kMaxMessageBytes);
  // The target is a local socket, whatever https_proxy says.
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  return arguments;
}

}  // namespace

Channel::Channel(std::unique_ptr<Dialer> dialer, std::string address, absl::Duration timeout)
    : dialer_(std::move(dialer)),
      address_(std::move(address)),
      channel_(grpc::CreateCustomChannel(dialer_->target(), grpc::InsecureChannelCredentials(),
                                         Arguments(address_, timeout))) {}

absl::StatusOr<std::unique_ptr<Channel>> Channel::Create(Dialer::Options options) {
  KeepGrpcInitialized();
  const std::string address = options.address;
  const absl::Duration timeout = options.timeout;
  ASSIGN_OR_RETURN(auto dialer, Dialer::Create(std::move(options)));
  return std::unique_ptr<Channel>(new Channel(std::move(dialer), address, timeout));
}

absl::Status Channel::Explain(const grpc::Status& status) const {
  absl::Status explained = FromGrpc(status);
  if (explained.ok() || !Reason(explained).empty()) return explained;
  // A call that waited for a connection ends by its deadline, but for the same cause.
  if (status.error_code() == grpc::StatusCode::UNAVAILABLE ||
      status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED) {
    if (absl::Status cause = dialer_->last_error(); !cause.ok()) return cause;
  }
  if (status.error_code() == grpc::StatusCode::CANCELLED) {
    return Error(absl::StatusCode::kCancelled, "CALL_CANCELLED", address_,
                 " broke off the call, as a server does that is being stopped; try again");
  }
  if (status.error_code() == grpc::StatusCode::UNIMPLEMENTED && status.error_message().empty()) {
    return Error(absl::StatusCode::kUnimplemented, "CALL_UNKNOWN", "the service at ", address_,
                 " does not know this call, as it is of an earlier ", "version; upgrade it");
  }
  return explained;
}

}  // namespace parley::transport
