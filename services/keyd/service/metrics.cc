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

// How many credentials there were, and when.
struct Census {
  absl::Time time = absl::InfinitePast();
  std::vector<Metrics::Sample> samples;
};

absl::StatusOr<Census> Count(const KeyStore& store) {
  Census census{store.Now(), {}};
  std::map<std::pair<std::string, const char*>, int64_t> counts;
  ASSIGN_OR_RETURN(const std::set<uint32_t> epochs, store.LiveEpochs());
  store::KeyRange range = store::KeyRange::Prefix(kCredentialPrefix);
  for (bool more = true; more;) {
    ASSIGN_OR_RETURN(const store::Page page, store.store()->List(range, kPage));
    for (const store::Entry& entry : page.entries) {
      range.begin = entry.key + '\0';
      key::v1::CredentialRecord record;
      if (!record.ParseFromString(entry.value)) continue;
      const char* const state = record.has_revoke_time()                      ? "revoked"
                                : ToTime(record.expire_time()) <= census.time ? "expired"
                                : epochs.count(record.epoch()) == 0           ? "retired"
                                                                              : "live";
      ++counts[{keys::RoleName(record.role()), state}];
    }
    more = page.more;
  }
  for (const auto& [key, count] : counts) {
    census.samples.push_back({{{"role", key.first}, {"state", key.second}}, static_cast<double>(count)});
  }
  return census;
}

}  // namespace

Metrics::Source CountCredentials(const KeyStore* store, Metrics* metrics) {
  const auto last = std::make_shared<Census>();
  // Called on one reader's thread at a time.
  const auto read = [store, last] {
    const absl::Duration age = store->Now() - last->time;
    if (age >= absl::ZeroDuration() && age < kFresh) return last->samples;
    absl::StatusOr<Census> census = Count(*store);
    if (census.ok()) {
      *last = *std::move(census);
    } else {
      // What was counted before stays; the store's trouble shows elsewhere.
      LogWarning("credentials cannot be counted", {{"error", std::string(census.status().message())}});
    }
    return last->samples;
  };
  return metrics->Add("parley_credentials", "Credentials that were issued, by role and state.", Metrics::Kind::kGauge,
                      read);
}

}  // namespace parley::keyd
