// What an etcd itself shows of how it is kept: whether its history is compacted, and how far its quota is used up.
//
// Threads: a free function without state, which blocks on etcd.
#ifndef PARLEY_LIB_STORE_ETCD_ETCD_UPKEEP_H_
#define PARLEY_LIB_STORE_ETCD_ETCD_UPKEEP_H_

#include <cstdint>
#include <string>
#include <vector>

#include "lib/store/etcd/etcd_cluster.h"
#include "lib/store/etcd/key_space.h"

namespace parley::store {

struct UpkeepLimits {
  // How many revisions may be kept before somebody should have compacted them.
  int64_t revisions = 1'000'000;
  // How much of the database file may hold nothing, if that is more than half of the file.
  int64_t free_bytes = int64_t{256} << 20;
  // How much of the quota may be used. etcd tells its quota from 3.6 on.
  double of_quota = 0.8;
};

// Returns a sentence with a remedy for everything that is neglected at the current member. What etcd does not tell is
// left out.
std::vector<std::string> FindNeglected(EtcdCluster* cluster, const KeySpace& keys, const UpkeepLimits& limits);

}  // namespace parley::store

#endif  // PARLEY_LIB_STORE_ETCD_ETCD_UPKEEP_H_
