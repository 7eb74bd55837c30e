// The watches of a store in etcd: a stream each, resumed at another member when it breaks.
//
// A watch knows the revision that it has reached and begins each stream behind it. Before a stream is resumed, a
// linearizable read shows whether that revision still exists: etcd would wait for one of the future in silence. Only
// changes advance the revision: etcd's reports of progress may come before changes that they include.
//
// A member whose disk stands still is alive, answers pings and believes that it has a leader, but its streams are
// silent for as long. So a linearizable read every few seconds shows whether the current member serves, and streams at
// others than the current one are resumed there.
//
// A stream's next message is read when the callback has had the one before, so a slow callback holds back its own
// stream and never more than a message and a revision in memory.
//
// Threads: all methods may be called from any thread. Callbacks run on one thread of this object.
#ifndef PARLEY_LIB_STORE_ETCD_ETCD_WATCHES_H_
#define PARLEY_LIB_STORE_ETCD_ETCD_WATCHES_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <thread>

#include "lib/base/clock.h"
#include "lib/base/mutex.h"
#include "lib/base/timer_queue.h"
#include "lib/store/etcd/etcd_cluster.h"
#include "lib/store/etcd/key_space.h"
#include "lib/store/store.h"

namespace parley::store {

class EtcdWatches : public std::enable_shared_from_this<EtcdWatches> {
 public:
  // `cluster` must live until Stop has returned.
  EtcdWatches(EtcdCluster* cluster, const KeySpace& keys);

  // Begins a watch of the changes after `revision`, which exists. Must not be called after Stop.
  std::unique_ptr<Watch> Add(const KeyRange& range, int64_t revision, Store::WatchCallback callback);
  // Ends all streams, and waits for a callback that is running. None runs afterwards.
  void Stop();

 private:
  class Line;
  class Stream;
  class Probe;
  class Handle;

  // Runs `step` on the queue's thread after a time that nobody's setting of a clock changes.
  void After(absl::Duration pause, std::function<void()> step);
  // Asks the current member whether it serves, again and again until Stop.
  void CheckCurrent();
  void OnChecked(EtcdMember* member, const std::shared_ptr<grpc::ClientContext>& context, const grpc::Status& status);

  EtcdCluster* const cluster_;
  const KeySpace keys_;

  Mutex mutex_;
  CondVar changed_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  bool checking_ ABSL_GUARDED_BY(mutex_) = false;
  // Calls that gRPC has not ended yet; for streams with their member.
  std::map<std::shared_ptr<grpc::ClientContext>, const EtcdMember*> calls_ ABSL_GUARDED_BY(mutex_);
  // The watch whose callback is running, and on which thread.
  const Line* running_ ABSL_GUARDED_BY(mutex_) = nullptr;
  std::thread::id thread_ ABSL_GUARDED_BY(mutex_);

  // Everything that a line does happens on its thread, in order.
  TimerQueue queue_;
};

}  // namespace parley::store

#endif  // PARLEY_LIB_STORE_ETCD_ETCD_WATCHES_H_
