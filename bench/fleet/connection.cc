#include "bench/fleet/connection.h"

#include <errno.h>
#include <grpcpp/create_channel_posix.h>
#include <grpcpp/support/channel_arguments.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "lib/base/error.h"

namespace parley::bench {
namespace {

// These two are the dialer's in lib/transport.
constexpr absl::Duration kTimeout = absl::Seconds(10);
constexpr absl::Duration kSilence = absl::Seconds(10);
// An agent asks a silent server for a sign of life this often.
constexpr int kSignOfLifeMillis = 130'000;

transport::RelayCounters* Counters() {
  static auto* const counters = new transport::RelayCounters;
  return counters;
}

std::shared_ptr<grpc::Channel> MakeChannel(int fd) {
  grpc::ChannelArguments arguments;
  arguments.SetString(GRPC_ARG_DEFAULT_AUTHORITY, "localhost");
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, kSignOfLifeMillis);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 20'000);
  return grpc::CreateCustomInsecureChannelFromFd("localhost", fd, arguments);
}

}  // namespace

void Connection::Open(transport::EventLoop* loop, const sockaddr_in& server, in_addr source,
                      const transport::ClientKey* key, Done done) {
  const std::shared_ptr<Connection> connection(new Connection(loop, std::move(done)));
  connection->key_ = key;
  connection->self_ = connection;
  connection->Start(server, source);
}

void Connection::Start(const sockaddr_in& server, in_addr source) {
  fd_ = Fd(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  // The port is chosen by connect. It needs to be free for this server only, not for the whole address.
  const int yes = 1;
  setsockopt(fd_.get(), IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &yes, sizeof(yes));
  sockaddr_in from{};
  from.sin_family = AF_INET;
  from.sin_addr = source;
  if (!fd_.ok() || bind(fd_.get(), reinterpret_cast<const sockaddr*>(&from), sizeof(from)) != 0 ||
      (connect(fd_.get(), reinterpret_cast<const sockaddr*>(&server), sizeof(server)) != 0 && errno != EINPROGRESS) ||
      !loop_->Add(fd_.get(), EPOLLOUT | EPOLLET, this)) {
    return Fail("UNREACHABLE", ErrnoText(errno));
  }
  loop_->PostAfter(kTimeout, [weak = weak_from_this()] {
    const auto connection = weak.lock();
    if (connection != nullptr && connection->done_ != nullptr) {
      connection->Fail("CONNECTION_TIMEOUT", "the server did not answer in time");
    }
  });
}

void Connection::OnEvents(uint32_t) {
  if (relay_ != nullptr || !fd_.ok()) return;
  int error = 0;
  socklen_t size = sizeof(error);
  getsockopt(fd_.get(), SOL_SOCKET, SO_ERROR, &error, &size);
  if (error != 0) return Fail("CONNECTION_REFUSED", ErrnoText(error));
  loop_->Remove(fd_.get());
  relay_ = std::make_shared<transport::Relay>(
      loop_, std::move(fd_), transport::TlsSession::Connect(transport::ClientContext(), key_), this, Counters());
  relay_->Start(kSilence);
}

void Connection::OnHandshakeDone() {
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) != 0) {
    return Fail("SOCKET_FAILED", ErrnoText(errno));
  }
  relay_->Attach(Fd(pair[0]));
  Answer(MakeChannel(pair[1]));
}

void Connection::OnHandshakeFailed() {
  if (relay_->tls().failure() == transport::TlsSession::Failure::kKeyRefused) {
    return Answer(Error(absl::StatusCode::kUnauthenticated, "KEY_REFUSED", "the server refused the key"));
  }
  Answer(Error(absl::StatusCode::kUnavailable, "CONNECTION_CLOSED", "the server closed before the handshake's end"));
}

void Connection::OnClosed() {
  Answer(Error(absl::StatusCode::kUnavailable, "CONNECTION_CLOSED", "the connection closed"));
  loop_->Close(&fd_);
  loop_->Retire(std::exchange(self_, nullptr));
}

void Connection::Answer(absl::StatusOr<std::shared_ptr<grpc::Channel>> result) {
  if (done_ != nullptr) std::exchange(done_, nullptr)(std::move(result));
}

void Connection::Fail(const char* reason, const std::string& sentence) {
  Answer(Error(absl::StatusCode::kUnavailable, reason, sentence));
  if (relay_ != nullptr) {
    relay_->Close();
  } else {
    OnClosed();
  }
}

}  // namespace parley::bench
