#include "lib/store/refusals.h"

#include <set>

#include "absl/strings/escaping.h"
#include "lib/base/error.h"

namespace parley::store {
namespace {

absl::Status OutOfRange(absl::string_view reason, int64_t revision, absl::string_view what) {
  return Error(absl::StatusCode::kOutOfRange, reason, "revision ", revision, what, "; start again from the newest");
}

}  // namespace

absl::Status CheckTransaction(const Transaction& transaction) {
  const auto invalid = [](const auto&... parts) { return InvalidArgument("STORE_TRANSACTION", parts...); };
  if (transaction.conditions.size() > kMaxOperations ||
      transaction.puts.size() + transaction.deletes.size() > kMaxOperations) {
    return invalid("a commit may have at most ", kMaxOperations, " conditions and as many changes, and this one has ",
                   transaction.conditions.size(), " and ", transaction.puts.size() + transaction.deletes.size());
  }
  if (const size_t bytes = CommitBytes(transaction); bytes > kMaxCommitBytes) {
    return invalid("a commit may have at most ", kMaxCommitBytes, " bytes, and this one has ", bytes);
  }
  std::set<absl::string_view> changed;
  const auto good_size = [](absl::string_view key) { return !key.empty() && key.size() <= kMaxKeyBytes; };
  const auto good_change = [&](absl::string_view key) { return good_size(key) && changed.insert(key).second; };
  bool good = true;
  for (const Transaction::Condition& condition : transaction.conditions) good &= good_size(condition.key);
  for (const Put& put : transaction.puts) good &= good_change(put.key);
  for (const std::string& key : transaction.deletes) good &= good_change(key);
  if (good) return absl::OkStatus();
  return invalid("a key must have 1 to ", kMaxKeyBytes, " bytes and be changed once in a commit");
}

absl::Status CheckLeaseTime(absl::Duration ttl) {
  if (ttl >= absl::Milliseconds(1) && ttl <= absl::Hours(24 * 366)) return absl::OkStatus();
  return InvalidArgument("STORE_LEASE", "a lease takes a millisecond to 366 days");
}

absl::Status KeyNotFound(absl::string_view key) {
  return NotFound("KEY_NOT_FOUND", "there is no ", absl::CHexEscape(key));
}

absl::Status LeaseNotFound() { return NotFound("LEASE_NOT_FOUND", "the lease has run out; take a new one"); }

absl::Status Conflict(absl::string_view key) {
  return Error(absl::StatusCode::kAborted, "CONFLICT", key.empty() ? "what was read" : absl::CHexEscape(key),
               " was changed meanwhile; read it and try again");
}

absl::Status Compacted(int64_t revision) { return OutOfRange("STORE_COMPACTED", revision, " is no longer kept"); }

absl::Status FutureRevision(int64_t revision) {
  return OutOfRange("STORE_FUTURE_REVISION", revision, " is not there yet");
}

absl::Status StoreAbsent(absl::string_view store) { return NotFound("STORE_ABSENT", "there is no store at ", store); }

absl::Status StoreNotEmpty(absl::string_view store) {
  return FailedPrecondition("STORE_NOT_EMPTY", "there is something at ", store,
                            " already; move it away, or choose another place");
}

absl::Status StoreUnfinished(absl::string_view store) {
  return FailedPrecondition("STORE_UNFINISHED", "what is at ", store,
                            " is a copy that was not finished; run `parley store copy` or `parley restore` again, "
                            "which begins it anew");
}

}  // namespace parley::store
