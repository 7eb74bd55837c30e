#include "services/enrolld/exchanges/exchange_session.h"

#include <algorithm>
#include <set>
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
constexpr int kMaxConflicts = 50;

absl::Status StoreFailed(const absl::Status& status) {
  return Error(absl::StatusCode::kUnavailable, "STORE_UNAVAILABLE",
               absl::string_view(status.message()).empty() ? "the store failed; connect again" : status.message());
}

// Returns whether another process was faster, or has ended meanwhile.
bool HasMoved(const absl::Status& status) { return absl::IsAborted(status) || Reason(status) == "LEASE_NOT_FOUND"; }

absl::Status CutOff() {
  return Unavailable("REPLICA_CUT_OFF", "this server was cut off from its store for too long; connect again");
}

bool IsPlaced(StreamId stream, const Places& places) {
  return std::any_of(kPlaces.begin(), kPlaces.end(),
                     [&](const auto place) { return (places.*place).stream == stream; });
}

}  // namespace

absl::Status ExchangeSession::Open() {
  MutexLock lock(&mutex_);
  RETURN_IF_ERROR(Load());
  RevokeWhenAlone();
  Schedule();
  return absl::OkStatus();
}

absl::Status ExchangeSession::Load() {
  if (relay_.has_value()) return absl::OkStatus();
  if (shared()) CheckLease();
  ASSIGN_OR_RETURN(auto read, parts_->store->Read(id_, lease_));
  if (!read.has_value()) return NoInvitation(InvitationName(id_));
  if (loaded_ == absl::InfinitePast()) loaded_ = parts_->clock->Now();
  stored_.clear();
  for (const auto& [slot, step] : read->steps) stored_.push_back(slot);
  revision_ = read->stored.revision;
  known_ = read->revision;
  std::optional<Places> places;
  if (shared()) places = ReadPlaces(*read);
  relay_.emplace(parts_->organisation, parts_->leases, std::move(read->stored.record), std::move(read->steps), loaded_,
                 std::move(places));
  NoteEnd();
  if (shared()) TakeAnswers(read->answers);
  return absl::OkStatus();
}

absl::Status ExchangeSession::LoadNewest() {
  if (!shared()) return Load();
  relay_.reset();
  return Decide([](auto*, auto*) { return Effects(); });
}

void ExchangeSession::Hello(StreamId id, const std::shared_ptr<SessionStream>& stream, const CallingParty& who,
                            const enrol::v1::Hello& hello) {
  MutexLock lock(&mutex_);
  absl::Status status = LoadNewest();
  if (status.ok() && shared() && *lease_ == 0) status = CutOff();
  if (!status.ok()) return stream->End(status);
  if (members_.try_emplace(id, Member{stream, who.role}).second && who.role == sas::Role::kClaimer) ++claimers_;
  (void)Decide([&](ExchangeRules* rules, auto*) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    // It was sent away meanwhile.
    if (members_.count(id) == 0) return Effects();
    return rules->Hello(id, who, hello, parts_->clock->Now());
  });
}

void ExchangeSession::Handle(StreamId id, const CallingParty& who, const enrol::v1::ExchangeRequest& request) {
  MutexLock lock(&mutex_);
  if (members_.count(id) == 0) return;
  (void)Decide([&](ExchangeRules* rules, auto*) {
    const absl::Time now = parts_->clock->Now();
    if (request.has_message()) return rules->TakeMessage(id, request.message(), now);
    if (request.has_stop()) return rules->Stop(id, who, request.stop(), now);
    return rules->Done(id, request.done());
  });
}

void ExchangeSession::Gone(StreamId id) {
  MutexLock lock(&mutex_);
  if (RemoveMember(id)) Leave(id);
}

void ExchangeSession::Leave(StreamId id) {
  (void)Decide([&](ExchangeRules* rules, auto*) { return rules->Gone(id, parts_->clock->Now()); });
}

absl::StatusOr<int64_t> ExchangeSession::Cancel(absl::string_view actor, absl::string_view reason) {
  MutexLock lock(&mutex_);
  RETURN_IF_ERROR(LoadNewest());
  RETURN_IF_ERROR(
      Decide([&](ExchangeRules* rules, auto*) { return rules->Cancel(actor, reason, parts_->clock->Now()); }));
  return revision_;
}

absl::Status ExchangeSession::Change(const Edit& edit) {
  MutexLock lock(&mutex_);
  RETURN_IF_ERROR(LoadNewest());
  return Decide([&](ExchangeRules* rules, InvitationStore::Change* change) -> absl::StatusOr<Effects> {
    InvitationRecord record = rules->record();
    Effects effects;
    ASSIGN_OR_RETURN(effects.record_changed, edit(&record, change));
    if (effects.record_changed) *rules->mutable_record() = std::move(record);
    return effects;
  });
}

void ExchangeSession::Refresh(int64_t revision) {
  MutexLock lock(&mutex_);
  if (!relay_.has_value() || revision > known_ || lease_ != parts_->replicas->lease()) (void)LoadNewest();
}

absl::StatusOr<InvitationRecord> ExchangeSession::Record() {
  MutexLock lock(&mutex_);
  RETURN_IF_ERROR(LoadNewest());
  return relay_->record();
}

absl::StatusOr<enrol::v1::Invitation> ExchangeSession::Show() {
  MutexLock lock(&mutex_);
  RETURN_IF_ERROR(LoadNewest());
  return relay_->Show();
}

void ExchangeSession::AddParties(enrol::v1::Invitation* invitation) {
  MutexLock lock(&mutex_);
  if (!relay_.has_value()) return;
  const enrol::v1::Invitation shown = relay_->Show();
  invitation->set_claimer_waiting(shown.claimer_waiting());
  invitation->set_greeter(shown.greeter());
}

bool ExchangeSession::idle() {
  MutexLock lock(&mutex_);
  return members_.empty() && relay_.has_value() && relay_->idle() && revoke_at_ == absl::InfiniteFuture();
}

absl::Status ExchangeSession::Decide(const Decision& decide) {
  absl::Status status;
  for (int conflicts = 0; conflicts < kMaxConflicts; ++conflicts) {
    status = Load();
    if (!status.ok()) break;
    InvitationStore::Change change;
    const absl::StatusOr<Effects> effects = decide(&*relay_, &change);
    if (!effects.ok()) {
      // What was read anew is news all the same.
      Announce(Effects());
      return effects.status();
    }
    status = Store(*effects, std::move(change));
    if (status.ok()) {
      Announce(*effects);
      return absl::OkStatus();
    }
    relay_.reset();
    if (!HasMoved(status)) break;
  }
  LogError("an exchange can not be stored", {{"invitation", id_}, {"error", std::string(status.message())}});
  SendAway(StoreFailed(status));
  return status;
}

absl::Status ExchangeSession::Store(const Effects& effects, InvitationStore::Change change) {
  change.id = id_;
  change.revision = revision_;
  if (shared()) AddPlaces(&change);
  if (shared()) AddAnswers(effects, &change);
  if (!effects.record_changed && effects.taken.empty() && !effects.wipe && change.places.empty() &&
      change.answers.empty()) {
    return absl::OkStatus();
  }
  // Its revision tells others that something has moved.
  if (effects.record_changed || shared()) change.record = &relay_->record();
  if (effects.wipe) change.dropped = std::move(stored_);
  if (effects.wipe) stored_.clear();
  for (const Slot& slot : effects.taken) {
    change.steps.emplace_back(slot, &relay_->steps().at(slot));
    stored_.push_back(slot);
  }
  ASSIGN_OR_RETURN(const int64_t revision, parts_->store->Commit(change));
  if (change.record != nullptr) revision_ = revision;
  known_ = revision;
  for (auto& [place, record] : change.places) {
    stored_places_[place] = {record, record.stream() == 0 ? 0 : revision};
  }
  return absl::OkStatus();
}

// What is stored by now becomes known to those who are here.
void ExchangeSession::Announce(const Effects& effects) {
  Record(effects);
  // Before anybody can have heard: the time for last words runs from now.
  NoteEnd();
  for (const auto& [id, response] : effects.tell) {
    if (const auto member = members_.find(id); member != members_.end()) Deliver(&member->second, response);
  }
  std::vector<StreamId> refused;
  for (const auto& [id, status] : effects.refuse) {
    const auto member = members_.find(id);
    if (member == members_.end()) continue;
    member->second.stream->End(status);
    RemoveMember(id);
    refused.push_back(id);
  }
  if (shared()) UpdateMembers();
  RevokeWhenAlone();
  Schedule();
  // They may have had a place, which is free now.
  for (const StreamId id : refused) Leave(id);
}

void ExchangeSession::Deliver(Member* member, const enrol::v1::ExchangeResponse& response) {
  if (response.has_state()) member->peer_connected = response.state().peer_connected();
  member->stream->Deliver(response);
}

bool ExchangeSession::RemoveMember(StreamId id) {
  const auto member = members_.find(id);
  if (member == members_.end()) return false;
  if (member->second.role == sas::Role::kClaimer) --claimers_;
  members_.erase(member);
  return true;
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

void ExchangeSession::EndAll(const absl::Status& status) {
  for (const auto& [id, member] : members_) member.stream->End(status);
  members_.clear();
  claimers_ = 0;
}

void ExchangeSession::SendAway(const absl::Status& status) {
  EndAll(status);
  relay_.reset();
  loaded_ = absl::InfinitePast();
  const absl::Time retry = parts_->clock->Now() + kRetryAfter;
  if (retry < timer_at_) ScheduleAt(retry);
}

void ExchangeSession::NoteEnd() {
  if (relay_->pending() || end_noted_) return;
  end_noted_ = true;
  revoke_at_ = parts_->clock->Now() + kLastWords;
}

void ExchangeSession::RevokeWhenAlone() {
  if (revoke_at_ == absl::InfiniteFuture()) return;
  if (claimers_ > 0 && parts_->clock->Now() < revoke_at_) return;
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
    (void)Decide([&](ExchangeRules* rules, auto*) { return rules->AdvanceTime(parts_->clock->Now()); });
  }
  if (idle()) parts_->idle(id_);
}

// --- Several processes ----------------------------------------------------------------------------------------------

// What was stored for streams under a lease that is lost has gone with it.
void ExchangeSession::CheckLease() {
  const store::LeaseId lease = parts_->replicas->lease();
  if (lease_.has_value() && lease != *lease_) EndAll(CutOff());
  lease_ = lease;
}

Places ExchangeSession::ReadPlaces(const InvitationStore::Snapshot& read) {
  const uint32_t attempt = read.stored.record.attempt().number();
  const Places before = std::exchange(places_, Places());
  const bool same_attempt = std::exchange(places_of_attempt_, attempt) == attempt;
  stored_places_ = read.places;
  for (size_t i = 0; i < kPlaces.size(); ++i) {
    Place& place = places_.*kPlaces[i];
    const Place& last = before.*kPlaces[i];
    const PlaceRecord& record = read.places[i].record;
    // A stream that was here may have gone without that being stored.
    const bool here = record.lease() == *lease_;
    if (record.stream() != 0 && (!here || members_.count(record.stream()) > 0)) {
      place = {record.stream(), ToTime(record.since()), record.party()};
    } else {
      place.since = same_attempt && last.stream == 0 ? last.since : parts_->clock->Now();
    }
  }
  return places_;
}

const PlaceRecord* ExchangeSession::FindElsewhere(StreamId id) const {
  if (members_.count(id) > 0) return nullptr;
  for (const InvitationStore::StoredPlace& place : stored_places_) {
    if (place.revision != 0 && place.record.stream() == id) return &place.record;
  }
  return nullptr;
}

void ExchangeSession::AddPlaces(InvitationStore::Change* change) {
  change->places_before = &stored_places_;
  places_ = relay_->places();
  for (size_t i = 0; i < kPlaces.size(); ++i) {
    const Place& place = places_.*kPlaces[i];
    PlaceRecord record;
    if (place.stream != 0) {
      const PlaceRecord* const elsewhere = FindElsewhere(place.stream);
      record.set_stream(place.stream);
      *record.mutable_since() = ToProto(place.since);
      if (!place.party.actor().empty()) *record.mutable_party() = place.party;
      record.set_lease(elsewhere == nullptr ? *lease_ : elsewhere->lease());
    }
    const InvitationStore::StoredPlace& stored = stored_places_[i];
    const bool same =
        stored.revision == 0 ? place.stream == 0 : stored.record.SerializeAsString() == record.SerializeAsString();
    if (!same) change->places.emplace_back(i, std::move(record));
  }
}

void ExchangeSession::AddAnswers(const Effects& effects, InvitationStore::Change* change) {
  std::map<StreamId, AnswerRecord> answers;
  for (const auto& [id, response] : effects.tell) {
    if (FindElsewhere(id) != nullptr) *answers[id].add_responses() = response;
  }
  for (const auto& [id, status] : effects.refuse) {
    if (FindElsewhere(id) == nullptr) continue;
    answers[id].set_code(static_cast<int>(status.code()));
    answers[id].set_reason(Reason(status));
    answers[id].set_sentence(std::string(status.message()));
  }
  for (auto& [id, answer] : answers) change->answers.emplace_back(*FindElsewhere(id), std::move(answer));
}

void ExchangeSession::TakeAnswers(const std::vector<InvitationStore::StoredAnswer>& answers) {
  std::set<StreamId> answered;
  for (const InvitationStore::StoredAnswer& answer : answers) {
    const auto member = members_.find(answer.stream);
    if (member == members_.end() || answer.revision <= member->second.answered) continue;
    answered.insert(answer.stream);
    member->second.answered = answer.revision;
    for (const auto& response : answer.record.responses()) Deliver(&member->second, response);
    if (answer.record.code() == 0) continue;
    member->second.stream->End(Error(static_cast<absl::StatusCode>(answer.record.code()), answer.record.reason(),
                                     absl::string_view(answer.record.sentence())));
    RemoveMember(answer.stream);
  }
  if (!answers.empty()) {
    if (const absl::Status dropped = parts_->store->DropAnswers(answers); !dropped.ok()) {
      LogWarning("answers that were given can not be deleted", {{"error", std::string(dropped.message())}});
    }
  }
  // Its place went with the lease, which this process does not know yet.
  std::vector<StreamId> lost;
  for (const auto& [id, member] : members_) {
    if (!member.placed || answered.count(id) > 0 || IsPlaced(id, places_)) continue;
    member.stream->End(CutOff());
    lost.push_back(id);
  }
  for (const StreamId id : lost) RemoveMember(id);
}

void ExchangeSession::UpdateMembers() {
  for (auto& [id, member] : members_) {
    member.placed = IsPlaced(id, relay_->places());
    // The other side's process may have ended without a word.
    const auto state = relay_->StateFor(id);
    if (state.has_value() && state->state().peer_connected() != member.peer_connected) Deliver(&member, *state);
  }
}

}  // namespace parley::enrolld
