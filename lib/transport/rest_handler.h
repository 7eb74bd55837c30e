// What stands behind the door for peers that choose HTTP/1.1, as the door sees it. lib/rest has one.
//
// Threads: the door calls Take on the listener's threads, and the others on the thread that shuts it down.
#ifndef PARLEY_LIB_TRANSPORT_REST_HANDLER_H_
#define PARLEY_LIB_TRANSPORT_REST_HANDLER_H_

#include <memory>

#include "absl/time/time.h"
#include "lib/transport/peer.h"

namespace parley::transport {

class RestHandler {
 public:
  virtual ~RestHandler() = default;
  // Takes the fd, on which the peer speaks HTTP/1.1 in the clear. Must not block.
  virtual void Take(int fd, std::shared_ptr<const Peer> peer) = 0;
  // Lets no further request begin.
  virtual void Stop() = 0;
  // Returns once all answers have been sent, or at the deadline. Every connection is closed then.
  virtual void Drain(absl::Time deadline) = 0;
};

}  // namespace parley::transport

#endif  // PARLEY_LIB_TRANSPORT_REST_HANDLER_H_
