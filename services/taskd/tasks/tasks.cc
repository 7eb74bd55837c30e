#include "services/taskd/tasks/tasks.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "lib/audit/audit_log.h"
#include "lib/base/error.h"
#include "lib/base/proto_time.h"
#include "lib/crypto/kdf.h"
#include "lib/rpc/page.h"
#include "lib/store/update.h"
#include "lib/task/states.h"
#include "services/taskd/artifacts/payloads.h"
#include "services/taskd/domain/names.h"
#include "services/taskd/domain/rollout.h"
#include "services/taskd/domain/rollout_plan.h"
#include "services/taskd/domain/task.h"
#include "services/taskd/domain/validation.h"
#include "services/taskd/store/keys.h"
#include "services/taskd/tasks/removal.h"
#include "services/taskd/tasks/revisions.h"

namespace parley::taskd {
namespace {

using task::v1::CreateTaskRequest;
using task::v1::Task;

absl::Status SetRollout(const task::v1::Rollout& rollout, Task* task) {
  const bool takes_devices = !task->selector().empty() || !task->selector_any().empty();
  ASSIGN_OR_RETURN(*task->mutable_rollout(), CompleteRollout(rollout, takes_devices));
  return absl::OkStatus();
}

absl::Status CheckEtag(const Stored<TaskRecord>& task, absl::string_view etag) {
  if (etag.empty() || etag == absl::StrCat(task.revision)) return absl::OkStatus();
  return Error(absl::StatusCode::kAborted, "ETAG_DIFFERS",
               absl::StrCat(task.value.task().name(), " has changed since you read it; look at it again"));
}

}  // namespace

absl::StatusOr<Task> Tasks::Show(Stored<TaskRecord> task) const {
  if (!task.value.settled()) {
    parts_->task_index->Committed(task.revision);
    RETURN_IF_ERROR(parts_->task_index->CatchUp());
    const std::string id = *ParseTaskName(task.value.task().name());
    if (const auto tally = parts_->task_index->TallyOf(id)) {
      *task.value.mutable_task()->mutable_counts() = tally->counts;
      if (task.value.task().has_rollout()) {
        *task.value.mutable_task()->mutable_rollout_status() =
            ShowRollout(task.value, tally->rollout, parts_->clock->Now());
      }
    } else if (auto settled = parts_->store->GetTask(id); settled.ok()) {
      // Since it was read.
      task = *std::move(settled);
    }
  }
  Task shown = std::move(*task.value.mutable_task());
  if (task.value.has_end_time()) *shown.mutable_end_time() = task.value.end_time();
  shown.set_state_reason(task.value.end_reason());
  shown.set_etag(absl::StrCat(task.revision));
  return shown;
}

absl::StatusOr<TaskRecord> Tasks::NewRecord(const rpc::Caller& caller, const CreateTaskRequest& request,
                                            const std::string& id) const {
  const absl::Time now = parts_->clock->Now();
  TaskRecord record;
  Task& task = *record.mutable_task();
  task.set_name(TaskName(id));
  task.set_title(request.title());
  *task.mutable_create_time() = ToProto(now);
  const absl::Time start = request.has_start_time() ? std::max(now, ToTime(request.start_time())) : now;
  *task.mutable_start_time() = ToProto(start);
  // Whole seconds, as keys end with them.
  const absl::Time end = now + (request.has_ttl() ? ToDuration(request.ttl()) : kDefaultTaskTtl);
  *task.mutable_expire_time() = ToProto(absl::FromUnixSeconds(absl::ToUnixSeconds(end)));
  task.set_state(start > now ? Task::STATE_SCHEDULED : Task::STATE_OPEN);
  task.set_creator(caller.subject());
  *task.mutable_selector() = request.selector();
  *task.mutable_selector_any() = request.selector_any();
  task.set_forced(request.forced());
  task.set_max_deferrals(request.has_max_deferrals() ? request.max_deferrals() : 3);
  task.set_expected_clients(request.expected_clients());
  if (request.has_max_failures()) task.set_max_failures(request.max_failures());
  task.set_supersedes(request.supersedes());
  ASSIGN_OR_RETURN(*task.mutable_leases(), CompleteLeases(request.leases()));
  if (request.has_rollout()) RETURN_IF_ERROR(SetRollout(request.rollout(), &task));
  BeginRollout(caller.subject(), &record);
  return record;
}

absl::Status Tasks::Create(const rpc::Caller& caller, const CreateTaskRequest& request,
                           task::v1::CreateTaskResponse* response) {
  ASSIGN_OR_RETURN(RequestLog::Request done,
                   parts_->request_log->Begin(caller, "CreateTask", request.request_id(), request));
  ASSIGN_OR_RETURN(auto earlier, parts_->request_log->FindDone(done));
  if (earlier.has_value()) return AnswerCreate(*earlier, /*committed=*/false, response);
  RETURN_IF_ERROR(ValidateCreateTask(request, parts_->clock->Now()));
  std::string id;
  const auto decide = [&](int conflicts) -> absl::StatusOr<std::optional<store::Transaction>> {
    if (conflicts > 0) {
      RETURN_IF_ERROR(parts_->store->CheckNotRevoked(caller.peer->key.key_id));
      // Its id is taken, or the same request came twice, or the task to take the place of moved.
      ASSIGN_OR_RETURN(earlier, parts_->request_log->FindDone(done));
      if (earlier.has_value()) return std::nullopt;
      if (!request.task_id().empty() && parts_->store->GetTask(id).ok()) {
        return Error(absl::StatusCode::kAlreadyExists, "TASK_EXISTS",
                     absl::StrCat("there is a task ", TaskName(id), " already; choose another task_id"));
      }
      ASSIGN_OR_RETURN(const auto removal, parts_->store->FindRemoval(id));
      if (removal.has_value()) {
        return Unavailable("TASK_BEING_REMOVED", "what is left of the former ", TaskName(id),
                           " is still being removed; try again in a moment");
      }
    }
    id = request.task_id().empty() ? TaskIdFromTitle(request.title(), crypto::RandomBytes(3)) : request.task_id();
    return NewTask(caller, request, id, conflicts > 0, &done);
  };
  ASSIGN_OR_RETURN(const int64_t revision,
                   store::Update(parts_->store->store(), "the task that this one supersedes", decide));
  if (earlier.has_value()) return AnswerCreate(*earlier, /*committed=*/false, response);
  parts_->task_index->Committed(revision);
  if (!request.supersedes().empty()) {
    RecordAction(parts_->audit, caller.Name(), "task.superseded", request.supersedes(), TaskName(id));
  }
  RecordAction(parts_->audit, caller.Name(), "task.created", TaskName(id), request.title());
  RecordAction(parts_->audit, caller.Name(), "join_key.created", JoinKeyName(id, done.record.join_key()));
  return AnswerCreate(done.record, /*committed=*/true, response);
}

absl::StatusOr<store::Transaction> Tasks::NewTask(const rpc::Caller& caller, const CreateTaskRequest& request,
                                                  const std::string& id, bool again, RequestLog::Request* done) {
  ASSIGN_OR_RETURN(TaskRecord record, NewRecord(caller, request, id));
  Task& task = *record.mutable_task();
  const absl::Time now = ToTime(task.create_time());
  const absl::Time end = ToTime(task.expire_time());
  store::Transaction transaction;
  RETURN_IF_ERROR(parts_->chunks->Hold(&transaction));
  Payload payload;
  if (request.has_files()) {
    const crypto::SigningKey key = crypto::SigningKey::Generate();
    ASSIGN_OR_RETURN(payload, SignInline(request.files(), {task.name(), 1, now, end, task.supersedes()}, key));
    task.set_verification_key(key.verification_key());
    task.set_server_signed(true);
    transaction.Set(SeedKey(id), parts_->keys->Seal(id, key).SerializeAsString());
  } else {
    ASSIGN_OR_RETURN(
        payload, CheckSigned(request.signed_manifest(), {id, 1, request.verification_key(), request.supersedes()}, now,
                             *parts_->chunks));
    task.set_verification_key(request.verification_key());
  }
  SetPayload(payload, &record);
  RETURN_IF_ERROR(roster_->AddJoinKey(caller, task, request.has_join_key_ttl() ? &request.join_key_ttl() : nullptr,
                                      request.join_key_max_members(), done, &transaction));
  if (!request.supersedes().empty()) RETURN_IF_ERROR(SupersedeOld(request.supersedes(), task.name(), &transaction));
  RETURN_IF_ERROR(parts_->chunks->Put(std::move(payload.chunks)));
  RETURN_IF_ERROR(parts_->store->PutManifest(id, 1, payload.signed_manifest, {TaskKey(id), 0}, again, &transaction));
  RecordRevision(caller, payload, now, request.message(), &transaction);
  transaction.IfAbsent(TaskKey(id)).IfAbsent(RemovalKey(id)).Set(TaskKey(id), record.SerializeAsString());
  transaction.Set(UnsettledKey(id), "").Set(CreatedKey(now, id), "");
  TaskStore::Tie(caller.peer->key.key_id, TaskKey(id), &transaction);
  RETURN_IF_ERROR(parts_->request_log->Record(done, &transaction));
  return transaction;
}

absl::Status Tasks::SupersedeOld(const std::string& old_name, const std::string& name,
                                 store::Transaction* transaction) const {
  ASSIGN_OR_RETURN(const std::string id, ParseTaskName(old_name));
  ASSIGN_OR_RETURN(auto old, parts_->store->GetTask(id));
  RETURN_IF_ERROR(Supersede(&old.value, name, parts_->clock->Now()));
  Replace(TaskKey(id), old.revision, old.value, transaction);
  return absl::OkStatus();
}

absl::Status Tasks::AnswerCreate(const RequestRecord& record, bool committed,
                                 task::v1::CreateTaskResponse* response) const {
  RETURN_IF_ERROR(Answer(TaskName(record.task()), committed, response->mutable_task()));
  return roster_->AnswerJoinKey(record.task(), record.join_key(), response->mutable_join_key());
}

absl::Status Tasks::Publish(const rpc::Caller& caller, const task::v1::PublishRevisionRequest& request,
                            Task* response) {
  ASSIGN_OR_RETURN(const std::string id, ParseTaskName(request.name()));
  ASSIGN_OR_RETURN(RequestLog::Request done,
                   parts_->request_log->Begin(caller, "PublishRevision", request.request_id(), request));
  done.record.set_task(id);
  std::optional<RequestRecord> earlier;
  const auto decide = [&](int conflicts) -> absl::StatusOr<std::optional<store::Transaction>> {
    ASSIGN_OR_RETURN(earlier, parts_->request_log->FindDone(done));
    if (earlier.has_value()) return std::nullopt;
    return NewRevision(caller, request, id, conflicts > 0, &done);
  };
  ASSIGN_OR_RETURN(const int64_t revision, store::Update(parts_->store->store(), request.name(), decide));
  if (earlier.has_value()) return Answer(request.name(), /*committed=*/false, response);
  parts_->task_index->Committed(revision);
  RETURN_IF_ERROR(Answer(request.name(), /*committed=*/true, response));
  const int64_t content_of = request.content_of_revision();
  RecordAction(
      parts_->audit, caller.Name(), "task.revision_published", request.name(),
      absl::StrCat("r", response->revision(), content_of > 0 ? absl::StrCat(", the content of r", content_of) : ""));
  return absl::OkStatus();
}

absl::StatusOr<Payload> Tasks::NewPayload(const task::v1::PublishRevisionRequest& request, const Task& task,
                                          const std::string& id, absl::Time now) const {
  const int64_t revision = task.revision() + 1;
  if (request.has_signed_manifest()) {
    return CheckSigned(request.signed_manifest(), {id, revision, task.verification_key(), task.supersedes()}, now,
                       *parts_->chunks);
  }
  if (request.payload_case() == task::v1::PublishRevisionRequest::PAYLOAD_NOT_SET) {
    return Error(absl::StatusCode::kInvalidArgument, "PAYLOAD_MISSING",
                 "give either files, content_of_revision or signed_manifest");
  }
  ASSIGN_OR_RETURN(const SealedSeed seed, parts_->store->GetSeed(id));
  ASSIGN_OR_RETURN(const crypto::SigningKey key, parts_->keys->Open(id, seed));
  const payload::ManifestFields fields{task.name(), revision, now, ToTime(task.expire_time()), task.supersedes()};
  if (request.has_files()) return SignInline(request.files(), fields, key);
  return SignContentOf(*parts_->store, *parts_->chunks, task, request.content_of_revision(), fields, key);
}

absl::StatusOr<store::Transaction> Tasks::NewRevision(const rpc::Caller& caller,
                                                      const task::v1::PublishRevisionRequest& request,
                                                      const std::string& id, bool again, RequestLog::Request* done) {
  ASSIGN_OR_RETURN(auto stored, parts_->store->GetTask(id));
  RETURN_IF_ERROR(CheckEtag(stored, request.etag()));
  RETURN_IF_ERROR(CheckNotEnded(stored.value));
  RETURN_IF_ERROR(ValidateMessage(request.message()));
  const absl::Time now = parts_->clock->Now();
  store::Transaction transaction;
  RETURN_IF_ERROR(parts_->chunks->Hold(&transaction));
  ASSIGN_OR_RETURN(Payload payload, NewPayload(request, stored.value.task(), id, now));
  SetPayload(payload, &stored.value);
  BeginRevision(&stored.value, now);
  if (request.has_rollout()) RETURN_IF_ERROR(SetRollout(request.rollout(), stored.value.mutable_task()));
  BeginRollout(caller.subject(), &stored.value);
  RETURN_IF_ERROR(parts_->chunks->Put(std::move(payload.chunks)));
  RETURN_IF_ERROR(parts_->store->PutManifest(id, payload.manifest.revision(), payload.signed_manifest,
                                             {TaskKey(id), stored.revision}, again, &transaction));
  RecordRevision(caller, payload, now, request.message(), &transaction);
  Replace(TaskKey(id), stored.revision, stored.value, &transaction);
  RETURN_IF_ERROR(parts_->request_log->Record(done, &transaction));
  return transaction;
}

absl::Status Tasks::Answer(absl::string_view name, bool committed, Task* response) const {
  ASSIGN_OR_RETURN(const std::string id, ParseTaskName(name));
  if (!committed) RETURN_IF_ERROR(parts_->task_index->CatchUpWithAll());
  ASSIGN_OR_RETURN(const auto task, parts_->store->GetTask(id));
  ASSIGN_OR_RETURN(*response, Show(task));
  return absl::OkStatus();
}

absl::Status Tasks::List(const task::v1::ListTasksRequest& request, task::v1::ListTasksResponse* response) {
  ASSIGN_OR_RETURN(const int page_size, PageSize(request.page_size()));
  store::KeyRange range = CreatedRange();
  RETURN_IF_ERROR(rpc::ApplyPageToken(request.page_token(), range.end, &range.begin));
  RETURN_IF_ERROR(parts_->task_index->CatchUpWithAll());
  while (true) {
    ASSIGN_OR_RETURN(const store::Page page, parts_->store->store()->List(range, page_size));
    for (const store::Entry& entry : page.entries) {
      range.begin = entry.key + '\0';
      const auto task = parts_->store->GetTask(LastPart(entry.key));
      // It was deleted since the page was read.
      if (absl::IsNotFound(task.status())) continue;
      RETURN_IF_ERROR(task.status());
      const auto& states = request.states();
      if (!states.empty() && std::find(states.begin(), states.end(), task->value.task().state()) == states.end()) {
        continue;
      }
      ASSIGN_OR_RETURN(*response->add_tasks(), Show(*task));
      if (response->tasks_size() < page_size) continue;
      if (page.more || &entry != &page.entries.back()) response->set_next_page_token(rpc::PageToken(entry.key));
      return absl::OkStatus();
    }
    if (!page.more) return absl::OkStatus();
  }
}

absl::Status Tasks::ChangeTask(const rpc::Caller& caller, absl::string_view name, absl::string_view etag,
                               absl::string_view action, absl::string_view detail, const Change& change,
                               Task* response) {
  ASSIGN_OR_RETURN(const std::string id, ParseTaskName(name));
  const auto decide = [&](int) -> absl::StatusOr<std::optional<store::Transaction>> {
    ASSIGN_OR_RETURN(auto task, parts_->store->GetTask(id));
    RETURN_IF_ERROR(CheckEtag(task, etag));
    ASSIGN_OR_RETURN(const bool changed, change(&task.value));
    if (!changed) return std::nullopt;
    store::Transaction transaction;
    Replace(TaskKey(id), task.revision, task.value, &transaction);
    return transaction;
  };
  ASSIGN_OR_RETURN(const int64_t revision, store::Update(parts_->store->store(), name, decide));
  if (revision > 0) {
    parts_->task_index->Committed(revision);
    RecordAction(parts_->audit, caller.Name(), action, name, detail);
  }
  return Answer(name, /*committed=*/revision > 0, response);
}

absl::Status Tasks::Pause(const rpc::Caller& caller, const task::v1::PauseTaskRequest& request, Task* response) {
  return ChangeTask(
      caller, request.name(), request.etag(), "task.paused", "", [](TaskRecord* task) { return taskd::Pause(task); },
      response);
}

absl::Status Tasks::Resume(const rpc::Caller& caller, const task::v1::ResumeTaskRequest& request, Task* response) {
  ASSIGN_OR_RETURN(const std::string id, ParseTaskName(request.name()));
  const auto resume = [&](TaskRecord* task) -> absl::StatusOr<bool> {
    // Its roll-out, or it itself, was stopped by failures.
    if (task->task().state() == Task::STATE_HALTED || !task->end_reason().empty()) {
      // Before it is open again, lest they stop it anew.
      RETURN_IF_ERROR(roster_->BearFailures(id));
      RETURN_IF_ERROR(parts_->task_index->CatchUp());
    }
    return taskd::Resume(task, parts_->clock->Now());
  };
  return ChangeTask(caller, request.name(), request.etag(), "task.resumed", "", resume, response);
}

absl::Status Tasks::Advance(const rpc::Caller& caller, const task::v1::AdvanceTaskRequest& request, Task* response) {
  ASSIGN_OR_RETURN(const std::string id, ParseTaskName(request.name()));
  if (request.wave() < 0) return InvalidArgument("NUMBER_NEGATIVE", "wave can not be below 0");
  RETURN_IF_ERROR(parts_->task_index->CatchUpWithAll());
  const Tally tally = parts_->task_index->TallyOf(id).value_or(Tally());
  const auto advance = [&](TaskRecord* task) {
    return AdvanceRollout(caller.subject(), request.wave(), request.now(), tally.rollout, task);
  };
  const std::string detail = absl::StrCat("wave ", request.wave(), request.now() ? ", now" : "");
  return ChangeTask(caller, request.name(), request.etag(), "task.advanced", detail, advance, response);
}

absl::Status Tasks::Abort(const rpc::Caller& caller, const task::v1::AbortTaskRequest& request, Task* response) {
  RETURN_IF_ERROR(ValidateReason(request.reason()));
  return ChangeTask(
      caller, request.name(), request.etag(), "task.aborted", request.reason(),
      [&](TaskRecord* task) { return taskd::Abort(task, request.reason(), parts_->clock->Now()); }, response);
}

absl::Status Tasks::Delete(const rpc::Caller& caller, const task::v1::DeleteTaskRequest& request,
                           task::v1::DeleteTaskResponse* response) {
  ASSIGN_OR_RETURN(const std::string id, ParseTaskName(request.name()));
  const auto decide = [&](int) -> absl::StatusOr<std::optional<store::Transaction>> {
    ASSIGN_OR_RETURN(auto task, parts_->store->GetTask(id));
    RETURN_IF_ERROR(CheckEtag(task, request.etag()));
    if (task::HasEnded(task.value.task().state()) && !task.value.settled()) {
      // It may have ended a moment ago.
      RETURN_IF_ERROR(lifecycle_->Settle(id));
      ASSIGN_OR_RETURN(task, parts_->store->GetTask(id));
    }
    RETURN_IF_ERROR(CheckDeletable(task.value));
    return BeginRemoval(*parts_->store, task);
  };
  RETURN_IF_ERROR(store::Update(parts_->store->store(), request.name(), decide).status());
  RecordAction(parts_->audit, caller.Name(), "task.deleted", request.name());
  return absl::OkStatus();
}

}  // namespace parley::taskd
