#include "services/enrolld/store/invitation_store.h"

#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
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

std::string RevokedKey(absl::string_view credential) { return absl::StrCat("x/", credential); }
std::string RecordKey(absl::string_view id) { return absl::StrCat(kRecords, id); }
std::string StepsPrefix(absl::string_view id) { return absl::StrCat("e/", id, "/"); }
std::string MailKey(absl::string_view id) { return absl::StrCat(kMails, id); }

std::string StepKey(absl::string_view id, const Slot& slot) {
  return absl::StrCat(StepsPrefix(id), slot.step, slot.sender == sas::Role::kGreeter ? "g" : "c");
}

std::string OrderKey(const enrol::v1::Invitation& invitation) {
  const int64_t inverted = std::numeric_limits<int64_t>::max() - absl::ToUnixMicros(ToTime(invitation.create_time()));
  return absl::StrFormat("%s%016x/%s", std::string(kOrder), inverted, InvitationId(invitation));
}

absl::Status Parse(const Entry& entry, google::protobuf::MessageLite* record) {
  if (record->ParseFromString(entry.value)) return absl::OkStatus();
  return Error(
      absl::StatusCode::kDataLoss, "RECORD_DAMAGED",
      absl::StrCat("the stored record ", entry.key, " can not be read; restore the data folder from a backup"));
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

absl::StatusOr<Steps> InvitationStore::FindSteps(absl::string_view id) const {
  ASSIGN_OR_RETURN(const store::Page page, store_->List(KeyRange::Prefix(StepsPrefix(id))));
  Steps steps;
  for (const Entry& entry : page.entries) {
    const size_t size = entry.key.size();
    const sas::Role sender = entry.key[size - 1] == 'g' ? sas::Role::kGreeter : sas::Role::kClaimer;
    RETURN_IF_ERROR(Parse(entry, &steps[{entry.key[size - 2] - '0', sender}]));
  }
  return steps;
}

absl::StatusOr<std::vector<InvitationStore::Stored>> InvitationStore::All() const {
  ASSIGN_OR_RETURN(const store::Page page, store_->List(KeyRange::Prefix(kRecords)));
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
  transaction.Set(RevokedKey(credential), "", lease);
  return store_->Commit(std::move(transaction)).status();
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
  return store_->Commit(std::move(transaction));
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
