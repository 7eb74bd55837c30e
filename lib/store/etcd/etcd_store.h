// The engine for several replicas: an etcd of version 3.4 or newer, which many processes and organisations may share.
// docs/adr/0019-etcd-store.md has the reasons.
//
// All keys of a store begin with "{prefix}/{service}/", and the entry "{prefix}/{service}/format" says whose they are.
// Members are tried in turn: a read goes on at another member by itself, a commit only as long as it is certain that
// nobody has received it. Watches are resumed after their last revision at another member.
//
// If somebody deletes the store while it is open, and perhaps puts another one in its place, KeepLeaseAlive finds it
// out, and from then on nothing is committed: FAILED_PRECONDITION (STORE_REPLACED).
//
// Leases take whole seconds, and at least as many as the cluster's election timeout demands (2 by default).
//
// Threads: free functions without state.
#ifndef PARLEY_LIB_STORE_ETCD_ETCD_STORE_H_
#define PARLEY_LIB_STORE_ETCD_ETCD_STORE_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "lib/store/owner.h"
#include "lib/store/store.h"

namespace parley::store {

struct EtcdOptions {
  // The members, in the order in which they are tried: "https://etcd-0.example:2379"; without TLS only on this machine,
  // "http://127.0.0.1:2379" or "unix:/run/etcd.sock".
  std::vector<std::string> endpoints;
  // What all keys begin with: 1 to 64 letters, digits, '-', '_', '.' and single '/' between them. Organisations that
  // share an etcd have different ones.
  std::string prefix = "parley";
  // The service whose data these are, so that the services of an organisation share a prefix: 1 to 16 small letters.
  std::string service;
  // The organisation, if it is known. It is kept with the first opening that knows it, and compared from then on.
  std::string organisation;
  StorePurpose purpose = {};
  // Paths of PEM files: the certificates that sign those of the members, and this client's certificate with its key.
  // All three are required for https.
  std::string ca_file;
  std::string certificate_file;
  std::string key_file;
  // The name that must be in the members' certificates in place of each one's own host.
  std::string server_name;
  // How long a call may take with all its tries, and how long one try of a read may take before another member is
  // asked.
  absl::Duration call_timeout = absl::Seconds(8);
  absl::Duration try_timeout = absl::Seconds(3);
};

// Returns INVALID_ARGUMENT (STORE_OPTIONS) for options that are malformed or lack a file.
absl::Status CheckEtcdOptions(const EtcdOptions& options);

// Opens the store, and makes it if its prefix is empty. Writes nothing unless all checks have passed. Returns
// STORE_UNAVAILABLE if no member answers or no majority of them does; UNAUTHENTICATED (SERVER_NOT_GENUINE) for a member
// whose certificate is not signed by the CA or not for its name, and (KEY_REFUSED) if it does not take this client's;
// FAILED_PRECONDITION (CLIENTS_NOT_CHECKED) for a member that serves clients without a certificate, (STORE_TOO_OLD) for
// an etcd before 3.4, (STORE_NEWER) for a format that this program does not know, (STORE_FOREIGN) if another program,
// service or organisation has its data there, (STORE_UNFINISHED) if it is being filled, (STORE_NOT_EMPTY) if it cannot
// be; NOT_FOUND (STORE_ABSENT) if there is nothing to read; RESOURCE_EXHAUSTED (DISK_FULL) and DATA_LOSS
// (STORE_DAMAGED) if an alarm of the cluster says so; the errors of CheckEtcdOptions, of files and of store.h.
//
// Commits to a store that is being filled have at most kMaxOperations - 1 conditions, and get ABORTED (CONFLICT) once
// another process has begun to fill it.
absl::StatusOr<std::unique_ptr<Store>> OpenEtcdStore(EtcdOptions options);

// Says that a store which was filled is whole: services open it from now on. `store` is what OpenEtcdStore returned.
// Returns ABORTED (CONFLICT) if another process has begun to fill it since, or the errors of store.h.
absl::Status FinishEtcdStore(Store* store);

// Reads whose store it is, which services may have open. Returns the errors of OpenEtcdStore for one to read.
absl::StatusOr<StoreOwner> ReadEtcdOwner(EtcdOptions options);

}  // namespace parley::store

#endif  // PARLEY_LIB_STORE_ETCD_ETCD_STORE_H_
