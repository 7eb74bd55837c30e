// One Negotiate stream, as its client sees it: a verb for each thing that a client says, and what the server says by
// itself.
//
// Each verb sends one message and waits for its answer, which becomes current(). Errors of the verbs: why the stream
// ended; DEADLINE_EXCEEDED (CONNECTION_TIMEOUT) when nothing comes for a minute; CANCELLED. All waiting is by a clock
// that nobody can set.
//
// Threads: not thread-safe; it has one thread of its own, which reads. The interrupt listener runs on that one.
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
  // Ends it, and waits for its thread.
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
    // Cut to what the wire takes.
    std::string detail;
    int64_t transferred_bytes = 0;
    // With ROLLED_BACK: the failure is not the set's.
    bool passing = false;
  };
  // True when the client stands where it said, in the attempt that it meant.
  absl::StatusOr<bool> Report(const Fact& fact);
  // Reports ROLLED_BACK for `why`, which is the set's fault and kept it from being put in place.
  absl::Status ReportFailure(const absl::Status& why);

  // Waits at most this long for the next thing that the server says by itself, which becomes current(); true when there
  // was one. May return false earlier, when somebody set an injected clock. Errors as of the verbs; OUT_OF_RANGE
  // (STREAM_ENDED) when the server closed the stream in peace.
  absl::StatusOr<bool> Wait(absl::Duration most);
  // Makes a Wait that runs, or else the next one, return false. From any thread.
  void Wake();

  const transport::Channel& channel() const { return *channel_; }
  // Where the client stands by the newest message, and the newest offer that there was.
  const task::v1::NegotiateResponse& current() const { return current_; }
  const std::optional<task::v1::Offer>& offer() const { return offer_; }
  // What operators say of this device, as of the newest declaration or offer; none of a client that joined with a key.
  const keys::Labels& labels() const { return labels_; }
  // How many messages current() has been.
  int64_t updates() const { return updates_; }

  // Calls `listener` when something waits for Next, or the stream ends; at once when it does already. Null: never.
  void SetInterrupt(std::function<void()> listener);
  bool interrupted();

 private:
  absl::Status Ask(task::v1::NegotiateRequest request);
  void Read();
  // Makes the oldest message that waits current(); false when none came in this time, an error when the stream has
  // ended. With `jumps`, also false when an injected clock was set.
  absl::StatusOr<bool> Receive(absl::Duration most, bool jumps);
  absl::Status WhyEnded();
  // Takes the labels of current(). DATA_LOSS (LABELS_MALFORMED): a server gives no more of them than it takes.
  absl::Status TakeLabels();

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
