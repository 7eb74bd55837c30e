#include "lib/service/health.h"

#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include <map>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "lib/base/error.h"
#include "lib/base/mutex.h"
#include "lib/rpc/live_streams.h"
#include "lib/rpc/out_stream.h"
#include "lib/transport/address.h"

namespace parley::service {
namespace {

using grpc::health::v1::HealthCheckRequest;
using grpc::health::v1::HealthCheckResponse;

// A probe says little and needs little.
constexpr int kMaxStreams = 16;
constexpr int kMaxMessageBytes = 4096;
constexpr int kMaxMetadataBytes = 8192;

}  // namespace

// Who watches one service's state.
class Watcher final : public rpc::OutStream<grpc::ServerWriteReactor<HealthCheckResponse>, HealthCheckResponse> {
 public:
  Watcher(std::shared_ptr<void> state, std::function<void(const Watcher*)> closed, std::string service)
      : state_(std::move(state)), closed_(std::move(closed)), service_(std::move(service)) {}

  const std::string& service() const { return service_; }
  HealthCheckResponse::ServingStatus told() const { return told_; }
  void NotifyWatchers(HealthCheckResponse::ServingStatus status) {
    told_ = status;
    HealthCheckResponse response;
    response.set_status(status);
    Send(std::move(response));
  }

 private:
  void OnClosed() override { closed_(this); }

  const std::shared_ptr<void> state_;
  const std::function<void(const Watcher*)> closed_;
  const std::string service_;
  // Under the lock of the state.
  HealthCheckResponse::ServingStatus told_ = HealthCheckResponse::UNKNOWN;
};

class Health::State : public std::enable_shared_from_this<State> {
 public:
  explicit State(const std::vector<std::string>& services) : services_(services.begin(), services.end()) {
    services_.insert("");
  }

  HealthCheckResponse::ServingStatus StatusOf(const std::string& service) const {
    MutexLock lock(&mutex_);
    return Find(service);
  }

  void SetServing() {
    MutexLock lock(&mutex_);
    if (stopping_) return;
    serving_ = true;
    NotifyWatchers();
  }
  void SetAdmitting(const std::string& by, bool admitting) {
    MutexLock lock(&mutex_);
    if (admitting) {
      refusing_.erase(by);
    } else {
      refusing_.insert(by);
    }
    NotifyWatchers();
  }
  void SetPart(const std::string& part, bool good) {
    MutexLock lock(&mutex_);
    parts_[part] = good;
    NotifyWatchers();
  }
  void SetStopping() {
    MutexLock lock(&mutex_);
    if (stopping_) return;
    serving_ = false;
    for (auto& [part, good] : parts_) good = false;
    NotifyWatchers();
    stopping_ = true;
    for (const auto& [key, watcher] : watchers_) watcher->Close(rpc::ServerStopping());
  }

  grpc::ServerWriteReactor<HealthCheckResponse>* Watch(const std::string& service) {
    const auto watcher = std::make_shared<Watcher>(
        shared_from_this(), [this](const Watcher* gone) { Remove(gone); }, service);
    watcher->Adopt();
    MutexLock lock(&mutex_);
    watcher->NotifyWatchers(Find(service));
    if (stopping_) watcher->Close(rpc::ServerStopping());
    // Not one that has closed meanwhile: it would stay.
    if (!watcher->closed()) watchers_.emplace(watcher.get(), watcher);
    return watcher.get();
  }

 private:
  HealthCheckResponse::ServingStatus Find(const std::string& service) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const auto part = parts_.find(service);
    if (part == parts_.end() && services_.count(service) == 0) return HealthCheckResponse::SERVICE_UNKNOWN;
    const bool good = part == parts_.end() ? serving_ && refusing_.empty() : part->second;
    return good ? HealthCheckResponse::SERVING : HealthCheckResponse::NOT_SERVING;
  }

  // Under the lock to the end, so that changes reach every watcher in their order; nothing to who knows it already.
  void NotifyWatchers() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (stopping_) return;
    for (const auto& [key, watcher] : watchers_) {
      if (const auto status = Find(watcher->service()); watcher->told() != status) watcher->NotifyWatchers(status);
    }
  }

  void Remove(const Watcher* watcher) {
    MutexLock lock(&mutex_);
    watchers_.erase(watcher);
  }

  mutable Mutex mutex_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  bool serving_ ABSL_GUARDED_BY(mutex_) = false;
  std::set<std::string> refusing_ ABSL_GUARDED_BY(mutex_);
  std::set<std::string> services_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, bool> parts_ ABSL_GUARDED_BY(mutex_);
  std::map<const Watcher*, std::shared_ptr<Watcher>> watchers_ ABSL_GUARDED_BY(mutex_);
};

class HealthService final : public grpc::health::v1::Health::CallbackService {
 public:
  explicit HealthService(std::shared_ptr<Health::State> state) : state_(std::move(state)) {}

 private:
  grpc::ServerUnaryReactor* Check(grpc::CallbackServerContext* context, const HealthCheckRequest* request,
                                  HealthCheckResponse* response) override {
    const auto status = state_->StatusOf(request->service());
    const bool known = status != HealthCheckResponse::SERVICE_UNKNOWN;
    if (known) response->set_status(status);
    grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
    reactor->Finish(known ? grpc::Status::OK
                          : grpc::Status(grpc::StatusCode::NOT_FOUND,
                                         "there is no such service here; ask for \"\", which is the whole"));
    return reactor;
  }

  grpc::ServerWriteReactor<HealthCheckResponse>* Watch(grpc::CallbackServerContext*,
                                                       const HealthCheckRequest* request) override {
    return state_->Watch(request->service());
  }

  const std::shared_ptr<Health::State> state_;
};

Health::Health(const std::vector<std::string>& services) : state_(std::make_shared<State>(services)) {}
Health::~Health() = default;
void Health::SetServing() { state_->SetServing(); }
void Health::SetAdmitting(const std::string& by, bool admitting) { state_->SetAdmitting(by, admitting); }
void Health::SetPart(const std::string& part, bool good) { state_->SetPart(part, good); }
void Health::SetStopping() { state_->SetStopping(); }
std::unique_ptr<grpc::Service> Health::MakeService() { return std::make_unique<HealthService>(state_); }

HealthPort::HealthPort(Health* health) : service_(health->MakeService()) {}

HealthPort::~HealthPort() {
  if (server_ != nullptr) server_->Shutdown(absl::ToChronoTime(absl::Now()));
}

absl::StatusOr<std::unique_ptr<HealthPort>> HealthPort::Open(const std::string& address, Health* health) {
  RETURN_IF_ERROR(transport::ParseHostPort(address).status());
  const size_t colon = address.rfind(':');
  // A missing host means every address, like at the door.
  const std::string host = colon == 0 ? "[::]" : address.substr(0, colon);
  std::unique_ptr<HealthPort> opened(new HealthPort(health));
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort(absl::StrCat(host, address.substr(colon)), grpc::InsecureServerCredentials(), &port);
  builder.RegisterService(opened->service_.get());
  builder.SetMaxReceiveMessageSize(kMaxMessageBytes);
  builder.AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, kMaxMetadataBytes);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, kMaxStreams);
  // Else a second process would take half of the probes instead of failing.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  opened->server_ = builder.BuildAndStart();
  if (opened->server_ == nullptr || port == 0) {
    return FailedPrecondition("ADDRESS_IN_USE", "cannot listen on ", address,
                              " for health checks; give a free port and an address of this machine");
  }
  opened->address_ = absl::StrCat(host, ":", port);
  return opened;
}

}  // namespace parley::service
