#include "services/taskd/participants/negotiate_stream.h"

#include <algorithm>
#include <utility>

#include "lib/base/error.h"
#include "lib/base/proto_time.h"
#include "lib/task/states.h"
#include "services/taskd/domain/names.h"
#include "services/taskd/domain/reasons.h"
#include "services/taskd/domain/task.h"
#include "services/taskd/domain/validation.h"

namespace parley::taskd {
namespace {

using task::v1::NegotiateRequest;
using task::v1::Participant;

constexpr absl::string_view kMethod = "parley.task.v1.ParticipationService.Negotiate";
constexpr absl::string_view kConfirmMethod = "parley.task.v1.ParticipationService.Confirm";
// Messages and answers that may wait: a client that sends without reading is not read from.
constexpr size_t kMaxInbox = 16;
constexpr size_t kMaxOutbox = 32;

bool IsTransferring(ParticipantState state) {
  return state == Participant::STATE_ACCEPTED || state == Participant::STATE_TRANSFERRING;
}

}  // namespace

NegotiateStream::NegotiateStream(const TaskdParts* parts, rpc::Caller caller)
    : parts_(parts), caller_(std::move(caller)), strand_(parts->workers, caller_.flow()) {}

void NegotiateStream::Begin() {
  MutexLock lock(&inbox_mutex_);
  reading_ = true;
  StartRead(&incoming_);
}

void NegotiateStream::OnReadDone(bool ok) {
  {
    MutexLock lock(&inbox_mutex_);
    reading_ = false;
    if (ok) inbox_.push_back(std::move(incoming_));
    incoming_.Clear();
    if (ok && inbox_.size() < kMaxInbox && !closed()) {
      reading_ = true;
      StartRead(&incoming_);
    }
    if (ok && scheduled_) return;
    scheduled_ = ok;
  }
  if (ok) {
    strand_.Run([self = self()] { self->Work(); });
  } else {
    // It has said all that it will; what it said before is handled first.
    strand_.Run([self = self()] {
      self->Work();
      // gRPC ends the reading at a message that it cannot parse, and does not say so.
      self->Close(self->open_ ? absl::OkStatus()
                              : Error(absl::StatusCode::kInvalidArgument, "MESSAGE_UNREADABLE",
                                      "the stream ended before a message that can be read; texts must be UTF-8"));
    });
  }
}

void NegotiateStream::OnSent() {
  MutexLock lock(&inbox_mutex_);
  if (!reading_) strand_.Run([self = self()] { self->ReadMore(); });
}

void NegotiateStream::ReadMore() {
  MutexLock lock(&inbox_mutex_);
  if (reading_ || inbox_.size() >= kMaxInbox || waiting() >= kMaxOutbox) return;
  // Taken here, where the analysis sees the lock; it cannot follow the call.
  UnlessClosing([this, reading = &reading_] {
    *reading = true;
    StartRead(&incoming_);
  });
}

void NegotiateStream::OnClosed() {
  strand_.Run([self = self()] {
    if (!self->open_) return;
    self->open_ = false;
    if (self->parts_->sessions->Remove(self->member_.task, self->member_.client, self.get())) {
      self->parts_->task_index->SessionEnded(self->member_.task, self->member_.client);
    }
  });
}

void NegotiateStream::Notify(int64_t version) {
  if (version != 0 && version <= own_version_) return;
  strand_.Run([self = self(), version] { self->Reevaluate(version); });
}

void NegotiateStream::Expect(int64_t version) {
  int64_t known = own_version_;
  while (known < version && !own_version_.compare_exchange_weak(known, version)) {
  }
}

void NegotiateStream::Show(ParticipantSnapshot snapshot, std::shared_ptr<void> told) {
  strand_.Run([self = self(), snapshot = std::move(snapshot), told = std::move(told)]() mutable {
    if (!self->IsListening() || self->IsOlder(snapshot)) return;
    const absl::Status status = CallerResolver::CheckKey(self->caller_, snapshot.client.value);
    if (!status.ok()) return self->Close(status);
    self->snapshot_ = std::move(snapshot);
    self->TellNews();
  });
}

void NegotiateStream::Work() {
  if (delayed_) return;
  std::deque<Request> batch;
  {
    MutexLock lock(&inbox_mutex_);
    scheduled_ = false;
    batch.swap(inbox_);
  }
  if (batch.empty() || closed()) return;
  if (!open_) {
    if (const absl::Status status = Open(batch.front()); !status.ok()) return Close(status);
  }
  HandleInTime(std::move(batch));
}

void NegotiateStream::HandleInTime(std::deque<Request> batch) {
  const auto declares = [](const Request& request) { return request.has_declare(); };
  const auto declarations = static_cast<int>(std::count_if(batch.begin(), batch.end(), declares));
  const absl::Duration wait = parts_->pace->Count(member_.task, member_.client, declarations);
  if (wait == absl::ZeroDuration()) {
    Handle(batch);
    return ReadMore();
  }
  delayed_ = true;
  const auto resume = [self = self(), batch = std::move(batch)] {
    if (self->closed()) return;
    self->strand_.Run([self, batch] {
      self->delayed_ = false;
      if (self->closed()) return;
      self->Handle(batch);
      // What has come in meanwhile.
      self->Work();
      self->ReadMore();
    });
  };
  parts_->timers->Schedule(parts_->clock->Now() + wait, resume);
}

// Finds out whose stream this is, and takes the place of one before it.
absl::Status NegotiateStream::Open(const Request& first) {
  RETURN_IF_ERROR(ValidateNegotiate(first));
  ASSIGN_OR_RETURN(member_, parts_->callers->Identify(caller_, kMethod, first.task()));
  if (!first.has_declare()) {
    return Error(absl::StatusCode::kFailedPrecondition, "NOT_DECLARED", "a stream begins with a declaration");
  }
  // Registered before the record is read, so that no change in between is missed.
  std::shared_ptr<ClientSession> previous = parts_->sessions->Replace(member_.task, member_.client, self());
  open_ = true;
  if (previous != nullptr) {
    previous->End(StreamReplaced());
  }
  parts_->task_index->SessionBegan(member_.task, member_.client);
  ASSIGN_OR_RETURN(snapshot_, parts_->callers->Load(caller_, member_));
  return absl::OkStatus();
}

void NegotiateStream::Handle(const std::deque<Request>& batch) {
  Outcome outcome;
  const auto decide = [&](const ParticipantRecord& record, const TaskRecord& task) {
    outcome = Outcome{.last_sequence = last_sequence_};
    return Decide(batch, record, task, &outcome);
  };
  const absl::Status status = parts_->updater->Update(member_.task, member_.client, &snapshot_, decide).status();
  if (!status.ok()) return Close(status);
  last_sequence_ = outcome.last_sequence;
  if (outcome.transfer_moved) {
    parts_->task_index->RenewLease(member_.task, member_.client,
                                   parts_->clock->Now() + ToDuration(snapshot_.task->value.task().leases().transfer()));
  }
  for (Response& answer : outcome.answers) SendNext(std::move(answer));
  if (!outcome.refusal.ok()) Close(outcome.refusal);
}

// All messages of the batch, each on what the one before it led to, until one is refused.
absl::StatusOr<std::optional<ParticipantRecord>> NegotiateStream::Decide(const std::deque<Request>& batch,
                                                                         const ParticipantRecord& record,
                                                                         const TaskRecord& task, Outcome* outcome) {
  RETURN_IF_ERROR(CallerResolver::CheckKey(caller_, record));
  ParticipantRecord current = record;
  bool changed = false;
  for (const Request& request : batch) {
    bool step_changed = false;
    outcome->refusal = Step(request, task, &current, &step_changed, outcome);
    if (!outcome->refusal.ok()) break;
    changed |= step_changed;
    ASSIGN_OR_RETURN(Response answer, Answer(current, task, &request));
    const bool more_bytes = request.has_progress() && outcome->transfer_moved;
    answer.set_unchanged(!step_changed && !more_bytes && !request.has_declare());
    outcome->answers.push_back(std::move(answer));
  }
  if (!changed) return std::optional<ParticipantRecord>();
  // If another is faster to this version, the commit fails, and the record is read anew.
  own_version_ = current.participant().version();
  return std::optional<ParticipantRecord>(std::move(current));
}

absl::Status NegotiateStream::Step(const Request& request, const TaskRecord& task, ParticipantRecord* record,
                                   bool* changed, Outcome* outcome) {
  RETURN_IF_ERROR(ValidateNegotiate(request));
  if (request.task() != TaskName(member_.task)) {
    return parts_->callers->Identify(caller_, kMethod, request.task()).status();
  }
  outcome->transfer_moved = false;
  if (request.sequence() <= outcome->last_sequence) return absl::OkStatus();
  Event event{Event::Kind::kRequest};
  event.request = &request;
  const std::string connection = caller_.peer->connection_id.ToString();
  event.connection = connection;
  event.labels = parts_->labels->Find(member_.client);
  const Participant before = record->participant();
  ASSIGN_OR_RETURN(std::optional<ParticipantRecord> next, Advance(*record, event, task, parts_->clock->Now()));
  outcome->last_sequence = request.sequence();
  *changed = next.has_value();
  outcome->transfer_moved = request.has_progress() && request.attempt() == before.attempt() &&
                            request.expected_version() == before.version() && IsTransferring(before.state()) &&
                            request.progress().state() == Participant::STATE_TRANSFERRING;
  if (next.has_value()) *record = *std::move(next);
  return absl::OkStatus();
}

absl::StatusOr<NegotiateStream::Response> NegotiateStream::Answer(const ParticipantRecord& record,
                                                                  const TaskRecord& task, const Request* request) {
  const Participant& participant = record.participant();
  Response response;
  response.set_task(TaskName(member_.task));
  response.set_attempt(participant.attempt());
  if (request != nullptr) response.set_sequence(request->sequence());
  response.set_version(participant.version());
  response.set_state(participant.state());
  response.set_task_state(task.task().state());
  if (record.has_retry_time()) *response.mutable_retry_time() = record.retry_time();
  if (!participant.reason().empty()) {
    response.set_reason(participant.detail().empty() ? ExplainReason(participant.reason()) : participant.detail());
  }
  const ParticipantState state = participant.state();
  const bool declared = request != nullptr && request->has_declare();
  const bool up_to_checking =
      state == Participant::STATE_OFFERED || (task::IsWorking(state) && state != Participant::STATE_ROLLING_BACK);
  if (state == Participant::STATE_OFFERED || (declared && up_to_checking)) {
    RETURN_IF_ERROR(AddOffer(record, task, &response));
  }
  if (declared || response.has_offer()) *response.mutable_labels() = participant.labels();
  return response;
}

absl::Status NegotiateStream::AddOffer(const ParticipantRecord& record, const TaskRecord& task, Response* response) {
  ASSIGN_OR_RETURN(const auto revision, parts_->manifests->Get(member_.task, record.participant().revision()));
  task::v1::Offer& offer = *response->mutable_offer();
  *offer.mutable_manifest() = revision->signed_manifest;
  *offer.mutable_deadline() = record.offer_deadline();
  offer.set_forced(task.task().forced());
  offer.set_deferrals_left(std::max(0, task.task().max_deferrals() - record.participant().deferrals()));
  if (record.has_window()) *offer.mutable_window() = record.window();
  return absl::OkStatus();
}

// Something about the client or its task has changed: is there anything to offer, or to tell?
void NegotiateStream::Reevaluate(int64_t version) {
  if (!IsListening() || (version != 0 && version <= snapshot_.participant().version())) return;
  // Others commit for this client too, and show it here before the watch has: what is recent may be older.
  const auto is_newest = [this](const ParticipantSnapshot& recent) {
    return IsOlder(recent) ? absl::AbortedError("older than what is known") : absl::OkStatus();
  };
  absl::StatusOr<ParticipantSnapshot> snapshot = parts_->callers->Load(caller_, member_, is_newest);
  if (!snapshot.ok()) return Close(snapshot.status());
  snapshot_ = *std::move(snapshot);
  // What the watch has not shown yet, it will, and then this is called again.
  snapshot_.recent = false;
  Event event{Event::Kind::kOfferDue};
  event.labels = parts_->labels->Find(member_.client);
  const absl::Status status = parts_->updater->Apply(member_.task, member_.client, event, &snapshot_).status();
  if (!status.ok()) return Close(status);
  TellNews();
}

void NegotiateStream::TellNews() {
  const TaskRecord& task = snapshot_.task->value;
  if (snapshot_.participant().version() == told_version_ && task.task().state() == told_task_state_) return;
  absl::StatusOr<Response> push = Answer(snapshot_.client.value, task, nullptr);
  if (!push.ok()) return Close(push.status());
  SendNext(*std::move(push));
}

void NegotiateStream::SendNext(Response response) {
  told_version_ = response.version();
  told_task_state_ = response.task_state();
  const bool over = task::IsAtRest(response.state()) && task::HasEnded(response.task_state());
  if (over) {
    SendLast(std::move(response));
  } else {
    Send(std::move(response));
  }
}

absl::Status Confirm(const TaskdParts& parts, const rpc::Caller& caller, const task::v1::ConfirmRequest& request,
                     task::v1::ConfirmResponse* response) {
  RETURN_IF_ERROR(ValidateConfirm(request));
  ASSIGN_OR_RETURN(const Member member, parts.callers->Identify(caller, kConfirmMethod, request.task()));
  ASSIGN_OR_RETURN(ParticipantSnapshot snapshot, parts.callers->Load(caller, member));
  Event event{Event::Kind::kConfirm};
  event.confirm = &request;
  const std::string connection = caller.peer->connection_id.ToString();
  event.connection = connection;
  const auto decide = [&](const ParticipantRecord& record,
                          const TaskRecord& task) -> absl::StatusOr<std::optional<ParticipantRecord>> {
    RETURN_IF_ERROR(CallerResolver::CheckKey(caller, record));
    return Advance(record, event, task, parts.clock->Now());
  };
  RETURN_IF_ERROR(parts.updater->Update(member.task, member.client, &snapshot, decide).status());
  response->set_version(snapshot.participant().version());
  response->set_state(snapshot.participant().state());
  return absl::OkStatus();
}

}  // namespace parley::taskd
