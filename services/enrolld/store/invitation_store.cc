#include "services/enrolld/store/invitation_store.h"

#include <limits>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/base/proto_time.h"
#include "services/enrolld/domain/names.h"

namespace parley::enrolld {
namespace {

using store::Entry;
using store::KeyRange;
using store::Transaction;

constexpr absl::string_view kRecords = "i/";
constexpr absl::string_view kOrder = "o/";
constexpr absl::string_view kMails = "m/";
constexpr absl::string_view kClaims = "n/";
constexpr absl::string_view kPlacesOf = "p/";
constexpr std::array<absl::string_view, kPlaces.size()> kPlaceNames = {"ag", "ac", "wg", "wc"};

std::string RevokedKey(absl::string_view credential) { return absl::StrCat("x/", credential); }
std::string RecordKey(absl::string_view id) { return absl::StrCat(kRecords, id); }
std::string StepsPrefix(absl::string_view id) { return absl::StrCat("e/", id, "/"); }
std::string MailKey(absl::string_view id) { return absl::StrCat(kMails, id); }

std::string StepKey(absl::string_view id, const Slot& slot) {
  return absl::StrCat(StepsPrefix(id), slot.step, slot.sender == sas::Role::kGreeter ? "g" : "c");
}

std::string ClaimKey(absl::string_view id) { return absl::StrCat(kClaims, id); }
std::string PlacesPrefix(absl::string_view id) { return absl::StrCat(kPlacesOf, id, "/"); }
std::string PlaceKey(absl::string_view id, size_t place) { return absl::StrCat(PlacesPrefix(id), kPlaceNames[place]); }

std::string AnswersPrefix(absl::string_view id, store::LeaseId lease) {
  return absl::StrCat("a/", id, "/", absl::Hex(lease, absl::kZeroPad16), "/");
}

std::string OrderKey(const enrol::v1::Invitation& invitation) {
  const int64_t inverted = std::numeric_limits<int64_t>::max() - absl::ToUnixMicros(ToTime(invitation.create_time()));
  return absl::StrFormat("%s%016x/%s", std::string(kOrder), inverted, InvitationId(invitation));
}

absl::Status DamagedRecord(absl::string_view key) {
  return DataLoss("RECORD_DAMAGED", "the stored record ", key, " can not be read; restore the store from a backup");
}

absl::Status Parse(const Entry& entry, google::protobuf::MessageLite* record) {
  return record->ParseFromString(entry.value) ? absl::OkStatus() : DamagedRecord(entry.key);
}

}  // namespace

absl::StatusOr<std::optional<InvitationStore::Stored>> InvitationStore::Find(absl::string_view id) const {
  const absl::StatusOr<Entry> entry = store_->Get(RecordKey(id));
  if (absl::IsNotFound(entry.status())) return std::optional<Stored>();
  RETURN_IF_ERROR(entry.status());
  std::optional<Stored> stored({{}, entry->mod_revision});
  RETURN_IF_ERROR(Parse(*entry, &stored->record));
  return stored;
}

absl::StatusOr<Steps> InvitationStore::FindSteps(absl::string_view id, int64_t revision) const {
  ASSIGN_OR_RETURN(const store::Page page, store_->List(KeyRange::Prefix(StepsPrefix(id)), /*limit=*/0, revision));
  Steps steps;
  for (const Entry& entry : page.entries) {
    const size_t size = entry.key.size();
    const sas::Role sender = entry.key[size - 1] == 'g' ? sas::Role::kGreeter : sas::Role::kClaimer;
    RETURN_IF_ERROR(Parse(entry, &steps[{entry.key[size - 2] - '0', sender}]));
  }
  return steps;
}

absl::StatusOr<std::optional<InvitationStore::Snapshot>> InvitationStore::Read(
    absl::string_view id, std::optional<store::LeaseId> lease) const {
  const std::string key = RecordKey(id);
  ASSIGN_OR_RETURN(const store::Page record, store_->List({key, key + '\0'}));
  if (record.entries.empty()) return std::optional<Snapshot>();
  Snapshot read;
  read.revision = record.revision;
  read.stored.revision = record.entries[0].mod_revision;
  RETURN_IF_ERROR(Parse(record.entries[0], &read.stored.record));
  ASSIGN_OR_RETURN(read.steps, FindSteps(id, read.revision));
  if (lease.has_value()) {
    RETURN_IF_ERROR(ReadPlaces(id, &read));
    RETURN_IF_ERROR(ReadAnswers(id, *lease, &read));
  }
  return std::optional<Snapshot>(std::move(read));
}

absl::Status InvitationStore::ReadPlaces(absl::string_view id, Snapshot* read) const {
  ASSIGN_OR_RETURN(const store::Page page,
                   store_->List(KeyRange::Prefix(PlacesPrefix(id)), /*limit=*/0, read->revision));
  for (const Entry& entry : page.entries) {
    for (size_t i = 0; i < kPlaceNames.size(); ++i) {
      if (entry.key != PlaceKey(id, i)) continue;
      RETURN_IF_ERROR(Parse(entry, &read->places[i].record));
      read->places[i].revision = entry.mod_revision;
    }
  }
  return absl::OkStatus();
}

absl::Status InvitationStore::ReadAnswers(absl::string_view id, store::LeaseId lease, Snapshot* read) const {
  const std::string prefix = AnswersPrefix(id, lease);
  ASSIGN_OR_RETURN(const store::Page page, store_->List(KeyRange::Prefix(prefix), /*limit=*/0, read->revision));
  for (const Entry& entry : page.entries) {
    StoredAnswer& answer = read->answers.emplace_back();
    answer.key = entry.key;
    RETURN_IF_ERROR(Parse(entry, &answer.record));
    const std::pair<absl::string_view, absl::string_view> names =
        absl::StrSplit(absl::StripPrefix(entry.key, prefix), '/');
    uint64_t revision = 0;
    if (!absl::SimpleHexAtoi(names.first, &answer.stream) || !absl::SimpleHexAtoi(names.second, &revision)) {
      return DamagedRecord(entry.key);
    }
    answer.revision = static_cast<int64_t>(revision);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<InvitationStore::Stored>> InvitationStore::All(int64_t* revision) const {
  ASSIGN_OR_RETURN(const store::Page page, store_->List(KeyRange::Prefix(kRecords)));
  if (revision != nullptr) *revision = page.revision;
  std::vector<Stored> all;
  all.reserve(page.entries.size());
  for (const Entry& entry : page.entries) {
    Stored& stored = all.emplace_back();
    stored.revision = entry.mod_revision;
    RETURN_IF_ERROR(Parse(entry, &stored.record));
  }
  return all;
}

KeyRange InvitationStore::NewestFirst() { return KeyRange::Prefix(kOrder); }

absl::StatusOr<InvitationStore::Listed> InvitationStore::List(const KeyRange& range, size_t limit) const {
  ASSIGN_OR_RETURN(const store::Page page, store_->List(range, limit));
  Listed listed;
  for (const Entry& entry : page.entries) {
    ASSIGN_OR_RETURN(auto found, Find(absl::string_view(entry.key).substr(entry.key.rfind('/') + 1)));
    // One that was deleted between the two reads.
    if (found.has_value()) listed.invitations.push_back(*std::move(found));
  }
  if (page.more) listed.last = page.entries.back().key;
  return listed;
}

absl::StatusOr<std::vector<MailRecord>> InvitationStore::Mails() const {
  ASSIGN_OR_RETURN(const store::Page page, store_->List(KeyRange::Prefix(kMails)));
  std::vector<MailRecord> mails(page.entries.size());
  for (size_t i = 0; i < mails.size(); ++i) RETURN_IF_ERROR(Parse(page.entries[i], &mails[i]));
  return mails;
}

absl::StatusOr<std::optional<InvitationStore::StoredMail>> InvitationStore::FindMail(absl::string_view id) const {
  const absl::StatusOr<Entry> entry = store_->Get(MailKey(id));
  if (absl::IsNotFound(entry.status())) return std::optional<StoredMail>();
  RETURN_IF_ERROR(entry.status());
  std::optional<StoredMail> mail({{}, entry->mod_revision});
  RETURN_IF_ERROR(Parse(*entry, &mail->record));
  return mail;
}

absl::StatusOr<bool> InvitationStore::ClaimMail(const StoredMail& mail, const std::string& process,
                                                store::LeaseId lease) {
  const std::string& id = mail.record.invitation();
  Transaction transaction;
  transaction.conditions.push_back({MailKey(id), mail.revision});
  transaction.IfAbsent(ClaimKey(id)).Set(ClaimKey(id), process, lease);
  const absl::Status claimed = store_->Commit(std::move(transaction)).status();
  if (!absl::IsAborted(claimed)) return claimed.ok() ? absl::StatusOr<bool>(true) : claimed;
  // This process may have claimed it before, and then failed to note what became of it.
  const absl::StatusOr<Entry> claim = store_->Get(ClaimKey(id));
  if (absl::IsNotFound(claim.status())) return false;
  RETURN_IF_ERROR(claim.status());
  ASSIGN_OR_RETURN(const auto newest, FindMail(id));
  return claim->value == process && newest.has_value() && newest->revision == mail.revision;
}

absl::Status InvitationStore::ReleaseMail(absl::string_view id, const std::string& process) {
  const absl::StatusOr<Entry> claim = store_->Get(ClaimKey(id));
  if (absl::IsNotFound(claim.status())) return absl::OkStatus();
  RETURN_IF_ERROR(claim.status());
  // Another process may have it, because this one lost its lease.
  if (claim->value != process) return absl::OkStatus();
  Transaction transaction;
  transaction.IfUnchanged(*claim).Delete(ClaimKey(id));
  const absl::Status released = store_->Commit(std::move(transaction)).status();
  return absl::IsAborted(released) ? absl::OkStatus() : released;
}

// From "i/" to "p/", both included: records, mails, claims, and the places, which may go without a commit of anybody.
KeyRange InvitationStore::Followed() { return {std::string(kRecords), KeyRange::Prefix(kPlacesOf).end}; }

InvitationStore::Moved InvitationStore::WhatMoved(absl::string_view key) {
  using What = Moved::What;
  for (const auto& [prefix, what] : {std::pair(kRecords, What::kRecord), std::pair(kPlacesOf, What::kPlace),
                                     std::pair(kMails, What::kMail), std::pair(kClaims, What::kClaim)}) {
    if (absl::ConsumePrefix(&key, prefix)) return {what, std::string(key.substr(0, key.find('/')))};
  }
  return Moved();
}

absl::StatusOr<InvitationRecord> InvitationStore::ParseRecord(absl::string_view key, absl::string_view value) {
  InvitationRecord record;
  if (!record.ParseFromArray(value.data(), static_cast<int>(value.size()))) return DamagedRecord(key);
  return record;
}

absl::StatusOr<bool> InvitationStore::IsRevoked(absl::string_view credential) const {
  const absl::Status noted = store_->Get(RevokedKey(credential)).status();
  if (absl::IsNotFound(noted)) return false;
  RETURN_IF_ERROR(noted);
  return true;
}

absl::Status InvitationStore::NoteRevoked(absl::string_view credential, absl::Duration time) const {
  ASSIGN_OR_RETURN(const bool noted, IsRevoked(credential));
  if (noted) return absl::OkStatus();
  ASSIGN_OR_RETURN(const store::LeaseId lease, store_->GrantLease(time));
  Transaction transaction;
  transaction.IfAbsent(RevokedKey(credential)).Set(RevokedKey(credential), "", lease);
  const absl::Status committed = store_->Commit(std::move(transaction)).status();
  // Another process has noted it meanwhile.
  return absl::IsAborted(committed) ? store_->RevokeLease(lease) : committed;
}

absl::StatusOr<int64_t> InvitationStore::Create(const InvitationRecord& record, const MailRecord* mail) {
  const std::string id = InvitationId(record.invitation());
  Transaction transaction;
  transaction.IfAbsent(RevokedKey(HexEncode(record.credential())));
  transaction.IfAbsent(RecordKey(id)).Set(RecordKey(id), record.SerializeAsString());
  transaction.Set(OrderKey(record.invitation()), "");
  if (mail != nullptr) transaction.Set(MailKey(id), mail->SerializeAsString());
  return store_->Commit(std::move(transaction));
}

absl::StatusOr<int64_t> InvitationStore::Commit(const Change& change) {
  Transaction transaction;
  transaction.conditions.push_back({RecordKey(change.id), change.revision});
  if (change.record != nullptr) transaction.Set(RecordKey(change.id), change.record->SerializeAsString());
  for (const auto& [slot, step] : change.steps) transaction.Set(StepKey(change.id, slot), step->SerializeAsString());
  for (const Slot& slot : change.dropped) transaction.Delete(StepKey(change.id, slot));
  if (change.mail != nullptr) transaction.Set(MailKey(change.id), change.mail->SerializeAsString());
  if (change.drop_mail) transaction.Delete(MailKey(change.id));
  for (size_t i = 0; change.places_before != nullptr && i < kPlaceNames.size(); ++i) {
    transaction.conditions.push_back({PlaceKey(change.id, i), (*change.places_before)[i].revision});
  }
  for (const auto& [place, record] : change.places) {
    if (record.stream() == 0) transaction.Delete(PlaceKey(change.id, place));
    if (record.stream() != 0) transaction.Set(PlaceKey(change.id, place), record.SerializeAsString(), record.lease());
  }
  for (const auto& [place, answer] : change.answers) {
    transaction.Set(absl::StrCat(AnswersPrefix(change.id, place.lease()), absl::Hex(place.stream(), absl::kZeroPad16),
                                 "/", absl::Hex(change.revision, absl::kZeroPad16)),
                    answer.SerializeAsString(), place.lease());
  }
  return store_->Commit(std::move(transaction));
}

absl::Status InvitationStore::DropAnswers(const std::vector<StoredAnswer>& answers) {
  Transaction transaction;
  for (const StoredAnswer& answer : answers) transaction.Delete(answer.key);
  return store_->Commit(std::move(transaction)).status();
}

absl::Status InvitationStore::Delete(const InvitationRecord& record) {
  const std::string id = InvitationId(record.invitation());
  ASSIGN_OR_RETURN(const Steps steps, FindSteps(id));
  Transaction transaction;
  transaction.Delete(RecordKey(id)).Delete(OrderKey(record.invitation())).Delete(MailKey(id));
  for (const auto& [slot, step] : steps) transaction.Delete(StepKey(id, slot));
  return store_->Commit(std::move(transaction)).status();
}

}  // namespace parley::enrolld
