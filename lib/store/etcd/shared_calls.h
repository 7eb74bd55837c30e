// Sends what several threads ask of an etcd at the same time as one call: while a call is under way, what comes waits,
// and goes with the next one.
//
// A request is a read of one key or a transaction. Reads go together as they are. Transactions become parts of one:
// etcd looks at the conditions of all parts before it makes any change, so parts that go together name no key that
// another one of them changes. What etcd refuses as a whole goes once more, each request by itself, and gets an answer
// of its own.
//
// Threads: Run may be called from any thread, and blocks; the call is made by one of those that wait.
#ifndef PARLEY_LIB_STORE_ETCD_SHARED_CALLS_H_
#define PARLEY_LIB_STORE_ETCD_SHARED_CALLS_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "lib/base/mutex.h"
#include "third_party/etcd/rpc.pb.h"

namespace parley::store {

class SharedCalls {
 public:
  // Makes one call. Returns UNAVAILABLE if it may have had an effect, and another error if it had none.
  using Send = std::function<absl::StatusOr<etcdserverpb::TxnResponse>(const etcdserverpb::TxnRequest& request)>;

  struct Answer {
    // Has a range for a read and a transaction for a transaction.
    etcdserverpb::ResponseOp response;
    // The store's revision at which it was given.
    int64_t revision = 0;
  };

  explicit SharedCalls(Send send) : send_(std::move(send)) {}

  // Returns the answer to a range of one key or to a transaction, or the error of Send. All requests of one object must
  // be of one kind.
  absl::StatusOr<Answer> Run(etcdserverpb::RequestOp request);

  // Returns how many requests wait for the call that is under way.
  size_t waiting() const {
    MutexLock lock(&mutex_);
    return queue_.size();
  }

 private:
  struct Waiting;
  using Group = std::vector<std::shared_ptr<Waiting>>;

  // One for each of a group, in its order. None: it is to be asked by itself.
  using Answers = std::vector<std::optional<absl::StatusOr<Answer>>>;

  Group TakeGroup() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Answers SendGroup(const Group& group) const;
  // Hands out the answers. Returns those that are to be woken: who has one, and the first of those that wait.
  Group Finish(const Group& group, Answers answers) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Send send_;
  mutable Mutex mutex_;
  bool under_way_ ABSL_GUARDED_BY(mutex_) = false;
  std::deque<std::shared_ptr<Waiting>> queue_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace parley::store

#endif  // PARLEY_LIB_STORE_ETCD_SHARED_CALLS_H_
