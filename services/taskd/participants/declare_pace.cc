#include "services/taskd/participants/declare_pace.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace parley::taskd {

absl::Duration DeclarePace::Count(absl::string_view task, absl::string_view client, int declarations) {
  if (declarations == 0) return absl::ZeroDuration();
  const absl::Time now = clock_->Now();
  MutexLock lock(&mutex_);
  if (paid_until_.size() >= sweep_at_) {
    for (auto entry = paid_until_.begin(); entry != paid_until_.end();) {
      entry = entry->second <= now ? paid_until_.erase(entry) : std::next(entry);
    }
    sweep_at_ = std::max<size_t>(64, 2 * paid_until_.size());
  }
  absl::Time& paid = paid_until_.try_emplace(absl::StrCat(task, "/", client), now).first->second;
  paid = std::min(std::max(paid, now) + declarations * kInterval, now + kBurst * kInterval + kMaxWait);
  return std::max(absl::ZeroDuration(), paid - now - kBurst * kInterval);
}

}  // namespace parley::taskd
