// The processes that serve from one store. Each has an entry under a lease, and says in it how far it has followed, so
// that a change which must hold everywhere before it is acknowledged, such as a revocation, is known to hold.
//
// Guarantees: Await returns OK only when each process that might act on what was there before the revision has followed
// past it, or has lost its lease. A process that cannot renew its lease knows that before anybody else sees it end,
// because it counts from before it asked, by a clock that nobody sets. It acts again only when it has a new lease, and
// has read everything up to then.
//
// Threads: all methods may be called from any thread. Two threads of its own: one renews, one notices in time that
// renewing has failed.
#ifndef PARLEY_LIB_STORE_REPLICAS_H_
#define PARLEY_LIB_STORE_REPLICAS_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "lib/base/clock.h"
#include "lib/base/mutex.h"
#include "lib/store/store.h"

namespace parley::store {

class Replicas {
 public:
  // Returns the time since some moment, by a clock that nobody sets.
  using Steady = std::function<absl::Duration()>;

  // What the keys of all entries begin with, unless Options says otherwise.
  static constexpr char kPrefix[] = "replica/";

  struct Options {
    // Must outlive this.
    Store* store = nullptr;
    // Entries stand at {prefix}{service}/{128-bit random}.
    std::string prefix = kPrefix;
    std::string service;
    // For how long a process that has gone silent may hold up the others.
    absl::Duration ttl = absl::Seconds(10);
    Steady steady = TimeSinceBoot;
    // Reads everything anew that was stored up to now. Called after each joining.
    std::function<absl::Status()> read_anew = nullptr;
    // The lease was lost, and what it kept alive goes; or another one is held. One call at a time.
    std::function<void(bool held)> on_change = nullptr;
  };

  explicit Replicas(Options options);
  // Joins the others: the lease is held and everything was read when it returns. Once. The errors of the store and of
  // `read_anew`.
  absl::Status Join();
  // The two in one.
  static absl::StatusOr<std::unique_ptr<Replicas>> Join(Options options);
  // Leaves: revokes the lease, unless the store does not answer.
  ~Replicas();

  // Waits until all whose entries stand under `prefix` have followed up to a revision, which was committed. Blocks.
  // UNAVAILABLE (REPLICAS_BEHIND) after the timeout, naming those that are waited for; the errors of the store.
  static absl::Status Await(Store* store, const std::string& prefix, int64_t revision, absl::Duration timeout);
  // Makes or renews the entry of a process that cannot reach the store itself, under a lease of this length, and says
  // how far it has followed. Returns the revision at which the entry was made: the process must have followed so far
  // before it acts. The errors of the store.
  static absl::StatusOr<int64_t> Keep(Store* store, const std::string& key, absl::Duration ttl, int64_t followed);
  // Removes such an entry. The errors of the store.
  static absl::Status Leave(Store* store, const std::string& key) {
    return store->Commit(Transaction().Delete(key)).status();
  }

  // Returns the value of an entry as it is under another lease, for who copies a store. DATA_LOSS (STORE_DAMAGED).
  static absl::StatusOr<std::string> UnderLease(absl::string_view key, absl::string_view value, LeaseId lease);

  // Returns the entry's key without the prefix: "taskd/0f…".
  const std::string& name() const { return name_; }
  // Returns the lease under which this process may keep what is to vanish with it. It changes when it was lost; then
  // puts under the former one get NOT_FOUND (LEASE_NOT_FOUND).
  LeaseId lease() const;
  // Returns UNAVAILABLE (REPLICA_CUT_OFF) while no lease is held, or not everything was read since. Answers from
  // memory.
  absl::Status CheckHeld() const;
  // Says that this process has followed up to a revision. It is stored soon after. Does not block.
  void Followed(int64_t revision);
  absl::Status Await(int64_t revision, absl::Duration timeout) const {
    return Await(options_.store, options_.prefix, revision, timeout);
  }

 private:
  absl::Status TryJoin();
  absl::Status Renew(LeaseId lease, int64_t followed);
  // Without a lease it is 0.
  void SetHeld(LeaseId lease, absl::Duration until);
  void RunRenewing();
  void RunNoticing();

  const Options options_;
  const std::string name_;
  const std::string key_;
  mutable Mutex mutex_;
  CondVar changed_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  // 0 while none is held.
  LeaseId lease_ ABSL_GUARDED_BY(mutex_) = 0;
  absl::Duration held_until_ ABSL_GUARDED_BY(mutex_);
  int64_t followed_ ABSL_GUARDED_BY(mutex_) = 0;
  // What the entry says at least. This belongs to the renewing thread.
  int64_t stored_ = 0;
  // This lock is held while on_change is called. Taken before the other one.
  Mutex telling_;
  std::thread renewing_;
  std::thread noticing_;
};

}  // namespace parley::store

#endif  // PARLEY_LIB_STORE_REPLICAS_H_
