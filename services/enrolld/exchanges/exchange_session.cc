#include "services/enrolld/exchanges/exchange_session.h"

#include <algorithm>
#include <utility>

#include "lib/base/error.h"
#include "lib/base/log.h"
#include "lib/base/proto_time.h"
#include "services/enrolld/domain/names.h"

namespace parley::enrolld {
namespace {

// For a claimer to hear how it ended, before its connection is closed.
constexpr absl::Duration kLastWords = absl::Seconds(3);
constexpr absl::Duration kRetryAfter = absl::Seconds(5);

absl::Status StoreFailed(const absl::Status& status) {
  return Error(absl::StatusCode::kUnavailable, "STORE_UNAVAILABLE",
               absl::string_view(status.message()).empty() ? "the store failed; connect again" : status.message());
}

}  // namespace

absl::Status ExchangeSession::Open() {
  MutexLock lock(&mutex_);
  RETURN_IF_ERROR(Load());
  // Whoever ended it may have stopped before this.
  if (!relay_->pending()) Revoke();
  Schedule();
  return absl::OkStatus();
}

absl::Status ExchangeSession::Load() {
  if (relay_.has_value()) return absl::OkStatus();
  ASSIGN_OR_RETURN(auto found, parts_->store->Find(id_));
  if (!found.has_value()) return NoInvitation(InvitationName(id_));
  ASSIGN_OR_RETURN(Steps steps, parts_->store->FindSteps(id_));
  stored_.clear();
  for (const auto& [slot, step] : steps) stored_.push_back(slot);
  revision_ = found->revision;
  relay_.emplace(parts_->organisation, parts_->leases, std::move(found->record), std::move(steps),
                 parts_->clock->Now());
  return absl::OkStatus();
}

void ExchangeSession::Hello(StreamId id, const std::shared_ptr<SessionStream>& stream, const CallingParty& who,
                            const enrol::v1::Hello& hello) {
  MutexLock lock(&mutex_);
  if (const absl::Status status = Load(); !status.ok()) return stream->End(status);
  members_[id] = {stream, who.role};
  (void)Apply(relay_->Hello(id, who, hello, parts_->clock->Now()));
}

void ExchangeSession::Handle(StreamId id, const CallingParty& who, const enrol::v1::ExchangeRequest& request) {
  MutexLock lock(&mutex_);
  if (members_.count(id) == 0) return;
  const absl::Time now = parts_->clock->Now();
  if (request.has_message()) (void)Apply(relay_->TakeMessage(id, request.message(), now));
  if (request.has_stop()) (void)Apply(relay_->Stop(id, who, request.stop(), now));
  if (request.has_done()) (void)Apply(relay_->Done(id, request.done()));
}

void ExchangeSession::Gone(StreamId id) {
  MutexLock lock(&mutex_);
  if (members_.erase(id) == 0) return;
  (void)Apply(relay_->Gone(id, parts_->clock->Now()));
}

absl::Status ExchangeSession::Cancel(absl::string_view actor, absl::string_view reason) {
  MutexLock lock(&mutex_);
  RETURN_IF_ERROR(Load());
  ASSIGN_OR_RETURN(Effects effects, relay_->Cancel(actor, reason, parts_->clock->Now()));
  return Apply(std::move(effects));
}

absl::Status ExchangeSession::Change(const Edit& edit) {
  MutexLock lock(&mutex_);
  RETURN_IF_ERROR(Load());
  InvitationStore::Change change;
  change.id = id_;
  change.revision = revision_;
  InvitationRecord record = relay_->record();
  ASSIGN_OR_RETURN(const bool changed, edit(&record, &change));
  if (!changed) return absl::OkStatus();
  change.record = &record;
  const absl::StatusOr<int64_t> revision = parts_->store->Commit(change);
  if (!revision.ok()) {
    SendAway(StoreFailed(revision.status()));
    return revision.status();
  }
  revision_ = *revision;
  *relay_->mutable_record() = std::move(record);
  return absl::OkStatus();
}

absl::StatusOr<InvitationRecord> ExchangeSession::Record() {
  MutexLock lock(&mutex_);
  RETURN_IF_ERROR(Load());
  return relay_->record();
}

absl::StatusOr<enrol::v1::Invitation> ExchangeSession::Show() {
  MutexLock lock(&mutex_);
  RETURN_IF_ERROR(Load());
  return relay_->Show();
}

bool ExchangeSession::idle() {
  MutexLock lock(&mutex_);
  return members_.empty() && relay_.has_value() && relay_->idle() && revoke_at_ == absl::InfiniteFuture();
}

// What the relay decided becomes so: first on the disk.
absl::Status ExchangeSession::Apply(Effects effects) {
  if (const absl::Status status = Store(effects); !status.ok()) {
    LogError("an exchange can not be stored", {{"invitation", id_}, {"error", std::string(status.message())}});
    SendAway(StoreFailed(status));
    return status;
  }
  Record(effects);
  // Before anybody can have heard: the time for last words runs from now.
  if (effects.ended) revoke_at_ = parts_->clock->Now() + kLastWords;
  for (const auto& [id, response] : effects.tell) {
    if (const auto member = members_.find(id); member != members_.end()) member->second.stream->Deliver(response);
  }
  for (const auto& [id, status] : effects.refuse) {
    const auto member = members_.find(id);
    if (member == members_.end()) continue;
    member->second.stream->End(status);
    members_.erase(member);
    // It may have had a place, which is free now.
    (void)Apply(relay_->Gone(id, parts_->clock->Now()));
  }
  RevokeWhenAlone();
  Schedule();
  return absl::OkStatus();
}

absl::Status ExchangeSession::Store(const Effects& effects) {
  if (!effects.record_changed && effects.taken.empty() && !effects.wipe) return absl::OkStatus();
  InvitationStore::Change change;
  change.id = id_;
  change.revision = revision_;
  if (effects.record_changed) change.record = &relay_->record();
  if (effects.wipe) change.dropped = std::move(stored_);
  if (effects.wipe) stored_.clear();
  for (const Slot& slot : effects.taken) {
    change.steps.emplace_back(slot, &relay_->steps().at(slot));
    stored_.push_back(slot);
  }
  ASSIGN_OR_RETURN(const int64_t revision, parts_->store->Commit(change));
  if (effects.record_changed) revision_ = revision;
  return absl::OkStatus();
}

void ExchangeSession::Record(const Effects& effects) {
  for (const Effects::Event& happened : effects.events) {
    key::v1::AuditEvent event;
    event.set_actor(happened.actor);
    event.set_action(happened.action);
    event.set_resource(InvitationName(id_));
    event.set_outcome(happened.outcome);
    event.set_detail(happened.detail);
    parts_->audit->Record(std::move(event));
  }
}

void ExchangeSession::SendAway(const absl::Status& status) {
  for (const auto& [id, member] : members_) member.stream->End(status);
  members_.clear();
  relay_.reset();
  timer_at_ = absl::InfiniteFuture();
  ScheduleAt(parts_->clock->Now() + kRetryAfter);
}

void ExchangeSession::RevokeWhenAlone() {
  if (revoke_at_ == absl::InfiniteFuture()) return;
  const bool claimers = std::any_of(members_.begin(), members_.end(),
                                    [](const auto& member) { return member.second.role == sas::Role::kClaimer; });
  if (!claimers || parts_->clock->Now() >= revoke_at_) Revoke();
}

void ExchangeSession::Revoke() {
  revoke_at_ = absl::InfiniteFuture();
  parts_->revoke(relay_->record().serial(), ToTime(relay_->record().invitation().expire_time()));
}

// One timer, never later than what is due first.
void ExchangeSession::Schedule() {
  const absl::Time due = std::min(relay_->Deadline(), revoke_at_);
  if (due < timer_at_) ScheduleAt(due);
}

void ExchangeSession::ScheduleAt(absl::Time due) {
  timer_at_ = due;
  parts_->timers->Schedule(due, [session = weak_from_this(), workers = parts_->workers] {
    workers->Run([session] {
      if (const auto held = session.lock()) held->OnTime();
    });
  });
}

void ExchangeSession::OnTime() {
  {
    MutexLock lock(&mutex_);
    timer_at_ = absl::InfiniteFuture();
    if (const absl::Status status = Load(); !status.ok()) {
      LogError("an invitation can not be read", {{"invitation", id_}, {"error", std::string(status.message())}});
      return ScheduleAt(parts_->clock->Now() + kRetryAfter);
    }
    (void)Apply(relay_->AdvanceTime(parts_->clock->Now()));
  }
  if (idle()) parts_->idle(id_);
}

}  // namespace parley::enrolld
