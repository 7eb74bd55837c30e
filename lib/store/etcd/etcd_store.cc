#include "lib/store/etcd/etcd_store.h"

#include <sys/random.h>

#include <algorithm>
#include <atomic>
#include <utility>

#include "absl/strings/match.h"
#include "lib/base/error.h"
#include "lib/base/log.h"
#include "lib/store/etcd/etcd_cluster.h"
#include "lib/store/etcd/etcd_errors.h"
#include "lib/store/etcd/etcd_format.h"
#include "lib/store/etcd/etcd_upkeep.h"
#include "lib/store/etcd/etcd_watches.h"
#include "lib/store/etcd/key_space.h"
#include "lib/store/etcd/shared_calls.h"
#include "lib/store/refusals.h"
#include "lib/transport/awaited.h"

namespace parley::store {
namespace {

using transport::AwaitCall;
using Effect = EtcdCluster::Effect;

// What a page of a list should have. The first page is small, as the size of entries is not known yet.
constexpr size_t kPageBytes = 4 << 20;
constexpr int64_t kFirstPageEntries = 100;
constexpr int64_t kMostPageEntries = 2000;

Entry ToEntry(const KeySpace& keys, mvccpb::KeyValue* found) {
  return {keys.FromEtcd(found->key()), std::move(*found->mutable_value()),
          keys.revisions().FromEtcd(found->create_revision()), keys.revisions().FromEtcd(found->mod_revision()),
          found->lease()};
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
    const int64_t revision = condition.mod_revision;
    // One that is not kept never holds, though it may be the number of one that etcd has, or of none.
    const bool may_hold = revision == 0 || keys.revisions().keeps(revision);
    compare->set_mod_revision(may_hold ? keys.revisions().ToEtcd(revision) : -1);
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

// A stream with one message each way. A thread waits for it.
class KeepAlive final
    : private grpc::ClientBidiReactor<etcdserverpb::LeaseKeepAliveRequest, etcdserverpb::LeaseKeepAliveResponse> {
 public:
  KeepAlive(grpc::ClientContext* context, etcdserverpb::LeaseKeepAliveResponse* response)
      : context_(context), response_(response) {}
  grpc::Status Run(etcdserverpb::Lease::Stub* lease, const etcdserverpb::LeaseKeepAliveRequest* request) {
    lease->async()->LeaseKeepAlive(context_, this);
    StartWrite(request);
    StartRead(response_);
    StartCall();
    return done_.Wait();
  }

 private:
  void OnReadDone(bool ok) override {
    answered_ = ok;
    context_->TryCancel();
  }
  void OnDone(const grpc::Status& status) override { done_.Set(answered_ ? grpc::Status::OK : status); }

  grpc::ClientContext* const context_;
  etcdserverpb::LeaseKeepAliveResponse* const response_;
  bool answered_ = false;
  transport::Awaited<grpc::Status> done_;
};

class EtcdStore final : public Store {
 public:
  // `made` is etcd's revision at which the format entry was made. `guard` is the one at which it must still stand in
  // each commit; 0 for any.
  EtcdStore(std::unique_ptr<EtcdCluster> cluster, const KeySpace& keys, int64_t made, int64_t guard)
      : cluster_(std::move(cluster)),
        keys_(keys),
        made_(made),
        guard_(guard),
        watches_(std::make_shared<EtcdWatches>(cluster_.get(), keys_)) {}
  ~EtcdStore() override { watches_->Stop(); }

  absl::StatusOr<Entry> Get(absl::string_view key, int64_t revision) override;
  absl::StatusOr<Page> List(const KeyRange& range, size_t limit, int64_t revision) override;
  absl::StatusOr<int64_t> Revision() override { return CheckRevision(0); }
  absl::StatusOr<int64_t> Commit(Transaction transaction) override;
  absl::StatusOr<std::unique_ptr<Watch>> WatchRange(const KeyRange& range, int64_t revision,
                                                    WatchCallback callback) override;
  absl::StatusOr<LeaseId> GrantLease(absl::Duration ttl) override;
  absl::Status KeepLeaseAlive(LeaseId lease) override;
  absl::StatusOr<absl::Duration> LeaseTime(LeaseId lease) override;
  absl::Status RevokeLease(LeaseId lease) override;
  absl::Status Compact(int64_t revision) override;

  // Finds out whether the store is the one that was opened. Whoever keeps leases alive is told so in time, as somebody
  // may have deleted it and restored another one, whose revisions mean something else.
  absl::Status CheckStill();
  absl::Status Replaced() const;
  // Deletes all data, in one commit.
  absl::Status DeleteEverything();
  absl::Status Finish() { return FinishKeySpace(cluster_.get(), keys_, guard_); }

 private:
  // `revision` is the request's, as callers count.
  absl::StatusOr<etcdserverpb::RangeResponse> Range(etcdserverpb::RangeRequest* request, int64_t revision);
  absl::StatusOr<etcdserverpb::RangeResponse> ReadPage(etcdserverpb::RangeRequest* request, int64_t revision,
                                                       int64_t* entries);
  // Commits under the guard. `only` is the key of the only condition.
  absl::StatusOr<int64_t> Run(etcdserverpb::TxnRequest request, absl::string_view only);
  // Returns the newest revision, or an error if this one can not be read; 0 can.
  absl::StatusOr<int64_t> CheckRevision(int64_t revision);

  absl::StatusOr<etcdserverpb::TxnResponse> Send(Effect effect, const etcdserverpb::TxnRequest& request);

  const std::unique_ptr<EtcdCluster> cluster_;
  const KeySpace keys_;
  const int64_t made_;
  const int64_t guard_;
  std::atomic<bool> replaced_ = false;
  SharedCalls reads_{[this](const auto& request) { return Send(Effect::kRepeatable, request); }};
  SharedCalls commits_{[this](const auto& request) { return Send(Effect::kOnce, request); }};
  const std::shared_ptr<EtcdWatches> watches_;
};

absl::StatusOr<etcdserverpb::RangeResponse> EtcdStore::Range(etcdserverpb::RangeRequest* request, int64_t revision) {
  if (revision != 0 && !keys_.revisions().keeps(revision)) return Compacted(revision);
  request->set_revision(keys_.revisions().ToEtcd(revision));
  etcdserverpb::RangeResponse response;
  const auto range = [&](EtcdMember* member, grpc::ClientContext* context) {
    return AwaitCall([&](auto done) { member->kv()->async()->Range(context, request, &response, std::move(done)); });
  };
  RETURN_IF_ERROR(cluster_->Call(Effect::kRepeatable, revision, range));
  return response;
}

absl::StatusOr<int64_t> EtcdStore::CheckRevision(int64_t revision) {
  etcdserverpb::RangeRequest request;
  request.set_key(keys_.format_key());
  request.set_count_only(true);
  ASSIGN_OR_RETURN(const etcdserverpb::RangeResponse response, Range(&request, revision));
  return keys_.revisions().FromEtcd(response.header().revision());
}

absl::StatusOr<etcdserverpb::TxnResponse> EtcdStore::Send(Effect effect, const etcdserverpb::TxnRequest& request) {
  etcdserverpb::TxnResponse response;
  RETURN_IF_ERROR(cluster_->Call(effect, 0, [&](EtcdMember* member, grpc::ClientContext* context) {
    return AwaitCall([&](auto done) { member->kv()->async()->Txn(context, &request, &response, std::move(done)); });
  }));
  return response;
}

absl::StatusOr<Entry> EtcdStore::Get(absl::string_view key, int64_t revision) {
  etcdserverpb::RequestOp request;
  request.mutable_request_range()->set_key(keys_.ToEtcd(key));
  etcdserverpb::RangeResponse response;
  if (revision == 0) {
    ASSIGN_OR_RETURN(SharedCalls::Answer answer, reads_.Run(std::move(request)));
    response.Swap(answer.response.mutable_response_range());
  } else {
    // Its errors are about its revision.
    ASSIGN_OR_RETURN(response, Range(request.mutable_request_range(), revision));
  }
  if (response.kvs().empty()) return KeyNotFound(key);
  return ToEntry(keys_, response.mutable_kvs(0));
}

// Reads at most `entries`, and fewer if those do not fit into an answer. Adapts `entries` to the size of what it reads.
absl::StatusOr<etcdserverpb::RangeResponse> EtcdStore::ReadPage(etcdserverpb::RangeRequest* request, int64_t revision,
                                                                int64_t* entries) {
  const int64_t wanted = request->limit();
  while (true) {
    const int64_t asked = wanted == 0 ? *entries : std::min(wanted, *entries);
    request->set_limit(asked);
    absl::StatusOr<etcdserverpb::RangeResponse> response = Range(request, revision);
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
    request.set_limit(limit == 0 ? 0 : static_cast<int64_t>(limit - page.entries.size()));
    ASSIGN_OR_RETURN(etcdserverpb::RangeResponse response, ReadPage(&request, page.revision, &entries));
    // The others are read at the revision of the first.
    if (page.revision == 0) page.revision = keys_.revisions().FromEtcd(response.header().revision());
    for (mvccpb::KeyValue& found : *response.mutable_kvs()) page.entries.push_back(ToEntry(keys_, &found));
    page.more = response.more();
    if (page.more) request.set_key(response.kvs(response.kvs_size() - 1).key() + '\0');
  } while (page.more && (limit == 0 || page.entries.size() < limit));
  return page;
}

absl::StatusOr<int64_t> EtcdStore::Commit(Transaction transaction) {
  RETURN_IF_ERROR(CheckTransaction(transaction));
  const std::string only = transaction.conditions.size() == 1 ? transaction.conditions[0].key : "";
  return Run(ToTxn(keys_, std::move(transaction)), only);
}

absl::StatusOr<int64_t> EtcdStore::Run(etcdserverpb::TxnRequest request, absl::string_view only) {
  if (replaced_) return Replaced();
  if (guard_ != 0) {
    etcdserverpb::Compare* const compare = request.add_compare();
    compare->set_target(etcdserverpb::Compare::MOD);
    compare->set_key(keys_.format_key());
    compare->set_mod_revision(guard_);
  }
  etcdserverpb::RequestOp whole;
  whole.mutable_request_txn()->Swap(&request);
  ASSIGN_OR_RETURN(const SharedCalls::Answer answer, commits_.Run(std::move(whole)));
  if (!answer.response.response_txn().succeeded()) return Conflict(only);
  return keys_.revisions().FromEtcd(answer.revision);
}

absl::Status EtcdStore::DeleteEverything() {
  const KeyRange everything = keys_.ToEtcd(KeyRange::Prefix(""));
  etcdserverpb::TxnRequest request;
  etcdserverpb::DeleteRangeRequest* const remove = request.add_success()->mutable_request_delete_range();
  remove->set_key(everything.begin);
  remove->set_range_end(everything.end);
  return Run(std::move(request), "").status();
}

absl::StatusOr<std::unique_ptr<Watch>> EtcdStore::WatchRange(const KeyRange& range, int64_t revision,
                                                             WatchCallback callback) {
  // Revision 0 is before everything: all of it is kept if the first one is.
  if (!keys_.revisions().keeps(revision)) return Compacted(revision);
  RETURN_IF_ERROR(CheckRevision(std::max<int64_t>(revision, 1)).status());
  return watches_->Add(range, revision, std::move(callback));
}

absl::StatusOr<LeaseId> EtcdStore::GrantLease(absl::Duration ttl) {
  if (replaced_) return Replaced();
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
    const grpc::Status status = AwaitCall(
        [&](auto done) { member->lease()->async()->LeaseGrant(context, &request, &response, std::move(done)); });
    const bool granted_before =
        std::exchange(repeated, true) && absl::StrContains(status.error_message(), "already exists");
    return granted_before ? grpc::Status::OK : status;
  };
  RETURN_IF_ERROR(cluster_->Call(Effect::kRepeatable, 0, grant));
  return lease;
}

absl::Status EtcdStore::CheckStill() {
  etcdserverpb::RangeRequest request;
  request.set_key(keys_.format_key());
  ASSIGN_OR_RETURN(const etcdserverpb::RangeResponse response, Range(&request, 0));
  if (response.kvs().empty() || response.kvs(0).create_revision() != made_) replaced_ = true;
  return replaced_ ? Replaced() : absl::OkStatus();
}

absl::Status EtcdStore::Replaced() const {
  return FailedPrecondition("STORE_REPLACED", "what etcd had under ", keys_.root(),
                            " was deleted while this process served from it; start the process again");
}

absl::Status EtcdStore::KeepLeaseAlive(LeaseId lease) {
  RETURN_IF_ERROR(CheckStill());
  etcdserverpb::LeaseKeepAliveRequest request;
  request.set_id(lease);
  etcdserverpb::LeaseKeepAliveResponse response;
  const auto keep = [&](EtcdMember* member, grpc::ClientContext* context) {
    return KeepAlive(context, &response).Run(member->lease(), &request);
  };
  RETURN_IF_ERROR(cluster_->Call(Effect::kRepeatable, 0, keep));
  // etcd answers for a lease that it does not know.
  return response.ttl() > 0 ? absl::OkStatus() : LeaseNotFound();
}

absl::StatusOr<absl::Duration> EtcdStore::LeaseTime(LeaseId lease) {
  etcdserverpb::LeaseTimeToLiveRequest request;
  request.set_id(lease);
  etcdserverpb::LeaseTimeToLiveResponse response;
  RETURN_IF_ERROR(cluster_->Call(Effect::kRepeatable, 0, [&](EtcdMember* member, grpc::ClientContext* context) {
    return AwaitCall(
        [&](auto done) { member->lease()->async()->LeaseTimeToLive(context, &request, &response, std::move(done)); });
  }));
  // etcd answers for a lease that it does not know.
  if (response.ttl() <= 0) return LeaseNotFound();
  return absl::Seconds(response.grantedttl());
}

absl::Status EtcdStore::RevokeLease(LeaseId lease) {
  etcdserverpb::LeaseRevokeRequest request;
  request.set_id(lease);
  return cluster_->Call(Effect::kOnce, 0, [&](EtcdMember* member, grpc::ClientContext* context) {
    etcdserverpb::LeaseRevokeResponse response;
    return AwaitCall(
        [&](auto done) { member->lease()->async()->LeaseRevoke(context, &request, &response, std::move(done)); });
  });
}

absl::Status EtcdStore::Compact(int64_t revision) {
  if (!keys_.revisions().keeps(revision)) return absl::OkStatus();
  etcdserverpb::CompactionRequest request;
  request.set_revision(keys_.revisions().ToEtcd(revision));
  const absl::Status status =
      cluster_->Call(Effect::kRepeatable, revision, [&](EtcdMember* member, grpc::ClientContext* context) {
        etcdserverpb::CompactionResponse response;
        return AwaitCall(
            [&](auto done) { member->kv()->async()->Compact(context, &request, &response, std::move(done)); });
      });
  // It is done already.
  return Reason(status) == "STORE_COMPACTED" ? absl::OkStatus() : status;
}

absl::StatusOr<std::unique_ptr<EtcdCluster>> ConnectTo(const EtcdOptions& options) {
  ASSIGN_OR_RETURN(std::unique_ptr<EtcdCluster> cluster, EtcdCluster::Create(options));
  // Before any call, so that a member that is not genuine is called that.
  const absl::Status connected = cluster->Connect(options.call_timeout).status();
  if (absl::IsUnauthenticated(connected) || absl::IsFailedPrecondition(connected)) return connected;
  RETURN_IF_ERROR(CheckHealth(cluster.get()));
  return cluster;
}

absl::StatusOr<KeySpaceFormat> OpenKeySpace(EtcdCluster* cluster, const KeySpace& keys, const EtcdOptions& options) {
  const StoreOwner owner = {options.service, options.organisation};
  switch (options.purpose.use) {
    case StorePurpose::Use::kRead:
      return ReadKeySpace(cluster, keys, owner);
    case StorePurpose::Use::kFill:
      return BeginKeySpace(cluster, keys, owner, options.purpose.after);
    case StorePurpose::Use::kServe:
      break;
  }
  absl::StatusOr<KeySpaceFormat> claimed = ClaimKeySpace(cluster, keys, owner);
  // The other replica has made it meanwhile, or this one has and did not hear of it.
  return absl::IsAborted(claimed.status()) ? ClaimKeySpace(cluster, keys, owner) : claimed;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Store>> OpenEtcdStore(EtcdOptions options) {
  ASSIGN_OR_RETURN(std::unique_ptr<EtcdCluster> cluster, ConnectTo(options));
  KeySpace keys(options.prefix, options.service);
  ASSIGN_OR_RETURN(const KeySpaceFormat format, OpenKeySpace(cluster.get(), keys, options));
  keys.SetRevisions(format.revisions);
  if (options.purpose.use == StorePurpose::Use::kServe) {
    for (const std::string& neglected : FindNeglected(cluster.get(), keys, UpkeepLimits())) LogWarning(neglected);
  }
  const bool fill = options.purpose.use == StorePurpose::Use::kFill;
  auto store =
      std::make_unique<EtcdStore>(std::move(cluster), keys, format.create_revision, fill ? format.mod_revision : 0);
  if (fill) RETURN_IF_ERROR(store->DeleteEverything());
  return store;
}

absl::Status FinishEtcdStore(Store* store) { return static_cast<EtcdStore*>(store)->Finish(); }

absl::StatusOr<StoreOwner> ReadEtcdOwner(EtcdOptions options) {
  ASSIGN_OR_RETURN(const std::unique_ptr<EtcdCluster> cluster, ConnectTo(options));
  ASSIGN_OR_RETURN(KeySpaceFormat format, ReadKeySpace(cluster.get(), KeySpace(options.prefix, options.service),
                                                       {options.service, options.organisation}));
  return std::move(format.owner);
}

}  // namespace parley::store
