#include "services/taskd/service/assignments.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "services/taskd/domain/task.h"
#include "services/taskd/domain/validation.h"

namespace parley::taskd {

using task::v1::Task;

AssignmentStream::AssignmentStream(Assignments* assignments, const task::v1::WatchAssignmentsRequest& request)
    : assignments_(assignments), request_(request) {}

void AssignmentStream::Begin() {
  if (const absl::Status status = ValidateLabels(request_.labels()); !status.ok()) return Close(status);
  assignments_->Add(std::static_pointer_cast<AssignmentStream>(shared_from_this()));
}

void AssignmentStream::Offer(const TaskSnapshot& task) {
  const Task& record = task->value.task();
  if (record.state() != Task::STATE_OPEN || !Matches(record, request_.labels())) return;
  {
    MutexLock lock(&mutex_);
    if (!offered_.insert(record.name()).second) return;
  }
  task::v1::WatchAssignmentsResponse response;
  *response.mutable_task() = record;
  response.mutable_task()->set_etag(absl::StrCat(task->revision));
  Send(std::move(response));
}

void AssignmentStream::OnClosed() { assignments_->Remove(this); }

void Assignments::Add(std::shared_ptr<AssignmentStream> stream) {
  streams_->Add(stream);
  {
    MutexLock lock(&mutex_);
    watching_[stream.get()] = stream;
  }
  // After it is registered, so that none opens unseen in between.
  for (const TaskSnapshot& task : board_->Tasks()) stream->Offer(task);
}

void Assignments::Remove(const AssignmentStream* stream) {
  streams_->Remove(stream);
  MutexLock lock(&mutex_);
  watching_.erase(stream);
}

void Assignments::Offer(const TaskSnapshot& task) {
  std::vector<std::shared_ptr<AssignmentStream>> watching;
  {
    MutexLock lock(&mutex_);
    for (const auto& [key, stream] : watching_) watching.push_back(stream);
  }
  for (const auto& stream : watching) stream->Offer(task);
}

}  // namespace parley::taskd
