#include "lib/audit/audit_buffer.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "lib/audit/audit_limits.h"
#include "lib/base/error.h"
#include "lib/base/log.h"
#include "lib/base/proto_time.h"
#include "lib/crypto/kdf.h"

namespace parley::audit {
namespace {

constexpr absl::string_view kRefused = "rpc.refused";
// Kinds of refusals that are counted at a time; others are recorded one by one, and dropped first.
constexpr size_t kMostKinds = 1000;

void Clean(std::string* text, size_t max_bytes) {
  if (text->size() > max_bytes) text->resize(max_bytes);
  for (char& letter : *text) {
    if (letter < 0x20 || letter > 0x7E) letter = '?';
  }
}

}  // namespace

void CompleteEvent(absl::string_view service, absl::Time now, key::v1::AuditEvent* event) {
  event->set_id(crypto::RandomUuid());
  event->set_service(std::string(service));
  event->clear_sequence();
  *event->mutable_time() = ToProto(now);
  Clean(event->mutable_actor(), kMaxActorBytes);
  Clean(event->mutable_action(), kMaxActionBytes);
  Clean(event->mutable_resource(), kMaxResourceBytes);
  Clean(event->mutable_outcome(), kMaxOutcomeBytes);
  Clean(event->mutable_detail(), kMaxDetailBytes);
}

AuditBuffer::AuditBuffer(Options options) : options_(std::move(options)) {
  thread_ = std::thread([this] { Run(); });
}

AuditBuffer::~AuditBuffer() {
  {
    MutexLock lock(&mutex_);
    stopping_ = true;
    changed_.NotifyAll();
  }
  thread_.join();
}

void AuditBuffer::Record(key::v1::AuditEvent event) {
  CompleteEvent(options_.service, options_.clock->Now(), &event);
  MutexLock lock(&mutex_);
  if (event.action() == kRefused && CountRefusal(event)) return;
  Push(std::move(event));
}

void AuditBuffer::Push(key::v1::AuditEvent event) {
  if (!MakeRoom(event)) return;
  events_.push_back(std::move(event));
  changed_.NotifyAll();
}

bool AuditBuffer::CountRefusal(const key::v1::AuditEvent& event) {
  const std::string kind = absl::StrCat(event.actor(), "\n", event.resource(), "\n", event.outcome());
  const auto known = refused_.find(kind);
  if (known != refused_.end()) {
    ++known->second.more;
    return true;
  }
  if (refused_.size() < kMostKinds) refused_[kind] = {event, Clock::System()->Now() + options_.refusal_window};
  return false;
}

void AuditBuffer::EndWindows(absl::Time by) {
  for (auto& [kind, refused] : refused_) {
    if (refused.end > by || refused.more == 0) continue;
    refused.first.set_detail(absl::StrCat("refused ", refused.more, " times more within a minute"));
    CompleteEvent(options_.service, options_.clock->Now(), &refused.first);
    Push(std::move(refused.first));
  }
  std::erase_if(refused_, [by](const auto& refused) { return refused.second.end <= by; });
}

absl::Time AuditBuffer::NextWindow() const {
  absl::Time next = absl::InfiniteFuture();
  for (const auto& [kind, refused] : refused_) next = std::min(next, refused.end);
  return next;
}

bool AuditBuffer::MakeRoom(const key::v1::AuditEvent& event) {
  if (events_.size() < options_.capacity) return true;
  ++dropped_;
  if (event.action() == kRefused) return false;
  for (size_t i = events_.size(); i > sending_; --i) {
    if (events_[i - 1].action() != kRefused) continue;
    events_.erase(events_.begin() + static_cast<ptrdiff_t>(i - 1));
    return true;
  }
  return false;
}

absl::Status AuditBuffer::Drain(absl::Duration timeout) {
  const absl::Time deadline = Clock::System()->Now() + timeout;
  MutexLock lock(&mutex_);
  draining_ = true;
  EndWindows(absl::InfiniteFuture());
  changed_.NotifyAll();
  while (!events_.empty() || dropped_ > 0) {
    if (!changed_.WaitUntil(&mutex_, deadline)) {
      return Error(absl::StatusCode::kDeadlineExceeded, "AUDIT_NOT_SENT", events_.size(),
                   " audit events could not be handed over in time");
    }
  }
  return absl::OkStatus();
}

void AuditBuffer::Run() {
  mutex_.Lock();
  while (!stopping_) {
    const absl::Time now = Clock::System()->Now();
    EndWindows(now);
    if (!events_.empty() || dropped_ > 0) {
      Send();
    } else {
      changed_.WaitFor(&mutex_, NextWindow() - now);
    }
  }
  mutex_.Unlock();
}

void AuditBuffer::Send() {
  if (dropped_ > 0 && events_.size() < options_.capacity) {
    key::v1::AuditEvent event;
    event.set_action("audit.dropped");
    event.set_outcome("ok");
    event.set_detail(absl::StrCat(dropped_, " events found no room while the log could not be reached"));
    CompleteEvent(options_.service, options_.clock->Now(), &event);
    events_.push_back(std::move(event));
    dropped_ = 0;
  }
  sending_ = std::min(events_.size(), kBatch);
  const std::vector<key::v1::AuditEvent> batch(events_.begin(), events_.begin() + static_cast<ptrdiff_t>(sending_));
  mutex_.Unlock();
  const absl::Status status = options_.sink(batch);
  if (status.code() == absl::StatusCode::kInvalidArgument) {
    LogError("audit events were refused", {{"error", std::string(status.message())}});
  }
  mutex_.Lock();
  if (status.ok() || status.code() == absl::StatusCode::kInvalidArgument) {
    events_.erase(events_.begin(), events_.begin() + static_cast<ptrdiff_t>(sending_));
    sending_ = 0;
    changed_.NotifyAll();
    return;
  }
  sending_ = 0;
  Pause();
}

// However many events are recorded meanwhile.
void AuditBuffer::Pause() {
  const absl::Time end = Clock::System()->Now() + options_.retry;
  while (!stopping_ && !std::exchange(draining_, false) && changed_.WaitUntil(&mutex_, end)) {
  }
}

}  // namespace parley::audit
