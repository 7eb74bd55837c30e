#include "lib/store/replicas.h"

#include <algorithm>
#include <optional>
#include <random>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "lib/base/backoff.h"
#include "lib/base/error.h"
#include "lib/base/log.h"
#include "lib/store/update.h"

namespace parley::store {
namespace {

// The store's lease is longer than the one that this process counts, as no two clocks run alike.
constexpr double kDrift = 1.05;
constexpr absl::Duration kFirstPause = absl::Milliseconds(50);

struct Replica {
  int64_t followed = 0;
  LeaseId lease = 0;
};

std::string Format(const Replica& replica) { return absl::StrCat(replica.followed, " ", replica.lease); }

absl::StatusOr<Replica> Parse(absl::string_view key, absl::string_view value) {
  Replica replica;
  const std::vector<absl::string_view> parts = absl::StrSplit(value, ' ');
  if (parts.size() == 2 && absl::SimpleAtoi(parts[0], &replica.followed) &&
      absl::SimpleAtoi(parts[1], &replica.lease)) {
    return replica;
  }
  return DataLoss("STORE_DAMAGED", "the store's entry ", key, " cannot be read; restore it from a backup");
}

std::string NewName(const std::string& service) {
  std::random_device random;
  std::string name = absl::StrCat(service, "/");
  for (int i = 0; i < 4; ++i) absl::StrAppend(&name, absl::Hex(random(), absl::kZeroPad8));
  return name;
}

// Those that have not followed far enough yet.
class Behind {
 public:
  Behind(std::string prefix, int64_t revision) : prefix_(std::move(prefix)), revision_(revision) {}

  absl::Status Start(Store* store) {
    ASSIGN_OR_RETURN(const Page page, store->List(KeyRange::Prefix(prefix_)));
    {
      MutexLock lock(&mutex_);
      for (const Entry& entry : page.entries) {
        // Whoever came later reads everything up to then before acting.
        if (entry.create_revision > revision_) continue;
        ASSIGN_OR_RETURN(const Replica replica, Parse(entry.key, entry.value));
        if (replica.followed < revision_) names_.insert(entry.key);
      }
      if (names_.empty()) return absl::OkStatus();
    }
    ASSIGN_OR_RETURN(watch_, store->WatchRange(KeyRange::Prefix(prefix_), page.revision,
                                               [this](auto changes, int64_t) { OnChanges(std::move(changes)); }));
    return absl::OkStatus();
  }

  absl::Status Wait(absl::Duration timeout) {
    const absl::Duration deadline = TimeSinceBoot() + timeout;
    MutexLock lock(&mutex_);
    while (!names_.empty() && broken_.ok()) {
      const absl::Duration left = deadline - TimeSinceBoot();
      if (left <= absl::ZeroDuration()) return Late();
      changed_.WaitFor(&mutex_, left);
    }
    return broken_;
  }

 private:
  void OnChanges(absl::StatusOr<std::vector<Change>> changes) {
    MutexLock lock(&mutex_);
    if (changes.ok()) {
      for (const Change& change : *changes) {
        if (change.value.has_value()) {
          const absl::StatusOr<Replica> replica = Parse(change.key, *change.value);
          if (!replica.ok()) broken_ = replica.status();
          if (!replica.ok() || replica->followed < revision_) continue;
        }
        names_.erase(change.key);
      }
    } else {
      broken_ = changes.status();
    }
    changed_.NotifyAll();
  }

  absl::Status Late() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const std::string names = absl::StrJoin(names_, ", ", [this](std::string* text, absl::string_view key) {
      absl::StrAppend(text, absl::StripPrefix(key, prefix_));
    });
    return Error(absl::StatusCode::kUnavailable, "REPLICAS_BEHIND",
                 absl::StrCat("it is stored, but not in force everywhere yet: ", names,
                              " may not know it before the end of the lease; ask again"));
  }

  const std::string prefix_;
  const int64_t revision_;
  Mutex mutex_;
  CondVar changed_;
  std::set<std::string> names_ ABSL_GUARDED_BY(mutex_);
  absl::Status broken_ ABSL_GUARDED_BY(mutex_);
  // Ends first.
  std::unique_ptr<Watch> watch_;
};

}  // namespace

absl::Status Replicas::Await(Store* store, const std::string& prefix, int64_t revision, absl::Duration timeout) {
  Behind behind(prefix, revision);
  RETURN_IF_ERROR(behind.Start(store));
  return behind.Wait(timeout);
}

absl::StatusOr<int64_t> Replicas::Keep(Store* store, const std::string& key, absl::Duration ttl, int64_t followed) {
  int64_t made = 0;
  ASSIGN_OR_RETURN(
      const int64_t committed, Update(store, key, [&](int) -> absl::StatusOr<std::optional<Transaction>> {
        made = 0;
        const absl::StatusOr<Entry> entry = store->Get(key);
        if (!entry.ok() && !absl::IsNotFound(entry.status())) return entry.status();
        if (entry.ok()) {
          ASSIGN_OR_RETURN(const Replica before, Parse(key, entry->value));
          const absl::Status kept = store->KeepLeaseAlive(before.lease);
          if (!kept.ok() && !absl::IsNotFound(kept)) return kept;
          if (kept.ok()) {
            made = entry->create_revision;
            if (followed <= before.followed) return std::nullopt;
            return Transaction().IfUnchanged(*entry).Set(key, Format({followed, before.lease}), before.lease);
          }
        }
        ASSIGN_OR_RETURN(const LeaseId lease, store->GrantLease(ttl * kDrift));
        // What is there without a lease is about to go.
        return Transaction().IfAbsent(key).Set(key, Format({0, lease}), lease);
      }));
  return made > 0 ? made : committed;
}

absl::StatusOr<std::string> Replicas::UnderLease(absl::string_view key, absl::string_view value, LeaseId lease) {
  ASSIGN_OR_RETURN(Replica replica, Parse(key, value));
  replica.lease = lease;
  return Format(replica);
}

Replicas::Replicas(Options options)
    : options_(std::move(options)), name_(NewName(options_.service)), key_(options_.prefix + name_) {}

absl::Status Replicas::Join() {
  RETURN_IF_ERROR(TryJoin());
  renewing_ = std::thread([this] { RunRenewing(); });
  noticing_ = std::thread([this] { RunNoticing(); });
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Replicas>> Replicas::Join(Options options) {
  auto replicas = std::make_unique<Replicas>(std::move(options));
  RETURN_IF_ERROR(replicas->Join());
  return replicas;
}

Replicas::~Replicas() {
  {
    MutexLock lock(&mutex_);
    stopping_ = true;
    changed_.NotifyAll();
  }
  if (renewing_.joinable()) renewing_.join();
  if (noticing_.joinable()) noticing_.join();
  const LeaseId lease = this->lease();
  if (lease == 0) return;
  const absl::Status left = options_.store->RevokeLease(lease);
  if (!left.ok() && !absl::IsNotFound(left)) {
    LogWarning("this process could not say that it ends, so others may wait for it",
               {{"error", std::string(left.message())}});
  }
}

LeaseId Replicas::lease() const {
  MutexLock lock(&mutex_);
  return lease_;
}

absl::Status Replicas::CheckHeld() const {
  MutexLock lock(&mutex_);
  if (lease_ != 0 && options_.steady() < held_until_) return absl::OkStatus();
  return Error(absl::StatusCode::kUnavailable, "REPLICA_CUT_OFF",
               "this server has lost its store for too long to know who was revoked since; it goes on when the store "
               "answers");
}

void Replicas::Followed(int64_t revision) {
  MutexLock lock(&mutex_);
  if (revision <= followed_) return;
  followed_ = revision;
  changed_.NotifyAll();
}

void Replicas::SetHeld(LeaseId lease, absl::Duration until) {
  MutexLock telling(&telling_);
  {
    MutexLock lock(&mutex_);
    if (lease_ == lease) return;
    lease_ = lease;
    held_until_ = until;
    changed_.NotifyAll();
  }
  if (options_.on_change) options_.on_change(lease != 0);
}

absl::Status Replicas::TryJoin() {
  const absl::Duration asked = options_.steady();
  ASSIGN_OR_RETURN(const LeaseId lease, options_.store->GrantLease(options_.ttl * kDrift));
  ASSIGN_OR_RETURN(const int64_t joined, options_.store->Commit(Transaction().Set(key_, Format({0, lease}), lease)));
  if (options_.read_anew) RETURN_IF_ERROR(options_.read_anew());
  stored_ = 0;
  Followed(joined);
  SetHeld(lease, asked + options_.ttl);
  return absl::OkStatus();
}

absl::Status Replicas::Renew(LeaseId lease, int64_t followed) {
  const absl::Duration asked = options_.steady();
  RETURN_IF_ERROR(options_.store->KeepLeaseAlive(lease));
  if (followed > stored_) {
    RETURN_IF_ERROR(options_.store->Commit(Transaction().Set(key_, Format({followed, lease}), lease)).status());
    stored_ = followed;
  }
  MutexLock lock(&mutex_);
  // It may have been given up meanwhile.
  if (lease_ == lease) held_until_ = asked + options_.ttl;
  return absl::OkStatus();
}

void Replicas::RunRenewing() {
  Backoff pauses(kFirstPause, options_.ttl / 6);
  absl::Duration next = options_.steady() + options_.ttl / 3;
  while (true) {
    LeaseId lease = 0;
    int64_t followed = 0;
    {
      MutexLock lock(&mutex_);
      while (!stopping_ && lease_ != 0 && followed_ <= stored_ && options_.steady() < next) {
        changed_.WaitFor(&mutex_, next - options_.steady());
      }
      if (stopping_) return;
      lease = lease_;
      followed = followed_;
    }
    const absl::Status status = lease == 0 ? TryJoin() : Renew(lease, followed);
    next = options_.steady() + options_.ttl / 3;
    if (status.ok()) {
      pauses.Reset();
      continue;
    }
    if (lease != 0 && absl::IsNotFound(status)) SetHeld(0, absl::ZeroDuration());
    LogWarning("this process cannot renew its lease in the store", {{"error", std::string(status.message())}});
    MutexLock lock(&mutex_);
    const absl::Duration again = options_.steady() + pauses.Next();
    while (!stopping_ && options_.steady() < again) changed_.WaitFor(&mutex_, again - options_.steady());
  }
}

void Replicas::RunNoticing() {
  while (true) {
    {
      MutexLock lock(&mutex_);
      while (!stopping_ && (lease_ == 0 || options_.steady() < held_until_)) {
        const absl::Duration left = held_until_ - options_.steady();
        changed_.WaitFor(&mutex_, lease_ == 0 ? absl::InfiniteDuration() : left);
      }
      if (stopping_) return;
    }
    LogError("this process has lost its lease in the store, and admits nobody until it has another one");
    SetHeld(0, absl::ZeroDuration());
  }
}

}  // namespace parley::store
