#include "lib/rest/backend.h"

#include <grpcpp/create_channel_posix.h>
#include <grpcpp/support/channel_arguments.h>
#include <grpcpp/support/slice.h>

#include "absl/time/clock.h"

namespace parley::rest {
namespace {

// Half of what the door allows a connection.
constexpr absl::Duration kMaxAge = absl::Minutes(30);

std::string ToString(const grpc::ByteBuffer& buffer) {
  std::vector<grpc::Slice> slices;
  std::string bytes;
  if (!buffer.Dump(&slices).ok()) return bytes;
  bytes.reserve(buffer.Length());
  for (const grpc::Slice& slice : slices) bytes.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  return bytes;
}

}  // namespace

BackendCall::BackendCall(std::vector<std::string> requests, Events events) : events_(std::move(events)) {
  requests_.reserve(requests.size());
  for (const std::string& request : requests) {
    const grpc::Slice slice(request);
    requests_.emplace_back(&slice, 1);
  }
}

std::shared_ptr<BackendCall> BackendCall::Start(grpc::GenericStub* stub, const std::string& rpc_path,
                                                std::vector<std::string> requests, const Metadata& metadata,
                                                absl::Time deadline, Events events) {
  std::shared_ptr<BackendCall> call(new BackendCall(std::move(requests), std::move(events)));
  call->self_ = call;
  if (deadline != absl::InfiniteFuture()) call->context_.set_deadline(absl::ToChronoTime(deadline));
  for (const auto& [name, value] : metadata) call->context_.AddMetadata(name, value);
  stub->PrepareBidiStreamingCall(&call->context_, rpc_path, grpc::StubOptions(), call.get());
  // While answers may be asked for.
  call->AddHold();
  call->WriteNext();
  call->StartRead(&call->answer_);
  call->StartCall();
  return call;
}

void BackendCall::WriteNext() {
  // Counted before it begins: its end may come on another thread at once.
  const size_t next = written_++;
  if (next == requests_.size()) {
    StartWritesDone();
  } else if (next + 1 == requests_.size()) {
    StartWriteLast(&requests_[next], grpc::WriteOptions());
  } else {
    StartWrite(&requests_[next]);
  }
}

void BackendCall::OnWriteDone(bool ok) {
  if (ok && written_ < requests_.size()) WriteNext();
}

void BackendCall::OnReadInitialMetadataDone(bool ok) {
  if (ok && events_.started) events_.started();
}

void BackendCall::OnReadDone(bool ok) {
  bool read_on = false;
  {
    MutexLock lock(&mutex_);
    read_on = ok && canceled_;
    // After the last one nobody may ask again.
    reading_ = !ok || canceled_;
  }
  if (!ok) {
    RemoveHold();
  } else if (read_on) {
    StartRead(&answer_);
  } else {
    events_.message(ToString(answer_));
  }
}

void BackendCall::Next() {
  {
    MutexLock lock(&mutex_);
    if (reading_ || canceled_) return;
    reading_ = true;
  }
  StartRead(&answer_);
}

void BackendCall::Cancel() {
  bool read = false;
  {
    MutexLock lock(&mutex_);
    if (canceled_) return;
    canceled_ = true;
    // So that the end shows.
    read = !reading_;
    reading_ = true;
  }
  context_.TryCancel();
  if (read) StartRead(&answer_);
}

void BackendCall::OnDone(const grpc::Status& status) {
  // Who takes the call may let it go while this still runs.
  const auto ended = std::move(events_.ended);
  ended(status, std::move(self_));
}

grpc::GenericStub* Backend::stub() {
  if (stub_ != nullptr && absl::Now() - connected_ < kMaxAge) return stub_.get();
  const int fd = connect_();
  if (fd < 0) return nullptr;
  connected_ = absl::Now();
  stub_ = std::make_unique<grpc::GenericStub>(
      grpc::CreateCustomInsecureChannelFromFd("parley-rest", fd, grpc::ChannelArguments()));
  return stub_.get();
}

}  // namespace parley::rest
