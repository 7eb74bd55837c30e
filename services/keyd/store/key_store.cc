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

// A revocation is kept this long after its key has ended: clocks differ.
constexpr absl::Duration kRevocationGrace = absl::Hours(24);

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
  transaction->Set(DeviceCredentialKey(record.device(), OrderedNumber(sequence)), serial);
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

absl::StatusOr<std::vector<std::string>> KeyStore::SerialsOfDevice(absl::string_view device) const {
  ASSIGN_OR_RETURN(const store::Page page, store_->List(store::KeyRange::Prefix(DeviceCredentialKey(device, ""))));
  return ValuesOf(page);
}

absl::StatusOr<std::vector<key::v1::Revocation>> KeyStore::Revocations() const {
  ASSIGN_OR_RETURN(const store::Page page, store_->List(store::KeyRange::Prefix(kRevocationPrefix)));
  std::vector<key::v1::Revocation> revocations;
  for (const store::Entry& entry : page.entries) {
    ASSIGN_OR_RETURN(revocations.emplace_back(), ParseRecord<key::v1::Revocation>(entry.key, entry.value));
  }
  return revocations;
}

absl::StatusOr<std::optional<records::IssueRequest>> KeyStore::FindRequest(absl::string_view hash) const {
  ASSIGN_OR_RETURN(auto request, FindRecord<records::IssueRequest>(store_, absl::StrCat(kRequestPrefix, hash)));
  if (!request.exists() || ToTime(request.value.expire_time()) < Now()) return std::nullopt;
  return std::move(request.value);
}

absl::Status KeyStore::Sweep() const {
  const absl::Time now = Now();
  ASSIGN_OR_RETURN(const store::Page revocations, store_->List(store::KeyRange::Prefix(kRevocationPrefix)));
  ASSIGN_OR_RETURN(const store::Page requests, store_->List(store::KeyRange::Prefix(kRequestPrefix)));
  store::Transaction over;
  for (const store::Entry& entry : revocations.entries) {
    ASSIGN_OR_RETURN(const auto revocation, ParseRecord<key::v1::Revocation>(entry.key, entry.value));
    if (ToTime(revocation.expire_time()) + kRevocationGrace < now) over.Delete(entry.key);
  }
  for (const store::Entry& entry : requests.entries) {
    ASSIGN_OR_RETURN(const auto request, ParseRecord<records::IssueRequest>(entry.key, entry.value));
    if (ToTime(request.expire_time()) < now) over.Delete(entry.key);
  }
  if (over.deletes.empty()) return absl::OkStatus();
  return store_->Commit(std::move(over)).status();
}

absl::StatusOr<std::optional<trust::Chain>> KeyStore::LoadChain() const {
  const absl::StatusOr<store::Entry> root = store_->Get(kTrustRootKey);
  if (absl::IsNotFound(root.status())) return std::nullopt;
  RETURN_IF_ERROR(root.status());
  ASSIGN_OR_RETURN(trust::Chain chain, trust::Chain::Create(root->value));
  ASSIGN_OR_RETURN(const store::Page page, store_->List(store::KeyRange::Prefix(kCertificatePrefix)));
  for (const store::Entry& entry : page.entries) {
    SignedCertificate certificate;
    // What was in time once stays so, whatever this clock says meanwhile.
    const absl::Status added = certificate.ParseFromString(entry.value)
                                   ? chain.Append(certificate, absl::InfiniteFuture())
                                   : absl::DataLossError("it cannot be read");
    if (added.ok()) continue;
    return DataLoss("STORE_DAMAGED", "the store's entry ", entry.key, " is not the certificate that was put there (",
                    added.message(), "); restore it from a backup");
  }
  return std::optional<trust::Chain>(std::move(chain));
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

void KeyStore::PutCertificates(const std::vector<SignedCertificate>& certificates, int64_t first,
                               store::Transaction* transaction) {
  for (const SignedCertificate& certificate : certificates) {
    const std::string key = CertificateKey(first++);
    transaction->IfAbsent(key).Set(key, certificate.SerializeAsString());
  }
}

}  // namespace parley::keyd
