#include "lib/rpc/live_streams.h"

#include <vector>

#include "lib/base/error.h"

namespace parley::rpc {

absl::Status ServerStopping() {
  return Unavailable("SERVER_STOPPING", "the server is being stopped; connect again in a moment");
}

// gRPC waits for the streams' last calls by atomics of its own; by the lock they come before this for all who look.
LiveStreams::~LiveStreams() { MutexLock lock(&mutex_); }

void LiveStreams::Add(const std::shared_ptr<LiveStream>& stream) {
  absl::Status closed;
  {
    MutexLock lock(&mutex_);
    closed = closed_;
    streams_[stream.get()] = stream;
  }
  if (!closed.ok()) stream->End(closed);
}

void LiveStreams::Remove(const LiveStream* stream) {
  MutexLock lock(&mutex_);
  streams_.erase(stream);
}

void LiveStreams::Close(const absl::Status& status) {
  std::vector<std::shared_ptr<LiveStream>> streams;
  {
    MutexLock lock(&mutex_);
    closed_ = status;
    if (status.ok()) return;
    for (const auto& [key, stream] : streams_) streams.push_back(stream);
  }
  for (const auto& stream : streams) stream->End(status);
}

}  // namespace parley::rpc
