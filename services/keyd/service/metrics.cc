#include "services/keyd/service/metrics.h"

#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "lib/base/log.h"
#include "lib/base/proto_time.h"
#include "lib/keys/roles.h"
#include "parley/key/v1/key_service.pb.h"
#include "services/keyd/store/store_layout.h"

namespace parley::keyd {
namespace {

using rpc::Metrics;

constexpr absl::Duration kFresh = absl::Minutes(1);
// Not all in memory at once.
constexpr size_t kPage = 1000;

class Census {
 public:
  Census(const KeyStore* store, const Clock* clock) : store_(store), clock_(clock) {}

  // On one reader's thread at a time.
  std::vector<Metrics::Sample> Samples() {
    const absl::Time now = clock_->Now();
    if (now - counted_ >= kFresh || now < counted_) Count(now);
    return samples_;
  }

 private:
  void Count(absl::Time now) {
    std::map<std::pair<std::string, const char*>, int64_t> counts;
    const absl::StatusOr<std::set<uint32_t>> epochs = store_->LiveEpochs();
    if (!epochs.ok()) {
      return LogWarning("credentials cannot be counted", {{"error", std::string(epochs.status().message())}});
    }
    store::KeyRange range = store::KeyRange::Prefix(kCredentialPrefix);
    for (bool more = true; more;) {
      const absl::StatusOr<store::Page> page = store_->store()->List(range, kPage);
      // What was counted before stays; the store's trouble shows elsewhere.
      if (!page.ok())
        return LogWarning("credentials cannot be counted", {{"error", std::string(page.status().message())}});
      for (const store::Entry& entry : page->entries) {
        key::v1::CredentialRecord record;
        if (!record.ParseFromString(entry.value)) continue;
        const char* const state = record.has_revoke_time()              ? "revoked"
                                  : ToTime(record.expire_time()) <= now ? "expired"
                                  : epochs->count(record.epoch()) == 0  ? "retired"
                                                                        : "live";
        ++counts[{keys::RoleName(record.role()), state}];
      }
      more = page->more;
      if (more) range.begin = page->entries.back().key + std::string(1, '\0');
    }
    samples_.clear();
    for (const auto& [key, count] : counts) {
      samples_.push_back({{{"role", key.first}, {"state", key.second}}, static_cast<double>(count)});
    }
    counted_ = now;
  }

  const KeyStore* const store_;
  const Clock* const clock_;
  absl::Time counted_ = absl::InfinitePast();
  std::vector<Metrics::Sample> samples_;
};

}  // namespace

Metrics::Source CountCredentials(const KeyStore* store, const Clock* clock, Metrics* metrics) {
  const auto census = std::make_shared<Census>(store, clock);
  return metrics->Add("parley_credentials", "Credentials that were issued, by role and state.", Metrics::Kind::kGauge,
                      [census] { return census->Samples(); });
}

}  // namespace parley::keyd
