#include "lib/transport/dial.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <iterator>
#include <random>
#include <thread>
#include <utility>

#include "lib/base/error.h"
#include "lib/transport/address.h"
#include "lib/transport/frame_guard.h"

namespace parley::transport {
namespace {

// A dial whose time never ends, by a clock that stands, must not take up all descriptors.
constexpr size_t kMostTries = 16;

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
    case TlsSession::Failure::kNotAsked:
    case TlsSession::Failure::kMalformed:
      return FailedPrecondition("NOT_A_PARLEY_SERVER", "what answers at ", address, " is not a Parley server (",
                                tls.failure_text(), "); check the host and the port");
  }
  return Unavailable("CONNECTION_CLOSED", address,
                     " closed the connection without a word: it is overloaded, has been cut off from its store or "
                     "its keyd for too long to admit anybody, or is not a Parley server");
}

absl::Status CertificateError(const std::string& address, const TlsSession& tls, bool heard) {
  switch (tls.failure()) {
    case TlsSession::Failure::kKeyRefused:
      return Unauthenticated("KEY_REFUSED", address, " refused this client's certificate (", tls.failure_text(),
                             "); give one that its CA has signed, and that has not expired");
    case TlsSession::Failure::kRefused:
      return Unauthenticated("SERVER_NOT_GENUINE", "the certificate of ", address, " is not good (", tls.failure_text(),
                             "); check the address, the name and the file of the CA, and do not go on");
    case TlsSession::Failure::kNotAsked:
      return FailedPrecondition("CLIENTS_NOT_CHECKED", address, " does not ask its clients for a certificate, so ",
                                "whoever reaches it may do what it serves; let it demand one");
    case TlsSession::Failure::kMalformed:
      return FailedPrecondition("NOT_TLS", "what answers at ", address, " does not speak TLS as expected (",
                                tls.failure_text(), "); check the host and the port");
    case TlsSession::Failure::kNone:
      break;
  }
  return Unavailable(
      "CONNECTION_CLOSED", address, " closed the connection ",
      heard ? "in the middle of the handshake; try again" : "without a word; it is overloaded, or does not speak TLS");
}

// How much a failure says of why no address could be used, the least first. A key that one replica refuses says more
// than another replica that is down; an address that there is no route to is often of a family that the machine lacks.
size_t Weight(const absl::Status& why) {
  static constexpr absl::string_view kReasons[] = {"UNREACHABLE",        "CONNECTION_REFUSED", "CONNECTION_TIMEOUT",
                                                   "CONNECTION_CLOSED",  "SERVER_FULL",        "NOT_A_PARLEY_SERVER",
                                                   "SERVER_NOT_GENUINE", "KEY_REFUSED"};
  return std::find(std::begin(kReasons), std::end(kReasons), Reason(why)) - std::begin(kReasons);
}

absl::StatusOr<std::vector<ServerAddress>> ResolveAll(const std::vector<HostPort>& servers, bool numeric_only) {
  std::vector<ServerAddress> all;
  absl::Status why;
  for (size_t server = 0; server < servers.size(); ++server) {
    const auto found = Resolve(servers[server], /*passive=*/false, numeric_only);
    // The names that are known are enough, if there are others.
    why.Update(found.status());
    if (!found.ok() && numeric_only) return why;
    if (!found.ok()) continue;
    for (const SocketAddress& address : *found) all.push_back({address, server});
  }
  if (all.empty()) return why;
  return all;
}

absl::Duration Varied(absl::Duration least) {
  static thread_local std::minstd_rand random{std::random_device()()};
  return least * std::uniform_real_distribution<>(1, 1.5)(random);
}

}  // namespace

// A connection to one address, from its beginning to its end.
class Dial::Try final : public EventLoop::Watch, public Relay::Owner, public std::enable_shared_from_this<Dial::Try> {
 public:
  Try(Dial* dial, const ServerAddress& address) : dial_(dial), address_(address) {}

  absl::Status Begin();
  void Close();
  const SocketAddress& address() const { return address_.address; }
  // Returns whether the other side has accepted the connection.
  bool accepted() const { return relay_ != nullptr; }
  Relay& relay() { return *relay_; }

  // The connecting socket can be written, or has failed.
  void OnEvents(uint32_t events) override;
  void OnHandshakeDone() override { dial_->OnConnected(this); }
  void OnHandshakeFailed() override { dial_->OnTryFailed(this, TlsError()); }
  // A server says in TLS 1.3 only after the handshake that it does not take a certificate.
  void OnTlsFailed() override {
    if (common().options.certificates.has_value()) common().report(TlsError(), "");
  }
  bool OnFirstBytes(absl::string_view bytes) override;
  void OnPeerLeft() override { common().memory->Failed(address()); }
  void OnClosed() override { dial_->OnClosed(this); }

 private:
  Common& common() const { return *dial_->common_; }
  absl::Status Error(int error_number) const { return ConnectError(common().options.address, error_number); }
  absl::Status TlsError() const {
    const auto error = common().options.certificates.has_value() ? &CertificateError : &HandshakeError;
    return error(common().options.address, relay_->tls(), relay_->heard());
  }

  Dial* const dial_;
  const ServerAddress address_;
  Fd tcp_fd_;
  std::shared_ptr<Relay> relay_;
};

absl::Status Dial::Try::Begin() {
  tcp_fd_ = Fd(socket(address().storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!tcp_fd_.ok()) return Error(errno);
  if (connect(tcp_fd_.get(), address().get(), address().size) != 0 && errno != EINPROGRESS) return Error(errno);
  if (!common().loop->Add(tcp_fd_.get(), EPOLLOUT | EPOLLET, this)) return Error(errno);
  return absl::OkStatus();
}

void Dial::Try::OnEvents(uint32_t) {
  if (relay_ != nullptr || !tcp_fd_.ok()) return;
  int error = 0;
  socklen_t size = sizeof(error);
  getsockopt(tcp_fd_.get(), SOL_SOCKET, SO_ERROR, &error, &size);
  if (error != 0) return dial_->OnTryFailed(this, Error(error));
  common().loop->Remove(tcp_fd_.get());
  const Server& server = common().servers[address_.server];
  relay_ = std::make_shared<Relay>(common().loop, std::move(tcp_fd_),
                                   TlsSession::Connect(server.context.get(), &server.key), this, &common().counters);
  relay_->Start(common().options.silence);
}

// gRPC does not see the settings of a server that refuses: it would take the connection for a good one, and come back
// at once.
bool Dial::Try::OnFirstBytes(absl::string_view bytes) {
  if (!FrameGuard::IsRefusal(bytes)) return true;
  dial_->OnRefused();
  return false;
}

void Dial::Try::Close() {
  if (relay_ != nullptr) relay_->Close();
  common().loop->Close(&tcp_fd_);
  // An event of this batch may still be for this try.
  common().loop->Retire(shared_from_this());
}

void Dial::Start() {
  const Dialer::Options& options = common_->options;
  const absl::Time now = options.clock->Now();
  if (options.not_after <= now) return Fail(KeyExpired(options));
  deadline_ = common_->timers->Schedule(now + options.timeout, [weak = weak_from_this(), loop = common_->loop] {
    loop->Post([weak] {
      const auto dial = weak.lock();
      if (dial == nullptr || !dial->dialling_) return;
      dial->Note(ConnectError(dial->common_->options.address, ETIMEDOUT));
      dial->Fail(dial->why_);
    });
  });
  FindAddresses();
}

// The name service can take seconds, so it is asked on a thread of its own.
void Dial::FindAddresses() {
  std::vector<HostPort> servers;
  for (const Server& server : common_->servers) servers.push_back(server.where);
  if (auto numeric = ResolveAll(servers, /*numeric_only=*/true); numeric.ok()) return BeginRound(std::move(numeric));
  std::thread([weak = weak_from_this(), loop = common_->loop, servers = std::move(servers)] {
    auto found = ResolveAll(servers, /*numeric_only=*/false);
    loop->Post([weak, found = std::move(found)] {
      if (const auto dial = weak.lock(); dial != nullptr) dial->BeginRound(found);
    });
  }).detach();
}

void Dial::BeginRound(absl::StatusOr<std::vector<ServerAddress>> found) {
  if (!dialling_) return;
  if (!found.ok() && order_.empty()) return Fail(found.status());
  order_ = common_->memory->Order(found.ok() ? *std::move(found) : std::move(order_));
  next_ = 0;
  BeginNext();
}

// Begins the next try that does not fail at once.
void Dial::BeginNext() {
  while (next_ < order_.size() && tries_.size() < kMostTries) {
    const ServerAddress& address = order_[next_++];
    if (IsAwaited(address)) continue;
    auto next = std::make_shared<Try>(this, address);
    const absl::Status begun = next->Begin();
    if (begun.ok()) {
      tries_.push_back(std::move(next));
      return GoOnLater();
    }
    next->Close();
    common_->memory->Failed(address.address);
    Note(begun);
  }
  if (tries_.empty()) return Fail(why_);
  GoOnLater();
}

bool Dial::IsAwaited(const ServerAddress& address) const {
  return std::any_of(tries_.begin(), tries_.end(), [bytes = address.address.bytes()](const auto& each) {
    return each->accepted() && each->address().bytes() == bytes;
  });
}

void Dial::GoOnLater() {
  // All addresses get their turn within the time that there is.
  const Dialer::Options& options = common_->options;
  const absl::Duration pause = std::min(Varied(options.patience), options.timeout / (order_.size() + 1));
  common_->loop->PostAfter(pause, [weak = weak_from_this(), step = ++step_] {
    const auto dial = weak.lock();
    if (dial == nullptr || !dial->dialling_ || dial->step_ != step) return;
    dial->common_->memory->Failed(dial->tries_.back()->address());
    if (dial->next_ < dial->order_.size()) return dial->BeginNext();
    dial->FindAddresses();
  });
}

void Dial::OnConnected(Try* winner) {
  dialling_ = false;
  common_->timers->Cancel(deadline_);
  connected_ = winner->shared_from_this();
  std::erase(tries_, connected_);
  EndTries();
  common_->memory->Answered(winner->address());
  common_->report(absl::OkStatus(), winner->relay().tls().protocol());
  winner->relay().Attach(std::move(local_fd_));
}

void Dial::OnTryFailed(Try* failed, const absl::Status& why) {
  const auto found =
      std::find_if(tries_.begin(), tries_.end(), [failed](const auto& each) { return each.get() == failed; });
  if (found == tries_.end()) return;
  const std::shared_ptr<Try> ended = *found;
  tries_.erase(found);
  ended->Close();
  common_->memory->Failed(ended->address());
  Note(why);
  if (dialling_) BeginNext();
}

void Dial::OnRefused() {
  common_->memory->Failed(connected_->address());
  Fail(ServerFull(common_->options.address));
}

void Dial::OnClosed(Try* closed) {
  if (connected_.get() == closed) return Drop();
  // It closed before TLS had a say, unless it has been ended already.
  OnTryFailed(closed, ConnectError(common_->options.address, ECONNRESET));
}

void Dial::EndTries() {
  for (const std::shared_ptr<Try>& each : std::exchange(tries_, {})) each->Close();
}

// The first of those that say as much counts.
void Dial::Note(const absl::Status& why) {
  if (why_.ok() || Weight(why) > Weight(why_)) why_ = why;
}

// The reason is in place before the close that makes gRPC look for one.
void Dial::Fail(const absl::Status& why) {
  common_->report(why, "");
  Close();
}

void Dial::Close() {
  dialling_ = false;
  const std::shared_ptr<Dial> alive = shared_from_this();
  EndTries();
  if (connected_ != nullptr) connected_->Close();
  Drop();
}

void Dial::Drop() {
  if (std::exchange(dropped_, true)) return;
  common_->timers->Cancel(deadline_);
  common_->loop->Close(&local_fd_);
  common_->loop->Retire(shared_from_this());
  common_->over(this);
}

}  // namespace parley::transport
