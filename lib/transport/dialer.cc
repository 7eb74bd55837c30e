#include "lib/transport/dialer.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/base/timer_queue.h"
#include "lib/crypto/kdf.h"
#include "lib/transport/address.h"
#include "lib/transport/event_loop.h"
#include "lib/transport/frame_guard.h"
#include "lib/transport/relay.h"
#include "lib/transport/tls_session.h"

namespace parley::transport {
namespace {

// BoringSSL's limit for a PSK identity.
constexpr size_t kMaxIdentityBytes = 128;
constexpr size_t kPskBytes = 32;
constexpr int kBacklog = 64;

// One thread of timers per clock, for as long as a dialer uses it.
std::shared_ptr<TimerQueue> SharedTimers(Clock* clock) {
  static Mutex* const mutex = new Mutex;
  static auto* const queues = new std::map<Clock*, std::weak_ptr<TimerQueue>>;
  MutexLock lock(mutex);
  std::shared_ptr<TimerQueue> queue = (*queues)[clock].lock();
  if (queue == nullptr) {
    queue = std::make_shared<TimerQueue>(clock);
    (*queues)[clock] = queue;
  }
  return queue;
}

absl::Status ConnectError(const std::string& address, int error_number) {
  switch (error_number) {
    case ECONNREFUSED:
      return Unavailable("CONNECTION_REFUSED", address,
                         " refused the connection; check that the server runs and the port is right");
    case ETIMEDOUT:
      return Unavailable("CONNECTION_TIMEOUT", address,
                         " did not answer in time; check the address and the firewalls between");
    default:
      return Unavailable("UNREACHABLE", "cannot reach ", address, ": ", ErrnoText(error_number),
                         "; check the network and the address");
  }
}

absl::Status KeyExpired(const Dialer::Options& options) {
  return Unauthenticated("KEY_EXPIRED", "the key for ", options.address, " ended at ",
                         absl::FormatTime("%Y-%m-%d %H:%M:%S UTC", options.not_after, absl::UTCTimeZone()),
                         " by this machine's clock; ask for a new one");
}

absl::Status ServerFull(const std::string& address) {
  return Unavailable("SERVER_FULL", address,
                     " has no place for another connection under this key or from this address; try ",
                     "again later, or ask the operator to raise its limit of open files");
}

absl::Status HandshakeError(const std::string& address, const TlsSession& tls, bool heard) {
  switch (tls.failure()) {
    case TlsSession::Failure::kNone:
      if (!heard) break;
      return Unavailable("CONNECTION_CLOSED", address,
                         " closed the connection in the middle of the handshake; try again");
    case TlsSession::Failure::kKeyRefused:
      return Unauthenticated("KEY_REFUSED", address,
                             " refused the key: it is wrong, unknown, revoked or expired (a server does "
                             "not say which); ask for a new one");
    case TlsSession::Failure::kRefused:
      return Unauthenticated("SERVER_NOT_GENUINE", address,
                             " does not know this key, so it is not the server that the key is for; "
                             "check the address, and do not go on");
    case TlsSession::Failure::kMalformed:
      return FailedPrecondition("NOT_A_PARLEY_SERVER", "what answers at ", address, " is not a Parley server (",
                                tls.failure_text(), "); check the host and the port");
  }
  return Unavailable("CONNECTION_CLOSED", address,
                     " closed the connection without a word; it is overloaded, or not a Parley server");
}

}  // namespace

class Dialer::Impl final : public EventLoop::Watch, public std::enable_shared_from_this<Dialer::Impl> {
 public:
  Impl(Options options, HostPort where)
      : options_(std::move(options)),
        where_(std::move(where)),
        key_{options_.identity, std::move(options_.psk), ServerName(where_)},
        name_(absl::StrCat("parley-dial-", HexEncode(crypto::RandomBytes(16)))),
        target_(absl::StrCat("unix-abstract:", name_)),
        loop_(EventLoop::Shared()),
        timers_(SharedTimers(options_.clock)) {}

  absl::Status Listen();
  void Shutdown();
  void OnEvents(uint32_t events) override;

  const std::string& target() const { return target_; }
  absl::Status last_error() const {
    MutexLock lock(&mutex_);
    return last_error_;
  }
  std::string protocol() const {
    MutexLock lock(&mutex_);
    return protocol_;
  }

 private:
  class Dial;

  void Report(const absl::Status& status, std::string protocol) {
    MutexLock lock(&mutex_);
    last_error_ = status;
    if (!protocol.empty()) protocol_ = std::move(protocol);
  }

  Options options_;
  const HostPort where_;
  const ClientKey key_;
  const std::string name_;
  const std::string target_;
  EventLoop* const loop_;
  std::shared_ptr<TimerQueue> timers_;
  RelayCounters counters_;
  // In the loop's thread, once it listens.
  Fd listen_fd_;
  std::unordered_map<Dial*, std::shared_ptr<Dial>> dials_;
  mutable Mutex mutex_;
  absl::Status last_error_ ABSL_GUARDED_BY(mutex_);
  std::string protocol_ ABSL_GUARDED_BY(mutex_);
};

// One connection, from the local end's connect to the close of both.
class Dialer::Impl::Dial final : public EventLoop::Watch,
                                 public Relay::Owner,
                                 public std::enable_shared_from_this<Dial> {
 public:
  Dial(Impl* dialer, Fd local_fd) : dialer_(dialer), local_fd_(std::move(local_fd)) {}

  void Start();
  void Close();
  // The connecting socket can be written, or has failed.
  void OnEvents(uint32_t events) override;
  void OnHandshakeDone() override;
  void OnHandshakeFailed() override;
  bool OnFirstBytes(absl::string_view bytes) override;
  void OnClosed() override { Drop(); }

 private:
  void FindAddresses();
  void TryNext();
  void OnAddressFailed(int error_number);
  void Fail(const absl::Status& status);
  void Drop();

  Impl* const dialer_;
  Fd local_fd_;
  Fd tcp_fd_;
  std::vector<SocketAddress> addresses_;
  size_t tried_ = 0;
  int last_errno_ = 0;
  // Counts connects, so that a late timer does not end another's.
  int attempt_ = 0;
  TimerQueue::TimerId deadline_ = 0;
  std::shared_ptr<Relay> relay_;
  bool dialling_ = true;
  bool dropped_ = false;
};

void Dialer::Impl::Dial::Start() {
  const Options& options = dialer_->options_;
  const absl::Time now = options.clock->Now();
  if (options.not_after <= now) return Fail(KeyExpired(options));
  deadline_ = dialer_->timers_->Schedule(now + options.timeout, [weak = weak_from_this(), loop = dialer_->loop_] {
    loop->Post([weak] {
      if (const auto dial = weak.lock(); dial != nullptr && dial->dialling_) {
        dial->Fail(ConnectError(dial->dialer_->options_.address, ETIMEDOUT));
      }
    });
  });
  auto numeric = Resolve(dialer_->where_, /*passive=*/false, /*numeric_only=*/true);
  if (!numeric.ok()) return FindAddresses();
  addresses_ = *std::move(numeric);
  TryNext();
}

// The name service can take seconds, so it is asked on a thread of its own.
void Dialer::Impl::Dial::FindAddresses() {
  std::thread([weak = weak_from_this(), loop = dialer_->loop_, where = dialer_->where_] {
    auto found = Resolve(where, /*passive=*/false, /*numeric_only=*/false);
    loop->Post([weak, found = std::move(found)] {
      const auto dial = weak.lock();
      if (dial == nullptr || !dial->dialling_) return;
      if (!found.ok()) return dial->Fail(found.status());
      dial->addresses_ = *found;
      dial->TryNext();
    });
  }).detach();
}

void Dialer::Impl::Dial::TryNext() {
  if (tried_ == addresses_.size()) return Fail(ConnectError(dialer_->options_.address, last_errno_));
  const SocketAddress& address = addresses_[tried_++];
  ++attempt_;
  tcp_fd_ = Fd(socket(address.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!tcp_fd_.ok()) return OnAddressFailed(errno);
  if (connect(tcp_fd_.get(), address.get(), address.size) != 0 && errno != EINPROGRESS) return OnAddressFailed(errno);
  if (!dialer_->loop_->Add(tcp_fd_.get(), EPOLLOUT | EPOLLET, this)) return OnAddressFailed(errno);
  if (tried_ == addresses_.size()) return;
  // An address that swallows packets must not use up the time of the others.
  const absl::Duration share = dialer_->options_.timeout / static_cast<int64_t>(addresses_.size());
  dialer_->loop_->PostAfter(share, [weak = weak_from_this(), attempt = attempt_] {
    const auto dial = weak.lock();
    if (dial != nullptr && dial->dialling_ && dial->relay_ == nullptr && dial->attempt_ == attempt) {
      dial->OnAddressFailed(ETIMEDOUT);
    }
  });
}

void Dialer::Impl::Dial::OnAddressFailed(int error_number) {
  // The first address's error says most: the others are often of a family that this machine has no route for.
  if (last_errno_ == 0 || last_errno_ == ENETUNREACH || last_errno_ == EADDRNOTAVAIL) last_errno_ = error_number;
  dialer_->loop_->Close(&tcp_fd_);
  TryNext();
}

void Dialer::Impl::Dial::OnEvents(uint32_t) {
  if (!dialling_ || relay_ != nullptr || !tcp_fd_.ok()) return;
  int error = 0;
  socklen_t size = sizeof(error);
  getsockopt(tcp_fd_.get(), SOL_SOCKET, SO_ERROR, &error, &size);
  if (error != 0) return OnAddressFailed(error);
  dialer_->loop_->Remove(tcp_fd_.get());
  relay_ = std::make_shared<Relay>(dialer_->loop_, std::move(tcp_fd_),
                                   TlsSession::Connect(ClientContext(), &dialer_->key_), this, &dialer_->counters_);
  relay_->Start(dialer_->options_.keepalive);
}

void Dialer::Impl::Dial::OnHandshakeDone() {
  dialling_ = false;
  dialer_->timers_->Cancel(deadline_);
  dialer_->Report(absl::OkStatus(), relay_->tls().protocol());
  relay_->Attach(std::move(local_fd_));
}

void Dialer::Impl::Dial::OnHandshakeFailed() {
  Fail(HandshakeError(dialer_->options_.address, relay_->tls(), relay_->heard()));
}

// gRPC does not see the settings of a server that refuses: it would take the connection for a good one, and come back
// at once.
bool Dialer::Impl::Dial::OnFirstBytes(absl::string_view bytes) {
  if (!FrameGuard::IsRefusal(bytes)) return true;
  Fail(ServerFull(dialer_->options_.address));
  return false;
}

// The reason is in place before the close that makes gRPC look for one.
void Dialer::Impl::Dial::Fail(const absl::Status& status) {
  dialer_->Report(status, "");
  Close();
}

void Dialer::Impl::Dial::Close() {
  dialling_ = false;
  if (relay_ != nullptr) {
    relay_->Close();
  } else {
    Drop();
  }
}

void Dialer::Impl::Dial::Drop() {
  if (std::exchange(dropped_, true)) return;
  // Closed without Fail: the socket broke before TLS had a say.
  if (std::exchange(dialling_, false)) dialer_->Report(ConnectError(dialer_->options_.address, ECONNRESET), "");
  dialer_->timers_->Cancel(deadline_);
  dialer_->loop_->Close(&local_fd_);
  dialer_->loop_->Close(&tcp_fd_);
  dialer_->loop_->Retire(shared_from_this());
  dialer_->dials_.erase(this);
}

absl::Status Dialer::Impl::Listen() {
  listen_fd_ = Fd(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  const SocketAddress local = AbstractAddress(name_);
  if (!listen_fd_.ok() || bind(listen_fd_.get(), local.get(), local.size) != 0 ||
      listen(listen_fd_.get(), kBacklog) != 0 || !loop_->Add(listen_fd_.get(), EPOLLIN, this)) {
    return Unavailable("SOCKET_FAILED", "cannot open a local socket: ", ErrnoText(errno),
                       "; raise the limit of open files of this process");
  }
  return absl::OkStatus();
}

void Dialer::Impl::OnEvents(uint32_t) {
  if (!listen_fd_.ok()) return;
  Fd fd(accept4(listen_fd_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
  if (!fd.ok()) {
    if (errno != EMFILE && errno != ENFILE) return;
    // Level-triggered, so this would spin: look away for a moment.
    loop_->Remove(listen_fd_.get());
    loop_->PostAfter(absl::Milliseconds(50), [weak = weak_from_this()] {
      const auto impl = weak.lock();
      if (impl != nullptr && impl->listen_fd_.ok()) impl->loop_->Add(impl->listen_fd_.get(), EPOLLIN, impl.get());
    });
    return;
  }
  // An abstract socket has no file permissions: any process of the host can connect, and would speak with our key.
  ucred peer{};
  socklen_t size = sizeof(peer);
  if (getsockopt(fd.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0 || peer.pid != getpid()) return;
  auto dial = std::make_shared<Dial>(this, std::move(fd));
  dials_.emplace(dial.get(), dial);
  dial->Start();
}

void Dialer::Impl::Shutdown() {
  loop_->Run([this] {
    loop_->Close(&listen_fd_);
    std::vector<std::shared_ptr<Dial>> all;
    for (const auto& [key, dial] : dials_) all.push_back(dial);
    for (const auto& dial : all) dial->Close();
    // What the loop still holds of this batch goes with the batch.
    loop_->Retire(shared_from_this());
  });
  // Here and not in the loop: the queue's own thread is joined, if this was its last user.
  timers_.reset();
}

absl::StatusOr<std::unique_ptr<Dialer>> Dialer::Create(Options options) {
  ASSIGN_OR_RETURN(HostPort where, ParseHostPort(options.address));
  if (where.host.empty() || where.port == "0") {
    return InvalidArgument("ADDRESS_INVALID", "\"", options.address, "\" names no server; write it as host:port");
  }
  if (options.identity.empty() || options.identity.size() > kMaxIdentityBytes ||
      options.identity.find('\0') != std::string::npos) {
    return InvalidArgument(
        "IDENTITY_INVALID",
        "a key's identity has 1 to 128 bytes, none of them zero; give the credential as it was issued");
  }
  if (options.psk.size() != kPskBytes) {
    return InvalidArgument("KEY_INVALID", "a key has 32 bytes; give the credential as it was issued");
  }
  auto impl = std::make_shared<Impl>(std::move(options), std::move(where));
  std::unique_ptr<Dialer> dialer(new Dialer(impl));
  RETURN_IF_ERROR(impl->Listen());
  return dialer;
}

Dialer::Dialer(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
Dialer::~Dialer() { impl_->Shutdown(); }
const std::string& Dialer::target() const { return impl_->target(); }
absl::Status Dialer::last_error() const { return impl_->last_error(); }
std::string Dialer::protocol() const { return impl_->protocol(); }

}  // namespace parley::transport
