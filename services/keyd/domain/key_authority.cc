#include "services/keyd/domain/key_authority.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "lib/audit/audit_limits.h"
#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/base/proto_time.h"
#include "lib/crypto/kdf.h"
#include "services/keyd/domain/device_names.h"
#include "services/keyd/domain/store_layout.h"

namespace parley::keyd {
namespace {

using key::v1::AuditEvent;

constexpr size_t kRootBytes = 32;
constexpr size_t kOrganisationIdBytes = 16;
constexpr absl::Duration kCaTtl = absl::Hours(24 * 366 * 20);
constexpr int kMaxServerNames = 32;
constexpr int kMaxAuditEvents = 1000;
// A revocation is kept this long after its key has ended: clocks differ.
constexpr absl::Duration kRevocationGrace = absl::Hours(24);

absl::Status Invalid(absl::string_view reason, absl::string_view sentence) {
  return Error(absl::StatusCode::kInvalidArgument, reason, sentence);
}

bool IsPrintable(absl::string_view text) { return std::all_of(text.begin(), text.end(), absl::ascii_isprint); }

absl::Status CheckAuditEvent(const AuditEvent& event) {
  const bool good = event.id().size() == 36 && IsPrintable(event.id()) && !event.action().empty() &&
                    event.action().size() <= audit::kMaxActionBytes && event.actor().size() <= audit::kMaxActorBytes &&
                    event.resource().size() <= audit::kMaxResourceBytes &&
                    event.outcome().size() <= audit::kMaxOutcomeBytes &&
                    event.detail().size() <= audit::kMaxDetailBytes;
  if (good) return absl::OkStatus();
  return Invalid("AUDIT_EVENTS",
                 "an audit event must have a UUID as id, an action, and texts within the limits of "
                 "docs/protocol/audit_log.md");
}

}  // namespace

KeyAuthority::KeyAuthority(Options options, Sealer sealer)
    : options_(std::move(options)), sealer_(std::move(sealer)), trail_(options_.store), addresses_(options_.addresses) {
  for (const absl::string_view audience : {keys::kTaskd, keys::kEnrolld, keys::kKeyd}) {
    keyrings_[std::string(audience)] = std::make_unique<keys::Keyring>();
  }
}

absl::StatusOr<bool> KeyAuthority::IsFounded(store::Store* store) {
  const absl::Status found = store->Get(kOrganisationKey).status();
  if (absl::IsNotFound(found)) return false;
  RETURN_IF_ERROR(found);
  return true;
}

absl::StatusOr<std::unique_ptr<KeyAuthority>> KeyAuthority::Open(Options options) {
  ASSIGN_OR_RETURN(Sealer sealer, Sealer::Create(options.kek));
  options.kek = Secret();
  std::unique_ptr<KeyAuthority> authority(new KeyAuthority(std::move(options), std::move(sealer)));
  ASSIGN_OR_RETURN(const bool founded, IsFounded(authority->store()));
  if (!founded) RETURN_IF_ERROR(authority->Found());
  RETURN_IF_ERROR(authority->Load());
  RETURN_IF_ERROR(DeviceNames::Fill(authority->store(), authority->options_.clock->Now()));
  return authority;
}

std::string KeyAuthority::RootPurpose(uint32_t epoch) const {
  return absl::StrCat("root", organisation_.id(), BigEndian(epoch, 4));
}

std::string KeyAuthority::CaPurpose() const { return absl::StrCat("ca", organisation_.id()); }

absl::Status KeyAuthority::Found() {
  const std::string& name = options_.organisation;
  if (name.empty() || name.size() > 64 || !IsPrintable(name)) {
    return Invalid("ORGANISATION", "an organisation's name has 1 to 64 printable ASCII characters");
  }
  const absl::Time now = options_.clock->Now();
  const crypto::EcKey ca_key = crypto::EcKey::Generate();
  organisation_.set_id(crypto::RandomBytes(kOrganisationIdBytes));
  organisation_.set_name(name);
  ASSIGN_OR_RETURN(*organisation_.mutable_ca_pem(), crypto::MakeCaCertificate(ca_key, name, now, now + kCaTtl));
  *organisation_.mutable_ca_key() = sealer_.Seal(ca_key.ToPem(), CaPurpose());
  *organisation_.mutable_create_time() = ToProto(now);

  records::RootSet roots;
  records::RootSet::Root* const root = roots.add_roots();
  root->set_epoch(1);
  *root->mutable_key() = sealer_.Seal(crypto::RandomSecret(kRootBytes), RootPurpose(1));
  *root->mutable_create_time() = ToProto(now);
  roots.set_primary_epoch(1);

  return trail_
      .Commit({MakeEvent(*options_.clock, "keyd", "organisation.created", "organisation", name)},
              [&](int64_t, store::Transaction* transaction) {
                transaction->IfAbsent(kOrganisationKey)
                    .Set(kOrganisationKey, organisation_.SerializeAsString())
                    .Set(kRootsKey, roots.SerializeAsString())
                    .Set(kFoundingKey, "");
              })
      .status();
}

absl::Status KeyAuthority::Load() {
  ASSIGN_OR_RETURN(const store::Entry organisation, store()->Get(kOrganisationKey));
  if (!organisation_.ParseFromString(organisation.value)) return Damaged(kOrganisationKey);
  ASSIGN_OR_RETURN(const Secret ca_pem, sealer_.Open(organisation_.ca_key(), CaPurpose()));
  ASSIGN_OR_RETURN(crypto::EcKey ca_key, crypto::EcKey::FromPem(ca_pem));
  ca_key_ = std::make_unique<crypto::EcKey>(std::move(ca_key));
  ASSIGN_OR_RETURN(const store::Entry roots, store()->Get(kRootsKey));
  MutexLock lock(&mutex_);
  return UseRoots(roots);
}

absl::StatusOr<std::map<uint32_t, Secret>> KeyAuthority::OpenRoots(const records::RootSet& roots) const {
  std::map<uint32_t, Secret> opened;
  for (const records::RootSet::Root& root : roots.roots()) {
    ASSIGN_OR_RETURN(opened[root.epoch()], sealer_.Open(root.key(), RootPurpose(root.epoch())));
  }
  return opened;
}

absl::Status KeyAuthority::UseRoots(const store::Entry& stored) {
  records::RootSet roots;
  if (!roots.ParseFromString(stored.value)) return Damaged(kRootsKey);
  ASSIGN_OR_RETURN(const auto opened, OpenRoots(roots));
  for (const auto& [audience, keyring] : keyrings_) {
    std::map<uint32_t, Secret> derived;
    for (const auto& [epoch, root] : opened) derived[epoch] = keys::DeriveAudienceKey(root, audience);
    RETURN_IF_ERROR(keyring->Replace(std::move(derived), roots.primary_epoch()));
  }
  roots_revision_ = stored.mod_revision;
  return absl::OkStatus();
}

absl::StatusOr<bool> KeyAuthority::Founding() const {
  const absl::Status found = store()->Get(kFoundingKey).status();
  if (absl::IsNotFound(found)) return false;
  RETURN_IF_ERROR(found);
  return true;
}

absl::Status KeyAuthority::FoundingDone() {
  return store()->Commit(store::Transaction().Delete(kFoundingKey)).status();
}

void KeyAuthority::SetAddress(absl::string_view audience, absl::string_view address) {
  MutexLock lock(&addresses_mutex_);
  addresses_[std::string(audience)] = std::string(address);
}

std::map<std::string, std::string> KeyAuthority::addresses() const {
  MutexLock lock(&addresses_mutex_);
  return addresses_;
}

uint32_t KeyAuthority::primary_epoch() const { return keyring()->primary_epoch(); }

absl::StatusOr<std::set<uint32_t>> KeyAuthority::LiveEpochsOf(store::Store* store) {
  ASSIGN_OR_RETURN(const store::Entry stored, store->Get(kRootsKey));
  records::RootSet roots;
  if (!roots.ParseFromString(stored.value)) return Damaged(kRootsKey);
  std::set<uint32_t> live;
  for (const records::RootSet::Root& root : roots.roots()) live.insert(root.epoch());
  return live;
}

absl::StatusOr<uint32_t> KeyAuthority::RotateRoot(absl::string_view actor, uint32_t retire_before) {
  MutexLock lock(&mutex_);
  ASSIGN_OR_RETURN(const store::Entry before, store()->Get(kRootsKey));
  records::RootSet roots;
  if (!roots.ParseFromString(before.value)) return Damaged(kRootsKey);
  // The epoch that is primary now stays, so that there is always one under which credentials were replaced before
  // the old ones stop working.
  if (retire_before > roots.primary_epoch()) {
    return Invalid("RETIRE_BEFORE",
                   absl::StrCat("retire_before must be at most ", roots.primary_epoch(),
                                ", the epoch that is primary now: rotate, replace the credentials, and "
                                "retire with the next rotation"));
  }
  const uint32_t epoch = roots.primary_epoch() + 1;
  records::RootSet next;
  std::vector<std::string> retired;
  for (records::RootSet::Root& root : *roots.mutable_roots()) {
    if (root.epoch() < retire_before) {
      retired.push_back(absl::StrCat(root.epoch()));
    } else {
      *next.add_roots() = std::move(root);
    }
  }
  records::RootSet::Root* const root = next.add_roots();
  root->set_epoch(epoch);
  *root->mutable_key() = sealer_.Seal(crypto::RandomSecret(kRootBytes), RootPurpose(epoch));
  *root->mutable_create_time() = ToProto(options_.clock->Now());
  next.set_primary_epoch(epoch);
  const std::string detail = retired.empty() ? "retired none" : absl::StrCat("retired ", absl::StrJoin(retired, ", "));
  store::Entry after{kRootsKey, next.SerializeAsString()};
  ASSIGN_OR_RETURN(
      after.mod_revision,
      trail_.Commit({MakeEvent(*options_.clock, actor, "root.rotated", absl::StrCat("roots/", epoch), detail)},
                    [&](int64_t, store::Transaction* transaction) {
                      transaction->IfUnchanged(before).Set(kRootsKey, after.value);
                    }));
  RETURN_IF_ERROR(UseRoots(after));
  return epoch;
}

absl::StatusOr<key::v1::AudienceKeys> KeyAuthority::AudienceKeysOf(absl::string_view audience,
                                                                   absl::string_view stored_roots) const {
  if (keyrings_.find(std::string(audience)) == keyrings_.end()) {
    return Error(absl::StatusCode::kNotFound, "AUDIENCE_UNKNOWN", absl::StrCat("there is no audience ", audience));
  }
  records::RootSet roots;
  if (!roots.ParseFromArray(stored_roots.data(), static_cast<int>(stored_roots.size()))) return Damaged(kRootsKey);
  ASSIGN_OR_RETURN(const auto opened, OpenRoots(roots));
  key::v1::AudienceKeys message;
  message.set_primary_epoch(roots.primary_epoch());
  for (const auto& [epoch, root] : opened) {
    key::v1::AudienceKeys::Epoch* const added = message.add_epochs();
    added->set_epoch(epoch);
    const Secret key = keys::DeriveAudienceKey(root, audience);
    added->set_key(key.Expose().data(), key.size());
  }
  return message;
}

absl::StatusOr<key::v1::IssueServerCertificateResponse> KeyAuthority::IssueServerCertificate(
    absl::string_view actor, const key::v1::IssueServerCertificateRequest& request) {
  if (request.names().empty() || request.names_size() > kMaxServerNames) {
    return Invalid("SERVER_NAMES", absl::StrCat("a server certificate takes 1 to ", kMaxServerNames, " names"));
  }
  const absl::Time now = options_.clock->Now();
  const absl::Time not_after = absl::FromUnixSeconds(absl::ToUnixSeconds(now + kServerCertificateTtl));
  key::v1::IssueServerCertificateResponse response;
  ASSIGN_OR_RETURN(*response.mutable_certificate_pem(),
                   crypto::MakeServerCertificate(*ca_key_, ca_pem(), request.public_key(),
                                                 {request.names().begin(), request.names().end()}, now, not_after));
  response.set_ca_pem(ca_pem());
  *response.mutable_expire_time() = ToProto(not_after);
  AuditEvent event =
      MakeEvent(*options_.clock, actor, "certificate.issued", "organisation", absl::StrJoin(request.names(), " "));
  RETURN_IF_ERROR(trail_.Commit({std::move(event)}, [](int64_t, store::Transaction*) {}).status());
  return response;
}

absl::Status KeyAuthority::AppendAuditEvents(absl::string_view service,
                                             const key::v1::AppendAuditEventsRequest& request) {
  if (request.events().empty() || request.events_size() > kMaxAuditEvents) {
    return Invalid("AUDIT_EVENTS", absl::StrCat("a call appends 1 to ", kMaxAuditEvents, " events"));
  }
  for (const AuditEvent& event : request.events()) RETURN_IF_ERROR(CheckAuditEvent(event));
  return trail_.Append(service, {request.events().begin(), request.events().end()});
}

absl::StatusOr<key::v1::ListAuditEventsResponse> KeyAuthority::ListAuditEvents(
    const key::v1::ListAuditEventsRequest& request) const {
  if (request.page_size() < 0 || request.page_size() > 1000) {
    return Invalid("PAGE_SIZE", "page_size must be 0 to 1000");
  }
  if (request.after_sequence() < 0) return Invalid("AFTER_SEQUENCE", "after_sequence must not be negative");
  return trail_.List(request.after_sequence(), request.page_size() == 0 ? 100 : request.page_size());
}

absl::Status KeyAuthority::Sweep() {
  const absl::Time now = options_.clock->Now();
  ASSIGN_OR_RETURN(const store::Page revocations, store()->List(store::KeyRange::Prefix(kRevocationPrefix)));
  ASSIGN_OR_RETURN(const store::Page requests, store()->List(store::KeyRange::Prefix(kRequestPrefix)));
  store::Transaction over;
  for (const store::Entry& entry : revocations.entries) {
    key::v1::Revocation revocation;
    if (!revocation.ParseFromString(entry.value)) return Damaged(entry.key);
    if (ToTime(revocation.expire_time()) + kRevocationGrace < now) over.Delete(entry.key);
  }
  for (const store::Entry& entry : requests.entries) {
    records::IssueRequest request;
    if (!request.ParseFromString(entry.value)) return Damaged(entry.key);
    if (ToTime(request.expire_time()) < now) over.Delete(entry.key);
  }
  if (over.deletes.empty()) return absl::OkStatus();
  return store()->Commit(std::move(over)).status();
}

}  // namespace parley::keyd
