#include "services/keyd/keys/organisation.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/base/proto_time.h"
#include "lib/crypto/kdf.h"
#include "services/keyd/domain/audit_events.h"

namespace parley::keyd {
namespace {

constexpr size_t kRootBytes = 32;
constexpr size_t kOrganisationIdBytes = 16;
constexpr int kMaxServerNames = 32;
constexpr absl::Duration kCaTtl = absl::Hours(24 * 366 * 20);

}  // namespace

absl::StatusOr<std::unique_ptr<Organisation>> Organisation::Open(const KeyStore* store, const Secret& kek,
                                                                 const std::string& name) {
  ASSIGN_OR_RETURN(Sealer sealer, Sealer::Create(kek));
  std::unique_ptr<Organisation> organisation(new Organisation(store, std::move(sealer)));
  ASSIGN_OR_RETURN(auto stored, store->FindOrganisation());
  organisation->record_ = std::move(stored.value);
  if (!stored.exists()) {
    const absl::Status founded = organisation->Found(name);
    if (!founded.ok() && !absl::IsAborted(founded)) return founded;
    // When another keyd has founded it in the same moment, that one counts.
    ASSIGN_OR_RETURN(auto now_stored, store->FindOrganisation());
    organisation->record_ = std::move(now_stored.value);
  }
  ASSIGN_OR_RETURN(const Secret ca_pem,
                   organisation->sealer_.Open(organisation->record_.ca_key(), organisation->CaPurpose()));
  ASSIGN_OR_RETURN(organisation->ca_key_, crypto::EcKey::FromPem(ca_pem));
  return organisation;
}

std::string Organisation::RootPurpose(uint32_t epoch) const {
  return absl::StrCat("root", record_.id(), BigEndian(epoch, 4));
}

std::string Organisation::CaPurpose() const { return absl::StrCat("ca", record_.id()); }

absl::Status Organisation::Found(const std::string& name) {
  if (name.empty() || name.size() > 64 || !std::all_of(name.begin(), name.end(), absl::ascii_isprint)) {
    return InvalidArgument("ORGANISATION", "an organisation's name has 1 to 64 printable ASCII characters");
  }
  const absl::Time now = store_->Now();
  const crypto::EcKey ca_key = crypto::EcKey::Generate();
  record_.set_id(crypto::RandomBytes(kOrganisationIdBytes));
  record_.set_name(name);
  ASSIGN_OR_RETURN(*record_.mutable_ca_pem(), crypto::MakeCaCertificate(ca_key, name, now, now + kCaTtl));
  *record_.mutable_ca_key() = sealer_.Seal(ca_key.ToPem(), CaPurpose());
  *record_.mutable_create_time() = ToProto(now);
  records::RootSet roots;
  *roots.add_roots() = NewRoot(1);
  roots.set_primary_epoch(1);
  return store_->trail()->Commit(
      {NewEvent("keyd", "organisation.created", "organisation", name)},
      [&](int64_t, store::Transaction* transaction) { KeyStore::PutFounding(record_, roots, transaction); });
}

absl::Status Organisation::IssueServerCertificate(absl::string_view actor,
                                                  const key::v1::IssueServerCertificateRequest& request,
                                                  key::v1::IssueServerCertificateResponse* response) const {
  if (request.names().empty() || request.names_size() > kMaxServerNames) {
    return InvalidArgument("SERVER_NAMES", "a server certificate takes 1 to ", kMaxServerNames, " names");
  }
  const absl::Time now = store_->Now();
  const absl::Time not_after = absl::FromUnixSeconds(absl::ToUnixSeconds(now + kServerCertificateTtl));
  ASSIGN_OR_RETURN(*response->mutable_certificate_pem(),
                   crypto::MakeServerCertificate(*ca_key_, ca_pem(), request.public_key(),
                                                 {request.names().begin(), request.names().end()}, now, not_after));
  response->set_ca_pem(ca_pem());
  *response->mutable_expire_time() = ToProto(not_after);
  return store_->trail()->Commit(
      {NewEvent(actor, "certificate.issued", "organisation", absl::StrJoin(request.names(), " "))},
      [](int64_t, store::Transaction*) {});
}

absl::StatusOr<Secret> Organisation::RootKey(const records::RootSet::Root& root) const {
  return sealer_.Open(root.key(), RootPurpose(root.epoch()));
}

records::RootSet::Root Organisation::NewRoot(uint32_t epoch) const {
  records::RootSet::Root root;
  root.set_epoch(epoch);
  *root.mutable_key() = sealer_.Seal(crypto::RandomSecret(kRootBytes), RootPurpose(epoch));
  *root.mutable_create_time() = ToProto(store_->Now());
  return root;
}

}  // namespace parley::keyd
