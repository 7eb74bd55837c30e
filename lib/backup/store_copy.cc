#include "lib/backup/store_copy.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "lib/backup/parts.h"
#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/crypto/hash.h"
#include "lib/store/replicas.h"

namespace parley::backup {
namespace {

using store::Entry;
using store::LeaseId;
using store::Store;

// What a page should have. The first one is small, as the size of entries is not known yet.
constexpr size_t kPageBytes = 4 << 20;
constexpr size_t kFirstPageEntries = 32;
constexpr size_t kMostPageEntries = 1000;

std::string ProcessesOf(const std::string& service) { return absl::StrCat(store::Replicas::kPrefix, service, "/"); }

// The leases of the service's own processes, as the store has them at a revision.
absl::StatusOr<std::set<LeaseId>> FindProcesses(Store* read, const std::string& service, int64_t revision) {
  ASSIGN_OR_RETURN(const store::Page page, read->List(store::KeyRange::Prefix(ProcessesOf(service)),
                                                      /*limit=*/0, revision));
  std::set<LeaseId> leases;
  for (const Entry& entry : page.entries) leases.insert(entry.lease);
  return leases;
}

// Shows all entries as they are at a revision, but those under `left_out`.
absl::Status ForEach(Store* read, int64_t revision, const std::set<LeaseId>& left_out,
                     absl::FunctionRef<absl::Status(Entry entry)> show) {
  store::KeyRange range = store::KeyRange::Prefix("");
  size_t limit = kFirstPageEntries;
  while (true) {
    ASSIGN_OR_RETURN(store::Page page, read->List(range, limit, revision));
    if (page.entries.empty()) return absl::OkStatus();
    range.begin = page.entries.back().key + '\0';
    size_t bytes = 0;
    for (Entry& entry : page.entries) {
      bytes += entry.key.size() + entry.value.size();
      if (entry.lease != 0 && left_out.contains(entry.lease)) continue;
      RETURN_IF_ERROR(show(std::move(entry)));
    }
    if (!page.more) return absl::OkStatus();
    limit = std::clamp(kPageBytes / (bytes / page.entries.size() + 1), size_t{1}, kMostPageEntries);
  }
}

// Counts entries and their bytes.
class Census {
 public:
  void Add(const Entry& entry) {
    for (const std::string* text : {&entry.key, &entry.value}) {
      hash_.Update(absl::StrCat(text->size(), ":"));
      hash_.Update(*text);
      bytes_ += static_cast<int64_t>(text->size());
    }
    ++entries_;
    if (entry.lease != 0) ++leased_;
  }
  void Finish(StoreCopy::Summary* summary) {
    summary->entries = entries_;
    summary->bytes = bytes_;
    summary->leased = leased_;
    summary->digest = HexEncode(hash_.Finish());
  }

 private:
  crypto::Sha256Stream hash_;
  int64_t entries_ = 0, bytes_ = 0, leased_ = 0;
};

absl::StatusOr<StoreCopy::Summary> Count(Store* read, int64_t revision, const std::set<LeaseId>& left_out) {
  Census census;
  RETURN_IF_ERROR(ForEach(read, revision, left_out, [&census](const Entry& entry) {
    census.Add(entry);
    return absl::OkStatus();
  }));
  StoreCopy::Summary summary;
  census.Finish(&summary);
  return summary;
}

// Commits what is added, in commits that every engine takes.
class Filler {
 public:
  explicit Filler(Store* filled) : filled_(filled) {}

  absl::Status Put(std::string key, std::string value, LeaseId lease) {
    RETURN_IF_ERROR(MakeRoom(key.size() + value.size()));
    waiting_.Set(std::move(key), std::move(value), lease);
    return absl::OkStatus();
  }
  absl::Status Delete(std::string key) {
    RETURN_IF_ERROR(MakeRoom(key.size()));
    waiting_.Delete(std::move(key));
    return absl::OkStatus();
  }
  absl::Status Flush() {
    if (waiting_.puts.empty() && waiting_.deletes.empty()) return absl::OkStatus();
    bytes_ = 0;
    return filled_->Commit(std::exchange(waiting_, {})).status();
  }

 private:
  absl::Status MakeRoom(size_t bytes) {
    if (waiting_.puts.size() + waiting_.deletes.size() == store::kMaxOperations ||
        bytes_ + bytes > store::kMaxCommitBytes) {
      RETURN_IF_ERROR(Flush());
    }
    bytes_ += bytes;
    return absl::OkStatus();
  }

  Store* const filled_;
  store::Transaction waiting_;
  size_t bytes_ = 0;
};

// Takes care of the leases, once everything is there and was compared: none may run out before.
class Leases {
 public:
  Leases(Store* read, Store* filled) : read_(read), filled_(filled), filler_(filled) {}

  absl::Status Add(Entry entry) {
    if (entry.lease == 0) return absl::OkStatus();
    ASSIGN_OR_RETURN(const LeaseId lease, Find(entry.lease));
    // It has run out since, as it may while services go on.
    if (lease == 0) return filler_.Delete(std::move(entry.key));
    if (absl::StartsWith(entry.key, store::Replicas::kPrefix)) {
      ASSIGN_OR_RETURN(entry.value, store::Replicas::UnderLease(entry.key, entry.value, lease));
    }
    return filler_.Put(std::move(entry.key), std::move(entry.value), lease);
  }
  absl::Status Flush() { return filler_.Flush(); }

 private:
  absl::StatusOr<LeaseId> Find(LeaseId before) {
    if (const auto found = leases_.find(before); found != leases_.end()) return found->second;
    const absl::StatusOr<absl::Duration> time = read_->LeaseTime(before);
    LeaseId lease = 0;
    if (time.ok()) {
      ASSIGN_OR_RETURN(lease, filled_->GrantLease(*time));
    } else if (!absl::IsNotFound(time.status())) {
      return time.status();
    }
    leases_[before] = lease;
    return lease;
  }

  Store* const read_;
  Store* const filled_;
  Filler filler_;
  std::map<LeaseId, LeaseId> leases_;
};

absl::Status FilledTwice(const absl::Status& status, const std::string& url) {
  if (Reason(status) != "CONFLICT") return status;
  return Error(absl::StatusCode::kAborted, "STORE_FILLED_TWICE", "another copy to ", url,
               " was begun meanwhile; wait until it is done, and look at what "
               "it has copied");
}

}  // namespace

absl::StatusOr<std::unique_ptr<StoreCopy>> StoreCopy::Make(store::StoreOptions from, store::StoreOptions to,
                                                           Source source) {
  std::unique_ptr<StoreCopy> copy(new StoreCopy(std::move(from), std::move(to), source));
  RETURN_IF_ERROR(copy->Open());
  RETURN_IF_ERROR(FilledTwice(copy->Copy(), copy->to_.url));
  return copy;
}

absl::Status StoreCopy::Open() {
  from_.purpose = {.use = store::StorePurpose::Use::kRead};
  ASSIGN_OR_RETURN(summary_.owner, store::ReadStoreOwner(from_));
  if (summary_.owner.service.empty()) summary_.owner.service = from_.service;
  if (summary_.owner.service.empty()) {
    return FailedPrecondition("STORE_OWNER_UNKNOWN", from_.url,
                              " does not say whose it is; start its service "
                              "once with this version, or give --service");
  }
  ASSIGN_OR_RETURN(read_, store::OpenStore(from_));
  ASSIGN_OR_RETURN(to_.purpose.after, read_->Revision());
  to_.purpose.use = store::StorePurpose::Use::kFill;
  to_.service = summary_.owner.service;
  to_.organisation = summary_.owner.organisation;
  RETURN_IF_ERROR(CheckNeighbours());
  return absl::OkStatus();
}

// Services of two organisations would not work on one prefix.
absl::Status StoreCopy::CheckNeighbours() const {
  ASSIGN_OR_RETURN(const store::StoreUrl url, store::ParseStoreUrl(to_.url));
  if (!url.is_etcd() || to_.organisation.empty()) return absl::OkStatus();
  for (const Part& part : Parts()) {
    if (part.service == to_.service) continue;
    store::StoreOptions beside = to_;
    beside.purpose = {.use = store::StorePurpose::Use::kRead};
    beside.service = part.service;
    const absl::Status status = store::ReadStoreOwner(beside).status();
    if (!status.ok() && Reason(status) != "STORE_ABSENT" && Reason(status) != "STORE_UNFINISHED") return status;
  }
  return absl::OkStatus();
}

absl::Status StoreCopy::Copy() {
  const std::string& service = summary_.owner.service;
  const int64_t revision = to_.purpose.after;
  const bool stopped = source_ == Source::kStopped;
  ASSIGN_OR_RETURN(const store::StoreUrl url, store::ParseStoreUrl(from_.url));
  // A database is locked, so what it has of them is left over.
  const auto check_unused = [&](const std::set<LeaseId>& processes) {
    if (!stopped || !url.is_etcd() || processes.empty()) return absl::OkStatus();
    return FailedPrecondition("STORE_IN_USE", service, " serves from ", from_.url,
                              ", or one of its processes was killed a moment ago; ",
                              "stop them all, wait for ten seconds, and copy again");
  };
  ASSIGN_OR_RETURN(const std::set<LeaseId> processes, FindProcesses(read_.get(), service, revision));
  RETURN_IF_ERROR(check_unused(processes));
  ASSIGN_OR_RETURN(filled_, store::OpenStore(to_));

  Census census;
  Filler filler(filled_.get());
  RETURN_IF_ERROR(ForEach(read_.get(), revision, processes, [&](Entry entry) {
    census.Add(entry);
    return filler.Put(std::move(entry.key), std::move(entry.value),
                      /*lease=*/0);
  }));
  RETURN_IF_ERROR(filler.Flush());
  census.Finish(&summary_);

  ASSIGN_OR_RETURN(const Summary copied, Count(filled_.get(), 0, {}));
  ASSIGN_OR_RETURN(const Summary again, Count(read_.get(), stopped ? 0 : revision, processes));
  ASSIGN_OR_RETURN(const std::set<LeaseId> now, FindProcesses(read_.get(), service, stopped ? 0 : revision));
  RETURN_IF_ERROR(check_unused(now));
  if (again.digest != summary_.digest) {
    return Error(absl::StatusCode::kAborted, "STORE_CHANGED", from_.url,
                 " was changed during the copy; stop all processes of ", service, ", and copy again");
  }
  if (copied.digest != summary_.digest || copied.entries != summary_.entries) {
    return DataLoss("COPY_DIFFERS", to_.url,
                    " does not have what was copied to it; see whether "
                    "something else writes ",
                    "there, and copy again");
  }
  Leases leases(read_.get(), filled_.get());
  RETURN_IF_ERROR(
      ForEach(read_.get(), revision, processes, [&leases](Entry entry) { return leases.Add(std::move(entry)); }));
  return leases.Flush();
}

absl::Status StoreCopy::Finish() { return FilledTwice(store::FinishStore(to_, std::move(filled_)), to_.url); }

}  // namespace parley::backup
