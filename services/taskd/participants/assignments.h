// Tells devices which tasks are theirs: the streams behind ParticipationService.WatchAssignments.
//
// Devices that wait are found by their labels and facts, so that a task costs only what it concerns. The devices that a
// task is for are told on workers, some at a time, so that nobody else waits for it.
//
// Threads: all methods may be called from any thread and do not block.
#ifndef PARLEY_SERVICES_TASKD_PARTICIPANTS_ASSIGNMENTS_H_
#define PARLEY_SERVICES_TASKD_PARTICIPANTS_ASSIGNMENTS_H_

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "lib/base/mutex.h"
#include "lib/rpc/out_stream.h"
#include "parley/task/v1/participation_service.pb.h"
#include "services/taskd/participants/parts.h"

namespace parley::taskd {

class Assignments;

class AssignmentStream final : public rpc::OutStream<grpc::ServerWriteReactor<task::v1::WatchAssignmentsResponse>,
                                                     task::v1::WatchAssignmentsResponse>,
                               public rpc::LiveStream {
 public:
  // `assignments` must outlive this.
  AssignmentStream(Assignments* assignments, const rpc::Caller& caller,
                   const task::v1::WatchAssignmentsRequest& request);

  void Begin();
  void End(const absl::Status& status) override { Close(status); }
  // Sends the task if it is open and selects the device: once, until it did not select the device in between.
  void Offer(const TaskSnapshot& task);

  const std::string& device() const { return device_; }
  rpc::Flow flow() const { return flow_; }
  const keys::Labels& facts() const { return facts_; }

 private:
  void OnClosed() override;

  Assignments* const assignments_;
  const std::string device_;
  const rpc::Flow flow_;
  const task::v1::WatchAssignmentsRequest request_;
  const keys::Labels facts_;
  Mutex mutex_;
  std::set<std::string> offered_ ABSL_GUARDED_BY(mutex_);
};

class Assignments {
 public:
  // `parts` must outlive this.
  explicit Assignments(const TaskdParts* parts) : parts_(parts) {}

  // Says that a task has changed.
  void Offer(const TaskSnapshot& task);
  // Says that the labels of a device have changed; an empty name means any device.
  void Relabelled(const std::string& device);

 private:
  friend class AssignmentStream;
  using Stream = std::shared_ptr<AssignmentStream>;
  using Streams = std::map<const AssignmentStream*, Stream>;
  // A key of a selector and a value, or nothing and the name of the device.
  using Key = std::pair<std::string, std::string>;
  struct Watching {
    Stream stream;
    std::vector<Key> keys;
  };

  void Add(const Stream& stream);
  void Remove(const AssignmentStream* stream);
  // Says once in the log that a device of an earlier version names labels, and has none.
  void NoteClaims(const std::string& device, const task::v1::WatchAssignmentsRequest& request);
  void OfferAllTo(const Stream& stream) const;
  // Puts the stream where its present labels and facts are.
  void IndexAnew(const Stream& stream);
  void Index(Watching* watching) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Unindex(const Watching& watching) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Returns the devices with one of the labels or facts that the task asks for: all that it may be for, and some more.
  std::vector<Stream> FindFor(const task::v1::Task& task) const;
  // Runs `tell` for some of the streams on a worker, and then, in turns of their own, for the others.
  void ForEach(std::shared_ptr<const std::vector<Stream>> streams, std::function<void(const Stream&)> tell,
               size_t first = 0);

  const TaskdParts* const parts_;
  mutable Mutex mutex_;
  // Devices whose claims the log has.
  std::set<std::string> noted_ ABSL_GUARDED_BY(mutex_);
  std::map<const AssignmentStream*, Watching> watching_ ABSL_GUARDED_BY(mutex_);
  std::map<Key, Streams> by_key_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace parley::taskd

#endif  // PARLEY_SERVICES_TASKD_PARTICIPANTS_ASSIGNMENTS_H_
