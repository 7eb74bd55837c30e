#include "services/taskd/store/barrier.h"

#include <utility>

#include "lib/base/error.h"
#include "services/taskd/store/keys.h"

namespace parley::taskd {

absl::StatusOr<int64_t> Barrier::Pass() {
  MutexLock lock(&mutex_);
  // The commit that is under way may have been made before the call.
  const int64_t wanted = begun_ + 1;
  while (ended_ < wanted) {
    if (busy_) {
      moved_.Wait(&mutex_);
      continue;
    }
    busy_ = true;
    ++begun_;
    mutex_.Unlock();
    absl::StatusOr<int64_t> result = Put();
    mutex_.Lock();
    last_ = std::move(result);
    ended_ = begun_;
    busy_ = false;
    moved_.NotifyAll();
  }
  return last_;
}

absl::StatusOr<int64_t> Barrier::Put() const {
  const store::LeaseId lease = replicas_->lease();
  if (lease == 0) return Unavailable("REPLICA_CUT_OFF", "this server holds no lease of its store; ask another one");
  return store_->Commit(store::Transaction().Set(BarrierKey(replicas_->name()), "", lease));
}

}  // namespace parley::taskd
