// The live streams of clients, so that what happens elsewhere reaches them.
//
// Threads: all methods may be called from any thread.
#ifndef PARLEY_SERVICES_TASKD_SERVICE_SESSIONS_H_
#define PARLEY_SERVICES_TASKD_SERVICE_SESSIONS_H_

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "lib/base/mutex.h"

namespace parley::taskd {

// A stream that lasts.
class LiveStream {
 public:
  virtual ~LiveStream() = default;
  // Ends the stream with this error. Does not block.
  virtual void End(absl::Status status) = 0;
};

// A client's negotiation.
class Session : public LiveStream {
 public:
  // Its client's record has come to this Participant.version, or something that matters to it changed (0): look.
  // Does not block.
  virtual void Poke(int64_t version) = 0;
};

class Sessions {
 public:
  // The session of this client from now on; the one before it, if any, to be ended by the caller.
  std::shared_ptr<Session> Replace(const std::string& task, const std::string& client,
                                   std::shared_ptr<Session> session);
  // False when another has taken its place.
  bool Remove(const std::string& task, const std::string& client, const Session* session);

  // Null when the client is not connected.
  std::shared_ptr<Session> Find(const std::string& task, const std::string& client) const;
  std::vector<std::shared_ptr<Session>> OfTask(const std::string& task) const;
  std::vector<std::shared_ptr<Session>> All() const;

 private:
  using Clients = std::unordered_map<std::string, std::shared_ptr<Session>>;
  mutable Mutex mutex_;
  std::unordered_map<std::string, Clients> tasks_ ABSL_GUARDED_BY(mutex_);
};

// All other streams, so that a server that stops can end them.
class LiveStreams {
 public:
  void Add(std::shared_ptr<LiveStream> stream);
  void Remove(const LiveStream* stream);
  std::vector<std::shared_ptr<LiveStream>> All() const;

 private:
  mutable Mutex mutex_;
  std::map<const LiveStream*, std::shared_ptr<LiveStream>> streams_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace parley::taskd

#endif  // PARLEY_SERVICES_TASKD_SERVICE_SESSIONS_H_
