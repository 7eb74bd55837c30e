#include "services/keyd/keyd.h"

#include <grpcpp/server_builder.h>
#include <unistd.h>

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "lib/audit/audit_buffer.h"
#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/proto_time.h"
#include "lib/base/timer_queue.h"
#include "lib/crypto/certificate.h"
#include "lib/keys/key_source.h"
#include "lib/rest/server.h"
#include "lib/rpc/addresses.h"
#include "lib/rpc/config_check.h"
#include "lib/rpc/gate.h"
#include "lib/rpc/process.h"
#include "lib/rpc/worker_pool.h"
#include "lib/store/companion_secret.h"
#include "lib/store/sqlite_store.h"
#include "lib/transport/grpc_door.h"
#include "services/keyd/domain/credential_files.h"
#include "services/keyd/domain/key_authority.h"
#include "services/keyd/domain/store_layout.h"
#include "services/keyd/domain/trust_authority.h"
#include "services/keyd/rest_api.h"
#include "services/keyd/service/key_service.h"
#include "services/keyd/service/metrics.h"
#include "services/keyd/service/trust_service.h"

namespace parley::keyd {
namespace {

// Handlers wait for the disk, not for the processor.
constexpr int kWorkers = 8;
constexpr absl::Duration kUpkeep = absl::Hours(1);
// An answer that tells of the end of its own connection's key leaves before that: well within the second promised.
constexpr absl::Duration kAnswerFirst = absl::Milliseconds(200);
constexpr absl::Duration kAuditDrain = absl::Seconds(5);

std::string KekPath(const Keyd::Options& options) {
  return options.kek_file.empty() ? options.data + "/kek" : options.kek_file;
}

std::string DatabasePath(const Keyd::Options& options) { return options.data + "/keyd.db"; }

// The one that keyd makes itself.
store::CompanionSecret OwnKek(const Keyd::Options& options) {
  return {KekPath(options), DatabasePath(options), "the key-encryption key", "KEK_MISSING", ReadKek, MakeKek};
}

absl::StatusOr<Secret> FindKek(const Keyd::Options& options, bool founded) {
  if (options.kek_file.empty()) return store::FindCompanionSecret(OwnKek(options), founded);
  absl::StatusOr<Secret> kek = ReadKek(options.kek_file);
  if (!absl::IsNotFound(kek.status())) return kek;
  return Error(absl::StatusCode::kFailedPrecondition, "KEK_MISSING",
               absl::StrCat("the key-encryption key ", options.kek_file,
                            " is missing; put the file back, or name it with --kek-file"));
}

// Credentials are those of an organisation that was founded before.
absl::Status CheckFounding(const Keyd::Options& options, bool founded) {
  const std::string admin = options.data + "/credentials/admin.credential";
  if (founded || ::access(admin.c_str(), F_OK) != 0) return absl::OkStatus();
  return Error(absl::StatusCode::kFailedPrecondition, "DATABASE_MISSING",
               absl::StrCat("there is ", admin, ", but no organisation in ", DatabasePath(options),
                            "; restore that from a backup, or move the whole folder away to found another one"));
}

absl::Status CheckAddress(const Keyd::Options& options) {
  return rpc::PublicAddress("--keyd-address", options.keyd_address, options.listen).status();
}

}  // namespace

class Keyd::Impl {
 public:
  explicit Impl(Options options) : options_(std::move(options)) {}
  ~Impl() { Shutdown(absl::ZeroDuration()); }

  absl::Status Start();
  void Shutdown(absl::Duration grace);
  const std::string& address() const { return door_->listener().address(); }

 private:
  std::string CredentialFolder() const { return options_.data + "/credentials"; }
  absl::Status OpenAuthority();
  absl::Status LoadRevocations();
  absl::Status OpenDoor();
  absl::Status MakeCertificate(transport::Listener::Options* listener);
  void OnRevoked(absl::string_view serial, absl::Time expire_time, bool by_itself);
  void OnRotated(bool retired);
  absl::Status RenewCertificate();
  void Upkeep();

  const Options options_;
  std::unique_ptr<store::Store> store_;
  std::unique_ptr<KeyAuthority> authority_;
  std::unique_ptr<TrustAuthority> trust_;
  std::unique_ptr<keys::AudienceKeySource> key_source_;
  std::unique_ptr<audit::AuditBuffer> audit_;
  std::unique_ptr<rpc::WorkerPool> workers_;
  std::unique_ptr<rpc::Gate> gate_;
  rpc::LiveStreams streams_;
  std::unique_ptr<KeyService> key_service_;
  std::unique_ptr<TrustService> trust_service_;
  std::vector<rpc::Metrics::Source> figures_;
  // After what its server calls; the REST side after the door that it calls through.
  std::unique_ptr<transport::GrpcDoor> door_;
  std::unique_ptr<rest::Server> rest_;
  absl::Time certificate_expires_;
  // Of the system's clock: connections close in real time.
  std::unique_ptr<TimerQueue> closing_;
  // Of the injected clock.
  std::unique_ptr<TimerQueue> upkeep_;
};

absl::Status Keyd::Impl::Start() {
  RETURN_IF_ERROR(CheckAddress(options_));
  RETURN_IF_ERROR(MakeFolders(options_.data, 0700));
  RETURN_IF_ERROR(CheckCredentialFiles(CredentialFolder()));
  RETURN_IF_ERROR(OpenAuthority());
  RETURN_IF_ERROR(LoadRevocations());
  RETURN_IF_ERROR(OpenDoor());
  if (options_.keyd_address.empty()) authority_->SetAddress(keys::kKeyd, address());
  RETURN_IF_ERROR(UpdateCredentialFiles(authority_.get(), *options_.clock, CredentialFolder()));
  if (options_.new_admin) RETURN_IF_ERROR(MakeAdminCredential(authority_.get(), CredentialFolder()));

  closing_ = std::make_unique<TimerQueue>(Clock::System());
  upkeep_ = std::make_unique<TimerQueue>(options_.clock);
  grpc::ServerBuilder builder;
  builder.RegisterService(key_service_.get());
  builder.RegisterService(trust_service_.get());
  if (options_.process != nullptr) options_.process->Prepare(&builder);
  RETURN_IF_ERROR(door_->Serve(&builder));
  upkeep_->Schedule(options_.clock->Now() + kUpkeep, [this] { Upkeep(); });
  if (options_.process != nullptr) {
    figures_ = {options_.process->CountDoor(&door_->listener()),
                CountCredentials(store_.get(), options_.clock, options_.process->metrics())};
  }
  return absl::OkStatus();
}

absl::Status Keyd::Impl::OpenAuthority() {
  ASSIGN_OR_RETURN(store_, store::OpenSqliteStore({.path = DatabasePath(options_), .clock = options_.clock}));
  ASSIGN_OR_RETURN(const bool founded, KeyAuthority::IsFounded(store_.get()));
  RETURN_IF_ERROR(CheckFounding(options_, founded));
  KeyAuthority::Options authority;
  ASSIGN_OR_RETURN(authority.kek, FindKek(options_, founded));
  authority.store = store_.get();
  authority.clock = options_.clock;
  authority.organisation = options_.organisation;
  authority.addresses = {{std::string(keys::kTaskd), options_.taskd_address},
                         {std::string(keys::kEnrolld), options_.enrolld_address},
                         {std::string(keys::kKeyd), options_.keyd_address}};
  absl::StatusOr<std::unique_ptr<KeyAuthority>> opened = KeyAuthority::Open(std::move(authority));
  if (Reason(opened.status()) == "KEK_WRONG") return Annotate(opened.status(), KekPath(options_));
  RETURN_IF_ERROR(opened.status());
  authority_ = *std::move(opened);
  if (options_.kek_file.empty()) RETURN_IF_ERROR(store::KeepCompanionSecret(OwnKek(options_)));
  ASSIGN_OR_RETURN(trust_, TrustAuthority::Open(authority_.get(), options_.clock));
  return authority_->Sweep();
}

absl::Status Keyd::Impl::LoadRevocations() {
  key_source_ = std::make_unique<keys::AudienceKeySource>(authority_->keyring(), options_.clock);
  ASSIGN_OR_RETURN(const store::Page page, store_->List(store::KeyRange::Prefix(kRevocationPrefix)));
  for (const store::Entry& entry : page.entries) {
    key::v1::Revocation revocation;
    if (!revocation.ParseFromString(entry.value)) return Damaged(entry.key);
    key_source_->Revoke(revocation.serial(), ToTime(revocation.expire_time()));
  }
  return absl::OkStatus();
}

absl::Status Keyd::Impl::MakeCertificate(transport::Listener::Options* listener) {
  const crypto::EcKey key = crypto::EcKey::Generate();
  key::v1::IssueServerCertificateRequest request;
  request.set_public_key(key.PublicKey());
  for (const std::string& name : rpc::NamesOrDefault(options_.names)) request.add_names(name);
  ASSIGN_OR_RETURN(const key::v1::IssueServerCertificateResponse issued,
                   authority_->IssueServerCertificate("keyd", request));
  listener->certificate_pem = issued.certificate_pem();
  listener->private_key_pem = key.ToPem();
  certificate_expires_ = ToTime(issued.expire_time());
  return absl::OkStatus();
}

absl::Status Keyd::Impl::OpenDoor() {
  transport::Listener::Options listener;
  listener.address = options_.listen;
  listener.clock = options_.clock;
  listener.accept_rest = true;
  RETURN_IF_ERROR(MakeCertificate(&listener));
  ASSIGN_OR_RETURN(door_, transport::GrpcDoor::Create(std::move(listener), key_source_.get()));
  ASSIGN_OR_RETURN(rest_, rest::Server::Attach(door_.get(), RestApi()));

  audit::AuditBuffer::Options audit;
  audit.service = "keyd";
  audit.clock = options_.clock;
  audit.sink = [this](const std::vector<key::v1::AuditEvent>& events) {
    key::v1::AppendAuditEventsRequest request;
    *request.mutable_events() = {events.begin(), events.end()};
    return authority_->AppendAuditEvents("keyd", request);
  };
  audit_ = std::make_unique<audit::AuditBuffer>(std::move(audit));
  workers_ = std::make_unique<rpc::WorkerPool>(kWorkers);
  gate_ = std::make_unique<rpc::Gate>([this](const grpc::ServerContextBase& context) { return door_->PeerOf(context); },
                                      audit_.get(), workers_.get(),
                                      options_.process == nullptr ? nullptr : options_.process->metrics());
  const auto on_revoked = [this](absl::string_view serial, absl::Time expire_time, bool by_itself) {
    OnRevoked(serial, expire_time, by_itself);
  };
  key_service_ =
      std::make_unique<KeyService>(KeyService::Options{authority_.get(), trust_.get(), gate_.get(), &streams_,
                                                       on_revoked, [this](bool retired) { OnRotated(retired); }});
  trust_service_ = std::make_unique<TrustService>(
      TrustService::Options{authority_->store(), trust_.get(), gate_.get(), &streams_, audit_.get(), on_revoked});
  return absl::OkStatus();
}

void Keyd::Impl::OnRevoked(absl::string_view serial, absl::Time expire_time, bool by_itself) {
  key_source_->Revoke(*HexDecode(serial), expire_time);
  if (!by_itself) {
    door_->listener().CloseKey(serial);
    return;
  }
  closing_->Schedule(Clock::System()->Now() + kAnswerFirst,
                     [this, serial = std::string(serial)] { door_->listener().CloseKey(serial); });
}

void Keyd::Impl::OnRotated(bool retired) {
  // First the new credentials of the services, then the end of the old ones'.
  const absl::Status updated = UpdateCredentialFiles(authority_.get(), *options_.clock, CredentialFolder());
  if (!updated.ok()) {
    LogError("credential files could not be updated; restart keyd", {{"error", std::string(updated.message())}});
  }
  if (retired) closing_->Schedule(Clock::System()->Now() + kAnswerFirst, [this] { door_->listener().Recheck(); });
}

absl::Status Keyd::Impl::RenewCertificate() {
  if (certificate_expires_ - options_.clock->Now() > kServerCertificateTtl / 3) return absl::OkStatus();
  transport::Listener::Options made;
  RETURN_IF_ERROR(MakeCertificate(&made));
  return door_->listener().ReplaceCertificate(made.certificate_pem, made.private_key_pem);
}

void Keyd::Impl::Upkeep() {
  for (const absl::Status& status : {authority_->Sweep(), RenewCertificate(),
                                     UpdateCredentialFiles(authority_.get(), *options_.clock, CredentialFolder())}) {
    if (!status.ok()) LogError("upkeep failed; trying again in an hour", {{"error", std::string(status.message())}});
  }
  upkeep_->Schedule(options_.clock->Now() + kUpkeep, [this] { Upkeep(); });
}

void Keyd::Impl::Shutdown(absl::Duration grace) {
  figures_.clear();
  if (upkeep_ != nullptr) upkeep_->Stop();
  if (door_ != nullptr) {
    door_->listener().StopAccepting();
    streams_.Close(rpc::ServerStopping());
    door_->Shutdown(Clock::System()->Now() + grace);
  }
  if (closing_ != nullptr) closing_->Stop();
  workers_ = nullptr;
  if (audit_ == nullptr) return;
  if (const absl::Status drained = audit_->Drain(kAuditDrain); !drained.ok()) {
    LogError("audit events were lost", {{"error", std::string(drained.message())}});
  }
  audit_ = nullptr;
}

Keyd::Keyd(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Keyd::~Keyd() = default;

absl::StatusOr<std::unique_ptr<Keyd>> Keyd::Start(Options options) {
  auto impl = std::make_unique<Impl>(std::move(options));
  RETURN_IF_ERROR(impl->Start());
  return std::unique_ptr<Keyd>(new Keyd(std::move(impl)));
}

void Keyd::Check(const Options& options, rpc::ConfigCheck* check) {
  check->Dialled("--keyd-address", options.keyd_address);
  check->Dialled("--taskd-address", options.taskd_address);
  check->Dialled("--enrolld-address", options.enrolld_address);
  check->Found("--listen", CheckAddress(options));
  check->Found("--data", CheckCredentialFiles(options.data + "/credentials"));
  // As far as can be seen without opening it.
  const bool founded = ::access(DatabasePath(options).c_str(), F_OK) == 0;
  check->Found("--data", CheckFounding(options, founded));
  check->Found("--kek-file", options.kek_file.empty() ? store::CheckCompanionSecret(OwnKek(options), founded)
                                                      : FindKek(options, founded).status());
}

const std::string& Keyd::address() const { return impl_->address(); }
void Keyd::Shutdown(absl::Duration grace) { impl_->Shutdown(grace); }

}  // namespace parley::keyd
