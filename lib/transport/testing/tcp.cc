#include "lib/transport/testing/tcp.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <memory>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace parley::transport {
namespace {

int PortOf(const std::string& address) {
  int port = 0;
  (void)absl::SimpleAtoi(address.substr(address.rfind(':') + 1), &port);
  return port;
}

sockaddr_in Loopback(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<uint16_t>(port));
  return address;
}

int BindLoopback(std::string* text) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = Loopback(0);
  bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address));
  socklen_t size = sizeof(address);
  getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size);
  *text = absl::StrCat("127.0.0.1:", ntohs(address.sin_port));
  return fd;
}

}  // namespace

TcpClient::TcpClient(const std::string& address) : TcpClient(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), address) {}

TcpClient::TcpClient(int fd, const std::string& address) : fd_(fd) {
  const sockaddr_in to = Loopback(PortOf(address));
  connected_ = connect(fd_, reinterpret_cast<const sockaddr*>(&to), sizeof(to)) == 0;
  const int yes = 1;
  setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
}

TcpClient::~TcpClient() {
  if (fd_ >= 0) close(fd_);
}

bool TcpClient::Send(absl::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t count = send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (count <= 0) return false;
    bytes.remove_prefix(count);
  }
  return true;
}

std::string TcpClient::Receive() {
  std::string bytes(64 * 1024, '\0');
  const ssize_t count = recv(fd_, bytes.data(), bytes.size(), 0);
  bytes.resize(count > 0 ? count : 0);
  return bytes;
}

std::string TcpClient::ReceiveToEnd() {
  std::string all;
  for (std::string piece = Receive(); !piece.empty(); piece = Receive()) all += piece;
  return all;
}

void TcpClient::ShutDownSending() { shutdown(fd_, SHUT_WR); }

std::string FreePort() {
  std::string address;
  close(BindLoopback(&address));
  return address;
}

TcpServer::TcpServer(std::function<void(int fd)> serve)
    : serve_(std::move(serve)), listen_fd_(BindLoopback(&address_)) {
  listen(listen_fd_, 128);
  acceptor_ = std::thread([this] {
    for (int fd; (fd = accept4(listen_fd_, nullptr, nullptr, SOCK_CLOEXEC)) >= 0;) {
      MutexLock lock(&mutex_);
      fds_.push_back(fd);
      threads_.emplace_back([this, fd] { serve_(fd); });
    }
  });
}

TcpServer::~TcpServer() {
  shutdown(listen_fd_, SHUT_RDWR);
  acceptor_.join();
  close(listen_fd_);
  std::vector<std::thread> threads;
  {
    MutexLock lock(&mutex_);
    for (const int fd : fds_) shutdown(fd, SHUT_RDWR);
    threads.swap(threads_);
  }
  for (auto& thread : threads) thread.join();
  MutexLock lock(&mutex_);
  for (const int fd : fds_) close(fd);
}

EchoServer::EchoServer()
    : TcpServer([](int fd) {
        char buffer[4096];
        for (ssize_t count; (count = recv(fd, buffer, sizeof(buffer), 0)) > 0;) send(fd, buffer, count, MSG_NOSIGNAL);
      }) {}

SilentServer::SilentServer()
    : TcpServer([](int fd) {
        char buffer[4096];
        while (recv(fd, buffer, sizeof(buffer), 0) > 0) {
        }
      }) {}

TcpProxy::TcpProxy(const std::string& server, Tamper from_client, Tamper from_server) {
  server_ = std::make_unique<TcpServer>([=, this](int fd) {
    TcpClient upstream(server);
    std::thread back([&] { Pass(upstream.fd(), fd, from_server, &server_bytes_); });
    Pass(fd, upstream.fd(), from_client, &client_bytes_);
    back.join();
  });
}

void TcpProxy::Pass(int from, int to, const Tamper& tamper, std::string* record) {
  char buffer[16 * 1024];
  for (ssize_t count; (count = recv(from, buffer, sizeof(buffer), 0)) > 0;) {
    std::string bytes(buffer, count);
    if (tamper) tamper(&bytes);
    {
      MutexLock lock(&mutex_);
      record->append(bytes);
    }
    if (send(to, bytes.data(), bytes.size(), MSG_NOSIGNAL) < 0) break;
  }
  shutdown(to, SHUT_WR);
  // Nobody will answer any more, and the other direction must see that.
  shutdown(from, SHUT_RD);
}

std::string TcpProxy::client_bytes() const {
  MutexLock lock(&mutex_);
  return client_bytes_;
}

std::string TcpProxy::server_bytes() const {
  MutexLock lock(&mutex_);
  return server_bytes_;
}

}  // namespace parley::transport
