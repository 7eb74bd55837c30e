#include "bench/fleet/get_task_caller.h"

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <utility>

#include "absl/time/clock.h"
#include "bench/fleet/tally.h"
#include "parley/task/v1/task_service.grpc.pb.h"

namespace parley::bench {
namespace {

constexpr double kPeriodSeconds = 0.002;

}  // namespace

GetTaskCaller::GetTaskCaller(std::unique_ptr<transport::Channel> channel, std::string task)
    : channel_(std::move(channel)), task_(std::move(task)), thread_([this] { Run(); }) {}

GetTaskCaller::~GetTaskCaller() {
  {
    MutexLock lock(&mutex_);
    stop_ = true;
  }
  thread_.join();
}

void GetTaskCaller::Run() {
  const auto stub = task::v1::TaskService::NewStub(channel_->grpc());
  task::v1::GetTaskRequest request;
  request.set_name(task_);
  task::v1::Task response;
  for (double due = Moment();; due += kPeriodSeconds) {
    absl::SleepFor(absl::Seconds(due - Moment()));
    grpc::ClientContext context;
    const grpc::Status status = stub->GetTask(&context, request, &response);
    const double milliseconds = (Moment() - due) * 1e3;
    MutexLock lock(&mutex_);
    if (!status.ok()) failure_ = channel_->Explain(status);
    calls_.push_back({due, milliseconds});
    changed_.NotifyAll();
    if (stop_ || !status.ok()) return;
  }
}

absl::StatusOr<std::vector<double>> GetTaskCaller::Latencies(double from, double to) {
  MutexLock lock(&mutex_);
  while (failure_.ok() && (calls_.empty() || calls_.back().due < to)) changed_.Wait(&mutex_);
  if (!failure_.ok()) return failure_;
  std::vector<double> milliseconds;
  for (const Call& call : calls_) {
    if (call.due >= from && call.due <= to) milliseconds.push_back(call.milliseconds);
  }
  std::sort(milliseconds.begin(), milliseconds.end());
  return milliseconds;
}

}  // namespace parley::bench
