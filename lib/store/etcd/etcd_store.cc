#include "lib/store/etcd/etcd_store.h"

#include <sys/random.h>

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "lib/base/error.h"
#include "lib/store/etcd/etcd_cluster.h"
#include "lib/store/etcd/etcd_errors.h"
#include "lib/store/etcd/etcd_format.h"
#include "lib/store/etcd/etcd_watches.h"
#include "lib/store/etcd/key_space.h"
#include "lib/store/refusals.h"

namespace parley::store {
namespace {

using Effect = EtcdCluster::Effect;

// What a page of a list should have. The first page is small, as the size of entries is not known yet.
constexpr size_t kPageBytes = 4 << 20;
constexpr int64_t kFirstPageEntries = 100;
constexpr int64_t kMostPageEntries = 2000;

Entry ToEntry(const KeySpace& keys, mvccpb::KeyValue* found) {
  return {keys.FromEtcd(found->key()), std::move(*found->mutable_value()), found->create_revision(),
          found->mod_revision()};
}

// A read that does nothing but wait for what was committed before. etcd answers a transaction without puts and deletes
// from what one member knows, unless it has such a read.
void AddLinearizableRead(const KeySpace& keys, google::protobuf::RepeatedPtrField<etcdserverpb::RequestOp>* list) {
  etcdserverpb::RangeRequest* const read = list->Add()->mutable_request_range();
  read->set_key(keys.format_key());
  read->set_count_only(true);
}

etcdserverpb::TxnRequest ToTxn(const KeySpace& keys, Transaction transaction) {
  etcdserverpb::TxnRequest txn;
  for (const Transaction::Condition& condition : transaction.conditions) {
    etcdserverpb::Compare* const compare = txn.add_compare();
    compare->set_target(etcdserverpb::Compare::MOD);
    compare->set_key(keys.ToEtcd(condition.key));
    compare->set_mod_revision(condition.mod_revision);
  }
  for (Put& put : transaction.puts) {
    etcdserverpb::PutRequest* const request = txn.add_success()->mutable_request_put();
    request->set_key(keys.ToEtcd(put.key));
    request->set_value(std::move(put.value));
    request->set_lease(put.lease);
  }
  for (const std::string& key : transaction.deletes) {
    txn.add_success()->mutable_request_delete_range()->set_key(keys.ToEtcd(key));
  }
  if (txn.success().empty()) {
    AddLinearizableRead(keys, txn.mutable_success());
    AddLinearizableRead(keys, txn.mutable_failure());
  }
  return txn;
}

class EtcdStore final : public Store {
 public:
  EtcdStore(std::unique_ptr<EtcdCluster> cluster, const KeySpace& keys, Clock* clock)
      : cluster_(std::move(cluster)),
        keys_(keys),
        watches_(std::make_shared<EtcdWatches>(cluster_.get(), keys_, clock)) {}
  ~EtcdStore() override { watches_->Stop(); }

  absl::StatusOr<Entry> Get(absl::string_view key, int64_t revision) override;
  absl::StatusOr<Page> List(const KeyRange& range, size_t limit, int64_t revision) override;
  absl::StatusOr<int64_t> Revision() override { return CheckRevision(0); }
  absl::StatusOr<int64_t> Commit(Transaction transaction) override;
  absl::StatusOr<std::unique_ptr<Watch>> WatchRange(const KeyRange& range, int64_t revision,
                                                    WatchCallback callback) override;
  absl::StatusOr<LeaseId> GrantLease(absl::Duration ttl) override;
  absl::Status KeepLeaseAlive(LeaseId lease) override;
  absl::Status RevokeLease(LeaseId lease) override;
  absl::Status Compact(int64_t revision) override;

 private:
  absl::StatusOr<etcdserverpb::RangeResponse> Range(const etcdserverpb::RangeRequest& request);
  absl::StatusOr<etcdserverpb::RangeResponse> ReadPage(etcdserverpb::RangeRequest* request, int64_t* entries);
  // Returns the newest revision, or an error if this one can not be read; 0 can.
  absl::StatusOr<int64_t> CheckRevision(int64_t revision);

  const std::unique_ptr<EtcdCluster> cluster_;
  const KeySpace keys_;
  const std::shared_ptr<EtcdWatches> watches_;
};

absl::StatusOr<etcdserverpb::RangeResponse> EtcdStore::Range(const etcdserverpb::RangeRequest& request) {
  etcdserverpb::RangeResponse response;
  const auto range = [&](EtcdMember* member, grpc::ClientContext* context) {
    return member->kv()->Range(context, request, &response);
  };
  RETURN_IF_ERROR(cluster_->Call(Effect::kRepeatable, request.revision(), range));
  return response;
}

absl::StatusOr<int64_t> EtcdStore::CheckRevision(int64_t revision) {
  etcdserverpb::RangeRequest request;
  request.set_key(keys_.format_key());
  request.set_revision(revision);
  request.set_count_only(true);
  ASSIGN_OR_RETURN(const etcdserverpb::RangeResponse response, Range(request));
  return response.header().revision();
}

absl::StatusOr<Entry> EtcdStore::Get(absl::string_view key, int64_t revision) {
  etcdserverpb::RangeRequest request;
  request.set_key(keys_.ToEtcd(key));
  request.set_revision(revision);
  ASSIGN_OR_RETURN(etcdserverpb::RangeResponse response, Range(request));
  if (response.kvs().empty()) return KeyNotFound(key);
  return ToEntry(keys_, response.mutable_kvs(0));
}

// Reads at most `entries`, and fewer if those do not fit into an answer. Adapts `entries` to the size of what it reads.
absl::StatusOr<etcdserverpb::RangeResponse> EtcdStore::ReadPage(etcdserverpb::RangeRequest* request, int64_t* entries) {
  const int64_t wanted = request->limit();
  while (true) {
    const int64_t asked = wanted == 0 ? *entries : std::min(wanted, *entries);
    request->set_limit(asked);
    absl::StatusOr<etcdserverpb::RangeResponse> response = Range(*request);
    if (Reason(response.status()) == "STORE_ANSWER_TOO_LARGE" && asked > 1) {
      *entries = asked / 2;
      continue;
    }
    if (response.ok() && !response->kvs().empty()) {
      const size_t bytes = response->ByteSizeLong() / static_cast<size_t>(response->kvs_size()) + 1;
      *entries = std::clamp<int64_t>(static_cast<int64_t>(kPageBytes / bytes), 1, kMostPageEntries);
    }
    return response;
  }
}

absl::StatusOr<Page> EtcdStore::List(const KeyRange& range, size_t limit, int64_t revision) {
  const KeyRange in_etcd = keys_.ToEtcd(range);
  Page page;
  page.revision = revision;
  etcdserverpb::RangeRequest request;
  request.set_key(in_etcd.begin);
  request.set_range_end(in_etcd.end);
  int64_t entries = kFirstPageEntries;
  do {
    request.set_revision(page.revision);
    request.set_limit(limit == 0 ? 0 : static_cast<int64_t>(limit - page.entries.size()));
    ASSIGN_OR_RETURN(etcdserverpb::RangeResponse response, ReadPage(&request, &entries));
    // The others are read at the revision of the first.
    if (page.revision == 0) page.revision = response.header().revision();
    for (mvccpb::KeyValue& found : *response.mutable_kvs()) page.entries.push_back(ToEntry(keys_, &found));
    page.more = response.more();
    if (page.more) request.set_key(response.kvs(response.kvs_size() - 1).key() + '\0');
  } while (page.more && (limit == 0 || page.entries.size() < limit));
  return page;
}

absl::StatusOr<int64_t> EtcdStore::Commit(Transaction transaction) {
  RETURN_IF_ERROR(CheckTransaction(transaction));
  const std::string only = transaction.conditions.size() == 1 ? transaction.conditions[0].key : "";
  const etcdserverpb::TxnRequest request = ToTxn(keys_, std::move(transaction));
  etcdserverpb::TxnResponse response;
  RETURN_IF_ERROR(cluster_->Call(Effect::kOnce, 0, [&](EtcdMember* member, grpc::ClientContext* context) {
    return member->kv()->Txn(context, request, &response);
  }));
  if (!response.succeeded()) return Conflict(only);
  return response.header().revision();
}

absl::StatusOr<std::unique_ptr<Watch>> EtcdStore::WatchRange(const KeyRange& range, int64_t revision,
                                                             WatchCallback callback) {
  // Revision 0 is before everything: all of it is kept if the first one is.
  RETURN_IF_ERROR(CheckRevision(std::max<int64_t>(revision, 1)).status());
  return watches_->Add(range, revision, std::move(callback));
}

absl::StatusOr<LeaseId> EtcdStore::GrantLease(absl::Duration ttl) {
  RETURN_IF_ERROR(CheckLeaseTime(ttl));
  // The id is chosen here, so that a grant whose answer was lost can be repeated without leaving a second lease.
  LeaseId lease = 0;
  while (lease <= 0) {
    if (getrandom(&lease, sizeof(lease), 0) != sizeof(lease)) continue;
    lease &= INT64_MAX;
  }
  etcdserverpb::LeaseGrantRequest request;
  request.set_id(lease);
  request.set_ttl(absl::Ceil(ttl, absl::Seconds(1)) / absl::Seconds(1));
  bool repeated = false;
  const auto grant = [&](EtcdMember* member, grpc::ClientContext* context) {
    etcdserverpb::LeaseGrantResponse response;
    const grpc::Status status = member->lease()->LeaseGrant(context, request, &response);
    const bool granted_before =
        std::exchange(repeated, true) && absl::StrContains(status.error_message(), "already exists");
    return granted_before ? grpc::Status::OK : status;
  };
  RETURN_IF_ERROR(cluster_->Call(Effect::kRepeatable, 0, grant));
  return lease;
}

absl::Status EtcdStore::KeepLeaseAlive(LeaseId lease) {
  etcdserverpb::LeaseKeepAliveRequest request;
  request.set_id(lease);
  etcdserverpb::LeaseKeepAliveResponse response;
  const auto keep = [&](EtcdMember* member, grpc::ClientContext* context) {
    const auto stream = member->lease()->LeaseKeepAlive(context);
    const bool answered = stream->Write(request) && stream->Read(&response);
    stream->WritesDone();
    if (!answered) return stream->Finish();
    context->TryCancel();
    (void)stream->Finish();
    return grpc::Status::OK;
  };
  RETURN_IF_ERROR(cluster_->Call(Effect::kRepeatable, 0, keep));
  // etcd answers for a lease that it does not know.
  return response.ttl() > 0 ? absl::OkStatus() : LeaseNotFound();
}

absl::Status EtcdStore::RevokeLease(LeaseId lease) {
  etcdserverpb::LeaseRevokeRequest request;
  request.set_id(lease);
  return cluster_->Call(Effect::kOnce, 0, [&](EtcdMember* member, grpc::ClientContext* context) {
    etcdserverpb::LeaseRevokeResponse response;
    return member->lease()->LeaseRevoke(context, request, &response);
  });
}

absl::Status EtcdStore::Compact(int64_t revision) {
  etcdserverpb::CompactionRequest request;
  request.set_revision(revision);
  const absl::Status status =
      cluster_->Call(Effect::kRepeatable, revision, [&](EtcdMember* member, grpc::ClientContext* context) {
        etcdserverpb::CompactionResponse response;
        return member->kv()->Compact(context, request, &response);
      });
  // It is done already.
  return Reason(status) == "STORE_COMPACTED" ? absl::OkStatus() : status;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Store>> OpenEtcdStore(EtcdOptions options) {
  ASSIGN_OR_RETURN(std::unique_ptr<EtcdCluster> cluster, EtcdCluster::Create(options));
  // Before any call, so that a member that is not genuine is called that.
  const absl::Status connected = cluster->Connect(absl::Now() + options.call_timeout).status();
  if (absl::IsUnauthenticated(connected) || absl::IsFailedPrecondition(connected)) return connected;
  RETURN_IF_ERROR(CheckHealth(cluster.get()));
  const KeySpace keys(options.prefix, options.service);
  absl::Status claimed = ClaimKeySpace(cluster.get(), keys, options);
  // The other replica has made it meanwhile, or this one has and did not hear of it.
  if (absl::IsAborted(claimed)) claimed = ClaimKeySpace(cluster.get(), keys, options);
  RETURN_IF_ERROR(claimed);
  return std::make_unique<EtcdStore>(std::move(cluster), keys, options.clock);
}

}  // namespace parley::store
