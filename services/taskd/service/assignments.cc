#include "services/taskd/service/assignments.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "services/taskd/domain/task.h"
#include "services/taskd/domain/validation.h"

namespace parley::taskd {
namespace {

using task::v1::Task;

constexpr size_t kStreamsPerSlice = 64;

}  // namespace

AssignmentStream::AssignmentStream(Assignments* assignments, rpc::Flow flow,
                                   const task::v1::WatchAssignmentsRequest& request)
    : assignments_(assignments), flow_(flow), request_(request) {}

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

void Assignments::Add(const Stream& stream) {
  streams_->Add(stream);
  {
    MutexLock lock(&mutex_);
    for (const auto& [key, value] : stream->labels()) by_label_[{key, value}][stream.get()] = stream;
  }
  // After it is registered, so that none opens unseen in between.
  workers_->Run(stream->flow(), [this, stream] {
    for (const TaskSnapshot& task : board_->Tasks()) stream->Offer(task);
  });
}

void Assignments::Remove(const AssignmentStream* stream) {
  streams_->Remove(stream);
  MutexLock lock(&mutex_);
  for (const auto& [key, value] : stream->labels()) {
    const auto place = by_label_.find({key, value});
    if (place == by_label_.end()) continue;
    place->second.erase(stream);
    if (place->second.empty()) by_label_.erase(place);
  }
}

std::vector<Assignments::Stream> Assignments::FindFor(const Task& task) const {
  MutexLock lock(&mutex_);
  using Places = std::vector<const Streams*>;
  const auto size = [](const Places& places) {
    size_t sum = 0;
    for (const Streams* const streams : places) sum += streams->size();
    return sum;
  };
  std::vector<Places> choices;
  const auto add = [&](const std::string& key, const std::string& value) ABSL_NO_THREAD_SAFETY_ANALYSIS {
    const auto place = by_label_.find({key, value});
    if (place != by_label_.end()) choices.back().push_back(&place->second);
  };
  for (const auto& [key, value] : task.selector()) {
    choices.emplace_back();
    add(key, value);
  }
  for (const auto& [key, any] : task.selector_any()) {
    choices.emplace_back();
    for (const std::string& value : any.values()) add(key, value);
  }
  std::vector<Stream> found;
  const auto fewest = std::min_element(choices.begin(), choices.end(), [&](const Places& left, const Places& right) {
    return size(left) < size(right);
  });
  if (fewest == choices.end()) return found;
  for (const Streams* const streams : *fewest) {
    for (const auto& [key, stream] : *streams) found.push_back(stream);
  }
  return found;
}

void Assignments::Offer(const TaskSnapshot& task) {
  const Task& record = task->value.task();
  if (record.state() != Task::STATE_OPEN || (record.selector().empty() && record.selector_any().empty())) return;
  workers_->Run(
      [this, task] { OfferTo(task, std::make_shared<const std::vector<Stream>>(FindFor(task->value.task())), 0); });
}

void Assignments::OfferTo(const TaskSnapshot& task, const std::shared_ptr<const std::vector<Stream>>& streams,
                          size_t first) {
  const size_t end = std::min(streams->size(), first + kStreamsPerSlice);
  for (size_t i = first; i < end; ++i) (*streams)[i]->Offer(task);
  if (end == streams->size()) return;
  workers_->Run([this, task, streams, end] { OfferTo(task, streams, end); });
}

}  // namespace parley::taskd
