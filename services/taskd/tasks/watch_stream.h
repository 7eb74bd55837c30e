// Sends a task and its clients in their present state, and then every change: the stream behind TaskService.WatchTask.
//
// A change that is overtaken by another of the same client before it could be sent is not sent: what is kept for a slow
// watcher is bounded by the number of clients. The cursor of a message is the store's revision up to which everything
// has been sent.
//
// Threads: gRPC calls the reactor on any thread; OutStream's methods may be called from any thread.
#ifndef PARLEY_SERVICES_TASKD_TASKS_WATCH_STREAM_H_
#define PARLEY_SERVICES_TASKD_TASKS_WATCH_STREAM_H_

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "lib/rpc/out_stream.h"
#include "parley/task/v1/task_service.pb.h"
#include "services/taskd/participants/parts.h"
#include "services/taskd/tasks/tasks.h"

namespace parley::taskd {

class WatchStream final
    : public rpc::OutStream<grpc::ServerWriteReactor<task::v1::WatchTaskResponse>, task::v1::WatchTaskResponse>,
      public rpc::LiveStream {
 public:
  // `parts` and `tasks` must outlive this.
  WatchStream(const TaskdParts* parts, const Tasks* tasks, rpc::Flow flow, const task::v1::WatchTaskRequest& request);

  void Begin();
  void End(const absl::Status& status) override { Close(status); }

 private:
  void OnSent() override;
  void OnClosed() override;
  std::shared_ptr<WatchStream> self() { return std::static_pointer_cast<WatchStream>(shared_from_this()); }

  // Runs on a thread of the store.
  void OnChanges(absl::StatusOr<std::vector<store::Change>> changes, int64_t revision);

  // These run on the strand.
  absl::Status Start();
  absl::Status SendSnapshotPage();
  // Sends the message, and then what follows its cursor, or nothing more if the task is settled.
  absl::Status SendAndWatch(task::v1::WatchTaskResponse message, bool settled);
  void Continue();
  absl::Status SendChanges();
  absl::Status ShowTask(task::v1::WatchTaskResponse* response);

  const TaskdParts* const parts_;
  const Tasks* const tasks_;
  const task::v1::WatchTaskRequest request_;
  rpc::Strand strand_;

  // This belongs to the strand.
  std::string task_;
  bool closed_ = false;
  // The revision that the present state is read at, and where that goes on, while it is being sent.
  int64_t snapshot_ = 0;
  store::KeyRange snapshot_rest_;
  int64_t cursor_ = 0;
  std::unique_ptr<store::Watch> watch_;

  Mutex changes_mutex_;
  // The newest change of each client that is yet to be sent, and what they bring the cursor to.
  std::map<std::string, std::string> changed_ ABSL_GUARDED_BY(changes_mutex_);
  bool task_changed_ ABSL_GUARDED_BY(changes_mutex_) = false;
  bool settled_ ABSL_GUARDED_BY(changes_mutex_) = false;
  int64_t reached_ ABSL_GUARDED_BY(changes_mutex_) = 0;
  absl::Status broken_ ABSL_GUARDED_BY(changes_mutex_);
  bool scheduled_ ABSL_GUARDED_BY(changes_mutex_) = false;
};

}  // namespace parley::taskd

#endif  // PARLEY_SERVICES_TASKD_TASKS_WATCH_STREAM_H_
