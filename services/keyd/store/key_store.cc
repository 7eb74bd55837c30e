#include "services/keyd/store/key_store.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/base/proto_time.h"
#include "services/keyd/domain/credential_rules.h"
#include "services/keyd/store/store_layout.h"

namespace parley::keyd {
namespace {

using key::v1::CredentialRecord;
using trust::v1::SignedCertificate;

// What is deleted in one commit.
constexpr size_t kSweepPage = 100;

std::vector<std::string> ValuesOf(const store::Page& page) {
  std::vector<std::string> values;
  for (const store::Entry& entry : page.entries) values.push_back(entry.value);
  return values;
}

std::string CertificateKey(int64_t sequence) { return absl::StrCat(kCertificatePrefix, OrderedNumber(sequence)); }

}  // namespace

void KeyStore::PutFounding(const records::Organisation& organisation, const records::RootSet& roots,
                           store::Transaction* transaction) {
  transaction->IfAbsent(kOrganisationKey)
      .Set(kOrganisationKey, organisation.SerializeAsString())
      .Set(kRootsKey, roots.SerializeAsString())
      .Set(kFoundingKey, "");
}

absl::StatusOr<bool> KeyStore::IsFounding() const {
  const absl::Status found = store_->Get(kFoundingKey).status();
  if (!found.ok() && !absl::IsNotFound(found)) return found;
  return found.ok();
}

absl::StatusOr<std::set<uint32_t>> KeyStore::LiveEpochs() const {
  ASSIGN_OR_RETURN(const auto roots, Roots());
  std::set<uint32_t> live;
  for (const records::RootSet::Root& root : roots.value.roots()) live.insert(root.epoch());
  return live;
}

absl::StatusOr<Versioned<CredentialRecord>> KeyStore::GetCredential(absl::string_view name) const {
  const std::string serial = SerialOfName(name);
  Versioned<CredentialRecord> found;
  if (!serial.empty()) {
    ASSIGN_OR_RETURN(found, FindRecord<CredentialRecord>(store_, kCredentialPrefix + serial));
  }
  if (found.exists()) return found;
  return Error(
      absl::StatusCode::kNotFound, "CREDENTIAL_NOT_FOUND",
      absl::StrCat("there is no credential ", name.substr(0, 64), "; `parley key list` shows those there are"));
}

void KeyStore::PutIssued(const CredentialRecord& record, int64_t sequence, store::Transaction* transaction) {
  const std::string serial = SerialOfName(record.name());
  transaction->IfAbsent(kCredentialPrefix + serial)
      .Set(kCredentialPrefix + serial, record.SerializeAsString())
      .Set(kIssuedPrefix + OrderedNumber(sequence), serial);
  if (record.device().empty()) return;
  transaction->Set(DeviceCredentialKey(record.device(), OrderedNumber(sequence)), serial)
      .Set(absl::StrCat(kNewestCredentialPrefix, record.device()), serial);
}

void KeyStore::PutRevoked(const CredentialRecord& record, int64_t revision, store::Transaction* transaction) {
  const std::string serial = SerialOfName(record.name());
  key::v1::Revocation revocation;
  revocation.set_serial(*HexDecode(serial));
  *revocation.mutable_expire_time() = record.expire_time();
  transaction->conditions.push_back({kCredentialPrefix + serial, revision});
  transaction->Set(kCredentialPrefix + serial, record.SerializeAsString())
      .Set(kRevocationPrefix + serial, revocation.SerializeAsString());
}

absl::StatusOr<std::vector<std::string>> KeyStore::ListIssued(absl::string_view after, size_t limit,
                                                              std::string* next) const {
  store::KeyRange range = store::KeyRange::Prefix(kIssuedPrefix);
  if (!after.empty()) {
    if (after.size() != 16 || !std::all_of(after.begin(), after.end(), absl::ascii_isxdigit)) {
      return InvalidArgument("PAGE_TOKEN", "page_token is not one that this service gave");
    }
    range.begin = absl::StrCat(kIssuedPrefix, after, "0");  // The next key after it.
  }
  ASSIGN_OR_RETURN(const store::Page page, store_->List(range, limit));
  if (page.more) *next = std::string(absl::StripPrefix(page.entries.back().key, kIssuedPrefix));
  return ValuesOf(page);
}

absl::StatusOr<KeyStore::DeviceCredentials> KeyStore::CredentialsOfDevice(absl::string_view device) const {
  DeviceCredentials found;
  // First the condition, so that it does not hold when one is issued in between.
  found.unchanged.key = absl::StrCat(kNewestCredentialPrefix, device);
  const absl::StatusOr<store::Entry> newest = store_->Get(found.unchanged.key);
  if (!newest.ok() && !absl::IsNotFound(newest.status())) return newest.status();
  if (newest.ok()) found.unchanged.mod_revision = newest->mod_revision;
  ASSIGN_OR_RETURN(const store::Page page, store_->List(store::KeyRange::Prefix(DeviceCredentialKey(device, ""))));
  found.serials = ValuesOf(page);
  return found;
}

absl::StatusOr<int64_t> KeyStore::RevokedBy(const std::vector<std::string>& serials) const {
  int64_t revision = 0;
  for (const std::string& serial : serials) {
    ASSIGN_OR_RETURN(const auto revocation, FindRecord<key::v1::Revocation>(store_, kRevocationPrefix + serial));
    revision = std::max(revision, revocation.revision);
  }
  return revision;
}

absl::StatusOr<Versioned<records::IssueRequest>> KeyStore::FindRequest(absl::string_view hash) const {
  ASSIGN_OR_RETURN(auto request, FindRecord<records::IssueRequest>(store_, absl::StrCat(kRequestPrefix, hash)));
  if (request.exists() && ToTime(request.value.expire_time()) < Now()) request.value.Clear();
  return request;
}

void KeyStore::PutRequest(absl::string_view hash, int64_t revision, const records::IssueRequest& request,
                          store::Transaction* transaction) {
  const std::string key = absl::StrCat(kRequestPrefix, hash);
  transaction->conditions.push_back({key, revision});
  transaction->Set(key, request.SerializeAsString());
}

template <typename Record, typename IsOver>
absl::Status KeyStore::SweepBelow(absl::string_view prefix, const IsOver& is_over) const {
  store::KeyRange range = store::KeyRange::Prefix(prefix);
  for (bool more = true; more;) {
    ASSIGN_OR_RETURN(const store::Page page, store_->List(range, kSweepPage));
    store::Transaction over;
    for (const store::Entry& entry : page.entries) {
      range.begin = entry.key + '\0';
      ASSIGN_OR_RETURN(const Record record, ParseRecord<Record>(entry.key, entry.value));
      if (is_over(record)) over.Delete(entry.key);
    }
    more = page.more;
    if (!over.deletes.empty()) RETURN_IF_ERROR(store_->Commit(std::move(over)).status());
  }
  return absl::OkStatus();
}

absl::Status KeyStore::Sweep() const {
  const absl::Time now = Now();
  RETURN_IF_ERROR(SweepBelow<key::v1::Revocation>(kRevocationPrefix, [now](const auto& revocation) {
    return ToTime(revocation.expire_time()) + kRevocationGrace < now;
  }));
  return SweepBelow<records::IssueRequest>(kRequestPrefix,
                                           [now](const auto& request) { return ToTime(request.expire_time()) < now; });
}

absl::Status KeyStore::UpdateChain(std::optional<trust::Chain>* chain) const {
  if (!chain->has_value()) {
    const absl::StatusOr<store::Entry> root = store_->Get(kTrustRootKey);
    if (absl::IsNotFound(root.status())) return absl::OkStatus();
    RETURN_IF_ERROR(root.status());
    ASSIGN_OR_RETURN(*chain, trust::Chain::Create(root->value));
  }
  ASSIGN_OR_RETURN(const store::Page page, store_->List(After(kCertificatePrefix, (*chain)->head().sequence)));
  for (const store::Entry& entry : page.entries) {
    SignedCertificate certificate;
    // What was in time once stays so, whatever this clock says meanwhile.
    const absl::Status added = certificate.ParseFromString(entry.value)
                                   ? (*chain)->Append(certificate, absl::InfiniteFuture())
                                   : absl::DataLossError("it cannot be read");
    if (added.ok()) continue;
    return DataLoss("STORE_DAMAGED", "the store's entry ", entry.key, " is not the certificate that was put there (",
                    added.message(), "); restore it from a backup");
  }
  return absl::OkStatus();
}

absl::Status KeyStore::ListCertificates(int64_t after, int64_t last, size_t limit,
                                        trust::v1::ListCertificatesResponse* response) const {
  store::KeyRange range = After(kCertificatePrefix, after);
  range.end = CertificateKey(last + 1);
  if (range.begin >= range.end) return absl::OkStatus();
  ASSIGN_OR_RETURN(const store::Page page, store_->List(range, limit));
  for (const store::Entry& entry : page.entries) response->add_certificates()->ParseFromString(entry.value);
  return absl::OkStatus();
}

void KeyStore::KeepChainAt(int64_t last, store::Transaction* transaction) {
  transaction->IfAbsent(CertificateKey(last + 1));
}

void KeyStore::PutCertificates(const std::vector<SignedCertificate>& certificates, int64_t first,
                               store::Transaction* transaction) {
  for (const SignedCertificate& certificate : certificates) {
    const std::string key = CertificateKey(first++);
    transaction->IfAbsent(key).Set(key, certificate.SerializeAsString());
  }
}

}  // namespace parley::keyd
