// A gRPC channel through the door of a service: three lines to connect.
//
//   ASSIGN_OR_RETURN(auto channel, Channel::Create(std::move(dialer_options)));
//   auto stub = Greeter::NewStub(channel->grpc());
//   … stub->SayHello(…);  on UNAVAILABLE, channel->Explain(status) has the true reason.
//
// Threads: all methods may be called from any thread.
#ifndef PARLEY_LIB_TRANSPORT_CHANNEL_H_
#define PARLEY_LIB_TRANSPORT_CHANNEL_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lib/transport/dialer.h"

namespace grpc {
class Channel;
class Status;
}  // namespace grpc

namespace parley::transport {

// The longest message of a call, in either direction.
inline constexpr int kMaxMessageBytes = 4 * 1024 * 1024;

class Channel {
 public:
  // Returns the errors of Dialer::Create.
  static absl::StatusOr<std::unique_ptr<Channel>> Create(Dialer::Options options);
  const std::shared_ptr<grpc::Channel>& grpc() const { return channel_; }
  const Dialer& dialer() const { return *dialer_; }
  // Returns the server's error with its reason. Where the server gave none, returns the dialer's error in place of
  // gRPC's "connection closed" if that is the cause, CALL_UNKNOWN for a call that the server does not know,
  // CALL_CANCELLED for one that the server broke off, or gRPC's own words. MayPass (lib/base/may_pass.h) says which of
  // these errors are worth another try. A caller that cancels a call must know so itself, because its error looks like
  // that of a server that stops.
  absl::Status Explain(const grpc::Status& status) const;

 private:
  Channel(std::unique_ptr<Dialer> dialer, std::string address, absl::Duration timeout);

  const std::unique_ptr<Dialer> dialer_;
  const std::string address_;
  const std::shared_ptr<grpc::Channel> channel_;
};

}  // namespace parley::transport

#endif  // PARLEY_LIB_TRANSPORT_CHANNEL_H_
