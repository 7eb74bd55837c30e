#include "services/enrolld/service/rooms.h"

#include <utility>
#include <vector>

#include "lib/base/error.h"
#include "lib/base/log.h"
#include "services/enrolld/domain/names.h"
#include "services/enrolld/domain/time.h"

namespace parley::enrolld {
namespace {

// The audit log remembers for longer.
constexpr absl::Duration kKeptFor = absl::Hours(24 * 90);

}  // namespace

absl::Status Rooms::Start() {
  ASSIGN_OR_RETURN(const std::vector<InvitationStore::Stored> all, parts_->store->All());
  for (const InvitationStore::Stored& stored : all) {
    const enrol::v1::Invitation& invitation = stored.record.invitation();
    const bool pending = invitation.state() == enrol::v1::Invitation::STATE_PENDING;
    if (pending || stored.record.has_attempt()) {
      RETURN_IF_ERROR(Find(InvitationId(invitation)).status());
      continue;
    }
    if (ToTime(invitation.expire_time()) > parts_->clock->Now()) {
      parts_->revoke(stored.record.serial(), ToTime(invitation.expire_time()));
    }
  }
  ForgetDaily();
  return absl::OkStatus();
}

void Rooms::ForgetDaily() {
  const absl::Time next = parts_->clock->Now() + absl::Hours(24);
  if (const absl::Status status = Forget(); !status.ok()) {
    LogError("old invitations can not be deleted", {{"error", std::string(status.message())}});
  }
  parts_->timers->Schedule(next, [this] { parts_->workers->Run([this] { ForgetDaily(); }); });
}

absl::Status Rooms::Forget() {
  ASSIGN_OR_RETURN(const std::vector<InvitationStore::Stored> all, parts_->store->All());
  for (const InvitationStore::Stored& stored : all) {
    const enrol::v1::Invitation& invitation = stored.record.invitation();
    const bool pending = invitation.state() == enrol::v1::Invitation::STATE_PENDING;
    if (pending || stored.record.has_attempt()) continue;
    if (ToTime(invitation.end_time()) + kKeptFor < parts_->clock->Now()) {
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
