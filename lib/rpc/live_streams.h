// Holds the streams that last, so that a server that stops can end them: it would otherwise wait for each.
//
// Threads: all methods may be called from any thread.
#ifndef PARLEY_LIB_RPC_LIVE_STREAMS_H_
#define PARLEY_LIB_RPC_LIVE_STREAMS_H_

#include <map>
#include <memory>

#include "absl/status/status.h"
#include "lib/base/mutex.h"

namespace parley::rpc {

// A stream that lasts.
class LiveStream {
 public:
  virtual ~LiveStream() = default;
  // Ends the stream with this error, without blocking. Calling it again changes nothing.
  virtual void End(const absl::Status& status) = 0;
};

// Returns UNAVAILABLE (SERVER_STOPPING), with which streams end when the server stops.
absl::Status ServerStopping();

class LiveStreams {
 public:
  // Must be destroyed after the server's shutdown, when all streams have been removed.
  ~LiveStreams();
  // Holds the stream until it is removed.
  void Add(const std::shared_ptr<LiveStream>& stream);
  void Remove(const LiveStream* stream);
  // Ends all streams, and those that are still to come, with this error; OK lets them come again.
  void Close(const absl::Status& status);

 private:
  Mutex mutex_;
  absl::Status closed_ ABSL_GUARDED_BY(mutex_);
  std::map<const LiveStream*, std::shared_ptr<LiveStream>> streams_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace parley::rpc

#endif  // PARLEY_LIB_RPC_LIVE_STREAMS_H_
