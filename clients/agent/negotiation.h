// One Negotiate stream, as its client sees it: a verb for each thing that a client says, and what the server says by
// itself.
//
// Each verb sends one message and waits for its answer, which becomes current(). A verb's error says why the stream
// ended, that nothing came for 10 seconds (CONNECTION_TIMEOUT), or that the session was cancelled (CANCELLED). All
// waiting is by a clock that nobody can set.
//
// Threads: not thread-safe but for Wake; it has one thread of its own, which reads and calls the interrupt listener.
#ifndef PARLEY_CLIENTS_AGENT_NEGOTIATION_H_
#define PARLEY_CLIENTS_AGENT_NEGOTIATION_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "clients/agent/cancellation.h"
#include "grpcpp/client_context.h"
#include "grpcpp/support/sync_stream.h"
#include "lib/base/clock.h"
#include "lib/base/mutex.h"
#include "lib/keys/labels.h"
#include "lib/transport/channel.h"
#include "parley/task/v1/participation_service.grpc.pb.h"

namespace parley::agent {

class Negotiation {
 public:
  // Opens the stream over `channel`. The pointers must outlive it. `task` is "tasks/{task}".
  Negotiation(std::unique_ptr<transport::Channel> channel, std::string task, Cancellation* cancellation, Clock* clock);
  // Ends the stream, and waits for the thread.
  ~Negotiation();
  Negotiation(const Negotiation&) = delete;
  Negotiation& operator=(const Negotiation&) = delete;

  absl::Status Declare(task::v1::Declaration declaration);
  absl::Status Accept();
  absl::Status Defer(absl::Time until, const std::string& reason);
  absl::Status CounterOffer(absl::Time start, absl::Time end, const std::string& reason);
  // `detail` is cut to what the wire takes.
  absl::Status Decline(const std::string& code, const std::string& detail);

  // What a client says of itself with Report.
  struct Fact {
    task::v1::Participant::State state = task::v1::Participant::STATE_UNSPECIFIED;
    std::string reason;
    // It is cut to what the wire takes.
    std::string detail;
    int64_t transferred_bytes = 0;
    // The failure behind ROLLED_BACK is not the set's.
    bool passing = false;
  };
  // Returns whether the client stands where it said, in the attempt that it meant.
  absl::StatusOr<bool> Report(const Fact& fact);
  // Reports ROLLED_BACK for `why`, which is the set's fault and kept it from being put in place.
  absl::Status ReportFailure(const absl::Status& why);

  // Waits at most `most` for the next message that the server sends by itself, which becomes current(). Returns whether
  // there was one; false may come earlier, when somebody set an injected clock. It returns the errors of the verbs, and
  // STREAM_ENDED (OUT_OF_RANGE) when the server closed the stream in peace.
  absl::StatusOr<bool> Wait(absl::Duration most);
  // Makes the Wait that runs, or else the next one, return false. Any thread may call it.
  void Wake();

  const transport::Channel& channel() const { return *channel_; }
  // The newest message, which says where the client stands, and the newest offer that there was.
  const task::v1::NegotiateResponse& current() const { return current_; }
  const std::optional<task::v1::Offer>& offer() const { return offer_; }
  // Returns what operators say of this device, by the answer to the newest declaration or by the newest offer. A client
  // that joined with a key has no labels.
  const keys::Labels& labels() const { return labels_; }
  // The number of messages received so far.
  int64_t updates() const { return updates_; }

  // Calls `listener` when a message that was not asked for arrives or the stream ends, and at once when that is so
  // already. Null removes the listener.
  void SetInterrupt(std::function<void()> listener);
  bool interrupted();

 private:
  absl::Status Ask(task::v1::NegotiateRequest request);
  void Read();
  // Makes the oldest message that waits current(). Returns false when none came in this time, or, with `jumps`, when an
  // injected clock was set; an error when the stream has ended.
  absl::StatusOr<bool> Receive(absl::Duration most, bool jumps);
  absl::Status WhyEnded();
  // Stores the labels of current(). Returns LABELS_MALFORMED when no device can have them.
  absl::Status StoreLabels();

  const std::unique_ptr<transport::Channel> channel_;
  const std::string task_;
  Cancellation* const cancellation_;
  Clock* const clock_;
  std::unique_ptr<task::v1::ParticipationService::Stub> stub_;
  grpc::ClientContext context_;
  Cancellation::Listener on_cancel_;
  std::unique_ptr<grpc::ClientReaderWriter<task::v1::NegotiateRequest, task::v1::NegotiateResponse>> stream_;
  int64_t sequence_ = 0;
  int64_t updates_ = 0;
  task::v1::NegotiateResponse current_;
  std::optional<task::v1::Offer> offer_;
  keys::Labels labels_;
  std::optional<absl::Status> finished_;

  Mutex mutex_;
  CondVar changed_;
  std::deque<task::v1::NegotiateResponse> waiting_ ABSL_GUARDED_BY(mutex_);
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
  int64_t jumps_ ABSL_GUARDED_BY(mutex_) = 0;
  std::function<void()> interrupt_ ABSL_GUARDED_BY(mutex_);
  uint64_t subscription_ = 0;
  std::thread reader_;
};

}  // namespace parley::agent

#endif  // PARLEY_CLIENTS_AGENT_NEGOTIATION_H_
