// A view in memory of what is going on: the tasks that are not settled, where their clients stand, what is due when.
//
// Everything here follows from the store, by a watch: it is loaded at start, and a change made by anyone appears within
// moments. Counts are kept here, so that no client's commit has to touch its task's record. A client takes a few dozen
// bytes. Only leases that are renewed by progress which is not worth a commit are the view's own.
//
// With several replicas on one store, a client is the business of the replica that has its session. Tasks, and clients
// that are not connected anywhere, are that of the replica that leads.
//
// Threads: all methods may be called from any thread. Observers run on threads of the store and of the timers and must
// not block: they hand on.
#ifndef PARLEY_SERVICES_TASKD_STORE_TASK_INDEX_H_
#define PARLEY_SERVICES_TASKD_STORE_TASK_INDEX_H_

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "lib/base/clock.h"
#include "lib/base/mutex.h"
#include "lib/base/timer_queue.h"
#include "lib/store/follower.h"
#include "services/taskd/domain/counts.h"
#include "services/taskd/domain/participant.h"
#include "services/taskd/domain/rollout.h"
#include "services/taskd/store/barrier.h"
#include "services/taskd/store/client_presence.h"
#include "services/taskd/store/task_store.h"

namespace parley::taskd {

// A task in the form that is stored. It never changes; a change makes another.
using TaskSnapshot = std::shared_ptr<const Stored<TaskRecord>>;

class TaskIndex {
 public:
  enum class Due {
    // The client's lease or its session may have run out, at `version`.
    kLease,
    kSession,
    // The client may be offered something.
    kOffer,
  };
  struct Observer {
    // The task's record changed. `waves_only` says that nothing did but its roll-out.
    std::function<void(const TaskSnapshot& task, bool waves_only)> task_changed;
    // The clients' counts or the time may demand that the task starts, ends or is settled.
    std::function<void(const std::string& task)> task_due;
    std::function<void(const std::string& task, const std::string& client, int64_t version)> participant_changed;
    std::function<void(const std::string& task, const std::string& client, Due due, int64_t version)> participant_due;
  };

  // All of these must outlive this. `presence` and `barrier` are null in a process that is alone, which then leads.
  TaskIndex(const TaskStore* store, ClientPresence* presence, Barrier* barrier, Clock* clock, TimerQueue* timers);

  // Loads and follows. Every task is then reported as due once, so that nothing that time did meanwhile is missed.
  // Returns the errors of the store.
  absl::Status Start(Observer observer);
  // No observer is called afterwards.
  void Stop();
  // Says that a commit changed a task or a client at this revision, and that somebody knows: this process made it, or
  // has shown it.
  void Committed(int64_t revision);
  // Returns once every such commit so far shows here. Must not be called on a thread of the store. Returns UNAVAILABLE
  // (STORE_BEHIND) if that takes long, because the store does not tell of its changes.
  absl::Status CatchUp();
  // Does so for every commit that any process has made before the call. Unless this process is alone it takes a commit,
  // which callers that wait at the same time share. Returns the errors of Barrier too.
  absl::Status CatchUpWithAll();
  // Reads everything as it is stored now. Returns the errors of the store.
  absl::Status ReadAnew() { return follower_.ReadAnew(); }
  // Says whether this process leads. When it begins to, every task is reported as due once, and what has become due
  // meanwhile too.
  void OnLead(bool leads);

  // Returns null if the task does not exist or is settled.
  TaskSnapshot Find(absl::string_view task) const;
  // Returns all tasks that are not settled.
  std::vector<TaskSnapshot> Tasks() const;
  // Returns no value if the task does not exist or is settled.
  std::optional<Tally> TallyOf(absl::string_view task) const;
  // Opens the next wave of `task`, which is being drawn, with the clients that are known here.
  void OpenNextWave(TaskRecord* task) const;
  // Returns whether the client has joined, and is in no open wave of the task's roll-out.
  bool AwaitsWave(absl::string_view task, absl::string_view client) const;
  // The clients whose end the end of the task demands, and whether none is left that has not ended.
  struct Unended {
    std::vector<std::string> clients;
    bool all_ended = true;
  };
  Unended FindUnended(absl::string_view task) const;

  // Writes into `participant` whether the client is connected, and otherwise since when not, and the wave that it is
  // in.
  void ShowPresence(task::v1::Participant* participant);
  bool IsConnected(absl::string_view task, absl::string_view client);
  // Returns the revision from which on a record of the client's is as new as what the watch has shown. A client that it
  // has not shown may only have been put later.
  int64_t ShownRevision(absl::string_view task, absl::string_view client);
  // Returns whether the task is not settled and the watch has shown no such client.
  bool IsNew(absl::string_view task, absl::string_view client);

  void SessionBegan(absl::string_view task, absl::string_view client);
  // Begins the client's session lease.
  void SessionEnded(absl::string_view task, absl::string_view client);
  // Says that the client has come to another replica, or gone from it.
  void PresenceChanged(const std::string& task, const std::string& client);
  // Renews the lease for progress that is not stored. Never shortens it. Returns true if other replicas are to hear of
  // it, by a commit: the client's session is theirs or may become so, and what is stored is far behind.
  bool RenewLease(absl::string_view task, absl::string_view client, absl::Time until);

 private:
  struct Client {
    bool connected() const { return here || elsewhere; }

    Counted counted;
    // What the rules of a roll-out ask. Labels are null for none.
    int64_t joined_revision = 0;
    int waves_missed = 0;
    std::unique_ptr<const Labels> labels;
    // What follows for the task as it is: the first wave that names the client, and the first open one that it is in.
    int named = 0;
    int wave = 0;
    bool here = false;
    bool elsewhere = false;
    // When the last connection ended.
    absl::Time disconnected = absl::InfinitePast();
    int64_t version = 0;
    int64_t mod_revision = 0;
    absl::Time lease = absl::InfiniteFuture();
    // What others know of it.
    absl::Time stored_lease = absl::InfiniteFuture();
    absl::Time retry = absl::InfiniteFuture();
    absl::Time gone = absl::InfiniteFuture();
    // The one timer, never later than the earliest of the three.
    TimerQueue::TimerId timer = 0;
    absl::Time timer_at = absl::InfiniteFuture();
  };
  struct Entry {
    TaskSnapshot task;
    std::unordered_map<std::string, Client> clients;
    Tally tally;
    TimerQueue::TimerId timer = 0;
  };
  using Entries = std::map<std::string, Entry, std::less<>>;
  using Notices = std::vector<std::function<void()>>;

  absl::StatusOr<int64_t> Load();
  void Apply(const std::vector<store::Change>& changes);
  void Observe(absl::string_view key, absl::string_view value, int64_t mod_revision, Notices* notices)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void ObserveTask(const std::string& task, absl::string_view key, absl::string_view value, int64_t mod_revision,
                   Notices* notices) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void ObserveClient(Entry* entry, const std::string& client, absl::string_view key, absl::string_view value,
                     int64_t mod_revision, Notices* notices) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void CountClient(const Client& client, int sign, Entry* entry) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Writes down which waves of the task's roll-out the client is in.
  void FindWaves(const Entry& entry, absl::string_view name, Client* client) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void SetPresence(const ClientPresence::View& view, Entry* entry, const std::string& name, Client* client)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Returns when this process has to act for the client next.
  absl::Time NextOf(const Client& client) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool IsOurs(const Client& client) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return client.here || (leads_ && !client.elsewhere);
  }
  void Recount(Entry* entry) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Forget(Entries::iterator entry) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Schedule(const std::string& task, const std::string& name, Client* client) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void OnTimer(const std::string& task, const std::string& name);
  Client* FindClient(absl::string_view task, absl::string_view client) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const TaskStore* const store_;
  ClientPresence* const presence_;
  Barrier* const barrier_;
  Clock* const clock_;
  TimerQueue* const timers_;
  Observer observer_;
  mutable Mutex mutex_;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  bool leads_ ABSL_GUARDED_BY(mutex_);
  // Everything up to it shows here.
  int64_t shown_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t committed_ ABSL_GUARDED_BY(mutex_) = 0;
  Entries entries_ ABSL_GUARDED_BY(mutex_);
  store::Follower follower_;
};

}  // namespace parley::taskd

#endif  // PARLEY_SERVICES_TASKD_STORE_TASK_INDEX_H_
