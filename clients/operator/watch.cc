#include "clients/operator/watch.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "absl/time/clock.h"
#include "lib/base/error.h"
#include "lib/base/may_pass.h"

namespace parley::ops {

using task::v1::Task;
using task::v1::TaskService;

namespace {

constexpr absl::Duration kFirstPause = absl::Milliseconds(50);
constexpr absl::Duration kLongestPause = absl::Seconds(1);

}  // namespace

TaskWatch::TaskWatch(const Connection* server, std::string task)
    : server_(server), stub_(TaskService::NewStub(server->channel())), pauses_(kFirstPause, kLongestPause) {
  request_.set_name(std::move(task));
}

void TaskWatch::Stop() {
  MutexLock lock(&mutex_);
  stopped_ = true;
  stop_.NotifyAll();
  if (context_ != nullptr) context_->TryCancel();
}

bool TaskWatch::stopped() {
  MutexLock lock(&mutex_);
  return stopped_;
}

void TaskWatch::SetContext(grpc::ClientContext* context) {
  MutexLock lock(&mutex_);
  context_ = context;
  if (stopped_ && context != nullptr) context->TryCancel();
}

absl::StatusOr<Task> TaskWatch::Run(const WatchCallbacks& callbacks, absl::Time deadline) {
  while (true) {
    const grpc::Status status = RunOnce(callbacks, deadline);
    if (status.ok() || stands_still_ || stopped() || absl::Now() >= deadline) return task_;
    const absl::Status why = server_->Explain(status);
    // The server no longer keeps what came after the cursor, as after a restore: it shows the present again.
    if (absl::IsOutOfRange(why) && request_.cursor() != 0) {
      request_.set_cursor(0);
      continue;
    }
    // Only what was once there, and may be there again, is waited for.
    if (!MayPass(why) || !was_there_) return why;
    if (callbacks.on_away && std::exchange(told_, std::string(why.message())) != why.message()) callbacks.on_away(why);
    WaitForConnection(pauses_.Next(), deadline);
    if (stopped() || absl::Now() >= deadline) return task_;
  }
}

grpc::Status TaskWatch::RunOnce(const WatchCallbacks& callbacks, absl::Time deadline) {
  grpc::ClientContext context;
  // Past the deadline by any clock.
  if (deadline != absl::InfiniteFuture()) context.set_deadline(absl::ToChronoTime(deadline + absl::Milliseconds(10)));
  const auto events = stub_->WatchTask(&context, request_);
  SetContext(&context);
  task::v1::WatchTaskResponse event;
  while (events->Read(&event)) {
    told_.clear();
    pauses_.Reset();
    request_.set_cursor(event.cursor());
    was_there_ = was_there_ || event.cursor() != 0;
    if (event.has_task()) task_ = event.task();
    callbacks.on_event(event);
    // A cursor comes with the last of the messages that show the present.
    stands_still_ = task_.state() == Task::STATE_HALTED && task_.counts().working() == 0 &&
                    task_.counts().lost() == 0 && event.cursor() != 0;
    if (stands_still_) context.TryCancel();
  }
  const grpc::Status status = events->Finish();
  SetContext(nullptr);
  return status;
}

// First a pause, since the connection to a server that is being stopped may stand for a moment longer. Then it waits
// for the channel, not for a time; a second at a time, so that Stop is heard.
void TaskWatch::WaitForConnection(absl::Duration pause, absl::Time deadline) {
  const absl::Time end = std::min(absl::Now() + pause, deadline);
  {
    MutexLock lock(&mutex_);
    while (!stopped_ && absl::Now() < end) stop_.WaitUntil(&mutex_, end);
  }
  for (int i = 0; i < 30 && !stopped() && absl::Now() < deadline; ++i) {
    if (server_->channel()->WaitForConnected(std::chrono::system_clock::now() + std::chrono::seconds(1))) return;
  }
}

}  // namespace parley::ops
