// One connection of a dialer: the tries at the addresses of a server until one has let this client in, and then the
// relay between that connection and the local socket.
//
// Tries do not wait for one another for long. When an address refuses or closes, the next one is tried at once; when it
// says nothing for a while, the next one is tried beside it, and the first that completes its handshake is taken. A
// slow line is so never cut off by a try that began later. An address that has accepted the connection and is silent is
// not tried a second time meanwhile, because a server that has much to do would only get more. When all addresses have
// been tried and some are silent, the names are resolved again and the tries go on, until the time is over.
//
// Threads: everything in the thread of the loop.
#ifndef PARLEY_LIB_TRANSPORT_DIAL_H_
#define PARLEY_LIB_TRANSPORT_DIAL_H_

#include <cstddef>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lib/base/fd.h"
#include "lib/base/timer_queue.h"
#include "lib/transport/address_memory.h"
#include "lib/transport/dialer.h"
#include "lib/transport/event_loop.h"
#include "lib/transport/relay.h"
#include "lib/transport/tls_session.h"

namespace parley::transport {

class Dial final : public std::enable_shared_from_this<Dial> {
 public:
  struct Server {
    HostPort where;
    std::shared_ptr<SSL_CTX> context;
    ClientKey key;
  };
  // What the dials of one dialer have in common. It must outlive them.
  struct Common {
    Dialer::Options options;
    std::vector<Server> servers;
    EventLoop* loop = nullptr;
    AddressMemory* memory = nullptr;
    std::shared_ptr<TimerQueue> timers;
    RelayCounters counters;
    // Hears why a dial has failed, or by which protocol it is connected.
    std::function<void(const absl::Status& status, std::string protocol)> report;
    // Hears that a dial is over, which is its last call.
    std::function<void(Dial*)> over;
  };

  Dial(Common* common, Fd local_fd) : common_(common), local_fd_(std::move(local_fd)) {}

  void Start();
  // Closes everything, at once.
  void Close();

 private:
  class Try;

  void FindAddresses();
  void BeginRound(absl::StatusOr<std::vector<ServerAddress>> found);
  void BeginNext();
  bool IsAwaited(const ServerAddress& address) const;
  void GoOnLater();
  void OnConnected(Try* winner);
  void OnTryFailed(Try* failed, const absl::Status& why);
  void OnRefused();
  void OnClosed(Try* closed);
  void EndTries();
  void Note(const absl::Status& why);
  void Fail(const absl::Status& why);
  void Drop();

  Common* const common_;
  Fd local_fd_;
  // The addresses of this round, and the number of those that have been tried.
  std::vector<ServerAddress> order_;
  size_t next_ = 0;
  // The tries that may still succeed, the newest last.
  std::vector<std::shared_ptr<Try>> tries_;
  // The try that has succeeded.
  std::shared_ptr<Try> connected_;
  // The failure that says most so far.
  absl::Status why_;
  // Counts what was scheduled, so that a late timer does nothing.
  int step_ = 0;
  TimerQueue::TimerId deadline_ = 0;
  bool dialling_ = true;
  bool dropped_ = false;
};

}  // namespace parley::transport

#endif  // PARLEY_LIB_TRANSPORT_DIAL_H_
