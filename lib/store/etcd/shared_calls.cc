#include "lib/store/etcd/shared_calls.h"

#include <algorithm>
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/string_view.h"

namespace parley::store {
namespace {

using etcdserverpb::RequestOp;
using etcdserverpb::TxnRequest;
using etcdserverpb::TxnResponse;

// etcd takes 128 operations for a list and those within it together, and 1.5 MiB in all.
constexpr int kMostTogether = 32;
constexpr int kMostOperations = 64;
constexpr size_t kMostBytes = 512 << 10;

// The keys of a transaction.
struct Footprint {
  explicit Footprint(const RequestOp& request) {
    for (const etcdserverpb::Compare& compare : request.request_txn().compare()) named.push_back(compare.key());
    for (const RequestOp& change : request.request_txn().success()) {
      if (change.has_request_put()) changed.push_back(change.request_put().key());
      if (!change.has_request_delete_range()) continue;
      changed.push_back(change.request_delete_range().key());
      ranges |= !change.request_delete_range().range_end().empty();
    }
    named.insert(named.end(), changed.begin(), changed.end());
  }

  std::vector<absl::string_view> named;
  std::vector<absl::string_view> changed;
  // Whether it changes more keys than it names.
  bool ranges = false;
};

// A transaction that changes nothing is a read for etcd by itself, and a write to its log as a part of another one.
bool MayShare(const RequestOp& request, const Footprint& footprint, size_t bytes) {
  if (bytes > kMostBytes) return false;
  if (request.has_request_range()) return true;
  return !footprint.changed.empty() && !footprint.ranges && footprint.named.size() <= kMostOperations;
}

}  // namespace

struct SharedCalls::Waiting {
  explicit Waiting(RequestOp given)
      : request(std::move(given)),
        footprint(request),
        bytes(request.ByteSizeLong()),
        may_share(MayShare(request, footprint, bytes)) {}

  const RequestOp request;
  const Footprint footprint;
  const size_t bytes;
  bool may_share;
  std::optional<absl::StatusOr<Answer>> answer;
  CondVar changed;
};

absl::StatusOr<SharedCalls::Answer> SharedCalls::Run(RequestOp request) {
  const auto own = std::make_shared<Waiting>(std::move(request));
  Group group;
  {
    MutexLock lock(&mutex_);
    queue_.push_back(own);
  }
  while (true) {
    {
      MutexLock lock(&mutex_);
      while (!own->answer.has_value() && under_way_) own->changed.Wait(&mutex_);
      if (own->answer.has_value()) return *std::move(own->answer);
      under_way_ = true;
      group = TakeGroup();
    }
    Answers answers = SendGroup(group);
    {
      MutexLock lock(&mutex_);
      under_way_ = false;
      group = Finish(group, std::move(answers));
    }
    // After the lock has been released, which they would wait for.
    for (const auto& woken : group) woken->changed.NotifyOne();
  }
}

// The first is always taken, so that everybody's turn comes.
SharedCalls::Group SharedCalls::TakeGroup() {
  Group group = {std::move(queue_.front())};
  queue_.pop_front();
  if (!group[0]->may_share) return group;
  std::set<absl::string_view> named, changed;
  size_t bytes = 0;
  const auto add = [&](const Waiting& waiting) {
    named.insert(waiting.footprint.named.begin(), waiting.footprint.named.end());
    changed.insert(waiting.footprint.changed.begin(), waiting.footprint.changed.end());
    bytes += waiting.bytes;
  };
  const auto among = [](const std::vector<absl::string_view>& keys, const std::set<absl::string_view>& others) {
    return std::any_of(keys.begin(), keys.end(), [&others](absl::string_view key) { return others.count(key) > 0; });
  };
  add(*group[0]);
  for (auto next = queue_.begin(); next != queue_.end() && group.size() < kMostTogether;) {
    const Waiting& waiting = **next;
    if (!waiting.may_share || bytes + waiting.bytes > kMostBytes || among(waiting.footprint.named, changed) ||
        among(waiting.footprint.changed, named)) {
      ++next;
      continue;
    }
    add(waiting);
    group.push_back(std::move(*next));
    next = queue_.erase(next);
  }
  return group;
}

SharedCalls::Answers SharedCalls::SendGroup(const Group& group) const {
  const bool alone = group.size() == 1;
  // A transaction by itself is the whole call, and the response as a whole its answer.
  const bool whole = alone && group[0]->request.has_request_txn();
  TxnRequest parts;
  for (const auto& waiting : group) {
    if (!whole) *parts.add_success() = waiting->request;
  }
  absl::StatusOr<TxnResponse> response = send_(whole ? group[0]->request.request_txn() : parts);
  Answers answers(group.size());
  // Refused without an effect, perhaps for the sake of another one: each is to be refused by itself.
  if (!alone && !response.ok() && !absl::IsUnavailable(response.status())) return answers;
  for (size_t i = 0; i < group.size(); ++i) {
    if (!response.ok()) {
      answers[i] = response.status();
      continue;
    }
    Answer answer{.revision = response->header().revision()};
    if (whole) {
      answer.response.mutable_response_txn()->Swap(&*response);
    } else {
      answer.response.Swap(response->mutable_responses(static_cast<int>(i)));
    }
    answers[i] = std::move(answer);
  }
  return answers;
}

SharedCalls::Group SharedCalls::Finish(const Group& group, Answers answers) {
  Group woken;
  for (size_t i = group.size(); i-- > 0;) {
    if (answers[i].has_value()) {
      group[i]->answer = std::move(answers[i]);
      woken.push_back(group[i]);
    } else {
      group[i]->may_share = false;
      queue_.push_front(group[i]);
    }
  }
  if (!queue_.empty()) woken.push_back(queue_.front());
  return woken;
}

}  // namespace parley::store
