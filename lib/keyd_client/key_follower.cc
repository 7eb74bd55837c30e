#include "lib/keyd_client/key_follower.h"

#include <poll.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <functional>
#include <map>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "lib/audit/audit_buffer.h"
#include "lib/base/backoff.h"
#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/base/log.h"
#include "lib/base/proto_time.h"
#include "lib/crypto/certificate.h"
#include "lib/crypto/kdf.h"
#include "lib/keyd_client/keyd_connection.h"
#include "lib/transport/awaited.h"
#include "lib/transport/listener.h"

namespace parley::keyd_client {
namespace {

using transport::AwaitCall;
using transport::AwaitedReader;

constexpr absl::Duration kFirstPause = absl::Milliseconds(100);
constexpr absl::Duration kLongestPause = absl::Seconds(5);
constexpr absl::Duration kCallTimeout = absl::Seconds(15);
constexpr absl::Duration kKeepTimeout = absl::Seconds(3);
constexpr absl::Duration kAuditDrain = absl::Seconds(5);
constexpr absl::Duration kSayAgain = absl::Minutes(10);

}  // namespace

KeyFollower::KeyFollower(Options options, std::unique_ptr<KeydConnection> connection)
    : options_(std::move(options)),
      replica_(crypto::RandomUuid()),
      connection_(std::move(connection)),
      contact_(options_.away_limit, options_.clock, options_.steady, options_.on_contact),
      source_(&keyring_, options_.clock, [this] { return CheckAdmits(); }),
      ready_fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  audit::AuditBuffer::Options audit;
  audit.service = audience();
  audit.clock = options_.clock;
  audit.sink = [this](const std::vector<key::v1::AuditEvent>& events) { return SendAudit(events); };
  audit_ = std::make_unique<audit::AuditBuffer>(std::move(audit));
  clock_subscription_ = options_.clock->Subscribe([this] {
    MutexLock lock(&mutex_);
    Changed();
  });
  takes_place_ = options_.away_limit != absl::InfiniteDuration();
  threads_.emplace_back([this] { Repeat([this] { return FollowKeys(); }); });
  if (takes_place_) keeping_ = std::thread([this] { Repeat([this] { return KeepPlace(); }, &KeyFollower::leaving_); });
  threads_.emplace_back([this] { WatchLease(); });
  threads_.emplace_back([this] { Repeat([this] { return FollowRevocations(); }); });
  if (options_.follow_labels) threads_.emplace_back([this] { Repeat([this] { return FollowLabels(); }); });
  if (!options_.names.empty()) threads_.emplace_back([this] { Repeat([this] { return RenewCertificate(); }); });
}

const std::string& KeyFollower::audience() const { return connection_->audience(); }

audit::AuditLog* KeyFollower::audit_log() { return audit_.get(); }

KeyFollower::~KeyFollower() {
  options_.clock->Unsubscribe(clock_subscription_);
  if (const absl::Status drained = audit_->Drain(kAuditDrain); !drained.ok()) {
    LogError("audit events were lost", {{"error", std::string(drained.message())}});
  }
  {
    MutexLock lock(&mutex_);
    leaving_ = true;
    Changed();
  }
  // What it has asked for is answered first, or keyd might give the place after it has heard that it is left.
  if (keeping_.joinable()) keeping_.join();
  LeavePlace();
  {
    MutexLock lock(&mutex_);
    stopping_ = true;
    Changed();
  }
  connection_->Stop();
  audit_ = nullptr;
  for (std::thread& thread : threads_) thread.join();
}

void KeyFollower::Repeat(const std::function<absl::Status()>& call, bool KeyFollower::*stop) {
  Backoff pauses(kFirstPause, kLongestPause);
  mutex_.Lock();
  while (!(this->*stop)) {
    mutex_.Unlock();
    const absl::Time began = Clock::System()->Now();
    absl::Status status = call();
    mutex_.Lock();
    // What held for a while was good: begin with short pauses again.
    if (status.ok() || Clock::System()->Now() - began > kLongestPause) pauses.Reset();
    if (this->*stop) break;
    if (!status.ok()) SayWhyNotReady(status);
    if (!status.ok()) last_error_ = std::move(status);
    changed_.WaitFor(&mutex_, pauses.Next());
  }
  mutex_.Unlock();
}

absl::Status KeyFollower::FollowKeys() {
  absl::Status used;
  const absl::Status ended = connection_->Run([&](KeydConnection::Stub* stub, grpc::ClientContext* context) {
    const key::v1::WatchAudienceKeysRequest request;
    AwaitedReader<key::v1::AudienceKeys> stream(
        [&](auto* reactor) { stub->async()->WatchAudienceKeys(context, &request, reactor); });
    key::v1::AudienceKeys message;
    while (used.ok() && stream.Read(&message)) used = UseKeys(&message);
    {
      MutexLock lock(&mutex_);
      has_keys_ = false;
    }
    if (!used.ok()) context->TryCancel();
    return stream.Finish();
  });
  return used.ok() ? ended : used;
}

absl::Status KeyFollower::UseKeys(key::v1::AudienceKeys* message) {
  std::map<uint32_t, Secret> keys;
  for (key::v1::AudienceKeys::Epoch& epoch : *message->mutable_epochs()) {
    keys[epoch.epoch()] = Secret::CopyOf(epoch.key());
    WipeString(epoch.mutable_key());
  }
  RETURN_IF_ERROR(keyring_.Replace(std::move(keys), message->primary_epoch()));
  WithListener([](transport::Listener* listener) { listener->Recheck(); });
  MutexLock lock(&mutex_);
  has_keys_ = true;
  Changed();
  return absl::OkStatus();
}

absl::Status KeyFollower::FollowRevocations() {
  key::v1::WatchRevocationsRequest request;
  {
    MutexLock lock(&mutex_);
    // First a place, so that nothing is revoked between the two without being waited for.
    while (!stopping_ && takes_place_ && place_ == 0) changed_.Wait(&mutex_);
    if (stopping_) return absl::OkStatus();
    request.set_cursor(cursor_);
  }
  absl::Status ended = connection_->Run([&](KeydConnection::Stub* stub, grpc::ClientContext* context) {
    AwaitedReader<key::v1::Revocations> stream(
        [&](auto* reactor) { stub->async()->WatchRevocations(context, &request, reactor); });
    {
      MutexLock lock(&mutex_);
      revocations_ = context;
    }
    key::v1::Revocations message;
    while (stream.Read(&message)) UseRevocations(message);
    {
      MutexLock lock(&mutex_);
      revocations_ = nullptr;
      caught_up_ = false;
    }
    return stream.Finish();
  });
  contact_.Failed(ended);
  if (absl::IsOutOfRange(ended)) {
    MutexLock lock(&mutex_);
    cursor_ = 0;
  }
  return ended;
}

void KeyFollower::UseRevocations(const key::v1::Revocations& message) {
  for (const key::v1::Revocation& revocation : message.revocations()) {
    source_.Revoke(revocation.serial(), ToTime(revocation.expire_time()));
    const std::string key_id = HexEncode(revocation.serial());
    WithListener([&key_id](transport::Listener* listener) { listener->CloseKey(key_id); });
    MutexLock lock(&observer_mutex_);
    if (on_revoked_) {
      on_revoked_(revocation.serial(), ToTime(revocation.expire_time()));
    } else {
      unheard_.emplace_back(revocation.serial(), ToTime(revocation.expire_time()));
    }
  }
  MutexLock lock(&mutex_);
  cursor_ = message.cursor();
  caught_up_ = message.caught_up();
  // A lease says so itself.
  if (InStep() && (!takes_place_ || contact_.left() > absl::ZeroDuration())) contact_.Established();
  Changed();
}

absl::Status KeyFollower::CallKeepReplica(key::v1::KeepReplicaRequest request, key::v1::KeepReplicaResponse* response) {
  request.set_replica(replica_);
  *request.mutable_lease() = ToProto(options_.away_limit);
  return connection_->Run(
      [&](KeydConnection::Stub* stub, grpc::ClientContext* context) {
        return AwaitCall([&](auto done) { stub->async()->KeepReplica(context, &request, response, std::move(done)); });
      },
      Clock::System()->Now() + std::min(kKeepTimeout, options_.away_limit / 3));
}

absl::Status KeyFollower::KeepPlace() {
  const absl::Duration asked = options_.steady();
  const absl::Duration next = asked + options_.away_limit / 3;
  key::v1::KeepReplicaRequest request;
  key::v1::KeepReplicaResponse response;
  {
    MutexLock lock(&mutex_);
    while (!leaving_ && !takes_place_) changed_.Wait(&mutex_);
    if (leaving_) return absl::OkStatus();
    if (InStep()) request.set_followed(cursor_);
    may_have_place_ = true;
  }
  const absl::Status kept = CallKeepReplica(request, &response);
  MutexLock lock(&mutex_);
  if (absl::IsUnimplemented(kept)) {
    LogWarning("keyd is of an earlier version, whose revocations wait for nobody; upgrade keyd");
    takes_place_ = false;
    Changed();
    return absl::OkStatus();
  }
  if (!kept.ok()) {
    // It has not reached keyd.
    if (absl::IsUnavailable(kept)) may_have_place_ = place_ != 0;
    contact_.Failed(kept);
    return kept;
  }
  // It is another place, and what was revoked before may not have been told yet.
  if (std::exchange(place_, response.revision()) != place_ && cursor_ < place_ && revocations_ != nullptr) {
    revocations_->TryCancel();
  }
  Changed();
  while (!leaving_ && !KnowsAll() && options_.steady() < next) changed_.WaitFor(&mutex_, next - options_.steady());
  if (KnowsAll()) {
    contact_.Renewed(asked);
    Changed();
  }
  while (!leaving_ && cursor_ <= request.followed() && options_.steady() < next) {
    changed_.WaitFor(&mutex_, next - options_.steady());
  }
  return absl::OkStatus();
}

void KeyFollower::LeavePlace() {
  {
    MutexLock lock(&mutex_);
    if (!takes_place_ || !may_have_place_) return;
  }
  key::v1::KeepReplicaRequest request;
  key::v1::KeepReplicaResponse response;
  request.set_leaving(true);
  const absl::Status left = CallKeepReplica(request, &response);
  if (left.ok()) return;
  LogWarning("keyd could not be told that this service ends, so revocations wait for the end of its lease",
             {{"error", std::string(left.message())}});
}

void KeyFollower::WatchLease() {
  bool admits = true;
  mutex_.Lock();
  while (!stopping_) {
    const absl::Duration left = contact_.left();
    if (left > absl::ZeroDuration() || !admits) {
      admits = left > absl::ZeroDuration();
      changed_.WaitFor(&mutex_, admits ? left : absl::InfiniteDuration());
      continue;
    }
    admits = false;
    mutex_.Unlock();
    contact_.Failed(absl::DeadlineExceededError("the lease has run out"));
    WithListener([](transport::Listener* listener) { listener->Recheck(); });
    mutex_.Lock();
  }
  mutex_.Unlock();
}

absl::Status KeyFollower::FollowLabels() {
  absl::Status ended = connection_->Run([&](KeydConnection::Stub* stub, grpc::ClientContext* context) {
    const key::v1::WatchDeviceLabelsRequest request;
    AwaitedReader<key::v1::WatchDeviceLabelsResponse> stream(
        [&](auto* reactor) { stub->async()->WatchDeviceLabels(context, &request, reactor); });
    key::v1::WatchDeviceLabelsResponse message;
    // Collects the present state until it is whole, so that no half of it is ever looked at.
    std::optional<DeviceLabels::Devices> state(std::in_place);
    while (stream.Read(&message)) {
      for (key::v1::DeviceLabels& device : *message.mutable_devices()) {
        const std::string name(absl::StripPrefix(device.name(), keys::kDeviceLabelsPrefix));
        if (state.has_value()) {
          (*state)[name] = std::make_shared<const keys::Labels>(std::move(*device.mutable_labels()));
        } else {
          labels_.Set(name, std::move(*device.mutable_labels()));
        }
      }
      if (!message.caught_up() || !state.has_value()) continue;
      labels_.Replace(*std::exchange(state, std::nullopt));
    }
    return stream.Finish();
  });
  if (absl::IsUnimplemented(ended) && !std::exchange(labels_unknown_, true)) {
    LogWarning("keyd is of an earlier version and tells no labels, so that no task selects a device; upgrade keyd");
  }
  return ended;
}

absl::Status KeyFollower::RenewCertificate() {
  {
    MutexLock lock(&mutex_);
    while (!stopping_ && options_.clock->Now() < renew_at_) {
      // A minute at a time, as the machine may have slept.
      changed_.WaitFor(&mutex_, std::min(renew_at_ - options_.clock->Now(), absl::Minutes(1)));
    }
    if (stopping_) return absl::OkStatus();
  }
  const crypto::EcKey key = crypto::EcKey::Generate();
  key::v1::IssueServerCertificateRequest request;
  request.set_public_key(key.PublicKey());
  for (const std::string& name : options_.names) request.add_names(name);
  key::v1::IssueServerCertificateResponse response;
  RETURN_IF_ERROR(connection_->Run(
      [&](KeydConnection::Stub* stub, grpc::ClientContext* context) {
        return AwaitCall(
            [&](auto done) { stub->async()->IssueServerCertificate(context, &request, &response, std::move(done)); });
      },
      Clock::System()->Now() + kCallTimeout));
  const Secret key_pem = key.ToPem();
  WithListener([&](transport::Listener* listener) {
    const absl::Status replaced = listener->ReplaceCertificate(response.certificate_pem(), key_pem);
    if (!replaced.ok()) LogError("the new certificate cannot be used", {{"error", std::string(replaced.message())}});
  });
  const absl::Time now = options_.clock->Now();
  MutexLock lock(&mutex_);
  certificate_pem_ = response.certificate_pem();
  ca_pem_ = response.ca_pem();
  private_key_pem_ = key_pem.Clone();
  // With a third of its life left, so that keyd may be away for long.
  renew_at_ = now + (ToTime(response.expire_time()) - now) * 2 / 3;
  Changed();
  return absl::OkStatus();
}

void KeyFollower::Changed() {
  changed_.NotifyAll();
  if (ready_ || !IsReady()) return;
  ready_ = true;
  eventfd_write(ready_fd_.get(), 1);
}

void KeyFollower::SayWhyNotReady(const absl::Status& why) {
  if (ready_) return;
  const absl::Time now = options_.clock->Now();
  if (now - said_since_ >= kSayAgain) {
    said_.clear();
    said_since_ = now;
  }
  if (!said_.insert(Reason(why)).second) return;
  LogWarning("keyd cannot be followed yet, and is waited for",
             {{"address", connection_->address()}, {"error", std::string(why.message())}});
}

absl::Status KeyFollower::WaitUntilReady(int stop_fd, absl::Duration timeout) {
  LogInfo("waiting for keyd", {{"address", connection_->address()}});
  const absl::Time deadline = Clock::System()->Now() + timeout;
  pollfd fds[] = {{ready_fd_.get(), POLLIN, 0}, {stop_fd, POLLIN, 0}};
  while (fds[0].revents == 0 && fds[1].revents == 0) {
    const absl::Duration left = std::min(deadline - Clock::System()->Now(), absl::Hours(1));
    if (left <= absl::ZeroDuration()) {
      MutexLock lock(&mutex_);
      const std::string prefix = absl::StrCat("cannot get keys from keyd at ", connection_->address());
      if (!last_error_.ok()) return Annotate(last_error_, prefix);
      return Error(absl::StatusCode::kDeadlineExceeded, "KEYD_TIMEOUT", prefix, ": it did not answer in time");
    }
    poll(fds, 2, static_cast<int>(absl::ToInt64Milliseconds(left)) + 1);
  }
  if (fds[0].revents != 0) return absl::OkStatus();
  return Error(absl::StatusCode::kCancelled, "STOPPED", "told to stop while waiting for keyd");
}

KeyFollower::Certificate KeyFollower::certificate() const {
  MutexLock lock(&mutex_);
  return {certificate_pem_, private_key_pem_.Clone(), ca_pem_};
}

void KeyFollower::Attach(transport::Listener* listener) {
  MutexLock lock(&listener_mutex_);
  listener_ = listener;
  // What changed since the listener was made.
  if (listener != nullptr) listener->Recheck();
}

void KeyFollower::Observe(OnRevoked on_revoked) {
  MutexLock lock(&observer_mutex_);
  on_revoked_ = std::move(on_revoked);
  if (!on_revoked_) return;
  for (const auto& [serial, not_after] : std::exchange(unheard_, {})) on_revoked_(serial, not_after);
}

void KeyFollower::WithListener(const std::function<void(transport::Listener*)>& call) {
  MutexLock lock(&listener_mutex_);
  if (listener_ != nullptr) call(listener_);
}

absl::Status KeyFollower::SendAudit(const std::vector<key::v1::AuditEvent>& events) {
  key::v1::AppendAuditEventsRequest request;
  *request.mutable_events() = {events.begin(), events.end()};
  return connection_->Run(
      [&request](KeydConnection::Stub* stub, grpc::ClientContext* context) {
        key::v1::AppendAuditEventsResponse response;
        return AwaitCall(
            [&](auto done) { stub->async()->AppendAuditEvents(context, &request, &response, std::move(done)); });
      },
      Clock::System()->Now() + kCallTimeout);
}

absl::StatusOr<std::unique_ptr<KeyFollower>> KeyFollower::Create(Options options) {
  ASSIGN_OR_RETURN(auto connection,
                   KeydConnection::Create(options.credential_path, options.keyd_address, options.clock));
  return std::unique_ptr<KeyFollower>(new KeyFollower(std::move(options), std::move(connection)));
}

absl::Status KeyFollower::CheckCredential(const std::string& path) { return KeydConnection::Check(path); }

rpc::Metrics::Source KeyFollower::Count(rpc::Metrics* metrics) {
  using Samples = std::vector<rpc::Metrics::Sample>;
  const auto seconds = [](absl::Time time) { return Samples{{{}, absl::ToDoubleSeconds(time - absl::UnixEpoch())}}; };
  const auto sources = std::make_shared<std::vector<rpc::Metrics::Source>>();
  sources->push_back(metrics->Add(
      "parley_keyd_credential_expiry_timestamp_seconds", "When the credential ends that this service shows to keyd.",
      rpc::Metrics::Kind::kGauge, [this, seconds] { return seconds(connection_->credential_expires()); }));
  sources->push_back(metrics->Add("parley_keyd_last_contact_timestamp_seconds",
                                  "When this service was last up to date with what keyd has revoked.",
                                  rpc::Metrics::Kind::kGauge, [this, seconds] { return seconds(contact_.last()); }));
  return sources;
}

}  // namespace parley::keyd_client
