#include "services/keyd/service/metrics.h"

#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "lib/base/error.h"
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
  explicit Census(const KeyStore* store) : store_(store) {}

  // On one reader's thread at a time.
  std::vector<Metrics::Sample> Samples() {
    const absl::Time now = store_->Now();
    if (now - counted_ < kFresh && now >= counted_) return samples_;
    // What was counted before stays; the store's trouble shows elsewhere.
    if (const absl::Status status = Count(now); !status.ok()) {
      LogWarning("credentials cannot be counted", {{"error", std::string(status.message())}});
    }
    return samples_;
  }

 private:
  absl::Status Count(absl::Time now) {
    std::map<std::pair<std::string, const char*>, int64_t> counts;
    ASSIGN_OR_RETURN(const std::set<uint32_t> epochs, store_->LiveEpochs());
    store::KeyRange range = store::KeyRange::Prefix(kCredentialPrefix);
    for (bool more = true; more;) {
      ASSIGN_OR_RETURN(const store::Page page, store_->store()->List(range, kPage));
      for (const store::Entry& entry : page.entries) {
        range.begin = entry.key + '\0';
        key::v1::CredentialRecord record;
        if (!record.ParseFromString(entry.value)) continue;
        const char* const state = record.has_revoke_time()              ? "revoked"
                                  : ToTime(record.expire_time()) <= now ? "expired"
                                  : epochs.count(record.epoch()) == 0   ? "retired"
                                                                        : "live";
        ++counts[{keys::RoleName(record.role()), state}];
      }
      more = page.more;
    }
    samples_.clear();
    for (const auto& [key, count] : counts) {
      samples_.push_back({{{"role", key.first}, {"state", key.second}}, static_cast<double>(count)});
    }
    counted_ = now;
    return absl::OkStatus();
  }

  const KeyStore* const store_;
  absl::Time counted_ = absl::InfinitePast();
  std::vector<Metrics::Sample> samples_;
};

}  // namespace

Metrics::Source CountCredentials(const KeyStore* store, Metrics* metrics) {
  const auto census = std::make_shared<Census>(store);
  return metrics->Add("parley_credentials", "Credentials that were issued, by role and state.", Metrics::Kind::kGauge,
                      [census] { return census->Samples(); });
}

}  // namespace parley::keyd
