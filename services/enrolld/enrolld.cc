#include "services/enrolld/enrolld.h"

#include <algorithm>
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
  follower_ = nullptr;
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
  if (config_.replicas == nullptr) {
    RETURN_IF_ERROR(Load().status());
  } else {
    follower_ = std::make_unique<store::Follower>(
        config_.store, InvitationStore::Followed(), [this] { return Load(); },
        [this](const std::vector<store::Change>& changes) { Apply(changes); }, config_.clock, timers_.get());
    RETURN_IF_ERROR(follower_->Start());
  }
  sessions_.ForgetAt(config_.clock->Now());
  if (config_.metrics != nullptr) {
    open_invitations_ = config_.metrics->Add(
        "parley_invitations_open", "Invitations that can still be claimed.", rpc::Metrics::Kind::kGauge, [this] {
          return std::vector<rpc::Metrics::Sample>{{{}, static_cast<double>(sessions_.open())}};
        });
  }
  if (outbox_ != nullptr) outbox_->Start();
  return absl::OkStatus();
}

absl::StatusOr<int64_t> Enrolld::Load() {
  ASSIGN_OR_RETURN(const int64_t revision, sessions_.Load());
  if (outbox_ != nullptr) RETURN_IF_ERROR(outbox_->Load());
  if (config_.replicas != nullptr) config_.replicas->Followed(revision);
  return revision;
}

void Enrolld::Apply(const std::vector<store::Change>& changes) {
  int64_t revision = 0;
  for (const store::Change& change : changes) {
    const InvitationStore::Moved moved = InvitationStore::WhatMoved(change.key);
    sessions_.OnChange(moved, change);
    if (outbox_ != nullptr) outbox_->OnChange(moved, change);
    revision = std::max(revision, change.mod_revision);
  }
  config_.replicas->Followed(revision);
}

void Enrolld::Register(grpc::ServerBuilder* builder) {
  builder->RegisterService(&invitation_service_);
  builder->RegisterService(&exchange_service_);
}

}  // namespace parley::enrolld
