#include "lib/store/etcd/etcd_upkeep.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "lib/transport/awaited.h"

namespace parley::store {
namespace {

using Effect = EtcdCluster::Effect;

std::string ShowMiB(int64_t bytes) { return absl::StrCat(bytes >> 20, " MiB"); }

// Whether a read at this revision is answered.
bool Keeps(EtcdCluster* cluster, const KeySpace& keys, int64_t revision) {
  etcdserverpb::RangeRequest request;
  request.set_key(keys.format_key());
  request.set_count_only(true);
  request.set_revision(revision);
  return cluster
      ->Call(Effect::kRepeatable, revision,
             [&](EtcdMember* member, grpc::ClientContext* context) {
               etcdserverpb::RangeResponse response;
               return transport::AwaitCall(
                   [&](auto done) { member->kv()->async()->Range(context, &request, &response, std::move(done)); });
             })
      .ok();
}

}  // namespace

std::vector<std::string> FindNeglected(EtcdCluster* cluster, const KeySpace& keys, const UpkeepLimits& limits) {
  std::vector<std::string> neglected;
  const absl::StatusOr<etcdserverpb::StatusResponse> asked = cluster->GetStatus();
  if (!asked.ok()) return neglected;
  const etcdserverpb::StatusResponse& about = *asked;
  const int64_t old = about.header().revision() - limits.revisions;
  if (old > 0 && Keeps(cluster, keys, old)) {
    neglected.push_back(absl::StrCat("etcd keeps more than ", limits.revisions,
                                     " revisions of its history, which use up its quota; start its members with "
                                     "--auto-compaction-mode=periodic --auto-compaction-retention=1h"));
  }
  const int64_t free_bytes = about.dbsize() - about.dbsizeinuse();
  if (free_bytes > limits.free_bytes && free_bytes > about.dbsizeinuse()) {
    neglected.push_back(absl::StrCat(ShowMiB(free_bytes), " of the ", ShowMiB(about.dbsize()),
                                     " of a member of etcd hold nothing and count for its quota; run etcdctl defrag "
                                     "for one member after the other"));
  }
  if (about.dbsizequota() > 0 && about.dbsize() > limits.of_quota * static_cast<double>(about.dbsizequota())) {
    neglected.push_back(absl::StrCat(ShowMiB(about.dbsize()), " of etcd's quota of ", ShowMiB(about.dbsizequota()),
                                     " are used; when it is used up services can only read and delete; compact and "
                                     "defragment it, or raise --quota-backend-bytes"));
  }
  return neglected;
}

}  // namespace parley::store
