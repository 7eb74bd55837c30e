#include "lib/service/service_store.h"

#include <poll.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "lib/base/backoff.h"
#include "lib/base/error.h"
#include "lib/base/log.h"
#include "lib/service/config_check.h"
#include "lib/store/open_store.h"

namespace parley::service {
namespace {

constexpr absl::Duration kFirstPause = absl::Milliseconds(100);
constexpr absl::Duration kLongestPause = absl::Seconds(5);

}  // namespace

bool SharesStore(const ServiceOptions& options) {
  const absl::StatusOr<store::StoreUrl> url = store::ParseStoreUrl(options.store.url);
  return url.ok() && url->is_etcd();
}

void CheckServiceStore(const ServiceOptions& options, ConfigCheck* check) {
  if (!options.store.url.empty()) check->Found("--store", store::CheckStoreOptions(options.store));
}

absl::StatusOr<std::unique_ptr<store::Store>> OpenServiceStore(const ServiceOptions& options,
                                                               const std::string& database,
                                                               const std::string& organisation, Process* process) {
  store::StoreOptions store = options.store;
  if (store.url.empty()) store.url = absl::StrCat("sqlite:", database);
  store.service = options.process.name;
  store.organisation = organisation;
  Backoff pauses(kFirstPause, kLongestPause);
  std::string said;
  while (true) {
    auto opened = store::OpenStore(store);
    if (Reason(opened.status()) != "STORE_UNAVAILABLE") return opened;
    const std::string why(opened.status().message());
    if (std::exchange(said, why) != why)
      LogWarning("the store cannot be reached yet, and is waited for", {{"error", why}});
    pollfd told = {process->stop_fd(), POLLIN, 0};
    if (poll(&told, 1, static_cast<int>(absl::ToInt64Milliseconds(pauses.Next())) + 1) > 0) {
      // The signal is there, and is logged like one that ends a service that serves.
      process->WaitForStop();
      return Error(absl::StatusCode::kCancelled, "STOPPED", "told to stop while waiting for the store");
    }
  }
}

}  // namespace parley::service
