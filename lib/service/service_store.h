// The store of a service, as its flags name it: a SQLite file, by default in the service's folder, or an etcd that
// several replicas of the service share.
//
// Threads: free functions without state.
#ifndef PARLEY_LIB_SERVICE_SERVICE_STORE_H_
#define PARLEY_LIB_SERVICE_SERVICE_STORE_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lib/service/process.h"
#include "lib/store/store.h"

namespace parley::service {

// Checks --store and the files that belong to it, without opening anything. Returns the errors of
// store::CheckStoreOptions.
absl::Status CheckServiceStore(const ServiceOptions& options);
// Whether replicas share the store. A store that CheckServiceStore refuses counts as one that they do not.
bool SharesStore(const ServiceOptions& options);
// Returns the path of the database: what --store names, and {data}/NAME.db without it. Empty if replicas share the
// store.
std::string DatabasePath(const ServiceOptions& options);
// Opens the store. While it cannot be reached this waits, and says so in the log. `organisation` says whose data they
// are; empty if that is not known. Returns the errors of store::OpenStore but STORE_UNAVAILABLE, or CANCELLED (STOPPED)
// if the process is told to stop meanwhile.
absl::StatusOr<std::unique_ptr<store::Store>> OpenServiceStore(const ServiceOptions& options,
                                                               const std::string& organisation, Process* process);

}  // namespace parley::service

#endif  // PARLEY_LIB_SERVICE_SERVICE_STORE_H_
