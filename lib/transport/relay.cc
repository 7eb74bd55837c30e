#include "lib/transport/relay.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <utility>

namespace parley::transport {
namespace {

// A turn's share: after this many reads of each direction the other connections have theirs.
constexpr int kRoundsPerTurn = 4;
// What is read from the local socket at once: four full TLS records.
constexpr size_t kLocalReadBytes = 64 * 1024;
// How long a peer may take to see the alert and close.
constexpr absl::Duration kLinger = absl::Seconds(2);
// A peer that is still sending this much at once is not waiting for an alert.
constexpr int kDiscardReads = 8;
constexpr uint32_t kReadEvents = EPOLLIN | EPOLLRDHUP | EPOLLET;
constexpr uint32_t kEvents = kReadEvents | EPOLLOUT;

void SetOption(int fd, int level, int name, int value) { setsockopt(fd, level, name, &value, sizeof(value)); }

}  // namespace

Relay::Relay(EventLoop* loop, Fd tcp_fd, std::unique_ptr<TlsSession> tls, Owner* owner, RelayCounters* counters)
    : loop_(loop),
      tls_(std::move(tls)),
      owner_(owner),
      counters_(counters),
      tcp_(this, /*local=*/false),
      local_(this, /*local=*/true) {
  tcp_.fd = std::move(tcp_fd);
}

void Relay::Side::OnEvents(uint32_t events) {
  if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) ending = true;
  if (events & (EPOLLHUP | EPOLLERR)) gone = true;
  if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) readable = true;
  if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) writable = true;
  relay->OnReady();
}

ssize_t Relay::Side::Read(char* to, size_t size) {
  const ssize_t count = recv(fd.get(), to, size, MSG_DONTWAIT);
  if (count < 0 && (errno == EAGAIN || errno == EINTR)) {
    readable = errno == EINTR;
    return -1;
  }
  // A short read has emptied the socket, and the kernel will tell of more: no second call to hear "nothing".
  if (count > 0 && static_cast<size_t>(count) < size && !ending) readable = false;
  return std::max<ssize_t>(count, 0);
}

bool Relay::Side::Write(absl::string_view bytes) {
  if (!kept.empty()) {
    kept.append(bytes.data(), bytes.size());
    if (!writable) return true;
    bytes = kept;
  }
  size_t sent = 0;
  while (writable && sent < bytes.size()) {
    const ssize_t count = send(fd.get(), bytes.data() + sent, bytes.size() - sent, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (count >= 0) {
      sent += count;
    } else if (errno == EAGAIN) {
      writable = false;
    } else if (errno != EINTR) {
      return false;
    }
  }
  if (sent == bytes.size()) {
    if (!kept.empty()) std::string().swap(kept);
  } else {
    kept = std::string(bytes.substr(sent));
  }
  AskWhenWritable(!kept.empty());
  return true;
}

void Relay::Side::AskWhenWritable(bool ask) {
  if (!local || asked == ask) return;
  asked = ask;
  relay->loop_->Change(fd.get(), ask ? kEvents : kReadEvents, this);
}

void Relay::Start(absl::Duration silence) {
  SetOption(tcp_.fd.get(), IPPROTO_TCP, TCP_NODELAY, 1);
  SetOption(tcp_.fd.get(), SOL_SOCKET, SO_KEEPALIVE, 1);
  const int seconds = static_cast<int>(std::clamp<int64_t>(absl::ToInt64Seconds(silence), 5, 7200));
  SetOption(tcp_.fd.get(), IPPROTO_TCP, TCP_KEEPIDLE, seconds / 2);
  SetOption(tcp_.fd.get(), IPPROTO_TCP, TCP_KEEPINTVL, seconds / 5);
  // Ends a connection whose bytes are not acknowledged, and one whose probes are not. The number of the latter counts
  // for nothing beside it. It is the last probe before the end of `silence` that must find the time over.
  SetOption(tcp_.fd.get(), IPPROTO_TCP, TCP_USER_TIMEOUT, (seconds / 2 + 2 * (seconds / 5)) * 1000);
  // Bytes that came before the socket was watched make no edge.
  tcp_.readable = true;
  if (!loop_->Add(tcp_.fd.get(), kEvents, &tcp_)) return Close();
  StepHandshake();
}

void Relay::Attach(Fd local_fd, std::unique_ptr<FrameGuard> guard) {
  local_.fd = std::move(local_fd);
  guard_ = std::move(guard);
  local_.readable = true;
  phase_ = Phase::kRelaying;
  tls_->ForgetHandshake();
  if (!loop_->Add(local_.fd.get(), kReadEvents, &local_)) return Close();
  // What came together with the end of the handshake.
  FromNetwork("");
  Pump();
}

void Relay::LeaveLoop() { loop_->Remove(tcp_.fd.get()); }

bool Relay::JoinLoop(EventLoop* loop) {
  loop_ = loop;
  // Bytes that came in between make no edge.
  tcp_.readable = true;
  if (loop_->Add(tcp_.fd.get(), kEvents, &tcp_)) return true;
  Close();
  return false;
}

void Relay::Refuse(absl::string_view bytes) {
  std::string output;
  tls_->Encrypt(bytes, &output);
  Leave(&output);
}

void Relay::OnReady() {
  switch (phase_) {
    case Phase::kHandshake:
      return StepHandshake();
    case Phase::kRelaying:
      return Pump();
    case Phase::kLingering:
      return Discard();
    case Phase::kClosed:
      return;
  }
}

void Relay::StepHandshake() {
  const std::shared_ptr<Relay> alive = shared_from_this();
  EventLoop::Scratch& scratch = loop_->scratch();
  // A client speaks first, so it steps without input too.
  size_t size = 0;
  do {
    if (tcp_.readable) {
      const ssize_t count = tcp_.Read(scratch.input.get(), EventLoop::Scratch::kReadBytes);
      size = std::max<ssize_t>(count, 0);
      heard_ = heard_ || size > 0;
      if (count == 0) tcp_.ended = true;
    }
    auto step = TlsSession::Step::kFailed;
    scratch.output.clear();
    if (!tcp_.ended) step = tls_->Handshake(absl::string_view(scratch.input.get(), size), &scratch.output);
    // Before the peer can know: what it does next finds this handshake counted.
    if (step == TlsSession::Step::kFailed) owner_->OnHandshakeFailed();
    if (phase_ != Phase::kHandshake) return;
    const bool sent = tcp_.Write(scratch.output);
    if (step == TlsSession::Step::kFailed) return Linger();
    if (!sent) {
      owner_->OnHandshakeFailed();
      return Close();
    }
    if (step == TlsSession::Step::kDone) return owner_->OnHandshakeDone();
    size = 0;
  } while (tcp_.readable);
}

void Relay::Pump() {
  if (pumping_) return;
  const std::shared_ptr<Relay> alive = shared_from_this();
  loop_->TouchedLocalSocket();
  pumping_ = true;
  bool more = true;
  for (int round = 0; more && round < kRoundsPerTurn; ++round) {
    more = false;
    if (phase_ == Phase::kRelaying) more |= PumpIn();
    if (phase_ == Phase::kRelaying) more |= PumpOut();
  }
  pumping_ = false;
  if (phase_ != Phase::kRelaying) return;
  FinishIfDone();
  if (more && phase_ == Phase::kRelaying) {
    loop_->Post([weak = weak_from_this()] {
      if (const auto relay = weak.lock(); relay != nullptr && relay->phase_ == Phase::kRelaying) relay->Pump();
    });
  }
}

// From the network to the local socket. Whether something moved.
bool Relay::PumpIn() {
  if (!local_.kept.empty() && local_.writable) SettleSide(&local_);
  if (phase_ != Phase::kRelaying || !local_.kept.empty() || !tcp_.readable || tcp_.ended) return false;
  EventLoop::Scratch& scratch = loop_->scratch();
  const ssize_t count = tcp_.Read(scratch.input.get(), EventLoop::Scratch::kReadBytes);
  if (count < 0) return false;
  if (count == 0) {
    // Without TLS's own end it may be cut short: nothing is sent any more either.
    tcp_.ended = true;
    if (!local_.ended) owner_->OnPeerLeft();
    Close();
    return true;
  }
  counters_->bytes_in.fetch_add(count, std::memory_order_relaxed);
  FromNetwork(absl::string_view(scratch.input.get(), count));
  return true;
}

void Relay::FromNetwork(absl::string_view input) {
  EventLoop::Scratch& scratch = loop_->scratch();
  scratch.output.clear();
  size_t size = 0;
  const auto step = tls_->Decrypt(input, scratch.plain.get(), EventLoop::Scratch::kPlainBytes, &size, &scratch.output);
  // A reply of TLS itself, e.g. to a key update, or an alert.
  if (!scratch.output.empty() && !tcp_.Write(scratch.output)) return Close();
  const absl::string_view plain(scratch.plain.get(), size);
  if (size > 0 && !std::exchange(first_bytes_came_, true) && !owner_->OnFirstBytes(plain)) return;
  if (guard_ != nullptr) {
    const auto breach = guard_->FromPeer(plain);
    if (breach != FrameGuard::Breach::kNone) return EndFor(breach);
  }
  // The local end may close while the peer still sends: its bytes are dropped until PumpOut has passed the end on.
  if (size > 0 && !local_.shut && !local_.Write(plain)) {
    local_.kept.clear();
    local_.shut = true;
  }
  if (step == TlsSession::Step::kFailed) {
    owner_->OnTlsFailed();
    return Close();
  }
  if (step == TlsSession::Step::kClosed) {
    tcp_.ended = true;
    if (!local_.ended) owner_->OnPeerLeft();
    local_.shut_after = true;
    SettleSide(&local_);
  }
}

// From the local socket to the network. Whether something moved.
bool Relay::PumpOut() {
  if (!tcp_.kept.empty() && tcp_.writable) SettleSide(&tcp_);
  if (phase_ != Phase::kRelaying || !tcp_.kept.empty() || !local_.readable || local_.ended) return false;
  EventLoop::Scratch& scratch = loop_->scratch();
  const ssize_t count = local_.Read(scratch.plain.get(), kLocalReadBytes);
  if (count < 0) return false;
  scratch.output.clear();
  auto breach = FrameGuard::Breach::kNone;
  if (guard_ != nullptr) breach = guard_->FromGrpc(absl::string_view(scratch.plain.get(), count));
  if (count == 0) {
    local_.ended = true;
    tls_->Close(&scratch.output);
    tcp_.shut_after = true;
  } else if (!tls_->Encrypt(absl::string_view(scratch.plain.get(), count), &scratch.output)) {
    Close();
    return true;
  }
  counters_->bytes_out.fetch_add(static_cast<int64_t>(scratch.output.size()), std::memory_order_relaxed);
  if (!tcp_.Write(scratch.output)) {
    Close();
    return true;
  }
  if (breach != FrameGuard::Breach::kNone) {
    EndFor(breach);
    return true;
  }
  SettleSide(&tcp_);
  return true;
}

void Relay::EndFor(FrameGuard::Breach breach) {
  owner_->OnBreach(breach);
  std::string& output = loop_->scratch().output;
  output.clear();
  if (FinishFrame(&output)) tls_->Encrypt(guard_->Farewell(), &output);
  Leave(&output);
}

void Relay::Leave(std::string* output) {
  tls_->Close(output);
  if (!tcp_.Write(*output)) return Close();
  Linger();
}

bool Relay::FinishFrame(std::string* output) {
  char* const plain = loop_->scratch().plain.get();
  while (const size_t missing = guard_->MissingFromGrpc()) {
    if (missing > kLocalReadBytes || local_.shut || local_.ended) return false;
    const ssize_t count = local_.Read(plain, missing);
    if (count <= 0) return false;
    guard_->FromGrpc(absl::string_view(plain, count));
    if (!tls_->Encrypt(absl::string_view(plain, count), output)) return false;
  }
  return true;
}

// Sends what is kept, and then the end if that is what follows.
void Relay::SettleSide(Side* side) {
  if (!side->kept.empty() && !side->Write("")) {
    if (side == &tcp_) return Close();
    local_.kept.clear();
    local_.shut = true;
  }
  if (side->kept.empty() && side->shut_after && !side->shut) {
    side->shut = true;
    shutdown(side->fd.get(), SHUT_WR);
  }
}

void Relay::FinishIfDone() {
  // Both directions have ended and everything has gone.
  if (tcp_.ended && local_.ended && tcp_.kept.empty() && local_.kept.empty()) return Close();
  // The local end is gone altogether: nobody will read what the peer still sends.
  if (local_.ended && local_.gone && tcp_.kept.empty()) return Linger();
  // The peer ended properly, and then the network lost it.
  if (tcp_.ended && tcp_.gone && local_.kept.empty()) return Close();
}

void Relay::Linger() {
  phase_ = Phase::kLingering;
  loop_->Close(&local_.fd);
  if (tcp_.kept.empty()) shutdown(tcp_.fd.get(), SHUT_WR);
  tcp_.ended = false;
  loop_->PostAfter(kLinger, [weak = weak_from_this()] {
    if (const auto relay = weak.lock(); relay != nullptr) relay->Close();
  });
  Discard();
}

void Relay::Discard() {
  const std::shared_ptr<Relay> alive = shared_from_this();
  if (!tcp_.kept.empty() && tcp_.writable) {
    if (!tcp_.Write("")) return Close();
    if (tcp_.kept.empty()) shutdown(tcp_.fd.get(), SHUT_WR);
  }
  for (int reads = 0; tcp_.readable; ++reads) {
    if (tcp_.Read(loop_->scratch().input.get(), EventLoop::Scratch::kReadBytes) == 0) return Close();
    if (reads == kDiscardReads) return Close();
  }
}

void Relay::Close() {
  if (phase_ == Phase::kClosed) return;
  const bool relaying = std::exchange(phase_, Phase::kClosed) == Phase::kRelaying;
  loop_->Retire(shared_from_this());
  if (relaying && !tcp_.shut && tcp_.kept.empty()) {
    std::string farewell;
    tls_->Close(&farewell);
    tcp_.Write(farewell);
  }
  loop_->Close(&tcp_.fd);
  loop_->Close(&local_.fd);
  tcp_.kept.clear();
  local_.kept.clear();
  owner_->OnClosed();
}

}  // namespace parley::transport
