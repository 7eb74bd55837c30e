#include "clients/enrol/grpc_relay_stream.h"

#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <deque>
#include <thread>
#include <utility>

#include "grpcpp/grpcpp.h"
#include "lib/base/error.h"
#include "lib/base/fd.h"
#include "lib/base/mutex.h"
#include "lib/transport/channel.h"
#include "parley/enrol/v1/exchange_service.grpc.pb.h"

namespace parley::enrol {
namespace {

// What came, and the end; the descriptor is readable while there is something to take.
class Inbox {
 public:
  Inbox() : fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    if (!fd_.ok()) abort();
  }

  void Put(v1::ExchangeResponse response) {
    MutexLock lock(&mutex_);
    responses_.push_back(std::move(response));
    Signal();
  }
  void End(absl::Status status) {
    MutexLock lock(&mutex_);
    end_ = std::move(status);
    Signal();
  }
  absl::StatusOr<std::optional<v1::ExchangeResponse>> Take() {
    MutexLock lock(&mutex_);
    if (responses_.empty()) {
      if (!end_.ok()) return end_;
      return std::optional<v1::ExchangeResponse>();
    }
    std::optional<v1::ExchangeResponse> response = std::move(responses_.front());
    responses_.pop_front();
    uint64_t count = 0;
    if (responses_.empty() && end_.ok()) (void)!read(fd_.get(), &count, sizeof(count));
    return response;
  }
  int fd() const { return fd_.get(); }

 private:
  void Signal() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const uint64_t one = 1;
    (void)!write(fd_.get(), &one, sizeof(one));
  }

  const Fd fd_;
  Mutex mutex_;
  std::deque<v1::ExchangeResponse> responses_ ABSL_GUARDED_BY(mutex_);
  absl::Status end_ ABSL_GUARDED_BY(mutex_);
};

// One stream with the thread that reads it.
class Stream {
 public:
  Stream(transport::Channel* channel, v1::ExchangeService::Stub* stub, Inbox* inbox)
      : channel_(channel), stream_(stub->Exchange(&context_)), reader_([this, inbox] { Read(inbox); }) {}
  ~Stream() {
    context_.TryCancel();
    reader_.join();
  }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  void Send(const v1::ExchangeRequest& request) { stream_->Write(request); }

 private:
  void Read(Inbox* inbox) {
    v1::ExchangeResponse response;
    while (stream_->Read(&response)) inbox->Put(std::move(response));
    const grpc::Status status = stream_->Finish();
    const absl::Status explained = channel_->Explain(status);
    inbox->End(explained.ok() ? Error(absl::StatusCode::kUnavailable, "STREAM_ENDED",
                                      "the enrolment service closed the stream; it is opened again")
                              : explained);
  }

  transport::Channel* const channel_;
  grpc::ClientContext context_;
  const std::unique_ptr<grpc::ClientReaderWriter<v1::ExchangeRequest, v1::ExchangeResponse>> stream_;
  std::thread reader_;
};

class GrpcRelayStream final : public RelayStream {
 public:
  explicit GrpcRelayStream(std::unique_ptr<transport::Channel> channel)
      : channel_(std::move(channel)), stub_(v1::ExchangeService::NewStub(channel_->grpc())) {}

  absl::Status Open() override {
    stream_.reset();
    inbox_ = std::make_unique<Inbox>();
    stream_ = std::make_unique<Stream>(channel_.get(), stub_.get(), inbox_.get());
    return absl::OkStatus();
  }
  void Send(const v1::ExchangeRequest& request) override { stream_->Send(request); }
  absl::StatusOr<std::optional<v1::ExchangeResponse>> Take() override { return inbox_->Take(); }
  int fd() const override { return inbox_->fd(); }

 private:
  const std::unique_ptr<transport::Channel> channel_;
  const std::unique_ptr<v1::ExchangeService::Stub> stub_;
  std::unique_ptr<Inbox> inbox_;
  std::unique_ptr<Stream> stream_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<RelayStream>> ConnectRelay(transport::Dialer::Options options) {
  ASSIGN_OR_RETURN(std::unique_ptr<transport::Channel> channel, transport::Channel::Create(std::move(options)));
  return std::make_unique<GrpcRelayStream>(std::move(channel));
}

}  // namespace parley::enrol
