#include "services/keyd/keys/root_keys.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "lib/base/error.h"
#include "lib/store/update.h"
#include "services/keyd/domain/audit_events.h"

namespace parley::keyd {

absl::StatusOr<std::unique_ptr<RootKeys>> RootKeys::Open(const KeyStore* store, const Organisation* organisation) {
  std::unique_ptr<RootKeys> root_keys(new RootKeys(store, organisation));
  for (const absl::string_view audience : {keys::kTaskd, keys::kEnrolld, keys::kKeyd}) {
    root_keys->keyrings_.try_emplace(std::string(audience));
  }
  RETURN_IF_ERROR(root_keys->Refresh());
  return root_keys;
}

absl::StatusOr<std::map<uint32_t, Secret>> RootKeys::OpenAll(const records::RootSet& roots) const {
  std::map<uint32_t, Secret> opened;
  for (const records::RootSet::Root& root : roots.roots()) {
    ASSIGN_OR_RETURN(opened[root.epoch()], organisation_->RootKey(root));
  }
  return opened;
}

absl::StatusOr<RootKeys::News> RootKeys::Use(const records::RootSet& roots, int64_t revision) {
  MutexLock lock(&mutex_);
  if (revision <= revision_) return News::kNothing;
  ASSIGN_OR_RETURN(const auto opened, OpenAll(roots));
  if (opened.empty()) return Damaged(kRootsKey);
  for (auto& [audience, keyring] : keyrings_) {
    std::map<uint32_t, Secret> derived;
    for (const auto& [epoch, root] : opened) derived[epoch] = keys::DeriveAudienceKey(root, audience);
    RETURN_IF_ERROR(keyring.Replace(std::move(derived), roots.primary_epoch()));
  }
  revision_ = revision;
  const uint32_t oldest = std::exchange(oldest_epoch_, opened.begin()->first);
  return oldest < oldest_epoch_ ? News::kRetired : News::kMore;
}

absl::Status RootKeys::Refresh() {
  ASSIGN_OR_RETURN(const auto roots, store_->Roots());
  return Use(roots.value, roots.revision).status();
}

absl::Status RootKeys::Rotate(absl::string_view actor, uint32_t retire_before, key::v1::RotateRootResponse* response) {
  // Two rotations at once are one after the other, as far as the second one's demand still holds.
  RETURN_IF_ERROR(store::RetryConflicts([&] { return TryRotate(actor, retire_before, response); }));
  return Refresh();
}

absl::Status RootKeys::TryRotate(absl::string_view actor, uint32_t retire_before,
                                 key::v1::RotateRootResponse* response) {
  ASSIGN_OR_RETURN(auto before, store_->Roots());
  // The epoch that is primary now stays, so that there is always one under which credentials were replaced before
  // the old ones stop working.
  if (retire_before > before.value.primary_epoch()) {
    return InvalidArgument("RETIRE_BEFORE", "retire_before must be at most ", before.value.primary_epoch(),
                           ", the epoch that is primary now: rotate, replace the credentials, and "
                           "retire with the next rotation");
  }
  const uint32_t epoch = before.value.primary_epoch() + 1;
  records::RootSet after;
  std::vector<std::string> retired;
  for (records::RootSet::Root& root : *before.value.mutable_roots()) {
    if (root.epoch() < retire_before) {
      retired.push_back(absl::StrCat(root.epoch()));
    } else {
      *after.add_roots() = std::move(root);
    }
  }
  *after.add_roots() = organisation_->NewRoot(epoch);
  after.set_primary_epoch(epoch);
  const std::string detail = retired.empty() ? "retired none" : absl::StrCat("retired ", absl::StrJoin(retired, ", "));
  RETURN_IF_ERROR(store_->trail()->Commit({NewEvent(actor, "root.rotated", absl::StrCat("roots/", epoch), detail)},
                                          [&](int64_t, store::Transaction* transaction) {
                                            transaction->conditions.push_back({kRootsKey, before.revision});
                                            transaction->Set(kRootsKey, after.SerializeAsString());
                                          }));
  response->set_primary_epoch(epoch);
  return absl::OkStatus();
}

absl::StatusOr<key::v1::AudienceKeys> RootKeys::AudienceKeysOf(absl::string_view audience,
                                                               const std::string& stored_roots) const {
  if (keyrings_.find(audience) == keyrings_.end()) {
    return NotFound("AUDIENCE_UNKNOWN", "there is no audience ", audience);
  }
  ASSIGN_OR_RETURN(const auto roots, ParseRecord<records::RootSet>(kRootsKey, stored_roots));
  ASSIGN_OR_RETURN(const auto opened, OpenAll(roots));
  key::v1::AudienceKeys message;
  message.set_primary_epoch(roots.primary_epoch());
  for (const auto& [epoch, root] : opened) {
    key::v1::AudienceKeys::Epoch* const added = message.add_epochs();
    added->set_epoch(epoch);
    const Secret key = keys::DeriveAudienceKey(root, audience);
    added->set_key(key.Expose().data(), key.size());
  }
  return message;
}

}  // namespace parley::keyd
