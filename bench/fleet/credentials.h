// Keys for a whole fleet, got from the services by many calls at once: their commits share an fsync.
#ifndef PARLEY_BENCH_FLEET_CREDENTIALS_H_
#define PARLEY_BENCH_FLEET_CREDENTIALS_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "lib/keys/credential.h"
#include "lib/keys/join_key.h"
#include "parley/task/v1/participation_service.pb.h"

namespace parley::bench {

// Joins the key's task `count` times, under the names client-0, client-1 and so on.
absl::StatusOr<std::vector<task::v1::JoinResponse>> JoinAll(const keys::JoinKey& key, int count);

// Has keyd issue the credentials of `count` devices. `admin` is the path of an admin's credential.
absl::StatusOr<std::vector<keys::Credential>> IssueAll(const std::string& admin, int count);

}  // namespace parley::bench

#endif  // PARLEY_BENCH_FLEET_CREDENTIALS_H_
