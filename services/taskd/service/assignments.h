// Tells devices which tasks are theirs: the streams behind ParticipationService.WatchAssignments.
//
// Threads: all methods may be called from any thread and do not block.
#ifndef PARLEY_SERVICES_TASKD_SERVICE_ASSIGNMENTS_H_
#define PARLEY_SERVICES_TASKD_SERVICE_ASSIGNMENTS_H_

#include <map>
#include <memory>
#include <set>
#include <string>

#include "lib/base/mutex.h"
#include "lib/rpc/out_stream.h"
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
  AssignmentStream(Assignments* assignments, const task::v1::WatchAssignmentsRequest& request);

  void Begin();
  void End(const absl::Status& status) override { Close(status); }
  // Sends the task when it is open and the device's, once.
  void Offer(const TaskSnapshot& task);

 private:
  void OnClosed() override;

  Assignments* const assignments_;
  const task::v1::WatchAssignmentsRequest request_;
  Mutex mutex_;
  std::set<std::string> offered_ ABSL_GUARDED_BY(mutex_);
};

class Assignments {
 public:
  // Both must outlive this.
  Assignments(const Board* board, rpc::LiveStreams* streams) : board_(board), streams_(streams) {}

  // A task has changed.
  void Offer(const TaskSnapshot& task);

 private:
  friend class AssignmentStream;
  void Add(std::shared_ptr<AssignmentStream> stream);
  void Remove(const AssignmentStream* stream);

  const Board* const board_;
  rpc::LiveStreams* const streams_;
  Mutex mutex_;
  std::map<const AssignmentStream*, std::shared_ptr<AssignmentStream>> watching_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace parley::taskd

#endif  // PARLEY_SERVICES_TASKD_SERVICE_ASSIGNMENTS_H_
