#include "lib/store/etcd/etcd_watches.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "grpcpp/support/client_callback.h"
#include "lib/base/backoff.h"
#include "lib/store/etcd/etcd_errors.h"
#include "lib/store/refusals.h"

namespace parley::store {
namespace {

constexpr absl::Duration kLeastPause = absl::Milliseconds(50);
constexpr absl::Duration kMostPause = absl::Seconds(3);
constexpr absl::Duration kCheckInterval = absl::Seconds(5);

// The time since the machine began.
class BootClock final : public Clock {
 public:
  absl::Time Now() const override { return absl::UnixEpoch() + TimeSinceBoot(); }
};

Clock* GetBootClock() {
  static Clock* const clock = new BootClock;
  return clock;
}

}  // namespace

// One watch, over all of its streams.
class EtcdWatches::Line final : public std::enable_shared_from_this<Line> {
 public:
  Line(std::shared_ptr<EtcdWatches> watches, const KeyRange& range, int64_t revision, Store::WatchCallback callback)
      : watches_(std::move(watches)),
        range_(watches_->keys_.ToEtcd(range)),
        seen_(revision),
        callback_(std::move(callback)) {}

  void Begin() {
    Post([self = shared_from_this()] { self->OpenStream(); });
  }
  // Ends the watch; waits for its callback unless it is called from that.
  void End();

  // These are called on the queue's thread.
  void OnMessage(const etcdserverpb::WatchResponse& response);
  void OnStreamDone(EtcdMember* member, const grpc::Status& status);
  void OnProbed(EtcdMember* member, const grpc::Status& status);

  void Post(std::function<void()> step) { watches_->After(absl::ZeroDuration(), std::move(step)); }
  EtcdWatches* watches() const { return watches_.get(); }

 private:
  friend class EtcdWatches;

  void OpenStream();
  void OpenProbe();
  void CallEnded();
  void Cancel() ABSL_EXCLUSIVE_LOCKS_REQUIRED(watches_->mutex_);
  void ResumeLater(EtcdMember* member, const grpc::Status& status);
  // Hands on the changes of the revisions that are complete.
  void Deliver(bool all);
  void CallBack(absl::StatusOr<std::vector<Change>> changes);
  void Fail(const absl::Status& status);

  const std::shared_ptr<EtcdWatches> watches_;
  const KeyRange range_;

  // The queue's thread's.
  int64_t seen_;
  std::vector<Change> waiting_;
  Backoff pauses_{kLeastPause, kMostPause};

  Store::WatchCallback callback_;
  bool ended_ ABSL_GUARDED_BY(watches_->mutex_) = false;
  // The call under way.
  std::shared_ptr<grpc::ClientContext> call_ ABSL_GUARDED_BY(watches_->mutex_);
};

// A call to Watch, which keeps itself until gRPC has ended it. It goes on the queue's thread: with the last context
// goes the channel, which would wait in gRPC's thread for that thread.
class EtcdWatches::Stream final
    : public grpc::ClientBidiReactor<etcdserverpb::WatchRequest, etcdserverpb::WatchResponse> {
 public:
  static void Open(std::shared_ptr<Line> line, EtcdMember* member, std::shared_ptr<grpc::ClientContext> context,
                   etcdserverpb::WatchRequest request) {
    auto stream = std::make_shared<Stream>(std::move(line), member, std::move(context), std::move(request));
    stream->self_ = stream;
    member->watch()->async()->Watch(stream->context_.get(), stream.get());
    stream->StartWrite(&stream->request_);
    stream->StartRead(&stream->response_);
    // Reads are begun from the queue's thread, so the call must not end between two of them.
    stream->AddHold();
    stream->StartCall();
  }

  Stream(std::shared_ptr<Line> line, EtcdMember* member, std::shared_ptr<grpc::ClientContext> context,
         etcdserverpb::WatchRequest request)
      : line_(std::move(line)), member_(member), context_(std::move(context)), request_(std::move(request)) {}

 private:
  void OnReadDone(bool ok) override {
    if (!ok) return RemoveHold();
    line_->Post([this] {
      line_->OnMessage(response_);
      response_.Clear();
      StartRead(&response_);
    });
  }
  void OnDone(const grpc::Status& status) override {
    line_->Post([self = std::move(self_), status] {
      self->context_.reset();
      self->line_->OnStreamDone(self->member_, status);
    });
  }

  const std::shared_ptr<Line> line_;
  EtcdMember* const member_;
  std::shared_ptr<grpc::ClientContext> context_;
  const etcdserverpb::WatchRequest request_;
  etcdserverpb::WatchResponse response_;
  std::shared_ptr<Stream> self_;
};

// A linearizable read at a revision; 0 is the newest. It goes as a Stream does.
class EtcdWatches::Probe final {
 public:
  using Done = std::function<void(const grpc::Status& status)>;
  static std::shared_ptr<grpc::ClientContext> MakeContext(const EtcdWatches& watches) {
    auto context = std::make_shared<grpc::ClientContext>();
    RequireLeader(context.get());
    context->set_deadline(DeadlineIn(watches.cluster_->try_timeout()));
    return context;
  }
  // `done` runs on the queue's thread.
  static void Open(std::shared_ptr<EtcdWatches> watches, EtcdMember* member,
                   std::shared_ptr<grpc::ClientContext> context, int64_t revision, Done done) {
    auto probe = std::make_shared<Probe>();
    probe->context_ = std::move(context);
    probe->request_.set_key(watches->keys_.format_key());
    probe->request_.set_revision(revision);
    probe->request_.set_count_only(true);
    probe->done_ = std::move(done);
    probe->self_ = probe;
    const auto on_done = [watches = std::move(watches), probe = probe.get()](const grpc::Status& status) {
      watches->After(absl::ZeroDuration(), [self = std::move(probe->self_), status] {
        self->context_.reset();
        self->done_(status);
      });
    };
    member->kv()->async()->Range(probe->context_.get(), &probe->request_, &probe->response_, on_done);
  }

 private:
  std::shared_ptr<grpc::ClientContext> context_;
  etcdserverpb::RangeRequest request_;
  etcdserverpb::RangeResponse response_;
  Done done_;
  std::shared_ptr<Probe> self_;
};

void EtcdWatches::Line::OpenStream() {
  etcdserverpb::WatchRequest request;
  etcdserverpb::WatchCreateRequest* const create = request.mutable_create_request();
  create->set_key(range_.begin);
  create->set_range_end(range_.end);
  create->set_start_revision(watches_->keys_.revisions().ToEtcd(seen_) + 1);
  create->set_fragment(true);
  waiting_.clear();
  auto context = std::make_shared<grpc::ClientContext>();
  RequireLeader(context.get());
  EtcdMember* const member = watches_->cluster_->current();
  {
    MutexLock lock(&watches_->mutex_);
    if (ended_ || watches_->stopping_) return;
    call_ = context;
    watches_->calls_[context] = member;
  }
  Stream::Open(shared_from_this(), member, std::move(context), std::move(request));
}

void EtcdWatches::Line::OpenProbe() {
  auto context = Probe::MakeContext(*watches_);
  EtcdMember* const member = watches_->cluster_->current();
  {
    MutexLock lock(&watches_->mutex_);
    if (ended_ || watches_->stopping_) return;
    call_ = context;
    watches_->calls_[context] = nullptr;
  }
  Probe::Open(watches_, member, std::move(context), std::max<int64_t>(watches_->keys_.revisions().ToEtcd(seen_), 1),
              [self = shared_from_this(), member](const grpc::Status& status) { self->OnProbed(member, status); });
}

// Stop may return from here on, so the caller must look whether it has.
void EtcdWatches::Line::CallEnded() {
  MutexLock lock(&watches_->mutex_);
  watches_->calls_.erase(call_);
  call_.reset();
  watches_->changed_.NotifyAll();
}

void EtcdWatches::Line::OnProbed(EtcdMember* member, const grpc::Status& status) {
  CallEnded();
  if (status.ok()) {
    OpenStream();
  } else if (OutcomeOf(status) == EtcdOutcome::kAnswered) {
    Fail(EtcdError(status, seen_));
  } else {
    ResumeLater(member, status);
  }
}

void EtcdWatches::Line::OnStreamDone(EtcdMember* member, const grpc::Status& status) {
  CallEnded();
  if (status.error_code() == grpc::StatusCode::PERMISSION_DENIED ||
      status.error_code() == grpc::StatusCode::UNAUTHENTICATED) {
    Fail(EtcdError(status, seen_));
  } else {
    ResumeLater(member, status);
  }
}

void EtcdWatches::Line::ResumeLater(EtcdMember* member, const grpc::Status& status) {
  {
    MutexLock lock(&watches_->mutex_);
    if (ended_ || watches_->stopping_) return;
  }
  watches_->cluster_->MoveOn(member, member->Explain(status));
  watches_->After(pauses_.Next(), [self = shared_from_this()] { self->OpenProbe(); });
}

void EtcdWatches::Line::OnMessage(const etcdserverpb::WatchResponse& response) {
  if (response.canceled()) {
    if (response.compact_revision() != 0) return Fail(Compacted(seen_));
    if (!response.cancel_reason().empty()) return Fail(EtcdRefused(response.cancel_reason()));
    MutexLock lock(&watches_->mutex_);
    return Cancel();
  }
  pauses_.Reset();
  for (const mvccpb::Event& event : response.events()) {
    const int64_t revision = watches_->keys_.revisions().FromEtcd(event.kv().mod_revision());
    if (revision <= seen_) continue;
    Change& change = waiting_.emplace_back();
    change.key = watches_->keys_.FromEtcd(event.kv().key());
    if (event.type() == mvccpb::Event::PUT) change.value = event.kv().value();
    change.mod_revision = revision;
  }
  Deliver(/*all=*/!response.fragment());
}

void EtcdWatches::Line::Deliver(bool all) {
  auto end = waiting_.end();
  // A fragment may end within a revision, which is only complete once a later one or the last fragment has come.
  if (!all && !waiting_.empty()) {
    end = std::find_if(waiting_.begin(), waiting_.end(), [last = waiting_.back().mod_revision](const Change& change) {
      return change.mod_revision == last;
    });
  }
  if (end == waiting_.begin()) return;
  std::vector<Change> changes(std::make_move_iterator(waiting_.begin()), std::make_move_iterator(end));
  waiting_.erase(waiting_.begin(), end);
  seen_ = changes.back().mod_revision;
  CallBack(std::move(changes));
}

void EtcdWatches::Line::CallBack(absl::StatusOr<std::vector<Change>> changes) {
  {
    MutexLock lock(&watches_->mutex_);
    if (ended_ || watches_->stopping_) return;
    if (!changes.ok()) ended_ = true;
    watches_->running_ = this;
    watches_->thread_ = std::this_thread::get_id();
  }
  callback_(std::move(changes), seen_);
  MutexLock lock(&watches_->mutex_);
  watches_->running_ = nullptr;
  watches_->changed_.NotifyAll();
}

void EtcdWatches::Line::Fail(const absl::Status& status) {
  CallBack(status);
  MutexLock lock(&watches_->mutex_);
  Cancel();
}

void EtcdWatches::Line::Cancel() {
  if (call_ != nullptr) call_->TryCancel();
}

void EtcdWatches::Line::End() {
  MutexLock lock(&watches_->mutex_);
  ended_ = true;
  Cancel();
  if (watches_->running_ == this) {
    if (watches_->thread_ == std::this_thread::get_id()) return;
    while (watches_->running_ == this) watches_->changed_.Wait(&watches_->mutex_);
  }
  // Here and not on the queue's thread, so that what it captured goes while its owner is still there.
  callback_ = nullptr;
}

class EtcdWatches::Handle final : public Watch {
 public:
  explicit Handle(std::shared_ptr<Line> line) : line_(std::move(line)) {}
  ~Handle() override { line_->End(); }

 private:
  const std::shared_ptr<Line> line_;
};

EtcdWatches::EtcdWatches(EtcdCluster* cluster, const KeySpace& keys)
    : cluster_(cluster), keys_(keys), queue_(GetBootClock()) {}

void EtcdWatches::After(absl::Duration pause, std::function<void()> step) {
  queue_.Schedule(GetBootClock()->Now() + pause, std::move(step));
}

void EtcdWatches::CheckCurrent() {
  auto context = Probe::MakeContext(*this);
  EtcdMember* const member = cluster_->current();
  {
    MutexLock lock(&mutex_);
    if (stopping_) return;
    calls_[context] = nullptr;
  }
  Probe::Open(shared_from_this(), member, context, 0,
              [this, member, context](const grpc::Status& status) { OnChecked(member, context, status); });
}

void EtcdWatches::OnChecked(EtcdMember* member, const std::shared_ptr<grpc::ClientContext>& context,
                            const grpc::Status& status) {
  if (!status.ok() && OutcomeOf(status) != EtcdOutcome::kAnswered) cluster_->MoveOn(member, member->Explain(status));
  MutexLock lock(&mutex_);
  calls_.erase(context);
  changed_.NotifyAll();
  if (stopping_) return;
  for (const auto& [call, at] : calls_) {
    if (at != nullptr && at != cluster_->current()) call->TryCancel();
  }
  After(kCheckInterval, [this] { CheckCurrent(); });
}

std::unique_ptr<Watch> EtcdWatches::Add(const KeyRange& range, int64_t revision, Store::WatchCallback callback) {
  auto line = std::make_shared<Line>(shared_from_this(), range, revision, std::move(callback));
  line->Begin();
  {
    MutexLock lock(&mutex_);
    if (!std::exchange(checking_, true)) After(kCheckInterval, [this] { CheckCurrent(); });
  }
  return std::make_unique<Handle>(std::move(line));
}

void EtcdWatches::Stop() {
  {
    MutexLock lock(&mutex_);
    stopping_ = true;
    for (const auto& [call, at] : calls_) call->TryCancel();
    while (!calls_.empty()) changed_.Wait(&mutex_);
  }
  queue_.Stop();
}

}  // namespace parley::store
