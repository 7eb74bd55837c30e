#include "services/taskd/participants/revoked_keys.h"

#include <algorithm>
#include <utility>

#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/base/log.h"
#include "lib/base/proto_time.h"
#include "services/taskd/domain/validation.h"
#include "services/taskd/store/keys.h"

namespace parley::taskd {

namespace {

// Longer than the lease of a replica that has gone silent.
constexpr absl::Duration kMaxWait = absl::Seconds(30);

}  // namespace

RevokedKeys::RevokedKeys(const TaskStore* store, store::Replicas* replicas, Revoke revoke, Clock* clock,
                         TimerQueue* timers)
    : store_(store),
      replicas_(replicas),
      revoke_(std::move(revoke)),
      clock_(clock),
      follower_(
          store->store(), RevocationRange(), [this] { return Load(); },
          [this](const std::vector<store::Change>& changes) {
            for (const store::Change& change : changes) {
              if (change.value.has_value()) Apply(change.key, *change.value);
            }
            if (replicas_ != nullptr && !changes.empty()) replicas_->Followed(changes.back().mod_revision);
          },
          clock, timers) {}

absl::StatusOr<int64_t> RevokedKeys::Load() {
  ASSIGN_OR_RETURN(const store::Page page, store_->store()->List(RevocationRange()));
  for (const store::Entry& entry : page.entries) Apply(entry.key, entry.value);
  if (replicas_ != nullptr) replicas_->Followed(page.revision);
  return page.revision;
}

absl::Status RevokedKeys::Await(int64_t revision) {
  if (!follower_.WaitFor(revision)) {
    return Unavailable("STORE_BEHIND",
                       "it is stored, but not in force yet, because this server does not hear from its "
                       "store what has changed; ask again");
  }
  if (replicas_ == nullptr) return absl::OkStatus();
  return replicas_->Await(revision, kMaxWait);
}

absl::Status RevokedKeys::AwaitAll() {
  ASSIGN_OR_RETURN(const store::Page page, store_->store()->List(RevocationRange()));
  return Await(NewestOf(page.entries));
}

void RevokedKeys::Apply(absl::string_view key, absl::string_view value) {
  RevocationRecord record;
  const std::optional<std::string> serial = HexDecode(LastPart(key));
  if (!serial.has_value() || !ParseRecord(key, value, &record).ok()) {
    LogError("a stored revocation can not be read", {{"key", std::string(key)}});
    return;
  }
  revoke_(*serial, ToTime(record.expire_time()));
}

absl::Status RevokedKeys::Add(absl::string_view serial, absl::Time not_after, store::Transaction* transaction) const {
  const absl::Duration left = std::max(not_after - clock_->Now(), absl::Seconds(1));
  // A key of a year that is revoked in its first minute is forgotten a minute early; its own record stays.
  const absl::Duration kept = std::min(left + absl::Hours(1), kMaxTtl);
  ASSIGN_OR_RETURN(const store::LeaseId lease, store_->store()->GrantLease(kept));
  RevocationRecord record;
  *record.mutable_expire_time() = ToProto(not_after);
  transaction->Set(RevocationKey(HexEncode(serial)), record.SerializeAsString(), lease);
  return absl::OkStatus();
}

}  // namespace parley::taskd
