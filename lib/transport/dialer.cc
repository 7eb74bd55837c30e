#include "lib/transport/dialer.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <map>
#include <unordered_map>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/base/timer_queue.h"
#include "lib/crypto/kdf.h"
#include "lib/transport/address.h"
#include "lib/transport/address_memory.h"
#include "lib/transport/dial.h"
#include "lib/transport/event_loop.h"
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

absl::Status CheckKey(const Dialer::Options& options) {
  if (options.identity.empty() || options.identity.size() > kMaxIdentityBytes ||
      options.identity.find('\0') != std::string::npos) {
    return InvalidArgument(
        "IDENTITY_INVALID",
        "a key's identity has 1 to 128 bytes, none of them zero; give the credential as it was issued");
  }
  if (options.psk.size() != kPskBytes) {
    return InvalidArgument("KEY_INVALID", "a key has 32 bytes; give the credential as it was issued");
  }
  return absl::OkStatus();
}

}  // namespace

class Dialer::Impl final : public EventLoop::Watch, public std::enable_shared_from_this<Dialer::Impl> {
 public:
  // The contexts are those of the servers, in their order.
  Impl(Options options, std::vector<HostPort> servers, std::vector<std::shared_ptr<SSL_CTX>> contexts);

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
  void Report(const absl::Status& status, std::string protocol) {
    MutexLock lock(&mutex_);
    last_error_ = status;
    if (!protocol.empty()) protocol_ = std::move(protocol);
  }

  const std::string name_;
  const std::string target_;
  EventLoop* const loop_;
  // In the loop's thread, once it listens.
  Dial::Common common_;
  Fd listen_fd_;
  std::unordered_map<Dial*, std::shared_ptr<Dial>> dials_;
  mutable Mutex mutex_;
  absl::Status last_error_ ABSL_GUARDED_BY(mutex_);
  std::string protocol_ ABSL_GUARDED_BY(mutex_);
};

Dialer::Impl::Impl(Options options, std::vector<HostPort> servers, std::vector<std::shared_ptr<SSL_CTX>> contexts)
    : name_(absl::StrCat("parley-dial-", HexEncode(crypto::RandomBytes(16)))),
      target_(absl::StrCat("unix-abstract:", name_)),
      loop_(EventLoop::Shared()) {
  for (size_t i = 0; i < servers.size(); ++i) {
    ClientKey key{options.identity, options.psk.Clone(), ServerName(servers[i])};
    common_.servers.push_back({std::move(servers[i]), std::move(contexts[i]), std::move(key)});
  }
  common_.options = std::move(options);
  common_.options.psk = Secret();
  common_.loop = loop_;
  common_.memory = AddressMemory::Shared();
  common_.timers = SharedTimers(common_.options.clock);
  common_.report = [this](const absl::Status& status, std::string protocol) { Report(status, std::move(protocol)); };
  common_.over = [this](Dial* dial) { dials_.erase(dial); };
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
  auto dial = std::make_shared<Dial>(&common_, std::move(fd));
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
  common_.timers.reset();
}

absl::StatusOr<std::unique_ptr<Dialer>> Dialer::Create(Options options) {
  ASSIGN_OR_RETURN(std::vector<HostPort> servers, ParseServers(options.address));
  std::vector<std::shared_ptr<SSL_CTX>> contexts;
  if (options.certificates.has_value()) {
    const Certificates given = *std::move(options.certificates);
    options.certificates.emplace();
    const CertificateKey key{given.ca_pem, given.certificate_pem, given.key_pem.Clone()};
    for (const HostPort& where : servers) {
      ASSIGN_OR_RETURN(contexts.emplace_back(),
                       MakeCertificateContext(key, given.server_name.empty() ? where.host : given.server_name));
    }
  } else {
    RETURN_IF_ERROR(CheckKey(options));
    contexts.assign(servers.size(), std::shared_ptr<SSL_CTX>(ClientContext(), [](SSL_CTX*) {}));
  }
  auto impl = std::make_shared<Impl>(std::move(options), std::move(servers), std::move(contexts));
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
