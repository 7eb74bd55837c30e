// The stream behind an RPC that tells what a range of the store holds and then each change of it.
//
// Nothing is read before the client has taken what was sent, so that what is kept for a slow client is one message and
// the changes that have come since. A client that lets too many of them wait gets RESOURCE_EXHAUSTED (STREAM_TOO_SLOW).
//
// Threads: the methods of a source are called one at a time, on workers, but for Wipe. End may be called from any
// thread.
#ifndef PARLEY_SERVICES_KEYD_SERVICE_STORE_STREAM_H_
#define PARLEY_SERVICES_KEYD_SERVICE_STORE_STREAM_H_

#include <algorithm>
#include <deque>
#include <iterator>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "grpcpp/server_context.h"
#include "grpcpp/support/server_callback.h"
#include "lib/base/error.h"
#include "lib/base/mutex.h"
#include "lib/rpc/gate.h"
#include "lib/rpc/live_streams.h"
#include "lib/rpc/out_stream.h"
#include "lib/rpc/start_stream.h"
#include "lib/rpc/worker_pool.h"
#include "lib/store/store.h"
#include "services/keyd/service/parts.h"

namespace parley::keyd {

// What a stream tells, and how its messages say it.
template <typename Message>
class StreamSource {
 public:
  virtual ~StreamSource() = default;
  // Called first, at the store's newest revision. Returns what to follow, or why the request is refused.
  virtual absl::StatusOr<store::KeyRange> Start(int64_t revision) = 0;
  // Adds an entry or a change to the message. `present`: it is of what there was at the start. Returns whether it says
  // anything to this client, or DATA_LOSS (STORE_DAMAGED).
  virtual absl::StatusOr<bool> Add(const store::Change& change, bool present, Message* message) = 0;
  // Completes a message: everything up to the revision has been told, or more follows at once when there is none.
  virtual void Complete(std::optional<int64_t> revision, Message* message) {}
  // Wipes what is secret in a message that was sent. On any thread.
  virtual void Wipe(Message*) const {}
};

template <typename Message>
class StoreStream final : public rpc::OutStream<grpc::ServerWriteReactor<Message>, Message>, public rpc::LiveStream {
 public:
  // `store`, `workers` and `streams` must outlive the stream.
  StoreStream(store::Store* store, rpc::WorkerPool* workers, rpc::LiveStreams* streams, const rpc::Caller& caller,
              std::unique_ptr<StreamSource<Message>> source)
      : store_(store), streams_(streams), strand_(workers, caller.flow()), source_(std::move(source)) {}

  void Begin() {
    streams_->Add(self());
    Schedule();
  }
  void End(const absl::Status& status) override { this->Close(status); }

 private:
  // So that a message stays far below gRPC's limit of 4 MiB, whatever the size of the entries.
  static constexpr size_t kEntriesPerMessage = 1000;
  static constexpr size_t kBytesPerMessage = 500'000;
  static constexpr size_t kMaxWaitingChanges = 10'000;

  std::shared_ptr<StoreStream> self() { return std::static_pointer_cast<StoreStream>(this->shared_from_this()); }

  void OnSent() override { Schedule(); }
  void OnClosed() override {
    streams_->Remove(this);
    // Ending the watch waits for a callback that is running.
    strand_.Run([self = self()] { self->watch_.reset(); });
  }
  void Wipe(Message* message) override { source_->Wipe(message); }

  void Schedule() {
    strand_.Run([self = self()] {
      const absl::Status status = self->Continue();
      if (!status.ok()) self->Close(status);
    });
  }

  // On the strand: sends the next message, if the one before has gone and there is anything to say.
  absl::Status Continue() {
    while (!this->closed() && this->waiting() == 0) {
      if (watch_ == nullptr) {
        RETURN_IF_ERROR(SendPresent());
        continue;
      }
      std::optional<int64_t> reached;
      ASSIGN_OR_RETURN(const std::vector<store::Change> changes, TakeChanges(&reached));
      if (changes.empty()) return absl::OkStatus();
      RETURN_IF_ERROR(SendChanges(changes, reached));
    }
    return absl::OkStatus();
  }

  // What there was when the stream began, a part at a time; then the watch.
  absl::Status SendPresent() {
    if (revision_ == 0) {
      ASSIGN_OR_RETURN(revision_, store_->Revision());
      ASSIGN_OR_RETURN(range_, source_->Start(revision_));
      rest_ = range_;
    }
    ASSIGN_OR_RETURN(store::Page page, store_->List(rest_, kEntriesPerMessage, revision_));
    std::vector<store::Change> present;
    size_t bytes = 0;
    for (store::Entry& entry : page.entries) {
      if (bytes >= kBytesPerMessage) {
        page.more = true;
        break;
      }
      bytes += entry.value.size();
      rest_.begin = entry.key + '\0';
      present.push_back({std::move(entry.key), std::move(entry.value), entry.mod_revision});
    }
    if (page.more) return SendChanges(present, std::nullopt);
    RETURN_IF_ERROR(SendChanges(present, revision_));
    ASSIGN_OR_RETURN(watch_, store_->WatchRange(range_, revision_, [self = self()](auto changes, int64_t revision) {
      self->OnChanges(std::move(changes), revision);
    }));
    return absl::OkStatus();
  }

  // On a thread of the store's.
  void OnChanges(absl::StatusOr<std::vector<store::Change>> changes, int64_t revision) {
    {
      MutexLock lock(&mutex_);
      if (!changes.ok()) {
        broken_ = changes.status();
      } else if (changes_.size() + changes->size() > kMaxWaitingChanges) {
        broken_ = Error(absl::StatusCode::kResourceExhausted, "STREAM_TOO_SLOW",
                        "the stream was read too slowly; start again from its last cursor");
      } else {
        std::move(changes->begin(), changes->end(), std::back_inserter(changes_));
        reached_ = revision;
      }
    }
    Schedule();
  }

  // Returns the next of the changes that wait, at most as many as a message takes; `reached` is set with the last.
  absl::StatusOr<std::vector<store::Change>> TakeChanges(std::optional<int64_t>* reached) {
    MutexLock lock(&mutex_);
    RETURN_IF_ERROR(broken_);
    std::vector<store::Change> taken;
    for (size_t bytes = 0; !changes_.empty() && taken.size() < kEntriesPerMessage && bytes < kBytesPerMessage;) {
      taken.push_back(std::move(changes_.front()));
      changes_.pop_front();
      if (taken.back().value.has_value()) bytes += taken.back().value->size();
    }
    if (changes_.empty()) *reached = reached_;
    return taken;
  }

  // Sends a message of these, if they say anything to this client; the one that ends the present is always sent.
  absl::Status SendChanges(const std::vector<store::Change>& changes, std::optional<int64_t> reached) {
    const bool present = watch_ == nullptr;
    bool says = present && reached.has_value();
    Message message;
    for (const store::Change& change : changes) {
      ASSIGN_OR_RETURN(const bool added, source_->Add(change, present, &message));
      says |= added;
    }
    if (!says) return absl::OkStatus();
    source_->Complete(reached, &message);
    this->Send(std::move(message));
    return absl::OkStatus();
  }

  store::Store* const store_;
  rpc::LiveStreams* const streams_;
  rpc::Strand strand_;

  // The strand's. The revision at which the present is read, what is followed, and what is left to be told of it.
  const std::unique_ptr<StreamSource<Message>> source_;
  int64_t revision_ = 0;
  store::KeyRange range_, rest_;
  std::unique_ptr<store::Watch> watch_;

  Mutex mutex_;
  std::deque<store::Change> changes_ ABSL_GUARDED_BY(mutex_);
  int64_t reached_ ABSL_GUARDED_BY(mutex_) = 0;
  absl::Status broken_ ABSL_GUARDED_BY(mutex_);
};

// Begins the handler of an RPC that is such a stream. `make_source` returns the source for the caller that is admitted.
template <typename Message, typename MakeSource>
grpc::ServerWriteReactor<Message>* FollowStore(KeydParts* parts, grpc::CallbackServerContext* context,
                                               absl::string_view method, const MakeSource& make_source) {
  return rpc::StartStream(*parts->gate, context, method, [&](const rpc::Caller& caller) {
    return std::make_shared<StoreStream<Message>>(parts->store.store(), parts->gate->workers(), &parts->streams, caller,
                                                  make_source(caller));
  });
}

}  // namespace parley::keyd

#endif  // PARLEY_SERVICES_KEYD_SERVICE_STORE_STREAM_H_
