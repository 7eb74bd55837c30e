// Tells devices which tasks are theirs: the streams behind ParticipationService.WatchAssignments.
//
// Devices that wait are found by their labels, so that a task costs what it concerns. Those that a task is for are told
// on workers, some at a time, so that nobody else waits for it.
//
// Threads: all methods may be called from any thread and do not block.
#ifndef PARLEY_SERVICES_TASKD_SERVICE_ASSIGNMENTS_H_
#define PARLEY_SERVICES_TASKD_SERVICE_ASSIGNMENTS_H_

#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "lib/base/mutex.h"
#include "lib/rpc/out_stream.h"
#include "lib/rpc/worker_pool.h"
#include "parley/task/v1/participation_service.pb.h"
#include "services/taskd/service/board.h"
#include "services/taskd/service/sessions.h"

namespace parley::taskd {

class Assignments;

class AssignmentStream final : public rpc::OutStream<grpc::ServerWriteReactor<task::v1::WatchAssignmentsResponse>,
                                                     task::v1::WatchAssignmentsResponse>,
                               public rpc::LiveStream {
 public:
  // `assignments` must outlive this.
  AssignmentStream(Assignments* assignments, rpc::Flow flow, const task::v1::WatchAssignmentsRequest& request);

  void Begin();
  void End(const absl::Status& status) override { Close(status); }
  // Sends the task when it is open and the device's, once.
  void Offer(const TaskSnapshot& task);

  rpc::Flow flow() const { return flow_; }
  const google::protobuf::Map<std::string, std::string>& labels() const { return request_.labels(); }

 private:
  void OnClosed() override;

  Assignments* const assignments_;
  const rpc::Flow flow_;
  const task::v1::WatchAssignmentsRequest request_;
  Mutex mutex_;
  std::set<std::string> offered_ ABSL_GUARDED_BY(mutex_);
};

class Assignments {
 public:
  // All must outlive this, and this must outlive the work of `workers`.
  Assignments(const Board* board, rpc::LiveStreams* streams, rpc::WorkerPool* workers)
      : board_(board), streams_(streams), workers_(workers) {}

  // A task has changed.
  void Offer(const TaskSnapshot& task);

 private:
  friend class AssignmentStream;
  using Stream = std::shared_ptr<AssignmentStream>;
  using Streams = std::map<const AssignmentStream*, Stream>;
  using Label = std::pair<std::string, std::string>;

  void Add(const Stream& stream);
  void Remove(const AssignmentStream* stream);
  // Those with one of the labels that the task asks for: all that it may be for, and some more.
  std::vector<Stream> FindFor(const task::v1::Task& task) const;
  // The first slice, and then, in turns of their own, the others.
  void OfferTo(const TaskSnapshot& task, const std::shared_ptr<const std::vector<Stream>>& streams, size_t first);

  const Board* const board_;
  rpc::LiveStreams* const streams_;
  rpc::WorkerPool* const workers_;
  mutable Mutex mutex_;
  std::map<Label, Streams> by_label_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace parley::taskd

#endif  // PARLEY_SERVICES_TASKD_SERVICE_ASSIGNMENTS_H_
