// An ordered key-value store: what a service knows, durable and watchable. One interface, several engines; one
// conformance suite (conformance_test.h) that each must pass.
//
// Guarantees:
// - A commit applies whole or not at all, and only if its conditions hold. What was acknowledged survives a crash of
//   the process, and on a cluster the loss of a minority of its members.
// - Revisions ascend in the order of commits, and commits that were under way at the same time may have one together.
//   They are not dense: others that share an engine take revisions too, and a store in which nothing was ever committed
//   may have any revision.
// - Reads are linearizable: a read that begins after a commit was acknowledged, to anybody, sees it. A read sees one
//   revision.
// - A watch yields every change of its range after a revision, in order, none twice and none left out, even if the
//   connection to the engine breaks or another member of a cluster leads. A watch that can not do so ends in an error:
//   its caller reads the state anew.
// - A lease lives at least as long as it was granted for. An engine may round its time up by some seconds. A restart of
//   the engine or a change of a cluster's leader gives every lease its whole time again. Its entries end together, in
//   one revision.
//
// The operations and limits are those of etcd's v3 API, so that its engine is a thin one.
//
// Threads: all methods may be called from any thread. Commit and the reads block.
//
// Errors: UNAVAILABLE (STORE_UNAVAILABLE) if the engine can not be reached or does not answer in time;
// RESOURCE_EXHAUSTED (DISK_FULL) if the disk or the engine's quota is full; FAILED_PRECONDITION (DISK_READ_ONLY);
// PERMISSION_DENIED (STORE_REFUSED) if the engine does not let this process do that; OUT_OF_RANGE (STORE_COMPACTED) for
// a revision whose values are no longer kept and (STORE_FUTURE_REVISION) for one that is not there yet, as after a
// restore from a backup; DATA_LOSS (STORE_DAMAGED) for damaged data. After STORE_UNAVAILABLE and DISK_FULL a commit may
// or may not have been made; after every other error it was not.
#ifndef PARLEY_LIB_STORE_STORE_H_
#define PARLEY_LIB_STORE_STORE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace parley::store {

inline constexpr size_t kMaxKeyBytes = 512;
// The limits of a commit: how many conditions it has, how many puts and deletes together, and how many bytes the keys
// and values that it names.
inline constexpr size_t kMaxOperations = 128;
inline constexpr size_t kMaxCommitBytes = 1'500'000;

struct Entry {
  std::string key;
  std::string value;
  // The revision of the commit that first put it, since it was last absent, and of the one that put this value.
  int64_t create_revision = 0;
  int64_t mod_revision = 0;
  // The lease under which it stands; 0 for none.
  int64_t lease = 0;
};

// The keys from `begin` up to, not including, `end`; up to the last key if `end` is empty.
struct KeyRange {
  std::string begin;
  std::string end;
  static KeyRange Prefix(absl::string_view prefix);
};

struct Page {
  std::vector<Entry> entries;
  // The revision that was read.
  int64_t revision = 0;
  // There are more entries after the last one.
  bool more = false;
};

// A lease: entries put under it vanish when it is revoked or its time runs out.
using LeaseId = int64_t;

struct Put {
  std::string key;
  std::string value;
  LeaseId lease = 0;
};

struct Transaction {
  // Holds if the key's mod_revision is this one; 0 means that the key must be absent.
  struct Condition {
    std::string key;
    int64_t mod_revision = 0;
  };
  std::vector<Condition> conditions;
  std::vector<Put> puts;
  std::vector<std::string> deletes;

  Transaction& IfAbsent(std::string key);
  Transaction& IfUnchanged(const Entry& entry);
  Transaction& Set(std::string key, std::string value, LeaseId lease = 0);
  Transaction& Delete(std::string key);
};

struct Change {
  std::string key;
  // Unset if the key was deleted.
  std::optional<std::string> value;
  int64_t mod_revision = 0;
};

// Returns how many bytes of kMaxCommitBytes a transaction takes.
size_t CommitBytes(const Transaction& transaction);

// Ends the watch when destroyed; waits for a callback that is running, unless it is called from that.
class Watch {
 public:
  virtual ~Watch() = default;
};

class Store {
 public:
  // Gets the changes of one commit, or of several in order, and the revision that they reach; or an error, which ends
  // the watch. A commit's changes are never divided.
  using WatchCallback = std::function<void(absl::StatusOr<std::vector<Change>> changes, int64_t revision)>;

  virtual ~Store() = default;

  // Reads at `revision`; 0 is the newest. Returns NOT_FOUND (KEY_NOT_FOUND) if the key is absent.
  virtual absl::StatusOr<Entry> Get(absl::string_view key, int64_t revision = 0) = 0;
  // Returns entries in the order of their keys, at most `limit` of them; 0 means all.
  virtual absl::StatusOr<Page> List(const KeyRange& range, size_t limit = 0, int64_t revision = 0) = 0;
  // Returns the newest revision, which may be one that changed nothing in this store.
  virtual absl::StatusOr<int64_t> Revision() = 0;

  // Commits durably, and returns the commit's revision, or the newest one if there was nothing to change. Concurrent
  // commits share one write to the disk. Returns ABORTED (CONFLICT) if a condition does not hold; NOT_FOUND
  // (LEASE_NOT_FOUND) for a lease that has run out; INVALID_ARGUMENT (STORE_TRANSACTION) for a key of the wrong size, a
  // key that is changed twice, or a transaction above kMaxOperations or kMaxCommitBytes.
  virtual absl::StatusOr<int64_t> Commit(Transaction transaction) = 0;

  // Yields every change of the range in commits after `revision`, and then live ones. The callback runs on a thread of
  // the store's, one call at a time, and must not block for long. To follow a state, call List and then WatchRange from
  // Page::revision.
  virtual absl::StatusOr<std::unique_ptr<Watch>> WatchRange(const KeyRange& range, int64_t revision,
                                                            WatchCallback callback) = 0;

  // Grants a lease. Returns INVALID_ARGUMENT (STORE_LEASE) below a millisecond or above 366 days.
  virtual absl::StatusOr<LeaseId> GrantLease(absl::Duration ttl) = 0;
  // Starts the lease's time again. Returns NOT_FOUND (LEASE_NOT_FOUND) if it has run out.
  virtual absl::Status KeepLeaseAlive(LeaseId lease) = 0;
  // Returns the time that the lease was granted for. Returns NOT_FOUND (LEASE_NOT_FOUND) if it has run out.
  virtual absl::StatusOr<absl::Duration> LeaseTime(LeaseId lease) = 0;
  // Ends the lease with its entries. Returns NOT_FOUND (LEASE_NOT_FOUND) if it has run out.
  virtual absl::Status RevokeLease(LeaseId lease) = 0;

  // Forgets the values that were superseded by this revision, for all who share the engine. From then on, reads before
  // it and watches from before it get STORE_COMPACTED. Returns STORE_FUTURE_REVISION if there is no such revision.
  virtual absl::Status Compact(int64_t revision) = 0;
};

}  // namespace parley::store

#endif  // PARLEY_LIB_STORE_STORE_H_
