// Checks an etcd before anything is done with it: its version, its alarms, and whose data are there.
//
// Threads: free functions without state; they block.
#ifndef PARLEY_LIB_STORE_ETCD_ETCD_FORMAT_H_
#define PARLEY_LIB_STORE_ETCD_ETCD_FORMAT_H_

#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lib/store/etcd/etcd_cluster.h"
#include "lib/store/etcd/key_space.h"
#include "lib/store/owner.h"

namespace parley::store {

// Returns FAILED_PRECONDITION (STORE_TOO_OLD), RESOURCE_EXHAUSTED (DISK_FULL), DATA_LOSS (STORE_DAMAGED), or the errors
// of Call.
absl::Status CheckHealth(EtcdCluster* cluster);

// What the format entry of a key space says.
struct KeySpaceFormat {
  StoreOwner owner;
  RevisionSpace revisions;
  // etcd's revisions of the entry: the second one stays as long as it is not deleted.
  int64_t mod_revision = 0;
  int64_t create_revision = 0;
};

// Reads the format. Returns NOT_FOUND (STORE_ABSENT) if the key space is empty; FAILED_PRECONDITION: STORE_FOREIGN if
// something else is there, or what is there is not `owner`'s as far as that is known, STORE_NEWER if a newer program
// wrote it, STORE_UNFINISHED if it is being filled; the errors of Call.
absl::StatusOr<KeySpaceFormat> ReadKeySpace(EtcdCluster* cluster, const KeySpace& keys, const StoreOwner& owner);

// Reads the format, or writes it if the key space is empty, and notes the organisation if nobody knew it. Returns
// ABORTED (CONFLICT) if another process wrote it at the same time, or the errors of ReadKeySpace.
absl::StatusOr<KeySpaceFormat> ClaimKeySpace(EtcdCluster* cluster, const KeySpace& keys, const StoreOwner& owner);

// Says that the key space, which is empty or was left unfinished, is being filled with data whose newest revision was
// `after`. Data that are there stay. Returns FAILED_PRECONDITION: STORE_NOT_EMPTY, STORE_FOREIGN; ABORTED (CONFLICT);
// the errors of Call.
absl::StatusOr<KeySpaceFormat> BeginKeySpace(EtcdCluster* cluster, const KeySpace& keys, const StoreOwner& owner,
                                             int64_t after);
// Says that the key space is whole. Returns ABORTED (CONFLICT) if another process has begun to fill it since, or the
// errors of ReadKeySpace.
absl::Status FinishKeySpace(EtcdCluster* cluster, const KeySpace& keys, int64_t begun);

}  // namespace parley::store

#endif  // PARLEY_LIB_STORE_ETCD_ETCD_FORMAT_H_
