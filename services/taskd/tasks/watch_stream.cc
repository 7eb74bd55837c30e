#include "services/taskd/tasks/watch_stream.h"

#include <utility>

#include "lib/base/error.h"
#include "services/taskd/domain/names.h"
#include "services/taskd/participants/device_labels.h"
#include "services/taskd/store/keys.h"

namespace parley::taskd {
namespace {

using task::v1::WatchTaskResponse;

// Clients say how large their records are: few enough that the largest still fit into a message.
constexpr size_t kParticipantsPerMessage = 50;
constexpr size_t kBytesPerMessage = 1'000'000;

}  // namespace

WatchStream::WatchStream(const TaskdParts* parts, const Tasks* tasks, rpc::Flow flow,
                         const task::v1::WatchTaskRequest& request)
    : parts_(parts), tasks_(tasks), request_(request), strand_(parts->workers, flow) {}

void WatchStream::Begin() {
  parts_->streams->Add(self());
  strand_.Run([self = self()] {
    // The client may have gone while this waited.
    if (self->closed()) return;
    if (const absl::Status status = self->Start(); !status.ok()) self->Close(status);
  });
}

absl::Status WatchStream::Start() {
  ASSIGN_OR_RETURN(task_, ParseTaskName(request_.name()));
  ASSIGN_OR_RETURN(const auto task, parts_->store->GetTask(task_));
  ASSIGN_OR_RETURN(const int64_t newest, parts_->store->store()->Revision());
  // So that the first message counts all that it shows.
  RETURN_IF_ERROR(parts_->task_index->CatchUpWithAll());
  if (request_.cursor() < 0 || request_.cursor() > newest) {
    return Error(absl::StatusCode::kOutOfRange, "CURSOR_OUT_OF_RANGE",
                 "the cursor is not one that this server gave; start again at 0");
  }
  if (request_.cursor() == 0) {
    snapshot_ = newest;
    snapshot_rest_ = ParticipantRange(task_);
    return SendSnapshotPage();
  }
  cursor_ = request_.cursor();
  WatchTaskResponse first;
  first.set_cursor(cursor_);
  RETURN_IF_ERROR(ShowTask(&first));
  return SendAndWatch(std::move(first), /*settled=*/task.value.settled() && task.revision <= cursor_);
}

absl::Status WatchStream::ShowTask(WatchTaskResponse* response) {
  ASSIGN_OR_RETURN(const auto task, parts_->store->GetTask(task_));
  ASSIGN_OR_RETURN(*response->mutable_task(), tasks_->Show(task));
  return absl::OkStatus();
}

// One message of the present state; its cursor only with the last, so that who is cut off in between starts again.
absl::Status WatchStream::SendSnapshotPage() {
  ASSIGN_OR_RETURN(const store::Page page,
                   parts_->store->store()->List(snapshot_rest_, kParticipantsPerMessage, snapshot_));
  parts_->task_index->Committed(NewestOf(page.entries));
  ASSIGN_OR_RETURN(auto records, ParseEntries<ParticipantRecord>(page.entries));
  WatchTaskResponse message;
  if (snapshot_rest_.begin == ParticipantRange(task_).begin) RETURN_IF_ERROR(ShowTask(&message));
  for (ParticipantRecord& record : records) *message.add_participants() = ShowParticipant(*parts_, std::move(record));
  if (page.more) {
    snapshot_rest_.begin = page.entries.back().key + '\0';
    Send(std::move(message));
    return absl::OkStatus();
  }
  message.set_cursor(snapshot_);
  cursor_ = snapshot_;
  snapshot_ = 0;
  ASSIGN_OR_RETURN(const auto task, parts_->store->GetTask(task_, cursor_));
  return SendAndWatch(std::move(message), task.value.settled());
}

absl::Status WatchStream::SendAndWatch(WatchTaskResponse message, bool settled) {
  if (settled) {
    SendLast(std::move(message));
    return absl::OkStatus();
  }
  Send(std::move(message));
  if (closed_) return absl::OkStatus();
  ASSIGN_OR_RETURN(watch_, parts_->store->store()->WatchRange(TaskRange(task_), cursor_,
                                                              [self = self()](auto changes, int64_t revision) {
                                                                self->OnChanges(std::move(changes), revision);
                                                              }));
  return absl::OkStatus();
}

void WatchStream::OnChanges(absl::StatusOr<std::vector<store::Change>> changes, int64_t revision) {
  MutexLock lock(&changes_mutex_);
  if (!changes.ok()) {
    broken_ = changes.status();
  } else {
    reached_ = revision;
    for (store::Change& change : *changes) {
      if (!change.value.has_value()) continue;
      const WatchedKey key = ParseWatchedKey(change.key);
      if (!key.client.empty()) {
        changed_[std::string(key.client)] = *std::move(change.value);
        continue;
      }
      TaskRecord record;
      task_changed_ = true;
      settled_ = ParseRecord(change.key, *change.value, &record).ok() && record.settled();
    }
  }
  if (scheduled_) return;
  scheduled_ = true;
  strand_.Run([self = self()] { self->Continue(); });
}

void WatchStream::OnSent() {
  strand_.Run([self = self()] { self->Continue(); });
}

void WatchStream::Continue() {
  {
    MutexLock lock(&changes_mutex_);
    scheduled_ = false;
  }
  if (closed_ || closed() || waiting() > 0) return;
  const absl::Status status = snapshot_ != 0 ? SendSnapshotPage() : SendChanges();
  if (!status.ok()) Close(status);
}

absl::Status WatchStream::SendChanges() {
  std::vector<std::string> values;
  WatchTaskResponse message;
  bool settled = false;
  {
    MutexLock lock(&changes_mutex_);
    if (changed_.empty() && !task_changed_) return broken_;
    for (size_t bytes = 0; !changed_.empty() && bytes < kBytesPerMessage;) {
      bytes += changed_.begin()->second.size();
      values.push_back(std::move(changed_.begin()->second));
      changed_.erase(changed_.begin());
    }
    parts_->task_index->Committed(reached_);
    if (changed_.empty()) {
      cursor_ = reached_;
      settled = settled_;
      task_changed_ = false;
    }
  }
  message.set_cursor(cursor_);
  // Its counts change with its clients.
  RETURN_IF_ERROR(ShowTask(&message));
  for (const std::string& value : values) {
    ParticipantRecord record;
    RETURN_IF_ERROR(ParseRecord(task_, value, &record));
    *message.add_participants() = ShowParticipant(*parts_, std::move(record));
  }
  if (settled) {
    SendLast(std::move(message));
  } else {
    Send(std::move(message));
  }
  return absl::OkStatus();
}

void WatchStream::OnClosed() {
  parts_->streams->Remove(this);
  strand_.Run([self = self()] {
    self->closed_ = true;
    self->watch_.reset();
  });
}

}  // namespace parley::taskd
