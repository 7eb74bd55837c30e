#include "lib/keyd_client/key_follower.h"

#include <algorithm>
#include <functional>
#include <map>
#include <optional>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "lib/audit/audit_buffer.h"
#include "lib/base/backoff.h"
#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/base/log.h"
#include "lib/base/mutex.h"
#include "lib/base/proto_time.h"
#include "lib/crypto/certificate.h"
#include "lib/keyd_client/awaited.h"
#include "lib/keyd_client/keyd_connection.h"
#include "lib/keys/identity.h"
#include "lib/transport/listener.h"

namespace parley::keyd_client {
namespace {

constexpr absl::Duration kFirstPause = absl::Milliseconds(100);
constexpr absl::Duration kLongestPause = absl::Seconds(5);
constexpr absl::Duration kCallTimeout = absl::Seconds(15);
constexpr absl::Duration kAuditDrain = absl::Seconds(5);

}  // namespace

class KeyFollower::Impl {
 public:
  Impl(Options options, std::unique_ptr<KeydConnection> connection)
      : options_(std::move(options)),
        connection_(std::move(connection)),
        contact_(options_.away_limit, options_.clock, options_.on_contact),
        source_(&keyring_, options_.clock, [this](const keys::Claims&) { return contact_.CheckAdmits(); }) {}
  ~Impl();
  void Start();

  absl::Status WaitUntilReady(absl::Duration timeout);
  void Attach(transport::Listener* listener);
  void Observe(OnRevoked on_revoked);
  Certificate certificate() const;

  const std::string& audience() const { return connection_->audience(); }
  absl::Time credential_expires() const { return connection_->credential_expires(); }
  absl::Time last_contact() const { return contact_.last(); }
  keys::Keyring* keyring() { return &keyring_; }
  keys::AudienceKeySource* source() { return &source_; }
  audit::AuditLog* audit_log() { return audit_.get(); }
  DeviceLabels* labels() { return &labels_; }

 private:
  // Runs `call` again and again until the follower stops, with pauses that grow while it fails.
  void Repeat(const std::function<absl::Status()>& call);
  absl::Status FollowKeys();
  absl::Status FollowRevocations();
  absl::Status FollowLabels();
  absl::Status RenewCertificate();
  absl::Status UseKeys(key::v1::AudienceKeys* message);
  void UseRevocations(const key::v1::Revocations& message);
  // Calls it with the attached listener, if there is one.
  void WithListener(const std::function<void(transport::Listener*)>& call);
  absl::Status SendAudit(const std::vector<key::v1::AuditEvent>& events);
  bool IsReady() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return has_keys_ && caught_up_ && (options_.names.empty() || !certificate_pem_.empty());
  }

  const Options options_;
  const std::unique_ptr<KeydConnection> connection_;
  keys::Keyring keyring_;
  Contact contact_;
  keys::AudienceKeySource source_;
  DeviceLabels labels_;
  std::unique_ptr<audit::AuditBuffer> audit_;

  // Held while the listener is called, so that Detach waits.
  Mutex listener_mutex_;
  transport::Listener* listener_ ABSL_GUARDED_BY(listener_mutex_) = nullptr;

  // Held while the observer is called.
  Mutex observer_mutex_;
  OnRevoked on_revoked_ ABSL_GUARDED_BY(observer_mutex_);
  // What no observer has heard of yet.
  std::vector<std::pair<std::string, absl::Time>> unheard_ ABSL_GUARDED_BY(observer_mutex_);

  mutable Mutex mutex_;
  CondVar changed_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  bool has_keys_ ABSL_GUARDED_BY(mutex_) = false;
  bool caught_up_ ABSL_GUARDED_BY(mutex_) = false;
  int64_t cursor_ ABSL_GUARDED_BY(mutex_) = 0;
  absl::Status last_error_ ABSL_GUARDED_BY(mutex_);
  std::string certificate_pem_ ABSL_GUARDED_BY(mutex_);
  std::string ca_pem_ ABSL_GUARDED_BY(mutex_);
  Secret private_key_pem_ ABSL_GUARDED_BY(mutex_);
  absl::Time renew_at_ ABSL_GUARDED_BY(mutex_) = absl::InfinitePast();

  // Has been said in the log. Of the thread that follows labels.
  bool labels_unknown_ = false;
  uint64_t clock_subscription_ = 0;
  std::vector<std::thread> threads_;
};

void KeyFollower::Impl::Start() {
  audit::AuditBuffer::Options audit;
  audit.service = audience();
  audit.clock = options_.clock;
  audit.sink = [this](const std::vector<key::v1::AuditEvent>& events) { return SendAudit(events); };
  audit_ = std::make_unique<audit::AuditBuffer>(std::move(audit));
  clock_subscription_ = options_.clock->Subscribe([this] {
    MutexLock lock(&mutex_);
    changed_.NotifyAll();
  });
  threads_.emplace_back([this] { Repeat([this] { return FollowKeys(); }); });
  threads_.emplace_back([this] { Repeat([this] { return FollowRevocations(); }); });
  if (options_.follow_labels) threads_.emplace_back([this] { Repeat([this] { return FollowLabels(); }); });
  if (!options_.names.empty()) threads_.emplace_back([this] { Repeat([this] { return RenewCertificate(); }); });
}

KeyFollower::Impl::~Impl() {
  options_.clock->Unsubscribe(clock_subscription_);
  if (const absl::Status drained = audit_->Drain(kAuditDrain); !drained.ok()) {
    LogError("audit events were lost", {{"error", std::string(drained.message())}});
  }
  {
    MutexLock lock(&mutex_);
    stopping_ = true;
    changed_.NotifyAll();
  }
  connection_->Stop();
  audit_ = nullptr;
  for (std::thread& thread : threads_) thread.join();
}

void KeyFollower::Impl::Repeat(const std::function<absl::Status()>& call) {
  Backoff pauses(kFirstPause, kLongestPause);
  mutex_.Lock();
  while (!stopping_) {
    mutex_.Unlock();
    const absl::Time began = Clock::System()->Now();
    absl::Status status = call();
    mutex_.Lock();
    // What held for a while was good: begin with short pauses again.
    if (status.ok() || Clock::System()->Now() - began > kLongestPause) pauses.Reset();
    if (!status.ok()) last_error_ = std::move(status);
    if (stopping_) break;
    changed_.WaitFor(&mutex_, pauses.Next());
  }
  mutex_.Unlock();
}

absl::Status KeyFollower::Impl::FollowKeys() {
  absl::Status used;
  const absl::Status ended = connection_->Run([&](KeydConnection::Stub* stub, grpc::ClientContext* context) {
    const key::v1::WatchAudienceKeysRequest request;
    AwaitedReader<key::v1::AudienceKeys> stream(
        [&](auto* reactor) { stub->async()->WatchAudienceKeys(context, &request, reactor); });
    key::v1::AudienceKeys message;
    while (used.ok() && stream.Read(&message)) used = UseKeys(&message);
    if (!used.ok()) context->TryCancel();
    return stream.Finish();
  });
  return used.ok() ? ended : used;
}

absl::Status KeyFollower::Impl::UseKeys(key::v1::AudienceKeys* message) {
  std::map<uint32_t, Secret> keys;
  for (key::v1::AudienceKeys::Epoch& epoch : *message->mutable_epochs()) {
    keys[epoch.epoch()] = Secret::CopyOf(epoch.key());
    WipeString(epoch.mutable_key());
  }
  RETURN_IF_ERROR(keyring_.Replace(std::move(keys), message->primary_epoch()));
  WithListener([](transport::Listener* listener) { listener->Recheck(); });
  MutexLock lock(&mutex_);
  has_keys_ = true;
  changed_.NotifyAll();
  return absl::OkStatus();
}

absl::Status KeyFollower::Impl::FollowRevocations() {
  key::v1::WatchRevocationsRequest request;
  {
    MutexLock lock(&mutex_);
    request.set_cursor(cursor_);
  }
  absl::Status ended = connection_->Run([&](KeydConnection::Stub* stub, grpc::ClientContext* context) {
    AwaitedReader<key::v1::Revocations> stream(
        [&](auto* reactor) { stub->async()->WatchRevocations(context, &request, reactor); });
    key::v1::Revocations message;
    while (stream.Read(&message)) UseRevocations(message);
    return stream.Finish();
  });
  contact_.Failed(ended);
  if (absl::IsOutOfRange(ended)) {
    MutexLock lock(&mutex_);
    cursor_ = 0;
  }
  return ended;
}

void KeyFollower::Impl::UseRevocations(const key::v1::Revocations& message) {
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
  if (message.caught_up()) contact_.Established();
  MutexLock lock(&mutex_);
  cursor_ = message.cursor();
  if (message.caught_up()) caught_up_ = true;
  changed_.NotifyAll();
}

absl::Status KeyFollower::Impl::FollowLabels() {
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

absl::Status KeyFollower::Impl::RenewCertificate() {
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
  changed_.NotifyAll();
  return absl::OkStatus();
}

absl::Status KeyFollower::Impl::WaitUntilReady(absl::Duration timeout) {
  const absl::Time deadline = Clock::System()->Now() + timeout;
  MutexLock lock(&mutex_);
  while (!IsReady()) {
    const absl::Duration left = deadline - Clock::System()->Now();
    if (left > absl::ZeroDuration()) {
      changed_.WaitFor(&mutex_, left);
      continue;
    }
    const std::string prefix = absl::StrCat("cannot get keys from keyd at ", connection_->address());
    if (!last_error_.ok()) return Annotate(last_error_, prefix);
    return Error(absl::StatusCode::kDeadlineExceeded, "KEYD_TIMEOUT",
                 absl::StrCat(prefix, ": it did not answer in time"));
  }
  return absl::OkStatus();
}

KeyFollower::Certificate KeyFollower::Impl::certificate() const {
  MutexLock lock(&mutex_);
  return {certificate_pem_, private_key_pem_.Clone(), ca_pem_};
}

void KeyFollower::Impl::Attach(transport::Listener* listener) {
  MutexLock lock(&listener_mutex_);
  listener_ = listener;
  // What changed since the listener was made.
  if (listener != nullptr) listener->Recheck();
}

void KeyFollower::Impl::Observe(OnRevoked on_revoked) {
  MutexLock lock(&observer_mutex_);
  on_revoked_ = std::move(on_revoked);
  if (!on_revoked_) return;
  for (const auto& [serial, not_after] : std::exchange(unheard_, {})) on_revoked_(serial, not_after);
}

void KeyFollower::Impl::WithListener(const std::function<void(transport::Listener*)>& call) {
  MutexLock lock(&listener_mutex_);
  if (listener_ != nullptr) call(listener_);
}

absl::Status KeyFollower::Impl::SendAudit(const std::vector<key::v1::AuditEvent>& events) {
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
  ASSIGN_OR_RETURN(auto connection, KeydConnection::Create(options.credential_path, options.clock));
  auto impl = std::make_unique<Impl>(std::move(options), std::move(connection));
  impl->Start();
  return std::unique_ptr<KeyFollower>(new KeyFollower(std::move(impl)));
}

absl::Status KeyFollower::CheckCredential(const std::string& path) { return KeydConnection::Check(path); }

KeyFollower::KeyFollower(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
KeyFollower::~KeyFollower() = default;
absl::Status KeyFollower::WaitUntilReady(absl::Duration timeout) { return impl_->WaitUntilReady(timeout); }
const std::string& KeyFollower::audience() const { return impl_->audience(); }
keys::Keyring* KeyFollower::keyring() { return impl_->keyring(); }
keys::AudienceKeySource* KeyFollower::key_source() { return impl_->source(); }
rpc::Metrics::Source KeyFollower::Count(rpc::Metrics* metrics) {
  using Samples = std::vector<rpc::Metrics::Sample>;
  const auto seconds = [](absl::Time time) { return Samples{{{}, absl::ToDoubleSeconds(time - absl::UnixEpoch())}}; };
  const auto sources = std::make_shared<std::vector<rpc::Metrics::Source>>();
  sources->push_back(metrics->Add(
      "parley_keyd_credential_expiry_timestamp_seconds", "When the credential ends that this service shows to keyd.",
      rpc::Metrics::Kind::kGauge, [this, seconds] { return seconds(impl_->credential_expires()); }));
  sources->push_back(metrics->Add(
      "parley_keyd_last_contact_timestamp_seconds", "When this service was last up to date with what keyd has revoked.",
      rpc::Metrics::Kind::kGauge, [this, seconds] { return seconds(impl_->last_contact()); }));
  return sources;
}
KeyFollower::Certificate KeyFollower::certificate() const { return impl_->certificate(); }
void KeyFollower::Attach(transport::Listener* listener) { impl_->Attach(listener); }
void KeyFollower::Detach() { impl_->Attach(nullptr); }
void KeyFollower::Observe(OnRevoked on_revoked) { impl_->Observe(std::move(on_revoked)); }
void KeyFollower::StopObserving() { impl_->Observe(nullptr); }
DeviceLabels* KeyFollower::labels() { return impl_->labels(); }
audit::AuditLog* KeyFollower::audit_log() { return impl_->audit_log(); }

}  // namespace parley::keyd_client
