// Follows a task until it has ended, over reconnections, without missing a change.
//
//   TaskWatch watch(server.get(), "tasks/nginx-tls-7k3q");
//   ASSIGN_OR_RETURN(const task::v1::Task task, watch.Run({[](const auto& event) { … }}));
//
// Threads: one thread calls Run, once; Stop may be called from any.
#ifndef PARLEY_CLIENTS_OPERATOR_WATCH_H_
#define PARLEY_CLIENTS_OPERATOR_WATCH_H_

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "clients/operator/connection.h"
#include "lib/base/backoff.h"
#include "lib/base/mutex.h"
#include "parley/task/v1/task_service.grpc.pb.h"

namespace parley::ops {

// What a watch calls, on the thread of Run.
struct WatchCallbacks {
  // Hears of each change; the first events show the present state.
  std::function<void(const task::v1::WatchTaskResponse&)> on_event;
  // Hears that the server is away, and why, once for each cause; the next event shows that it is back. May be null.
  std::function<void(const absl::Status& why)> on_away;
};

class TaskWatch {
 public:
  // `server` leads to taskd, and must outlive the watch.
  TaskWatch(const Connection* server, std::string task);

  // Returns the task as it was last told, once it has ended, or was halted and no client works on it any more, or Stop
  // was called, or the deadline has come: its state says which. The task is empty if nothing was told yet. A server
  // that was there and is away is waited for, without an end; it may come back as another replica. Returns the errors
  // of Connection::Explain, once the server was there only those that do not pass (MayPass in lib/base/may_pass.h).
  absl::StatusOr<task::v1::Task> Run(const WatchCallbacks& callbacks, absl::Time deadline = absl::InfiniteFuture());

  // Ends Run, now or as soon as it is called.
  void Stop();

 private:
  bool stopped();
  void SetContext(grpc::ClientContext* context);
  grpc::Status RunOnce(const WatchCallbacks& callbacks, absl::Time deadline);
  void WaitForConnection(absl::Duration pause, absl::Time deadline);

  const Connection* const server_;
  const std::unique_ptr<task::v1::TaskService::Stub> stub_;
  task::v1::WatchTaskRequest request_;
  task::v1::Task task_;
  bool stands_still_ = false;
  // The task was shown once. The cursor is 0 again while it is shown anew.
  bool was_there_ = false;
  // What on_away was told since the last event.
  std::string told_;
  Backoff pauses_;
  Mutex mutex_;
  CondVar stop_;
  // The call that Stop cancels, wherever it stands.
  grpc::ClientContext* context_ ABSL_GUARDED_BY(mutex_) = nullptr;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace parley::ops

#endif  // PARLEY_CLIENTS_OPERATOR_WATCH_H_
