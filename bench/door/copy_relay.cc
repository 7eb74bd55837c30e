#include "bench/door/copy_relay.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <functional>
#include <memory>
#include <thread>

namespace parley::bench {
namespace {

constexpr size_t kReadBytes = 64 * 1024;

int Must(int result, const char* what) {
  if (result >= 0) return result;
  perror(what);
  exit(1);
}

struct Address {
  sockaddr_storage storage{};
  socklen_t size = 0;
  sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
};

Address Tcp(uint16_t port) {
  Address address;
  auto* const in = reinterpret_cast<sockaddr_in*>(&address.storage);
  in->sin_family = AF_INET;
  in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  in->sin_port = htons(port);
  address.size = sizeof(*in);
  return address;
}

Address Abstract(const std::string& name) {
  Address address;
  auto* const un = reinterpret_cast<sockaddr_un*>(&address.storage);
  un->sun_family = AF_UNIX;
  memcpy(un->sun_path + 1, name.data(), name.size());
  address.size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  return address;
}

int Listen(Address address) {
  const int fd = Must(socket(address.get()->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket");
  Must(bind(fd, address.get(), address.size), "bind");
  Must(listen(fd, SOMAXCONN), "listen");
  return fd;
}

int Connect(Address address) {
  const int fd = Must(socket(address.get()->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket");
  Must(connect(fd, address.get(), address.size), "connect");
  return fd;
}

// One of the two sockets of a connection.
struct Side {
  int fd;
  Side* other;
  bool ended = false;
};

void Watch(int epoll, Side* side) {
  const int yes = 1;
  setsockopt(side->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
  epoll_event event{.events = EPOLLIN, .data = {.ptr = side}};
  Must(epoll_ctl(epoll, EPOLL_CTL_ADD, side->fd, &event), "epoll_ctl");
}

void Join(int epoll, int accepted, int connected) {
  auto* const near = new Side{accepted, nullptr};
  near->other = new Side{connected, near};
  Watch(epoll, near);
  Watch(epoll, near->other);
}

void Copy(int epoll, Side* side, char* buffer) {
  const ssize_t count = recv(side->fd, buffer, kReadBytes, 0);
  for (ssize_t sent = 0; sent < count;) {
    const ssize_t more = send(side->other->fd, buffer + sent, count - sent, MSG_NOSIGNAL);
    if (more <= 0) break;
    sent += more;
  }
  if (count > 0) return;
  side->ended = true;
  shutdown(side->other->fd, SHUT_WR);
  epoll_ctl(epoll, EPOLL_CTL_DEL, side->fd, nullptr);
  if (!side->other->ended) return;
  // Both have been taken out; an event of the same batch cannot name either, as each was the last of its own.
  close(side->fd);
  close(side->other->fd);
  delete side->other;
  delete side;
}

void Run(int listener, const std::function<int()>& connect_other) {
  const int epoll = Must(epoll_create1(EPOLL_CLOEXEC), "epoll_create1");
  epoll_event event{.events = EPOLLIN, .data = {.ptr = nullptr}};
  Must(epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event), "epoll_ctl");
  const auto buffer = std::make_unique<char[]>(kReadBytes);
  epoll_event events[64];
  while (true) {
    const int count = epoll_wait(epoll, events, 64, -1);
    for (int i = 0; i < count; ++i) {
      if (auto* const side = static_cast<Side*>(events[i].data.ptr)) {
        Copy(epoll, side, buffer.get());
      } else {
        Join(epoll, Must(accept4(listener, nullptr, nullptr, SOCK_CLOEXEC), "accept4"), connect_other());
      }
    }
  }
}

}  // namespace

std::string ListenCopied(const std::string& abstract_name) {
  const int fd = Listen(Tcp(0));
  Address bound;
  bound.size = sizeof(bound.storage);
  getsockname(fd, bound.get(), &bound.size);
  std::thread(Run, fd, [abstract_name] { return Connect(Abstract(abstract_name)); }).detach();
  return "127.0.0.1:" + std::to_string(ntohs(reinterpret_cast<sockaddr_in*>(&bound.storage)->sin_port));
}

std::string DialCopied(const std::string& address) {
  static int count = 0;
  const std::string name = "parley-bench-" + std::to_string(getpid()) + "-" + std::to_string(++count);
  const int fd = Listen(Abstract(name));
  const auto port = static_cast<uint16_t>(std::stoi(address.substr(address.rfind(':') + 1)));
  std::thread(Run, fd, [port] { return Connect(Tcp(port)); }).detach();
  return "unix-abstract:" + name;
}

}  // namespace parley::bench
