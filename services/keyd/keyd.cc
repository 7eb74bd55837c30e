#include "services/keyd/keyd.h"

#include <grpcpp/server_builder.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/base/log.h"
#include "lib/base/proto_time.h"
#include "lib/crypto/certificate.h"
#include "lib/service/addresses.h"
#include "services/keyd/service/metrics.h"
#include "services/keyd/store/device_names.h"

namespace parley::keyd {
namespace {

// Handlers wait for the disk, not for the processor.
constexpr int kWorkers = 8;
constexpr absl::Duration kUpkeep = absl::Hours(1);
// Until then a service has no credential of the present root, and one of a root that is retired next opens nothing.
constexpr absl::Duration kUpdateFilesAgain = absl::Seconds(5);
// An answer that tells of the end of its own connection's key leaves before that: well within the second promised.
constexpr absl::Duration kAnswerFirst = absl::Milliseconds(200);
// How long a caller waits for a revocation to be in force everywhere, before it is told to ask again.
constexpr absl::Duration kAwaitReplicas = absl::Seconds(20);
constexpr absl::Duration kAuditDrain = absl::Seconds(5);

}  // namespace

Keyd::Keyd(Config config, std::shared_ptr<store::Store> database)
    : config_(std::move(config)),
      database_(std::move(database)),
      parts_(database_.get(), config_.clock),
      good_keys_(
          database_.get(), GoodKeysRange(), [this] { return LoadGoodKeys(); },
          [this](const std::vector<store::Change>& changes) { UseGoodKeys(changes); }, Clock::System(), &closing_) {}

Keyd::~Keyd() {
  metrics_ = nullptr;
  // This tells the other one how far it has followed.
  good_keys_.Stop();
  replicas_ = nullptr;
  upkeep_.Stop();
  closing_.Stop();
  workers_ = nullptr;
  if (parts_.audit == nullptr) return;
  if (const absl::Status drained = parts_.audit->Drain(kAuditDrain); !drained.ok()) {
    LogError("audit events were lost", {{"error", std::string(drained.message())}});
  }
}

absl::StatusOr<std::unique_ptr<Keyd>> Keyd::Create(Config config) {
  ASSIGN_OR_RETURN(Host host, Host::Open(config.options, config.clock, config.shared_store));
  std::unique_ptr<Keyd> keyd(new Keyd(std::move(config), std::move(host.store)));
  RETURN_IF_ERROR(Host::Opened(keyd->config_.options, keyd->OpenKeys(host.kek)));
  keyd->MakeServices();
  RETURN_IF_ERROR(keyd->Join());
  return keyd;
}

absl::Status Keyd::OpenKeys(const Secret& kek) {
  const Host::Options& options = config_.options;
  const KeyStore* const store = &parts_.store;
  ASSIGN_OR_RETURN(parts_.organisation, Organisation::Open(store, kek, options.organisation));
  ASSIGN_OR_RETURN(parts_.roots, RootKeys::Open(store, parts_.organisation.get()));
  RETURN_IF_ERROR(DeviceNames::Fill(*store));
  const std::map<std::string, std::string> addresses = {{std::string(keys::kTaskd), options.taskd_address},
                                                        {std::string(keys::kEnrolld), options.enrolld_address},
                                                        {std::string(keys::kKeyd), options.keyd_address}};
  parts_.credentials = std::make_unique<Credentials>(store, parts_.organisation.get(), parts_.roots.get(), addresses);
  files_ = std::make_unique<CredentialFiles>(options.CredentialFolder(), store, parts_.roots.get(),
                                             parts_.credentials.get());
  parts_.trust = std::make_unique<TrustAuthority>(store, parts_.organisation.get(), parts_.credentials.get());
  RETURN_IF_ERROR(parts_.trust->LastSequence().status());
  RETURN_IF_ERROR(store->Sweep());
  key_source_ = std::make_unique<keys::AudienceKeySource>(parts_.roots->keyring(keys::kKeyd), config_.clock,
                                                          [this] { return CheckAdmits(); });
  return absl::OkStatus();
}

void Keyd::MakeServices() {
  audit::AuditBuffer::Options audit;
  audit.service = "keyd";
  audit.clock = config_.clock;
  audit.sink = [trail = parts_.store.trail()](const auto& events) { return trail->Append("keyd", events); };
  parts_.audit = std::make_unique<audit::AuditBuffer>(std::move(audit));
  workers_ = std::make_unique<rpc::WorkerPool>(kWorkers);
  parts_.gate = std::make_unique<rpc::Gate>(config_.find_peer, parts_.audit.get(), workers_.get(), config_.metrics,
                                            [this] { return CheckAdmits(); });
  parts_.await_revoked = [this](const std::vector<std::string>& credentials) { return AwaitRevoked(credentials); };
  parts_.answering = [this](const rpc::Caller& caller) { return Answering(caller); };
  parts_.on_rotated = [this](bool retired) { OnRotated(retired); };
}

absl::Status Keyd::Join() {
  if (config_.shared_store == nullptr) return good_keys_.Start();
  store::Replicas::Options options;
  options.store = database_.get();
  options.prefix = kReplicaPrefix;
  options.service = "keyd";
  options.ttl = config_.lease;
  options.read_anew = [this] { return good_keys_.ReadAnew(); };
  // The source refuses everybody for as long as the lease is not held.
  options.on_change = [this](bool held) {
    if (!held) RecheckDoor();
    if (config_.on_admitting) config_.on_admitting(held);
  };
  replicas_ = std::make_unique<store::Replicas>(std::move(options));
  return replicas_->Join();
}

absl::StatusOr<int64_t> Keyd::LoadGoodKeys() {
  ASSIGN_OR_RETURN(const store::Page page, database_->List(GoodKeysRange()));
  std::vector<store::Change> present;
  for (const store::Entry& entry : page.entries) present.push_back({entry.key, entry.value, entry.mod_revision});
  UseGoodKeys(present);
  return page.revision;
}

void Keyd::UseGoodKeys(const std::vector<store::Change>& changes) {
  int64_t followed = 0;
  for (const store::Change& change : changes) {
    followed = std::max(followed, change.mod_revision);
    if (!change.value.has_value()) continue;
    if (change.key == kRootsKey) {
      UseRoots(change.key, *change.value, change.mod_revision);
    } else {
      UseRevocation(change.key, *change.value);
    }
  }
  if (replicas_ != nullptr) replicas_->Followed(followed);
}

void Keyd::UseRevocation(absl::string_view key, const std::string& value) {
  const auto revocation = ParseRecord<key::v1::Revocation>(key, value);
  if (!revocation.ok()) {
    return LogError("a stored revocation cannot be read", {{"error", std::string(revocation.status().message())}});
  }
  key_source_->Revoke(revocation->serial(), ToTime(revocation->expire_time()));
  CloseKey(HexEncode(revocation->serial()));
}

void Keyd::UseRoots(absl::string_view key, const std::string& value, int64_t revision) {
  const auto roots = ParseRecord<records::RootSet>(key, value);
  const auto news = roots.ok() ? parts_.roots->Use(*roots, revision) : roots.status();
  if (!news.ok()) {
    return LogError("the roots that are stored cannot be used", {{"error", std::string(news.status().message())}});
  }
  MutexLock lock(&door_mutex_);
  // The first credentials are written at the start.
  if (!serving_ || *news == RootKeys::News::kNothing) return;
  const bool retired = *news == RootKeys::News::kRetired;
  upkeep_.Schedule(config_.clock->Now(), [this, retired] { OnRotated(retired); });
}

void Keyd::CloseKey(const std::string& serial) {
  MutexLock lock(&door_mutex_);
  if (serving_ && answering_.count(serial) == 0) config_.listener().CloseKey(serial);
}

std::shared_ptr<void> Keyd::Answering(const rpc::Caller& caller) {
  const std::string& key_id = caller.peer->key.key_id;
  MutexLock lock(&door_mutex_);
  ++answering_[key_id];
  return std::shared_ptr<void>(nullptr, [this, key_id](void*) {
    MutexLock lock(&door_mutex_);
    if (--answering_[key_id] > 0) return;
    answering_.erase(key_id);
    if (!key_source_->IsRevoked(*HexDecode(key_id))) return;
    closing_.Schedule(Clock::System()->Now() + kAnswerFirst, [this, key_id] { CloseKey(key_id); });
  });
}

absl::Status Keyd::AwaitRevoked(const std::vector<std::string>& credentials) {
  std::vector<std::string> serials;
  for (const std::string& name : credentials) serials.push_back(SerialOfName(name));
  ASSIGN_OR_RETURN(const int64_t revision, parts_.store.RevokedBy(serials));
  if (revision == 0) return absl::OkStatus();
  if (!good_keys_.WaitFor(revision)) {
    return Error(absl::StatusCode::kUnavailable, "REPLICAS_BEHIND",
                 "it is stored, but not in force yet, as the store tells nothing; ask again");
  }
  return store::Replicas::Await(database_.get(), kReplicaPrefix, revision, kAwaitReplicas);
}

void Keyd::RecheckDoor() {
  MutexLock lock(&door_mutex_);
  if (serving_) config_.listener().Recheck();
}

absl::Status Keyd::Certify(transport::Listener::Options* listener) {
  const crypto::EcKey key = crypto::EcKey::Generate();
  key::v1::IssueServerCertificateRequest request;
  request.set_public_key(key.PublicKey());
  const std::vector<std::string> names = service::NamesOrDefault(config_.options.names);
  *request.mutable_names() = {names.begin(), names.end()};
  key::v1::IssueServerCertificateResponse issued;
  RETURN_IF_ERROR(parts_.organisation->IssueServerCertificate("keyd", request, &issued));
  listener->certificate_pem = issued.certificate_pem();
  listener->private_key_pem = key.ToPem();
  certificate_expires_ = ToTime(issued.expire_time());
  return absl::OkStatus();
}

absl::Status Keyd::WriteCredentials(const std::string& listening) {
  if (config_.options.keyd_address.empty()) parts_.credentials->SetAddress(keys::kKeyd, listening);
  RETURN_IF_ERROR(files_->Update());
  upkeep_.Schedule(config_.clock->Now() + kUpkeep, [this] { Upkeep(); });
  return config_.options.new_admin ? files_->MakeAdmin() : absl::OkStatus();
}

void Keyd::Register(grpc::ServerBuilder* builder) {
  builder->RegisterService(&key_service_);
  builder->RegisterService(&trust_service_);
  {
    MutexLock lock(&door_mutex_);
    serving_ = true;
  }
  RecheckDoor();
  if (config_.metrics != nullptr) metrics_ = CountCredentials(&parts_.store, config_.metrics);
}

void Keyd::Drain() {
  upkeep_.Stop();
  parts_.streams.Close(rpc::ServerStopping());
}

void Keyd::OnRotated(bool retired) {
  // First the new credentials of the services, then the end of the old ones'.
  if (const absl::Status updated = files_->Update(); !updated.ok()) {
    LogError("credential files could not be updated; trying again", {{"error", std::string(updated.message())}});
    upkeep_.Schedule(config_.clock->Now() + kUpdateFilesAgain, [this] { OnRotated(/*retired=*/false); });
  }
  if (retired) closing_.Schedule(Clock::System()->Now() + kAnswerFirst, [this] { RecheckDoor(); });
}

absl::Status Keyd::RenewCertificate() {
  if (certificate_expires_ - config_.clock->Now() > kServerCertificateTtl / 3) return absl::OkStatus();
  transport::Listener::Options made;
  RETURN_IF_ERROR(Certify(&made));
  return config_.listener().ReplaceCertificate(made.certificate_pem, made.private_key_pem);
}

void Keyd::Upkeep() {
  for (const absl::Status& status : {parts_.store.Sweep(), RenewCertificate(), files_->Update()}) {
    if (!status.ok()) LogError("upkeep failed; trying again in an hour", {{"error", std::string(status.message())}});
  }
  upkeep_.Schedule(config_.clock->Now() + kUpkeep, [this] { Upkeep(); });
}

}  // namespace parley::keyd
