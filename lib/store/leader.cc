#include "lib/store/leader.h"

#include <utility>

#include "lib/base/error.h"
#include "lib/base/log.h"

namespace parley::store {
namespace {

constexpr absl::Duration kRetryAfter = absl::Seconds(1);

}  // namespace

Leader::Leader(Options options)
    : options_(std::move(options)),
      follower_(
          options_.store, KeyRange{options_.key, options_.key + '\0'}, [this] { return Load(); },
          [this](const std::vector<Change>& changes) {
            for (const Change& change : changes) Observe(change.value.value_or(""), change.mod_revision);
          },
          options_.clock, options_.timers) {}

void Leader::Stop() {
  {
    MutexLock lock(&mutex_);
    stopped_ = true;
  }
  follower_.Stop();
}

bool Leader::leads() const {
  MutexLock lock(&mutex_);
  return held_ && name_ == options_.replicas->name();
}

void Leader::OnLease(bool held) {
  {
    MutexLock lock(&mutex_);
    held_ = held;
  }
  Tell();
  if (held) options_.run([this] { Claim(); });
}

absl::StatusOr<int64_t> Leader::Load() {
  ASSIGN_OR_RETURN(const Page page, options_.store->List({options_.key, options_.key + '\0'}));
  Observe(page.entries.empty() ? "" : page.entries[0].value, page.revision);
  return page.revision;
}

void Leader::Observe(absl::string_view name, int64_t revision) {
  {
    MutexLock lock(&mutex_);
    if (stopped_ || revision < seen_) return;
    seen_ = revision;
    name_ = std::string(name);
  }
  Tell();
  if (name.empty()) options_.run([this] { Claim(); });
}

void Leader::Tell() {
  MutexLock telling(&telling_);
  const bool leads = this->leads();
  if (leads == told_) return;
  told_ = leads;
  options_.on_change(leads);
}

void Leader::Claim() {
  const LeaseId lease = options_.replicas->lease();
  {
    MutexLock lock(&mutex_);
    // Without a lease it claims when it has one again.
    if (stopped_ || lease == 0 || !name_.empty()) return;
  }
  const absl::Status status =
      options_.store->Commit(Transaction().IfAbsent(options_.key).Set(options_.key, options_.replicas->name(), lease))
          .status();
  // The follower tells who was faster.
  if (status.ok() || absl::IsAborted(status)) return;
  LogWarning("this process could not claim the lead", {{"error", std::string(status.message())}});
  MutexLock lock(&mutex_);
  if (stopped_) return;
  options_.timers->Schedule(options_.clock->Now() + kRetryAfter, [this] { options_.run([this] { Claim(); }); });
}

}  // namespace parley::store
