// Opens the store that a service's settings name, whatever its engine.
//
//   store::StoreOptions options{.url = flags.store, .service = "taskd"};
//   options.ca_file = flags.store_ca; …
//   ASSIGN_OR_RETURN(const std::unique_ptr<store::Store> store, store::OpenStore(options));
//
// Threads: free functions without state.
#ifndef PARLEY_LIB_STORE_OPEN_STORE_H_
#define PARLEY_LIB_STORE_OPEN_STORE_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "lib/base/clock.h"
#include "lib/store/owner.h"
#include "lib/store/store.h"

namespace parley::store {

struct StoreUrl {
  // The database file; empty for etcd.
  std::string path;
  // The members of an etcd and the prefix of its keys; empty for SQLite.
  std::vector<std::string> endpoints;
  std::string prefix;

  bool is_etcd() const { return path.empty(); }
};

// Parses "sqlite:PATH" or "etcd:URL[,URL…][/PREFIX]", where a URL is "https://HOST:PORT", or "http://HOST:PORT" or
// "unix:PATH" of this machine. The prefix is "parley" if none is given, and always so for "unix:PATH". Returns
// INVALID_ARGUMENT (STORE_URL) for anything else.
absl::StatusOr<StoreUrl> ParseStoreUrl(absl::string_view text);

struct StoreOptions {
  // What ParseStoreUrl takes.
  std::string url;
  // The service whose data these are, such as "taskd". A store that has another one's is refused. Only etcd needs it.
  std::string service;
  // The organisation whose data these are, if it is known. A store that has another one's is refused.
  std::string organisation;
  // Services leave this as it is.
  StorePurpose purpose = {};
  // Paths of PEM files for https: the CA of the etcd's members, this client's certificate and its private key.
  std::string ca_file;
  std::string certificate_file;
  std::string key_file;
  // Measures the time of SQLite's leases. Must outlive the store.
  Clock* clock = Clock::System();
};

// Checks what can be checked without opening anything, for --check-config. Returns the errors of ParseStoreUrl and
// INVALID_ARGUMENT (STORE_OPTIONS), and the errors of the files that are named.
absl::Status CheckStoreOptions(const StoreOptions& options);

// Returns the errors of ParseStoreUrl, of OpenSqliteStore and of OpenEtcdStore.
absl::StatusOr<std::unique_ptr<Store>> OpenStore(const StoreOptions& options);

// Says that a store which OpenStore has opened with these options to be filled is whole: services open it from now on.
// Returns the errors of FinishSqliteStore and of FinishEtcdStore.
absl::Status FinishStore(const StoreOptions& options, std::unique_ptr<Store> store);

// Reads whose store it is; services may have it open. Returns the errors of ParseStoreUrl, of ReadSqliteOwner and of
// ReadEtcdOwner.
absl::StatusOr<StoreOwner> ReadStoreOwner(const StoreOptions& options);

}  // namespace parley::store

#endif  // PARLEY_LIB_STORE_OPEN_STORE_H_
