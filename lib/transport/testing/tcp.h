// Plain TCP for tests: clients that misbehave, servers that are not Parley's, and a proxy that records or tampers.
#ifndef PARLEY_LIB_TRANSPORT_TESTING_TCP_H_
#define PARLEY_LIB_TRANSPORT_TESTING_TCP_H_

#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/string_view.h"
#include "lib/base/mutex.h"

namespace parley::transport {

// A blocking connection to "127.0.0.1:port"; closes when it goes.
class TcpClient {
 public:
  explicit TcpClient(const std::string& address);
  // Takes a connected socket.
  explicit TcpClient(int fd) : fd_(fd) {}
  // Takes one that is not, and connects it.
  TcpClient(int fd, const std::string& address);
  ~TcpClient();
  TcpClient(const TcpClient&) = delete;

  bool connected() const { return connected_; }
  // False when the other end is gone.
  bool Send(absl::string_view bytes);
  // Up to 64 KiB; empty at the end or after a reset.
  std::string Receive();
  std::string ReceiveToEnd();
  void ShutDownSending();
  int fd() const { return fd_; }

 private:
  int fd_;
  bool connected_ = true;
};

// An address of this machine that nobody listens on.
std::string FreePort();

// Accepts connections and runs `serve` for each on a thread.
class TcpServer {
 public:
  explicit TcpServer(std::function<void(int fd)> serve);
  ~TcpServer();
  const std::string& address() const { return address_; }

 private:
  const std::function<void(int fd)> serve_;
  std::string address_;
  int listen_fd_;
  Mutex mutex_;
  std::vector<int> fds_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::thread> threads_ ABSL_GUARDED_BY(mutex_);
  std::thread acceptor_;
};

class EchoServer : public TcpServer {
 public:
  EchoServer();
};

class SilentServer : public TcpServer {
 public:
  SilentServer();
};

// Between a client and a server.
class TcpProxy {
 public:
  // Changes bytes on their way; called for each piece, from one thread per direction.
  using Tamper = std::function<void(std::string* bytes)>;
  explicit TcpProxy(const std::string& server, Tamper from_client = nullptr, Tamper from_server = nullptr);
  const std::string& address() const { return server_->address(); }
  // All that has passed, in order.
  std::string client_bytes() const;
  std::string server_bytes() const;

 private:
  void Pass(int from, int to, const Tamper& tamper, std::string* record);

  mutable Mutex mutex_;
  std::string client_bytes_ ABSL_GUARDED_BY(mutex_);
  std::string server_bytes_ ABSL_GUARDED_BY(mutex_);
  std::unique_ptr<TcpServer> server_;
};

}  // namespace parley::transport

#endif  // PARLEY_LIB_TRANSPORT_TESTING_TCP_H_
