// The store of a service, as its flags name it: a SQLite file in the service's folder, or an etcd that several replicas
// of the service share.
//
// Threads: free functions without state.
#ifndef PARLEY_LIB_SERVICE_SERVICE_STORE_H_
#define PARLEY_LIB_SERVICE_SERVICE_STORE_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "lib/service/process.h"
#include "lib/store/store.h"

namespace parley::service {

class ConfigCheck;

// Whether replicas share the store. A malformed --store counts as one that they do not; OpenServiceStore says so.
bool SharesStore(const ServiceOptions& options);
// Checks --store and the files that belong to it, without opening anything.
void CheckServiceStore(const ServiceOptions& options, ConfigCheck* check);
// Opens what --store names, and the database at this path without it. While the store cannot be reached it waits, and
// says so in the log. `organisation` says whose data they are; empty if that is not known. Returns the errors of
// store::OpenStore but STORE_UNAVAILABLE, or CANCELLED (STOPPED) if the process is told to stop meanwhile.
absl::StatusOr<std::unique_ptr<store::Store>> OpenServiceStore(const ServiceOptions& options,
                                                               const std::string& database,
                                                               const std::string& organisation, Process* process);

}  // namespace parley::service

#endif  // PARLEY_LIB_SERVICE_SERVICE_STORE_H_
