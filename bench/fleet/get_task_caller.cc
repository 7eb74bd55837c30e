#include "bench/fleet/get_task_caller.h"

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <utility>

#include "absl/time/clock.h"
#include "bench/fleet/tally.h"
#include "lib/base/error.h"
#include "parley/task/v1/task_service.grpc.pb.h"

namespace parley::bench {
namespace {

constexpr double kPeriodSeconds = 0.005;

}  // namespace

struct GetTaskCaller::Call {
  std::unique_ptr<task::v1::TaskService::Stub> stub;
  grpc::ClientContext context;
  task::v1::GetTaskRequest request;
  task::v1::Task response;
};

GetTaskCaller::GetTaskCaller(Channels channels, std::string task)
    : channels_(std::move(channels)), task_(std::move(task)), thread_([this] { Run(); }) {}

GetTaskCaller::~GetTaskCaller() {
  {
    MutexLock lock(&mutex_);
    stop_ = true;
  }
  thread_.join();
  MutexLock lock(&mutex_);
  while (running_ > 0) changed_.Wait(&mutex_);
}

void GetTaskCaller::Run() {
  for (double due = Moment();; due += kPeriodSeconds) {
    absl::SleepFor(absl::Seconds(due - Moment()));
    {
      MutexLock lock(&mutex_);
      if (stop_) return;
    }
    Begin(due);
  }
}

void GetTaskCaller::Begin(double due) {
  size_t number = 0;
  {
    MutexLock lock(&mutex_);
    number = due_.size();
    due_.push_back(due);
    milliseconds_.push_back(-1);
    ++running_;
  }
  const transport::Channel& channel = *channels_[number % channels_.size()];
  auto call = std::make_shared<Call>();
  call->stub = task::v1::TaskService::NewStub(channel.grpc());
  call->request.set_name(task_);
  Call* const begun = call.get();
  begun->stub->async()->GetTask(&begun->context, &begun->request, &begun->response,
                                [this, number, call = std::move(call), &channel](const grpc::Status& status) {
                                  OnEnded(number, channel.Explain(status));
                                });
}

void GetTaskCaller::OnEnded(size_t number, absl::Status status) {
  const double now = Moment();
  MutexLock lock(&mutex_);
  milliseconds_[number] = (now - due_[number]) * 1e3;
  --running_;
  if (failure_.ok()) failure_ = std::move(status);
  changed_.NotifyAll();
}

absl::StatusOr<std::vector<double>> GetTaskCaller::Latencies(double from, double to) {
  MutexLock lock(&mutex_);
  const auto first = std::lower_bound(due_.begin(), due_.end(), from) - due_.begin();
  std::vector<double> milliseconds;
  for (size_t i = first; failure_.ok(); ++i) {
    while (failure_.ok() && (i >= due_.size() || milliseconds_[i] < 0)) changed_.Wait(&mutex_);
    if (!failure_.ok() || due_[i] > to) break;
    milliseconds.push_back(milliseconds_[i]);
  }
  RETURN_IF_ERROR(failure_);
  std::sort(milliseconds.begin(), milliseconds.end());
  return milliseconds;
}

}  // namespace parley::bench
