#include "lib/service/service_store.h"

#include <poll.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "lib/base/backoff.h"
#include "lib/base/error.h"
#include "lib/base/log.h"
#include "lib/store/open_store.h"

namespace parley::service {
namespace {

constexpr absl::Duration kFirstPause = absl::Milliseconds(100);
constexpr absl::Duration kLongestPause = absl::Seconds(5);

store::StoreOptions StoreOf(const ServiceOptions& options) {
  store::StoreOptions store = options.store;
  store.service = options.process.name;
  if (store.url.empty()) store.url = absl::StrCat("sqlite:", options.data, "/", store.service, ".db");
  return store;
}

}  // namespace

absl::Status CheckServiceStore(const ServiceOptions& options) { return store::CheckStoreOptions(StoreOf(options)); }

bool SharesStore(const ServiceOptions& options) {
  const absl::StatusOr<store::StoreUrl> url = store::ParseStoreUrl(StoreOf(options).url);
  return url.ok() && url->is_etcd();
}

std::string DatabasePath(const ServiceOptions& options) {
  const absl::StatusOr<store::StoreUrl> url = store::ParseStoreUrl(StoreOf(options).url);
  return url.ok() ? url->path : "";
}

absl::StatusOr<std::unique_ptr<store::Store>> OpenServiceStore(const ServiceOptions& options,
                                                               const std::string& organisation, Process* process) {
  store::StoreOptions store = StoreOf(options);
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
