#include "bench/fleet/waiting_member.h"

#include <grpcpp/grpcpp.h>

#include <utility>

#include "lib/crypto/hash.h"
#include "lib/crypto/kdf.h"
#include "lib/transport/grpc_status.h"

namespace parley::bench {

using task::v1::NegotiateRequest;
using task::v1::NegotiateResponse;
using task::v1::Participant;

// The object deletes itself at the stream's end.
class WaitingMember::Stream final : public grpc::ClientBidiReactor<NegotiateRequest, NegotiateResponse> {
 public:
  Stream(WaitingMember* member, std::shared_ptr<grpc::Channel> channel)
      : member_(member), channel_(std::move(channel)), stub_(task::v1::ParticipationService::NewStub(channel_)) {}

  void Start(NegotiateRequest first) {
    stub_->async()->Negotiate(&context_, this);
    // The hold is for messages that are not sent from a callback of this stream.
    AddHold();
    request_ = std::move(first);
    writing_ = true;
    StartWrite(&request_);
    StartRead(&response_);
    StartCall();
  }

  // Must be called with the member's lock held and while stream_ is this one, so that the stream has not ended. A
  // request that comes while another is being written takes the place of one that waits.
  void Write(NegotiateRequest request) {
    if (writing_) {
      next_ = std::make_unique<NegotiateRequest>(std::move(request));
      return;
    }
    request_ = std::move(request);
    writing_ = true;
    StartWrite(&request_);
  }

 private:
  void OnReadDone(bool ok) override {
    if (!ok) {
      {
        MutexLock lock(&member_->mutex_);
        member_->stream_ = nullptr;
      }
      RemoveHold();
      return;
    }
    member_->OnResponse(response_);
    StartRead(&response_);
  }
  void OnWriteDone(bool ok) override {
    MutexLock lock(&member_->mutex_);
    writing_ = false;
    if (ok && next_ != nullptr && member_->stream_ == this) Write(std::move(*std::exchange(next_, nullptr)));
  }
  void OnDone(const grpc::Status& status) override {
    member_->OnStreamEnded(status);
    delete this;
  }

  WaitingMember* const member_;
  const std::shared_ptr<grpc::Channel> channel_;
  const std::unique_ptr<task::v1::ParticipationService::Stub> stub_;
  grpc::ClientContext context_;
  NegotiateRequest request_;
  NegotiateResponse response_;
  // These two are guarded by the member's lock.
  bool writing_ = false;
  std::unique_ptr<NegotiateRequest> next_;
};

WaitingMember::WaitingMember(Fleet* fleet, int number, const task::v1::JoinResponse& joined)
    : LiveClient(fleet, number, joined.identity(), Secret::CopyOf(joined.secret())),
      task_(joined.task().name()),
      instance_(crypto::RandomBytes(16)),
      revision_(joined.task().revision()),
      digest_(joined.task().payload_digest()) {}

WaitingMember::~WaitingMember() = default;

void WaitingMember::Decline() {
  MutexLock lock(&mutex_);
  if (stream_ == nullptr) return;
  NegotiateRequest request = Request();
  request.set_attempt(attempt_);
  request.mutable_decline()->set_code("other");
  stream_->Write(std::move(request));
}

void WaitingMember::OpenStream(std::shared_ptr<grpc::Channel> channel) {
  auto* const stream = new Stream(this, std::move(channel));
  MutexLock lock(&mutex_);
  stream_ = stream;
  sequence_ = 0;
  stream->Start(Declaration());
}

NegotiateRequest WaitingMember::Request() {
  NegotiateRequest request;
  request.set_task(task_);
  request.set_sequence(++sequence_);
  request.set_expected_version(version_);
  return request;
}

// The declaration has every field that an agent sets, so that the record has the size of a real one.
NegotiateRequest WaitingMember::Declaration() {
  static const std::string* const setup = new std::string(crypto::Sha256("fleet"));
  NegotiateRequest request = Request();
  task::v1::Declaration& declaration = *request.mutable_declare();
  auto& facts = *declaration.mutable_facts();
  facts["os"] = "linux";
  facts["arch"] = "x86_64";
  facts["host"] = "machine.fleet.example";
  declaration.set_installed_revision(revision_);
  declaration.set_installed_digest(digest_);
  declaration.set_free_bytes(int64_t{1} << 30);
  declaration.add_encodings("zstd");
  declaration.set_setup_digest(*setup);
  declaration.set_instance(instance_);
  return request;
}

void WaitingMember::OnResponse(const NegotiateResponse& response) {
  {
    MutexLock lock(&mutex_);
    version_ = response.version();
    attempt_ = response.attempt();
  }
  Opened();
  if (response.state() == Participant::STATE_OFFERED && response.sequence() == 0) fleet().told.Note(number());
  if (response.state() == Participant::STATE_DECLINED) fleet().declined.Note(number());
}

void WaitingMember::OnStreamEnded(const grpc::Status& status) { Ended(transport::FromGrpc(status)); }

}  // namespace parley::bench
