#include "lib/transport/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <limits>
#include <unordered_map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "lib/base/log.h"
#include "lib/transport/address.h"

namespace parley::transport {
namespace {

constexpr int kBacklog = 1024;
// After so many accepts the loop's other connections have their turn.
constexpr int kAcceptsAtOnce = 64;
// Lines about connections that the guard has ended. The metric counts all of them.
constexpr TokenBucket::Rate kBreachLines = {.per_second = 1, .burst = 20};
// Lines about peers that were refused for want of a place.
constexpr TokenBucket::Rate kFullLines = {.per_second = 0.1, .burst = 5};
// For the store, the log, the other ports and what libraries open.
constexpr int kOtherDescriptors = 256;
constexpr int kDescriptorsPerConnection = 3;
// Until the kernel is asked again when not even a reserve descriptor could be had.
constexpr absl::Duration kAcceptRetry = absl::Milliseconds(50);

// The whole answer to a REST peer that there is no place for.
constexpr absl::string_view kRestRefusal =
    "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nContent-Length: 79\r\nRetry-After: 10\r\n"
    "Connection: close\r\n\r\n"
    R"({"code":14,"message":"no place for another connection; try again","details":[]})";

// Makes the places as few as the process has descriptors for, and says so.
void FitIntoDescriptors(Listener::Options* options) {
  rlimit files{};
  if (getrlimit(RLIMIT_NOFILE, &files) != 0) return;
  const int64_t most = static_cast<int64_t>(std::min<rlim_t>(files.rlim_cur, std::numeric_limits<int>::max()));
  const int64_t ours = most - std::min<int64_t>(kOtherDescriptors, most / 4);
  options->max_handshakes = static_cast<int>(std::clamp<int64_t>(ours / 8, 1, options->max_handshakes));
  const int64_t connections = (ours - options->max_handshakes) / kDescriptorsPerConnection;
  if (connections >= options->max_connections) return;
  options->max_connections = static_cast<int>(std::max<int64_t>(connections, 1));
  LogInfo("the limit of open files bounds the connections; raise LimitNOFILE or ulimit -n for more",
          {{"open_files", absl::StrCat(most)}, {"connections", absl::StrCat(options->max_connections)}});
}

absl::Status ListenError(const std::string& address, int error_number) {
  if (error_number == EADDRINUSE) {
    return FailedPrecondition("ADDRESS_IN_USE", "cannot listen on ", address,
                              ": another process does; stop it, or choose another port");
  }
  if (error_number == EACCES || error_number == EPERM) {
    return PermissionDenied("ADDRESS_PERMISSION", "cannot listen on ", address,
                            ": this user may not; choose a port above 1023");
  }
  return InvalidArgument("ADDRESS_INVALID", "cannot listen on ", address, ": ", ErrnoText(error_number),
                         "; give an address of this machine");
}

absl::StatusOr<Fd> Listen(const std::string& address) {
  ASSIGN_OR_RETURN(const HostPort where, ParseHostPort(address));
  ASSIGN_OR_RETURN(std::vector<SocketAddress> found, Resolve(where, /*passive=*/true, /*numeric_only=*/false));
  // For "every address" the name service puts 0.0.0.0 first; "::" takes IPv4 as well, where there is IPv6.
  if (where.host.empty()) {
    std::stable_partition(found.begin(), found.end(),
                          [](const SocketAddress& each) { return each.storage.ss_family == AF_INET6; });
  }
  int error = EINVAL;
  for (const SocketAddress& each : found) {
    Fd fd(socket(each.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!fd.ok()) {
      error = errno;
      continue;
    }
    const int yes = 1, no = 0;
    setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
    if (where.host.empty()) setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &no, sizeof(no));
    if (bind(fd.get(), each.get(), each.size) == 0 && listen(fd.get(), kBacklog) == 0) return fd;
    error = errno;
    if (error != EAFNOSUPPORT && error != EADDRNOTAVAIL) break;
  }
  return ListenError(address, error);
}

Fd OpenReserve() { return Fd(open("/dev/null", O_RDONLY | O_CLOEXEC)); }

// A closing that tells the peer at once, and leaves nothing in the kernel.
void Reset(Fd fd) {
  const linger now{.l_onoff = 1, .l_linger = 0};
  setsockopt(fd.get(), SOL_SOCKET, SO_LINGER, &now, sizeof(now));
}

}  // namespace

struct Listener::Loop {
  explicit Loop(std::unique_ptr<EventLoop> own_loop) : own(std::move(own_loop)) {}

  // Null if the loop is the process's.
  const std::unique_ptr<EventLoop> own;
  EventLoop* const events = own == nullptr ? EventLoop::Shared() : own.get();
  // In the loop's thread.
  std::unordered_map<Connection*, std::shared_ptr<Connection>> connections;
};

Listener::Listener(Options options, KeySource* keys, std::shared_ptr<SSL_CTX> context, Fd fd, std::string address)
    : options_(std::move(options)),
      check_{keys, options_.clock, options_.accept_rest},
      address_(std::move(address)),
      handshakes_(options_.max_handshakes),
      places_(options_.max_connections),
      context_(std::move(context)),
      breach_lines_(kBreachLines, options_.clock),
      full_lines_(kFullLines, options_.clock),
      listen_fd_(std::move(fd)),
      reserve_fd_(OpenReserve()),
      timers_(options_.clock) {
  for (int i = 0; i < options_.threads; ++i) {
    loops_.push_back(std::make_unique<Loop>(std::make_unique<EventLoop>()));
  }
  if (EventLoop::ServesFarEnds()) {
    shared_loop_ = loops_.emplace_back(std::make_unique<Loop>(nullptr)).get();
  }
}

Listener::~Listener() { Shutdown(); }

std::shared_ptr<SSL_CTX> Listener::context() {
  MutexLock lock(&mutex_);
  return context_;
}

// From accept to close. In its loop's thread: the one that accepted it, and if the shared loop serves far ends, that
// one from the end of the handshake on.
class Listener::Connection final : public Relay::Owner, public std::enable_shared_from_this<Connection> {
 public:
  Connection(Listener* listener, Loop* loop, const SocketAddress& from)
      : listener_(listener),
        loop_(loop),
        first_loop_(loop->events),
        source_(SourceOf(from)),
        remote_address_(FormatAddress(from)) {}

  // Before Start. False when there is no place for another handshake.
  bool TakePlace();
  void Start(Fd fd);
  void Close() { relay_->Close(); }
  // Returns a function for any thread, which closes the connection where it is by then.
  std::function<void()> Closer();
  // Also while it is told that there is no place for it.
  bool shaking_hands() const { return shaking_hands_; }
  void OnHandshakeDone() override;
  void OnHandshakeFailed() override;
  void OnBreach(FrameGuard::Breach breach) override { listener_->CountBreach(breach, *connection_id_); }
  void OnClosed() override;

 private:
  TimerQueue::TimerId CloseAt(absl::Time when);
  void EndHandshake(Outcome outcome);
  // Puts the peer into the table; null when the source has changed its mind since the handshake.
  std::shared_ptr<const Peer> Register();
  void MoveTo(Loop* loop, SocketPair pair, std::shared_ptr<const Peer> peer, Application application);
  void BeginRelay(SocketPair pair, std::shared_ptr<const Peer> peer, Application application);

  Listener* const listener_;
  Loop* loop_;
  EventLoop* const first_loop_;
  // In the first loop's thread.
  bool moved_ = false;
  std::shared_ptr<Relay> relay_;
  std::string source_;
  std::string remote_address_;
  // Set once the handshake is done.
  std::optional<ConnectionId> connection_id_;
  TimerQueue::TimerId timer_ = 0;
  HandshakePlaces::Ticket ticket_ = 0;
  bool shaking_hands_ = true;
  bool refused_ = false;
  // Its place among the connections.
  std::optional<ConnectionPlaces::Holder> place_;
};

bool Listener::Connection::TakePlace() {
  const auto ticket = listener_->handshakes_.Take(source_, [weak = weak_from_this(), loop = loop_->events] {
    loop->Post([weak] {
      const auto connection = weak.lock();
      if (connection == nullptr || !connection->shaking_hands_) return;
      connection->EndHandshake(kOverloaded);
      connection->Close();
    });
  });
  ticket_ = ticket.value_or(0);
  return ticket.has_value();
}

void Listener::Connection::Start(Fd fd) {
  const absl::Time end = listener_->options_.clock->Now() + listener_->options_.handshake_timeout;
  timer_ = listener_->timers_.Schedule(end, [weak = weak_from_this(), loop = first_loop_] {
    loop->Post([weak] {
      const auto connection = weak.lock();
      if (connection == nullptr || !connection->shaking_hands_) return;
      connection->EndHandshake(kTimeout);
      connection->Close();
    });
  });
  relay_ = std::make_shared<Relay>(loop_->events, std::move(fd),
                                   TlsSession::Accept(listener_->context().get(), &listener_->check_), this,
                                   &listener_->counters_);
  relay_->Start(listener_->options_.silence);
}

TimerQueue::TimerId Listener::Connection::CloseAt(absl::Time when) {
  return when == absl::InfiniteFuture() ? 0 : listener_->timers_.Schedule(when, Closer());
}

std::function<void()> Listener::Connection::Closer() {
  return [weak = weak_from_this(), first_loop = first_loop_] {
    first_loop->Post([weak] {
      const auto connection = weak.lock();
      if (connection == nullptr) return;
      if (!connection->moved_) return connection->Close();
      EventLoop::Shared()->Post([weak] {
        if (const auto moved = weak.lock(); moved != nullptr) moved->Close();
      });
    });
  };
}

void Listener::Connection::EndHandshake(Outcome outcome) {
  if (!std::exchange(shaking_hands_, false)) return;
  listener_->Count(outcome);
  listener_->handshakes_.Leave(ticket_);
  listener_->timers_.Cancel(timer_);
  timer_ = 0;
}

std::shared_ptr<const Peer> Listener::Connection::Register() {
  TlsSession& tls = relay_->tls();
  auto peer = std::make_shared<Peer>();
  peer->key = tls.key();
  connection_id_ = ConnectionId::Random();
  peer->connection_id = *connection_id_;
  peer->remote_address = std::move(remote_address_);
  peer->protocol = tls.protocol();
  listener_->table_.Insert({.peer = peer, .identity = tls.identity(), .want = tls.want(), .close = Closer()});
  // A revocation since the key was found has not seen this connection in the table: ask again, now that one would.
  if (!listener_->check_.keys->Find(tls.identity(), tls.want()).ok()) return nullptr;
  return peer;
}

void Listener::Connection::OnHandshakeDone() {
  const Application application = relay_->tls().alpn() == "http/1.1" ? Application::kRest : Application::kGrpc;
  const KeyInfo& key = relay_->tls().key();
  const ConnectionPlaces::Holder holder{key.key_id, source_, key.preferred};
  const auto limit = listener_->places_.Take(holder);
  if (limit != ConnectionPlaces::Limit::kNone) {
    refused_ = true;
    listener_->SayFull(limit, key, remote_address_);
    return relay_->Refuse(application == Application::kRest ? kRestRefusal : FrameGuard::Refusal());
  }
  place_ = holder;
  const std::shared_ptr<const Peer> peer = Register();
  if (peer == nullptr) {
    EndHandshake(kRefused);
    return Close();
  }
  SocketPair pair = MakeSocketPair(connection_id_->SocketName());
  if (!pair.named.ok()) {
    EndHandshake(kOverloaded);
    return Close();
  }
  EndHandshake(kOk);
  timer_ = CloseAt(peer->key.not_after);
  if (Loop* const shared = listener_->shared_loop_; shared != nullptr) {
    MoveTo(shared, std::move(pair), peer, application);
  } else {
    BeginRelay(std::move(pair), peer, application);
  }
}

void Listener::Connection::MoveTo(Loop* loop, SocketPair pair, std::shared_ptr<const Peer> peer,
                                  Application application) {
  const std::shared_ptr<Connection> self = shared_from_this();
  moved_ = true;
  relay_->LeaveLoop();
  loop_->connections.erase(this);
  loop->events->Post([self, loop, pair = std::make_shared<SocketPair>(std::move(pair)), peer, application] {
    self->loop_ = loop;
    loop->connections.emplace(self.get(), self);
    if (self->relay_->JoinLoop(loop->events)) self->BeginRelay(std::move(*pair), peer, application);
  });
}

void Listener::Connection::BeginRelay(SocketPair pair, std::shared_ptr<const Peer> peer, Application application) {
  listener_->handover_(pair.other.release(), std::move(peer), application);
  std::unique_ptr<FrameGuard> guard;
  if (const auto& limits = listener_->options_.frame_limits; limits.has_value() && application == Application::kGrpc) {
    guard = std::make_unique<FrameGuard>(&*limits, listener_->options_.clock);
  }
  relay_->Attach(std::move(pair.named), std::move(guard));
}

void Listener::Connection::OnHandshakeFailed() {
  switch (relay_->tls().failure()) {
    case TlsSession::Failure::kNone:
      return EndHandshake(kLeft);
    case TlsSession::Failure::kRefused:
    case TlsSession::Failure::kKeyRefused:
    case TlsSession::Failure::kNotAsked:
      return EndHandshake(kRefused);
    case TlsSession::Failure::kMalformed:
      return EndHandshake(kMalformed);
  }
}

void Listener::Connection::OnClosed() {
  if (shaking_hands_) EndHandshake(refused_ ? kOverloaded : kLeft);
  if (place_.has_value()) listener_->places_.Leave(*place_);
  if (timer_ != 0) listener_->timers_.Cancel(timer_);
  if (connection_id_.has_value()) listener_->table_.Remove(*connection_id_);
  if (listener_->open_.fetch_sub(1) == 1) {
    MutexLock lock(&listener_->mutex_);
    listener_->all_closed_.NotifyAll();
  }
  // The relay's caller may still stand in this object.
  loop_->events->Retire(shared_from_this());
  loop_->connections.erase(this);
}

void Listener::Start(Handover handover) {
  handover_ = std::move(handover);
  loops_[0]->events->Run([this] {
    if (listen_fd_.ok()) loops_[0]->events->Add(listen_fd_.get(), EPOLLIN, this);
  });
}

void Listener::OnEvents(uint32_t) {
  for (int i = 0; i < kAcceptsAtOnce && AcceptOne(); ++i) {
  }
}

bool Listener::AcceptOne() {
  if (!listen_fd_.ok()) return false;
  SocketAddress from;
  from.size = sizeof(from.storage);
  Fd fd(accept4(listen_fd_.get(), from.get(), &from.size, SOCK_NONBLOCK | SOCK_CLOEXEC));
  if (fd.ok()) {
    Admit(std::move(fd), from);
    return true;
  }
  if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
    SurviveShortage();
    return false;
  }
  // The peer was gone before it was its turn; the next may not be.
  return errno == ECONNABORTED || errno == EPROTO || errno == EINTR || errno == EPERM || errno == ENETDOWN;
}

// A connection that cannot be accepted keeps the listening socket readable. The reserve descriptor accepts it, so
// that its peer learns at once, and the loop does not spin.
void Listener::SurviveShortage() {
  Count(kOverloaded);
  if (reserve_fd_.ok()) {
    reserve_fd_ = Fd();
    Fd fd(accept4(listen_fd_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    const bool accepted = fd.ok();
    if (accepted) Reset(std::move(fd));
    reserve_fd_ = OpenReserve();
    if (accepted && reserve_fd_.ok()) return;
  }
  // Another thread took even that one: look away for a moment.
  EventLoop* const events = loops_[0]->events;
  events->Remove(listen_fd_.get());
  events->PostAfter(kAcceptRetry, [this, events] {
    if (!reserve_fd_.ok()) reserve_fd_ = OpenReserve();
    if (listen_fd_.ok()) events->Add(listen_fd_.get(), EPOLLIN, this);
  });
}

void Listener::Admit(Fd fd, const SocketAddress& from) {
  if (!check_.keys->Admits()) {
    Count(kOverloaded);
    return Reset(std::move(fd));
  }
  Loop* loop = loops_[next_loop_++ % options_.threads].get();
  auto connection = std::make_shared<Connection>(this, loop, from);
  if (!connection->TakePlace()) {
    Count(kOverloaded);
    return Reset(std::move(fd));
  }
  open_.fetch_add(1);
  const auto start = [loop, connection, fd = fd.release()] {
    loop->connections.emplace(connection.get(), connection);
    connection->Start(Fd(fd));
  };
  if (loop->events->InLoop()) {
    start();
  } else {
    loop->events->Post(start);
  }
}

void Listener::StopAccepting() {
  loops_[0]->events->Run([this] { loops_[0]->events->Close(&listen_fd_); });
}

template <typename Condition>
void Listener::CloseIf(Condition condition) {
  for (const auto& loop : loops_) {
    loop->events->Run([&] {
      std::vector<std::shared_ptr<Connection>> closing;
      for (const auto& [key, connection] : loop->connections) {
        if (condition(*connection)) closing.push_back(connection);
      }
      for (const auto& connection : closing) connection->Close();
    });
  }
}

void Listener::Drain(absl::Time deadline) {
  StopAccepting();
  // Nobody waits for an answer there.
  CloseIf([](const Connection& connection) { return connection.shaking_hands(); });
  MutexLock lock(&mutex_);
  while (open_.load() > 0 && all_closed_.WaitUntil(&mutex_, deadline)) {
  }
}

void Listener::Shutdown() {
  std::call_once(shut_down_, [this] {
    StopAccepting();
    CloseIf([](const Connection&) { return true; });
    // No callback after this; then no task.
    timers_.Stop();
    for (const auto& loop : loops_) {
      if (loop->own != nullptr) loop->own->Stop();
    }
  });
}

void Listener::CountBreach(FrameGuard::Breach breach, const ConnectionId& connection_id) {
  breaches_[static_cast<int>(breach)].fetch_add(1, std::memory_order_relaxed);
  {
    MutexLock lock(&mutex_);
    if (!breach_lines_.Take()) return;
  }
  const std::shared_ptr<const Peer> peer = table_.Find(connection_id);
  LogWarning("connection ended by the guard", {{"breach", FrameGuard::Name(breach)},
                                               {"key", peer == nullptr ? "" : peer->key.key_id},
                                               {"from", peer == nullptr ? "" : peer->remote_address}});
}

void Listener::SayFull(ConnectionPlaces::Limit limit, const KeyInfo& key, const std::string& from) {
  {
    MutexLock lock(&mutex_);
    if (!full_lines_.Take()) return;
  }
  LogWarning("no place for another connection", {{"limit", ConnectionPlaces::Name(limit)},
                                                 {"connections", absl::StrCat(open_.load())},
                                                 {"places", absl::StrCat(places_.total())},
                                                 {"key", key.key_id},
                                                 {"from", from}});
}

void Listener::Recheck() {
  for (const ConnectionTable::Entry& entry : table_.All()) {
    if (!check_.keys->Find(entry.identity, entry.want).ok()) table_.Close(entry.peer->connection_id);
  }
}

ListenerStats Listener::stats() const {
  static constexpr const char* kNames[kOutcomes] = {"ok", "refused", "timeout", "malformed", "overloaded", "left"};
  ListenerStats stats;
  for (int i = 0; i < kOutcomes; ++i) stats.handshakes[kNames[i]] = outcomes_[i].load();
  stats.handshakes_under_way = handshakes_.taken();
  stats.connections = open_.load();
  stats.max_connections = places_.total();
  stats.bytes_in = counters_.bytes_in.load();
  stats.bytes_out = counters_.bytes_out.load();
  for (int i = static_cast<int>(FrameGuard::Breach::kNone) + 1; i < FrameGuard::kBreaches; ++i) {
    stats.breaches[FrameGuard::Name(static_cast<FrameGuard::Breach>(i))] = breaches_[i].load();
  }
  return stats;
}

absl::StatusOr<std::unique_ptr<Listener>> Listener::Create(Options options, KeySource* keys) {
  ASSIGN_OR_RETURN(auto context, MakeServerContext(options.certificate_pem, options.private_key_pem));
  options.private_key_pem = Secret();
  options.threads = std::max(1, options.threads);
  FitIntoDescriptors(&options);
  ASSIGN_OR_RETURN(Fd fd, Listen(options.address));
  SocketAddress bound;
  bound.size = sizeof(bound.storage);
  getsockname(fd.get(), bound.get(), &bound.size);
  return std::unique_ptr<Listener>(
      new Listener(std::move(options), keys, std::move(context), std::move(fd), FormatAddress(bound)));
}

absl::Status Listener::ReplaceCertificate(absl::string_view certificate_pem, const Secret& private_key_pem) {
  ASSIGN_OR_RETURN(auto context, MakeServerContext(certificate_pem, private_key_pem));
  MutexLock lock(&mutex_);
  context_ = std::move(context);
  return absl::OkStatus();
}

}  // namespace parley::transport
