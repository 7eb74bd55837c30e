#include "services/taskd/participants/assignments.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "lib/base/log.h"
#include "lib/task/states.h"
#include "services/taskd/domain/selection.h"
#include "services/taskd/domain/validation.h"

namespace parley::taskd {
namespace {

using task::v1::Task;

constexpr size_t kStreamsPerSlice = 64;
constexpr size_t kMostNoted = 10'000;
constexpr size_t kMostShownBytes = 200;

// A device waits for its offer within the task, where operators see it and it hears why.
bool IsTold(const Task& task) { return !task::HasEnded(task.state()) && task.state() != Task::STATE_SCHEDULED; }

}  // namespace

AssignmentStream::AssignmentStream(Assignments* assignments, const rpc::Caller& caller,
                                   const task::v1::WatchAssignmentsRequest& request)
    : assignments_(assignments),
      device_(caller.subject()),
      flow_(caller.flow()),
      request_(request),
      facts_(FactsOf(request.facts(), request.labels())) {}

void AssignmentStream::Begin() {
  if (const absl::Status status = ValidateWatchAssignments(request_); !status.ok()) return Close(status);
  assignments_->NoteClaims(device_, request_);
  assignments_->Add(std::static_pointer_cast<AssignmentStream>(shared_from_this()));
}

void AssignmentStream::Offer(const TaskSnapshot& task) {
  const Task& record = task->value.task();
  {
    // Asked under the lock, so that what is noted is by the labels that were known last.
    MutexLock lock(&mutex_);
    const bool selected = Select(record, assignments_->parts_->labels->Find(device_).get(), facts_) == Selected::kYes;
    if (!selected) offered_.erase(record.name());
    if (!selected || !IsTold(record) || !offered_.insert(record.name()).second) return;
  }
  task::v1::WatchAssignmentsResponse response;
  *response.mutable_task() = record;
  response.mutable_task()->set_etag(absl::StrCat(task->revision));
  Send(std::move(response));
}

void AssignmentStream::OnClosed() { assignments_->Remove(this); }

void Assignments::Add(const Stream& stream) {
  parts_->streams->Add(stream);
  {
    MutexLock lock(&mutex_);
    Watching& watching = watching_[stream.get()];
    watching.stream = stream;
    Index(&watching);
  }
  // After it is registered, so that none opens unseen in between.
  parts_->workers->Run(stream->flow(), [this, stream] { OfferAllTo(stream); });
}

void Assignments::OfferAllTo(const Stream& stream) const {
  for (const TaskSnapshot& task : parts_->task_index->Tasks()) stream->Offer(task);
}

void Assignments::Remove(const AssignmentStream* stream) {
  parts_->streams->Remove(stream);
  MutexLock lock(&mutex_);
  const auto watching = watching_.find(stream);
  if (watching == watching_.end()) return;
  Unindex(watching->second);
  watching_.erase(watching);
}

void Assignments::Index(Watching* watching) {
  Unindex(*watching);
  const AssignmentStream& stream = *watching->stream;
  watching->keys = {{"", stream.device()}};
  for (const auto& [key, value] : stream.facts())
    watching->keys.emplace_back(absl::StrCat(keys::kFactPrefix, key), value);
  if (const auto labels = parts_->labels->Find(stream.device())) {
    for (const auto& [key, value] : *labels) watching->keys.emplace_back(key, value);
  }
  for (const Key& key : watching->keys) by_key_[key][&stream] = watching->stream;
}

void Assignments::Unindex(const Watching& watching) {
  for (const Key& key : watching.keys) {
    const auto place = by_key_.find(key);
    place->second.erase(watching.stream.get());
    if (place->second.empty()) by_key_.erase(place);
  }
}

void Assignments::NoteClaims(const std::string& device, const task::v1::WatchAssignmentsRequest& request) {
  const auto labels = parts_->labels->Find(device);
  if (request.labels().empty() || labels == nullptr || !labels->empty()) return;
  {
    MutexLock lock(&mutex_);
    if (noted_.size() >= kMostNoted || !noted_.insert(device).second) return;
  }
  LogWarning("a device names labels, which count as facts, and operators have set none; set them with parley key label",
             {{"device", device}, {"named", keys::ShowLabels(request.labels()).substr(0, kMostShownBytes)}});
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
    const auto place = by_key_.find({key, value});
    if (place != by_key_.end()) choices.back().push_back(&place->second);
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
  if (!IsTold(record) || (record.selector().empty() && record.selector_any().empty())) return;
  parts_->workers->Run([this, task] {
    ForEach(std::make_shared<const std::vector<Stream>>(FindFor(task->value.task())),
            [task](const Stream& stream) { stream->Offer(task); });
  });
}

void Assignments::Relabelled(const std::string& device) {
  std::vector<Stream> streams;
  {
    MutexLock lock(&mutex_);
    const auto own = by_key_.find({"", device});
    if (!device.empty() && own == by_key_.end()) return;
    if (!device.empty()) {
      for (const auto& [key, stream] : own->second) streams.push_back(stream);
      for (const Stream& stream : streams) Index(&watching_.at(stream.get()));
    } else {
      for (const auto& [key, watching] : watching_) streams.push_back(watching.stream);
    }
  }
  parts_->workers->Run(
      [this, all = device.empty(), streams = std::make_shared<const std::vector<Stream>>(std::move(streams))] {
        ForEach(streams, [this, all](const Stream& stream) {
          if (all) IndexAnew(stream);
          OfferAllTo(stream);
        });
      });
}

// One of all streams at a time: the thread that adds another one, and serves everybody, must not wait for all of them.
void Assignments::IndexAnew(const Stream& stream) {
  MutexLock lock(&mutex_);
  const auto watching = watching_.find(stream.get());
  if (watching != watching_.end()) Index(&watching->second);
}

void Assignments::ForEach(std::shared_ptr<const std::vector<Stream>> streams, std::function<void(const Stream&)> tell,
                          size_t first) {
  const size_t end = std::min(streams->size(), first + kStreamsPerSlice);
  for (size_t i = first; i < end; ++i) tell((*streams)[i]);
  if (end == streams->size()) return;
  parts_->workers->Run(
      [this, streams = std::move(streams), tell = std::move(tell), end] { ForEach(streams, tell, end); });
}

}  // namespace parley::taskd
