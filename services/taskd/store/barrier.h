// Finds out up to which revision a view must have followed to show what any replica has committed so far.
//
// A follower hears of changes in its range alone, so it cannot tell that nothing has changed. A barrier is an entry in
// the range that is put anew; a follower that has seen it has seen everything before it.
//
// Threads: all methods may be called from any thread; they block on the store.
#ifndef PARLEY_SERVICES_TASKD_STORE_BARRIER_H_
#define PARLEY_SERVICES_TASKD_STORE_BARRIER_H_

#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lib/base/mutex.h"
#include "lib/store/replicas.h"
#include "lib/store/store.h"

namespace parley::taskd {

class Barrier {
 public:
  // Both must outlive this.
  Barrier(store::Store* store, const store::Replicas* replicas) : store_(store), replicas_(replicas) {}

  // Returns the revision of a commit in the range of all tasks that began after the call. Callers that wait at the same
  // time share it. Returns UNAVAILABLE (REPLICA_CUT_OFF) without a lease; the errors of the store.
  absl::StatusOr<int64_t> Pass();

 private:
  absl::StatusOr<int64_t> Put() const;

  store::Store* const store_;
  const store::Replicas* const replicas_;
  Mutex mutex_;
  CondVar moved_;
  bool busy_ ABSL_GUARDED_BY(mutex_) = false;
  // The number of commits that have begun and ended. The last result is that of the commit that ended last.
  int64_t begun_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t ended_ ABSL_GUARDED_BY(mutex_) = 0;
  absl::StatusOr<int64_t> last_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace parley::taskd

#endif  // PARLEY_SERVICES_TASKD_STORE_BARRIER_H_
