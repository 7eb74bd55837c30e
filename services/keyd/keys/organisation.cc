#include "services/keyd/keys/organisation.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/base/proto_time.h"
#include "lib/crypto/kdf.h"
#include "services/keyd/domain/audit_events.h"

namespace parley::keyd {
namespace {

constexpr size_t kRootBytes = 32;
constexpr size_t kOrganisationIdBytes = 16;
constexpr absl::Duration kCaTtl = absl::Hours(24 * 366 * 20);

}  // namespace

absl::StatusOr<std::unique_ptr<Organisation>> Organisation::Open(const KeyStore& store, AuditTrail* trail,
                                                                 const Clock& clock, const Secret& kek,
                                                                 const std::string& name) {
  ASSIGN_OR_RETURN(Sealer sealer, Sealer::Create(kek));
  std::unique_ptr<Organisation> organisation(new Organisation(std::move(sealer)));
  ASSIGN_OR_RETURN(auto stored, store.FindOrganisation());
  if (stored.has_value()) {
    organisation->record_ = *std::move(stored);
  } else {
    RETURN_IF_ERROR(organisation->Found(name, trail, clock));
  }
  return organisation;
}

std::string Organisation::RootPurpose(uint32_t epoch) const {
  return absl::StrCat("root", record_.id(), BigEndian(epoch, 4));
}

std::string Organisation::CaPurpose() const { return absl::StrCat("ca", record_.id()); }

absl::Status Organisation::Found(const std::string& name, AuditTrail* trail, const Clock& clock) {
  if (name.empty() || name.size() > 64 || !std::all_of(name.begin(), name.end(), absl::ascii_isprint)) {
    return Error(absl::StatusCode::kInvalidArgument, "ORGANISATION",
                 "an organisation's name has 1 to 64 printable ASCII characters");
  }
  const absl::Time now = clock.Now();
  const crypto::EcKey ca_key = crypto::EcKey::Generate();
  record_.set_id(crypto::RandomBytes(kOrganisationIdBytes));
  record_.set_name(name);
  ASSIGN_OR_RETURN(*record_.mutable_ca_pem(), crypto::MakeCaCertificate(ca_key, name, now, now + kCaTtl));
  *record_.mutable_ca_key() = sealer_.Seal(ca_key.ToPem(), CaPurpose());
  *record_.mutable_create_time() = ToProto(now);
  records::RootSet roots;
  *roots.add_roots() = NewRoot(1, now);
  roots.set_primary_epoch(1);
  return trail
      ->Commit({MakeEvent(clock, "keyd", "organisation.created", "organisation", name)},
               [&](int64_t, store::Transaction* transaction) { KeyStore::PutFounding(record_, roots, transaction); })
      .status();
}

absl::StatusOr<crypto::EcKey> Organisation::CaKey() const {
  ASSIGN_OR_RETURN(const Secret pem, sealer_.Open(record_.ca_key(), CaPurpose()));
  return crypto::EcKey::FromPem(pem);
}

absl::StatusOr<Secret> Organisation::RootKey(const records::RootSet::Root& root) const {
  return sealer_.Open(root.key(), RootPurpose(root.epoch()));
}

records::RootSet::Root Organisation::NewRoot(uint32_t epoch, absl::Time now) const {
  records::RootSet::Root root;
  root.set_epoch(epoch);
  *root.mutable_key() = sealer_.Seal(crypto::RandomSecret(kRootBytes), RootPurpose(epoch));
  *root.mutable_create_time() = ToProto(now);
  return root;
}

}  // namespace parley::keyd
