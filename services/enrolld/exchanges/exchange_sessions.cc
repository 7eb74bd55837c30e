#include "services/enrolld/exchanges/exchange_sessions.h"

#include <random>
#include <utility>
#include <vector>

#include "lib/base/error.h"
#include "lib/base/log.h"
#include "lib/base/proto_time.h"
#include "services/enrolld/domain/names.h"

namespace parley::enrolld {
namespace {

// The audit log remembers for longer.
constexpr absl::Duration kKeptFor = absl::Hours(24 * 90);

constexpr absl::Duration kForgetEvery = absl::Hours(24);

bool IsOver(const InvitationRecord& record) {
  return record.invitation().state() != enrol::v1::Invitation::STATE_PENDING && !record.has_attempt();
}

}  // namespace

absl::StatusOr<int64_t> ExchangeSessions::Load() {
  int64_t revision = 0;
  ASSIGN_OR_RETURN(const std::vector<InvitationStore::Stored> all, parts_->store->All(&revision));
  for (const InvitationStore::Stored& stored : all) {
    const enrol::v1::Invitation& invitation = stored.record.invitation();
    const std::string id = InvitationId(invitation);
    if (FindOpen(id) != nullptr) {
      RefreshLater(id, revision);
    } else if (!IsOver(stored.record)) {
      RETURN_IF_ERROR(Find(id).status());
    }
    RevokeIfEnded(id, stored.record);
  }
  return revision;
}

void ExchangeSessions::OnChange(const InvitationStore::Moved& moved, const store::Change& change) {
  if (moved.what == InvitationStore::Moved::What::kRecord && change.value.has_value()) {
    const absl::StatusOr<InvitationRecord> record = InvitationStore::ParseRecord(change.key, *change.value);
    if (!record.ok()) return LogError(record.status().message());
    RevokeIfEnded(moved.id, *record);
    if (IsOver(*record) && FindOpen(moved.id) == nullptr) return;
  } else if (moved.what != InvitationStore::Moved::What::kPlace || change.value.has_value()) {
    return;
  }
  RefreshLater(moved.id, change.mod_revision);
}

void ExchangeSessions::RevokeIfEnded(const std::string& id, const InvitationRecord& record) {
  if (record.invitation().state() == enrol::v1::Invitation::STATE_PENDING) return;
  const absl::Time expiry = ToTime(record.invitation().expire_time());
  if (expiry <= parts_->clock->Now()) return;
  const auto session = FindOpen(id);
  if (session == nullptr || !session->has_claimer()) parts_->revoke(record.serial(), expiry);
}

void ExchangeSessions::RefreshLater(const std::string& id, int64_t revision) {
  parts_->workers->Run([this, id, revision] {
    const absl::StatusOr<std::shared_ptr<ExchangeSession>> session = Find(id);
    if (!session.ok()) return LogError("an invitation can not be read", {{"error", session.status().ToString()}});
    (*session)->Refresh(revision);
    Leave(id);
  });
}

void ExchangeSessions::ForgetAt(absl::Time time) {
  parts_->timers->Schedule(time, [this] {
    parts_->workers->Run([this] {
      const absl::Time next = parts_->clock->Now() + kForgetEvery;
      const absl::StatusOr<std::vector<InvitationStore::Stored>> all = parts_->store->All();
      if (const absl::Status status = all.ok() ? Forget(*all) : all.status(); !status.ok()) {
        LogError("old invitations can not be deleted", {{"error", std::string(status.message())}});
      }
      ForgetAt(next);
    });
  });
}

absl::Status ExchangeSessions::Forget(const std::vector<InvitationStore::Stored>& all) {
  for (const InvitationStore::Stored& stored : all) {
    if (!IsOver(stored.record)) continue;
    if (ToTime(stored.record.invitation().end_time()) + kKeptFor < parts_->clock->Now()) {
      RETURN_IF_ERROR(parts_->store->Delete(stored.record));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<ExchangeSession>> ExchangeSessions::Find(const std::string& id) {
  if (auto open = FindOpen(id)) return open;
  auto session = std::make_shared<ExchangeSession>(parts_, id);
  RETURN_IF_ERROR(session->Open());
  MutexLock lock(&mutex_);
  // Another may have been faster; its session is the one.
  return sessions_.emplace(id, std::move(session)).first->second;
}

std::shared_ptr<ExchangeSession> ExchangeSessions::FindOpen(const std::string& id) const {
  MutexLock lock(&mutex_);
  const auto found = sessions_.find(id);
  return found == sessions_.end() ? nullptr : found->second;
}

void ExchangeSessions::Leave(const std::string& id) {
  const std::shared_ptr<ExchangeSession> session = FindOpen(id);
  if (session == nullptr || !session->idle()) return;
  MutexLock lock(&mutex_);
  sessions_.erase(id);
}

StreamId ExchangeSessions::NewStream() {
  std::random_device random;
  StreamId stream = 0;
  while (stream == 0) stream = static_cast<StreamId>(random()) << 32 | random();
  return stream;
}

size_t ExchangeSessions::open() const {
  MutexLock lock(&mutex_);
  return sessions_.size();
}

}  // namespace parley::enrolld
