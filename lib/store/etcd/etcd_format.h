// Checks an etcd before anything is done with it: its version, its alarms, and whose data are there.
//
// Threads: free functions without state; they block.
#ifndef PARLEY_LIB_STORE_ETCD_ETCD_FORMAT_H_
#define PARLEY_LIB_STORE_ETCD_ETCD_FORMAT_H_

#include "absl/status/status.h"
#include "lib/store/etcd/etcd_cluster.h"
#include "lib/store/etcd/key_space.h"

namespace parley::store {

// Returns FAILED_PRECONDITION (STORE_TOO_OLD), RESOURCE_EXHAUSTED (DISK_FULL), DATA_LOSS (STORE_DAMAGED), or the errors
// of Call.
absl::Status CheckHealth(EtcdCluster* cluster);

// Reads the store's format, or writes it if the key space is empty. Returns FAILED_PRECONDITION: STORE_FOREIGN if
// something else is there, STORE_NEWER if a newer program wrote it. Returns ABORTED (CONFLICT) if another process wrote
// it at the same time, or the errors of Call.
absl::Status ClaimKeySpace(EtcdCluster* cluster, const KeySpace& keys, const EtcdOptions& options);

}  // namespace parley::store

#endif  // PARLEY_LIB_STORE_ETCD_ETCD_FORMAT_H_
