#include "bench/door/copy_relay.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <utility>

#include "lib/transport/address.h"
#include "lib/transport/event_loop.h"

namespace parley::bench {
namespace {

using transport::EventLoop;
using transport::SocketAddress;

constexpr size_t kReadBytes = 64 * 1024;

int Must(int result, const char* what) {
  if (result >= 0) return result;
  perror(what);
  exit(1);
}

SocketAddress Numeric(const std::string& address) {
  return transport::Resolve(*transport::ParseHostPort(address), /*passive=*/false, /*numeric_only=*/true)->front();
}

// A TCP socket and a local one, and the bytes between them.
class CopiedPair {
 public:
  static void Join(Fd tcp, Fd local) {
    const int yes = 1;
    setsockopt(tcp.get(), IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
    auto* const pair = new CopiedPair(std::move(tcp), std::move(local));
    for (Side* side : {&pair->tcp_, &pair->local_}) {
      EventLoop::Shared()->Add(side->fd.get(), side->awaited, side);
    }
  }

 private:
  struct Side final : EventLoop::Watch {
    Side(CopiedPair* pair, Fd socket, Side* other) : pair(pair), fd(std::move(socket)), other(other) {}
    void OnEvents(uint32_t events) override;
    void Copy();
    void Send(const char* bytes, size_t size);
    void Await();

    CopiedPair* const pair;
    Fd fd;
    Side* const other;
    uint32_t awaited = EPOLLIN;
    bool ended = false;
    // What the kernel has not taken yet; the other side is not read meanwhile.
    std::string kept;
  };

  CopiedPair(Fd tcp, Fd local) : tcp_(this, std::move(tcp), &local_), local_(this, std::move(local), &tcp_) {}
  void CloseIfEnded();

  Side tcp_;
  Side local_;
  bool closed_ = false;
};

void CopiedPair::Side::OnEvents(uint32_t events) {
  if (pair->closed_) return;
  EventLoop::Shared()->TouchedLocalSocket();
  if ((events & EPOLLOUT) != 0) {
    const std::string bytes = std::move(kept);
    kept.clear();
    Send(bytes.data(), bytes.size());
    other->Await();
  }
  if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0 && !ended && other->kept.empty()) Copy();
  pair->CloseIfEnded();
}

void CopiedPair::Side::Copy() {
  char* const buffer = EventLoop::Shared()->scratch().input.get();
  const ssize_t count = recv(fd.get(), buffer, kReadBytes, MSG_DONTWAIT);
  if (count < 0 && errno == EAGAIN) return;
  if (count > 0) {
    other->Send(buffer, count);
  } else {
    ended = true;
    shutdown(other->fd.get(), SHUT_WR);
  }
  Await();
}

void CopiedPair::Side::Send(const char* bytes, size_t size) {
  while (size > 0) {
    const ssize_t count = send(fd.get(), bytes, size, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (count < 0) break;
    bytes += count;
    size -= count;
  }
  // Nobody reads any more: the rest is dropped.
  if (size > 0 && errno == EAGAIN) kept.assign(bytes, size);
  Await();
}

void CopiedPair::Side::Await() {
  const uint32_t events = (ended || !other->kept.empty() ? 0 : EPOLLIN) | (kept.empty() ? 0 : EPOLLOUT);
  if (events != std::exchange(awaited, events)) EventLoop::Shared()->Change(fd.get(), events, this);
}

void CopiedPair::CloseIfEnded() {
  if (!tcp_.ended || !local_.ended) return;
  closed_ = true;
  EventLoop::Shared()->Close(&tcp_.fd);
  EventLoop::Shared()->Close(&local_.fd);
  // Frees this after the events of this batch, of which one may be for the other side.
  EventLoop::Shared()->Retire(std::shared_ptr<CopiedPair>(this));
}

class Acceptor final : public EventLoop::Watch {
 public:
  Acceptor(Fd listener, std::function<void(Fd)> accepted)
      : listener_(std::move(listener)), accepted_(std::move(accepted)) {}
  void Start() { EventLoop::Shared()->Add(listener_.get(), EPOLLIN, this); }
  void OnEvents(uint32_t) override {
    const int fd = accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd >= 0) accepted_(Fd(fd));
  }

 private:
  const Fd listener_;
  const std::function<void(Fd)> accepted_;
};

// Returns the address that is listened on.
SocketAddress Listen(SocketAddress address, std::function<void(Fd)> accepted) {
  Fd fd(Must(socket(address.get()->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), "socket"));
  Must(bind(fd.get(), address.get(), address.size), "bind");
  Must(listen(fd.get(), SOMAXCONN), "listen");
  Must(getsockname(fd.get(), address.get(), &address.size), "getsockname");
  (new Acceptor(std::move(fd), std::move(accepted)))->Start();
  return address;
}

}  // namespace

std::string ListenCopied(std::function<void(Fd local)> hand_over) {
  const auto join = [hand_over = std::move(hand_over), count = 0](Fd tcp) mutable {
    transport::SocketPair pair =
        transport::MakeSocketPair("parley-bench-" + std::to_string(getpid()) + "-in-" + std::to_string(++count));
    Must(pair.named.get(), "socketpair");
    CopiedPair::Join(std::move(tcp), std::move(pair.named));
    hand_over(std::move(pair.other));
  };
  return transport::FormatAddress(Listen(Numeric("127.0.0.1:0"), join));
}

std::string DialCopied(const std::string& address) {
  static int count = 0;
  const std::string name = "parley-bench-" + std::to_string(getpid()) + "-out-" + std::to_string(++count);
  Listen(transport::AbstractAddress(name), [server = Numeric(address)](Fd local) {
    Fd tcp(Must(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket"));
    // On this machine it is accepted at once.
    Must(connect(tcp.get(), server.get(), server.size), "connect");
    CopiedPair::Join(std::move(tcp), std::move(local));
  });
  return "unix-abstract:" + name;
}

}  // namespace parley::bench
