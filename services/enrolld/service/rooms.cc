#include "services/enrolld/service/rooms.h"

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

absl::Status Rooms::Start() {
  ASSIGN_OR_RETURN(const std::vector<InvitationStore::Stored> all, parts_->store->All());
  for (const InvitationStore::Stored& stored : all) {
    const enrol::v1::Invitation& invitation = stored.record.invitation();
    if (!IsOver(stored.record)) {
      RETURN_IF_ERROR(Find(InvitationId(invitation)).status());
    } else if (ToTime(invitation.expire_time()) > parts_->clock->Now()) {
      parts_->revoke(stored.record.serial(), ToTime(invitation.expire_time()));
    }
  }
  RETURN_IF_ERROR(Forget(all));
  ForgetAt(parts_->clock->Now() + kForgetEvery);
  return absl::OkStatus();
}

void Rooms::ForgetAt(absl::Time time) {
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

absl::Status Rooms::Forget(const std::vector<InvitationStore::Stored>& all) {
  for (const InvitationStore::Stored& stored : all) {
    if (!IsOver(stored.record)) continue;
    if (ToTime(stored.record.invitation().end_time()) + kKeptFor < parts_->clock->Now()) {
      RETURN_IF_ERROR(parts_->store->Delete(stored.record));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<Room>> Rooms::Find(const std::string& id) {
  if (auto open = FindOpen(id)) return open;
  auto room = std::make_shared<Room>(parts_, id);
  RETURN_IF_ERROR(room->Open());
  MutexLock lock(&mutex_);
  // Another may have been faster; its room is the one.
  return rooms_.emplace(id, std::move(room)).first->second;
}

std::shared_ptr<Room> Rooms::FindOpen(const std::string& id) const {
  MutexLock lock(&mutex_);
  const auto found = rooms_.find(id);
  return found == rooms_.end() ? nullptr : found->second;
}

void Rooms::Leave(const std::string& id) {
  const std::shared_ptr<Room> room = FindOpen(id);
  if (room == nullptr || !room->idle()) return;
  MutexLock lock(&mutex_);
  rooms_.erase(id);
}

size_t Rooms::open() const {
  MutexLock lock(&mutex_);
  return rooms_.size();
}

}  // namespace parley::enrolld
