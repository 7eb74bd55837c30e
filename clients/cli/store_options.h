// How commands name a store, as the services do.
#ifndef PARLEY_CLIENTS_CLI_STORE_OPTIONS_H_
#define PARLEY_CLIENTS_CLI_STORE_OPTIONS_H_

#include <string>

#include "absl/status/statusor.h"
#include "clients/cli/command.h"
#include "lib/store/open_store.h"

namespace parley::cli {

// The files that an etcd is reached with by https.
struct EtcdFiles {
  std::string ca, certificate, key;
};

// Adds --store-ca, --store-cert and --store-key.
void AddEtcdFiles(Command command, EtcdFiles* files);

// Returns the store of a URL as `--store` takes it. `service` may be empty for a database. Returns INVALID_ARGUMENT
// (USAGE) for what store::CheckStoreOptions does not take, or the errors of the files.
absl::StatusOr<store::StoreOptions> StoreAt(const std::string& url, const EtcdFiles& files, const std::string& service);

}  // namespace parley::cli

#endif  // PARLEY_CLIENTS_CLI_STORE_OPTIONS_H_
