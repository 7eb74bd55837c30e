// The negotiations of clients, so that what happens elsewhere reaches them.
//
// Threads: all methods may be called from any thread.
#ifndef PARLEY_SERVICES_TASKD_PARTICIPANTS_SESSIONS_H_
#define PARLEY_SERVICES_TASKD_PARTICIPANTS_SESSIONS_H_

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "lib/base/mutex.h"
#include "lib/rpc/live_streams.h"
#include "services/taskd/store/participant_updater.h"

namespace parley::taskd {

// A client's negotiation.
class ClientSession : public rpc::LiveStream {
 public:
  // Its client's record has come to this Participant.version, or something that matters to it changed (0): look.
  // Does not block.
  virtual void Notify(int64_t version) = 0;
  // Another is about to bring its client's record to this version, and will show it.
  virtual void Expect(int64_t version) = 0;
  // What its client and its task have come to, after all that is due for the client. Does not block; `told` is let go
  // of once the client was told.
  virtual void Show(ParticipantSnapshot snapshot, std::shared_ptr<void> told) = 0;
};

class Sessions {
 public:
  // The session of this client from now on; the one before it, if any, to be ended by the caller.
  std::shared_ptr<ClientSession> Replace(const std::string& task, const std::string& client,
                                         std::shared_ptr<ClientSession> session);
  // False when another has taken its place.
  bool Remove(const std::string& task, const std::string& client, const ClientSession* session);

  // Null when the client is not connected.
  std::shared_ptr<ClientSession> Find(const std::string& task, const std::string& client) const;
  struct Entry {
    std::string client;
    std::shared_ptr<ClientSession> session;
  };
  std::vector<Entry> OfTask(const std::string& task) const;
  // Ends all, and those that are still to come.
  void Close(const absl::Status& status);

 private:
  using Clients = std::unordered_map<std::string, std::shared_ptr<ClientSession>>;
  mutable Mutex mutex_;
  absl::Status closed_ ABSL_GUARDED_BY(mutex_);
  std::unordered_map<std::string, Clients> tasks_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace parley::taskd

#endif  // PARLEY_SERVICES_TASKD_PARTICIPANTS_SESSIONS_H_
