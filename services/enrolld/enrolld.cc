#include "services/enrolld/enrolld.h"

#include <utility>
#include <vector>

#include "lib/base/error.h"

namespace parley::enrolld {

Enrolld::Enrolld(Config config)
    : config_(std::move(config)),
      store_(config_.store),
      timers_(std::make_unique<TimerQueue>(config_.clock)),
      workers_(std::make_unique<rpc::WorkerPool>(config_.workers)),
      outbox_(config_.mailer == nullptr ? nullptr
                                        : std::make_unique<Outbox>(&parts_, &sessions_, &keys_, config_.mailer)) {}

Enrolld::~Enrolld() {
  open_invitations_ = nullptr;
  invitations_.ended().Stop();
  // First what begins work, then what does it: nothing is called that is gone.
  Drain();
  if (outbox_ != nullptr) outbox_->Stop();
  timers_->Stop();
  workers_.reset();
}

absl::StatusOr<std::unique_ptr<Enrolld>> Enrolld::Create(Config config) {
  std::unique_ptr<Enrolld> enrolld(new Enrolld(std::move(config)));
  RETURN_IF_ERROR(enrolld->Start());
  return enrolld;
}

absl::Status Enrolld::Start() {
  RETURN_IF_ERROR(sessions_.Start());
  if (config_.metrics != nullptr) {
    open_invitations_ = config_.metrics->Add(
        "parley_invitations_open", "Invitations that can still be claimed.", rpc::Metrics::Kind::kGauge, [this] {
          return std::vector<rpc::Metrics::Sample>{{{}, static_cast<double>(sessions_.open())}};
        });
  }
  return outbox_ == nullptr ? absl::OkStatus() : outbox_->Start();
}

void Enrolld::Register(grpc::ServerBuilder* builder) {
  builder->RegisterService(&invitation_service_);
  builder->RegisterService(&exchange_service_);
}

}  // namespace parley::enrolld
