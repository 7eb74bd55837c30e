#include "services/keyd/keyd.h"

#include <grpcpp/server_builder.h>

#include <map>
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
// An answer that tells of the end of its own connection's key leaves before that: well within the second promised.
constexpr absl::Duration kAnswerFirst = absl::Milliseconds(200);
constexpr absl::Duration kAuditDrain = absl::Seconds(5);

}  // namespace

Keyd::Keyd(Config config, std::unique_ptr<store::Store> database)
    : config_(std::move(config)), database_(std::move(database)), parts_(database_.get(), config_.clock) {}

Keyd::~Keyd() {
  metrics_ = nullptr;
  upkeep_.Stop();
  closing_.Stop();
  workers_ = nullptr;
  if (parts_.audit == nullptr) return;
  if (const absl::Status drained = parts_.audit->Drain(kAuditDrain); !drained.ok()) {
    LogError("audit events were lost", {{"error", std::string(drained.message())}});
  }
}

absl::StatusOr<std::unique_ptr<Keyd>> Keyd::Create(Config config) {
  ASSIGN_OR_RETURN(Host host, Host::Open(config.options, config.clock));
  std::unique_ptr<Keyd> keyd(new Keyd(std::move(config), std::move(host.store)));
  RETURN_IF_ERROR(Host::Opened(keyd->config_.options, keyd->OpenKeys(host.kek)));
  keyd->MakeServices();
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
  key_source_ = std::make_unique<keys::AudienceKeySource>(parts_.roots->keyring(keys::kKeyd), config_.clock);
  ASSIGN_OR_RETURN(const auto revocations, store->Revocations());
  for (const key::v1::Revocation& revocation : revocations) {
    key_source_->Revoke(revocation.serial(), ToTime(revocation.expire_time()));
  }
  return absl::OkStatus();
}

void Keyd::MakeServices() {
  audit::AuditBuffer::Options audit;
  audit.service = "keyd";
  audit.clock = config_.clock;
  audit.sink = [trail = parts_.store.trail()](const auto& events) { return trail->Append("keyd", events); };
  parts_.audit = std::make_unique<audit::AuditBuffer>(std::move(audit));
  workers_ = std::make_unique<rpc::WorkerPool>(kWorkers);
  parts_.gate = std::make_unique<rpc::Gate>(config_.find_peer, parts_.audit.get(), workers_.get(), config_.metrics);
  parts_.on_revoked = [this](const key::v1::CredentialRecord& record, const rpc::Caller& caller) {
    OnRevoked(record, caller);
  };
  parts_.on_rotated = [this](bool retired) { OnRotated(retired); };
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
  if (config_.metrics != nullptr) metrics_ = CountCredentials(&parts_.store, config_.metrics);
}

void Keyd::Drain() {
  upkeep_.Stop();
  parts_.streams.Close(rpc::ServerStopping());
}

void Keyd::OnRevoked(const key::v1::CredentialRecord& record, const rpc::Caller& caller) {
  const std::string serial = SerialOfName(record.name());
  key_source_->Revoke(*HexDecode(serial), ToTime(record.expire_time()));
  const auto close = [this, serial] { config_.listener().CloseKey(serial); };
  // The caller's own connection still carries the answer.
  if (serial != caller.peer->key.key_id) return close();
  closing_.Schedule(Clock::System()->Now() + kAnswerFirst, close);
}

void Keyd::OnRotated(bool retired) {
  // First the new credentials of the services, then the end of the old ones'.
  if (const absl::Status updated = files_->Update(); !updated.ok()) {
    LogError("credential files could not be updated; restart keyd", {{"error", std::string(updated.message())}});
  }
  if (retired) closing_.Schedule(Clock::System()->Now() + kAnswerFirst, [this] { config_.listener().Recheck(); });
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
