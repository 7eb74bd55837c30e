// Finds the negotiations of clients, so that what happens elsewhere reaches them.
//
// Threads: all methods may be called from any thread.
#ifndef PARLEY_SERVICES_TASKD_PARTICIPANTS_SESSIONS_H_
#define PARLEY_SERVICES_TASKD_PARTICIPANTS_SESSIONS_H_

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "absl/status/status.h"
#include "lib/base/mutex.h"
#include "lib/rpc/live_streams.h"
#include "services/taskd/store/participant_updater.h"

namespace parley::taskd {

// A client's negotiation.
class ClientSession : public rpc::LiveStream {
 public:
  // Says that the client's record has come to this Participant.version, or that something else that matters to it has
  // changed (0). Does not block.
  virtual void Notify(int64_t version) = 0;
  // Says that another is about to bring the client's record to this version, and will show it.
  virtual void Expect(int64_t version) = 0;
  // Shows what the client and its task have come to, after all that is due for the client. Does not block. `told` is
  // released once the client was told.
  virtual void Show(ParticipantSnapshot snapshot, std::shared_ptr<void> told) = 0;
};

// Returns ABORTED (STREAM_REPLACED), with which a session ends when the client has a newer one.
absl::Status StreamReplaced();

class Sessions {
 public:
  // Makes this the session of the client. Returns the one before it, if any, which the caller must end.
  std::shared_ptr<ClientSession> Replace(const std::string& task, const std::string& client,
                                         std::shared_ptr<ClientSession> session);
  // Returns false if another session has taken its place.
  bool Remove(const std::string& task, const std::string& client, const ClientSession* session);

  // Returns null if the client is not connected.
  std::shared_ptr<ClientSession> Find(const std::string& task, const std::string& client) const;
  struct Entry {
    std::string client;
    std::shared_ptr<ClientSession> session;
  };
  std::vector<Entry> OfTask(const std::string& task) const;
  // Ends all sessions, and those that are still to come, with this error; OK lets them come again.
  void Close(const absl::Status& status);

 private:
  using Clients = std::unordered_map<std::string, std::shared_ptr<ClientSession>>;
  mutable Mutex mutex_;
  absl::Status closed_ ABSL_GUARDED_BY(mutex_);
  std::unordered_map<std::string, Clients> tasks_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace parley::taskd

#endif  // PARLEY_SERVICES_TASKD_PARTICIPANTS_SESSIONS_H_
