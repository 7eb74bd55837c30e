// Which clients are connected to which replica of taskd, for as long as several serve from one store.
//
// A session has an entry in the store under the lease of the replica that has it, so the entry goes with the replica.
// The newest session of a client is the one that counts: its entry takes the place of the former one, and the replica
// that had that ends it. When a session ends, the time stays in the entry until the task is settled.
//
// Sessions do not wait for their entries. Those that begin and end at the same time are stored together.
//
// Threads: all methods may be called from any thread; only Start and ReadAnew block. Observers run on threads of the
// store and of the pool and must not block.
#ifndef PARLEY_SERVICES_TASKD_STORE_CLIENT_PRESENCE_H_
#define PARLEY_SERVICES_TASKD_STORE_CLIENT_PRESENCE_H_

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "lib/base/clock.h"
#include "lib/base/mutex.h"
#include "lib/base/timer_queue.h"
#include "lib/rpc/worker_pool.h"
#include "lib/store/follower.h"
#include "lib/store/replicas.h"
#include "services/taskd/store/task_store.h"

namespace parley::taskd {

class ClientPresence {
 public:
  struct Observer {
    // The client has come to or gone from another replica, or its last session is known now.
    std::function<void(const std::string& task, const std::string& client)> changed;
    // Another replica has a newer session of the client.
    std::function<void(const std::string& task, const std::string& client)> replaced;
    // Returns whether the task is known and not settled. Called without a lock.
    std::function<bool(const std::string& task)> is_open;
  };
  struct View {
    bool here = false;
    bool elsewhere = false;
    // When the last session ended; InfinitePast if that is not known.
    absl::Time disconnected = absl::InfinitePast();
  };

  // All of these must outlive this, and `workers` must have ended before it goes.
  ClientPresence(const TaskStore* store, const store::Replicas* replicas, Clock* clock, TimerQueue* timers,
                 rpc::WorkerPool* workers);

  // Loads and follows. Returns the errors of the store.
  absl::Status Start(Observer observer);
  // Reads everything as it is stored now. Returns the errors of the store.
  absl::Status ReadAnew() { return follower_.ReadAnew(); }
  // Stores nothing any more: what is connected here goes with the lease, unless it is back elsewhere before.
  void Leave();
  // No observer is called afterwards.
  void Stop();
  // Says what Replicas::Options::on_change says.
  void OnLease(bool held);
  // Says whether this replica is the one that notes when a client was last connected whose replica is gone.
  void OnLead(bool leads);

  View Find(absl::string_view task, absl::string_view client) const;
  void SessionBegan(absl::string_view task, absl::string_view client);
  void SessionEnded(absl::string_view task, absl::string_view client);
  // Removes soon what is stored of a task that is settled.
  void Forget(const std::string& task);

 private:
  using Id = std::pair<std::string, std::string>;
  struct Client {
    bool here = false;
    bool elsewhere = false;
    // The entry says what is so.
    bool stored = false;
    // Counts sessions, so that what was written for one is not taken for the next.
    uint64_t session = 0;
    absl::Time disconnected = absl::InfinitePast();
    // The revision of the entry; 0 without one.
    int64_t entry = 0;
    // The revision of the newest change that was seen.
    int64_t seen = 0;
  };
  using Clients = std::unordered_map<std::string, Client>;
  struct Write {
    Id id;
    Client client;
    bool forget = false;
  };
  struct Notices {
    std::vector<Id> changed;
    std::vector<Id> replaced;
  };

  absl::StatusOr<int64_t> Load();
  void Apply(const std::vector<store::Change>& changes);
  // `record` is null if there is no entry.
  void Observe(const Id& id, const PresenceRecord* record, int64_t revision, Notices* notices)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Tell(const Notices& notices) const;
  // Looks after the entry of a client whose task is settled.
  void Tidy(const Id& id);
  const Client* FindClient(absl::string_view task, absl::string_view client) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Client* FindClient(const Id& id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Drop(const Id& id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  void StoreSoon(const Id& id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void WriteSoon() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void WriteAll();
  // Returns nothing when all is stored or nothing can be.
  std::vector<Write> TakeNext();
  absl::StatusOr<bool> IsSettled(const std::string& task) const;
  // Commits together, or one by one if somebody was faster at one of them.
  absl::Status Commit(std::vector<Write> writes);
  absl::Status TryCommit(absl::Span<const Write> writes);
  void Written(const Write& write, int64_t revision, Notices* notices) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const TaskStore* const store_;
  const store::Replicas* const replicas_;
  Clock* const clock_;
  TimerQueue* const timers_;
  rpc::WorkerPool* const workers_;
  Observer observer_;
  mutable Mutex mutex_;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  bool left_ ABSL_GUARDED_BY(mutex_) = false;
  bool held_ ABSL_GUARDED_BY(mutex_) = true;
  bool leads_ ABSL_GUARDED_BY(mutex_) = false;
  std::map<std::string, Clients, std::less<>> tasks_ ABSL_GUARDED_BY(mutex_);
  // What differs from what is stored.
  std::set<Id> dirty_ ABSL_GUARDED_BY(mutex_);
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  store::Follower follower_;
};

}  // namespace parley::taskd

#endif  // PARLEY_SERVICES_TASKD_STORE_CLIENT_PRESENCE_H_
