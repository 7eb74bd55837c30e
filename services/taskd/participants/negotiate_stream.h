// One client's negotiation: the stream behind ParticipationService.Negotiate.
//
// Messages are handled in order on a strand of the worker pool. Messages that have come in meanwhile are decided and
// committed together, so a client that reports two states at once costs one commit; each message still gets its own
// answer, and no answer is sent before its change is durable.
//
// Threads: gRPC calls the reactor on any thread; Notify, Expect, Show and End may be called from any thread.
#ifndef PARLEY_SERVICES_TASKD_PARTICIPANTS_NEGOTIATE_STREAM_H_
#define PARLEY_SERVICES_TASKD_PARTICIPANTS_NEGOTIATE_STREAM_H_

#include <atomic>
#include <deque>
#include <memory>
#include <vector>

#include "lib/rpc/out_stream.h"
#include "parley/task/v1/participation_service.pb.h"
#include "services/taskd/participants/parts.h"

namespace parley::taskd {

class NegotiateStream final
    : public rpc::OutStream<grpc::ServerBidiReactor<task::v1::NegotiateRequest, task::v1::NegotiateResponse>,
                            task::v1::NegotiateResponse>,
      public ClientSession {
 public:
  // `parts` must outlive this.
  NegotiateStream(const TaskdParts* parts, rpc::Caller caller);

  // Reads the first message.
  void Begin();

  void Notify(int64_t version) override;
  void Expect(int64_t version) override;
  void Show(ParticipantSnapshot snapshot, std::shared_ptr<void> told) override;
  void End(const absl::Status& status) override { Close(status); }

 private:
  using Request = task::v1::NegotiateRequest;
  using Response = task::v1::NegotiateResponse;
  // What a batch of messages leads to.
  struct Outcome {
    std::vector<Response> answers;
    // Why the message after the last answer was refused.
    absl::Status refusal;
    int64_t last_sequence = 0;
    bool transfer_moved = false;
  };

  void OnReadDone(bool ok) override;
  void OnSent() override;
  void OnClosed() override;
  std::shared_ptr<NegotiateStream> self() { return std::static_pointer_cast<NegotiateStream>(shared_from_this()); }

  // These run on the strand.
  void Work();
  // Handles the batch now, or when the pace of declarations allows it; nothing else is handled before.
  void HandleInTime(std::deque<Request> batch);
  absl::Status Open(const Request& first);
  void Handle(const std::deque<Request>& batch);
  absl::StatusOr<std::optional<ParticipantRecord>> Decide(const std::deque<Request>& batch,
                                                          const ParticipantRecord& record, const TaskRecord& task,
                                                          Outcome* outcome);
  absl::Status Step(const Request& request, const TaskRecord& task, ParticipantRecord* record, bool* changed,
                    Outcome* outcome);
  absl::StatusOr<Response> Answer(const ParticipantRecord& record, const TaskRecord& task, const Request* request);
  absl::Status AddOffer(const ParticipantRecord& record, const TaskRecord& task, Response* response);
  // Returns whether the client has declared, and is to hear more.
  bool IsListening() const { return open_ && !closed() && told_version_ != 0; }
  void Reevaluate(int64_t version);
  // Returns whether more is known of the client here.
  bool IsOlder(const ParticipantSnapshot& snapshot) const {
    return snapshot.client.revision < snapshot_.client.revision;
  }
  // Tells the client what it has not been told yet.
  void TellNews();
  void SendNext(Response response);
  void ReadMore();

  const TaskdParts* const parts_;
  const rpc::Caller caller_;
  rpc::Strand strand_;

  Mutex inbox_mutex_;
  std::deque<Request> inbox_ ABSL_GUARDED_BY(inbox_mutex_);
  bool scheduled_ ABSL_GUARDED_BY(inbox_mutex_) = false;
  bool reading_ ABSL_GUARDED_BY(inbox_mutex_) = false;
  // The version that this stream is about to commit, or has committed: what the watch shows up to there is no news to
  // it.
  std::atomic<int64_t> own_version_ = 0;
  // This belongs to gRPC while it reads.
  Request incoming_;

  // This belongs to the strand.
  Member member_;
  bool open_ = false;
  bool delayed_ = false;
  ParticipantSnapshot snapshot_;
  int64_t last_sequence_ = 0;
  int64_t told_version_ = 0;
  task::v1::Task::State told_task_state_ = task::v1::Task::STATE_UNSPECIFIED;
};

// Does what ParticipationService.Confirm says, and returns its errors: a negotiation's last word comes over another
// connection.
absl::Status Confirm(const TaskdParts& parts, const rpc::Caller& caller, const task::v1::ConfirmRequest& request,
                     task::v1::ConfirmResponse* response);

}  // namespace parley::taskd

#endif  // PARLEY_SERVICES_TASKD_PARTICIPANTS_NEGOTIATE_STREAM_H_
