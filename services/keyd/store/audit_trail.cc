#include "services/keyd/store/audit_trail.h"

#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "services/keyd/domain/audit_events.h"
#include "services/keyd/domain/credential_rules.h"
#include "services/keyd/store/records.pb.h"
#include "services/keyd/store/store_layout.h"

namespace parley::keyd {
namespace {

using key::v1::AuditEntry;
using key::v1::AuditEvent;

std::string IdKey(absl::string_view service, absl::string_view id) {
  return absl::StrCat(kAuditIdPrefix, service, "/", id);
}

}  // namespace

absl::Status AuditTrail::LoadHead() {
  head_.reset();
  const absl::StatusOr<store::Entry> entry = store_->Get(kAuditHeadKey);
  if (absl::IsNotFound(entry.status())) {
    head_ = Head();
    return absl::OkStatus();
  }
  RETURN_IF_ERROR(entry.status());
  records::AuditHead stored;
  if (!stored.ParseFromString(entry->value)) return Damaged(kAuditHeadKey);
  head_ = Head{{stored.sequence(), stored.hash()}, entry->mod_revision};
  return absl::OkStatus();
}

absl::StatusOr<int64_t> AuditTrail::TryCommit(const std::vector<AuditEvent>& events, const Operation& operation) {
  if (!head_.has_value()) RETURN_IF_ERROR(LoadHead());
  store::Transaction transaction;
  operation(head_->mark.sequence + 1, &transaction);
  transaction.conditions.push_back({kAuditHeadKey, head_->mod_revision});
  Head next = *head_;
  for (AuditEvent event : events) {
    event.set_sequence(++next.mark.sequence);
    AuditEntry entry;
    entry.set_event_bytes(event.SerializeAsString());
    entry.set_hash(audit::ChainHash(next.mark.hash, entry.event_bytes()));
    next.mark.hash = entry.hash();
    transaction.Set(absl::StrCat(kAuditPrefix, OrderedNumber(next.mark.sequence)), entry.SerializeAsString());
    transaction.Set(IdKey(event.service(), event.id()), "");
  }
  records::AuditHead stored;
  stored.set_sequence(next.mark.sequence);
  stored.set_hash(next.mark.hash);
  transaction.Set(kAuditHeadKey, stored.SerializeAsString());
  // Whatever goes wrong, the store knows better.
  head_.reset();
  ASSIGN_OR_RETURN(next.mod_revision, store_->Commit(std::move(transaction)));
  head_ = std::move(next);
  return head_->mod_revision;
}

absl::StatusOr<int64_t> AuditTrail::Commit(std::vector<AuditEvent> events, const Operation& operation) {
  MutexLock lock(&mutex_);
  while (true) {
    if (!head_.has_value()) RETURN_IF_ERROR(LoadHead());
    const int64_t before = head_->mod_revision;
    absl::StatusOr<int64_t> revision = TryCommit(events, operation);
    if (!absl::IsAborted(revision.status())) return revision;
    // Whose condition was it? The head's only when another keyd has appended meanwhile.
    RETURN_IF_ERROR(LoadHead());
    if (head_->mod_revision == before) return revision;
  }
}

absl::Status AuditTrail::Append(absl::string_view service, const std::vector<AuditEvent>& events) {
  RETURN_IF_ERROR(CheckAuditEvents(events));
  std::set<std::string> ids;
  std::vector<AuditEvent> fresh;
  for (const AuditEvent& event : events) {
    if (!ids.insert(event.id()).second) continue;
    const absl::Status found = store_->Get(IdKey(service, event.id())).status();
    if (found.ok()) continue;
    if (!absl::IsNotFound(found)) return found;
    fresh.push_back(event);
    fresh.back().set_service(std::string(service));
  }
  if (fresh.empty()) return absl::OkStatus();
  const absl::Status appended = Commit(fresh, [&](int64_t, store::Transaction* transaction) {
                                  for (const AuditEvent& event : fresh) {
                                    transaction->IfAbsent(IdKey(service, event.id()));
                                  }
                                }).status();
  // The same batch came twice at once: the other one appended it, or a part of it.
  return absl::IsAborted(appended) ? Append(service, events) : appended;
}

absl::StatusOr<key::v1::ListAuditEventsResponse> AuditTrail::List(
    const key::v1::ListAuditEventsRequest& request) const {
  ASSIGN_OR_RETURN(const int page_size, PageSize(request.page_size()));
  if (request.after_sequence() < 0) {
    return Error(absl::StatusCode::kInvalidArgument, "AFTER_SEQUENCE", "after_sequence must not be negative");
  }
  store::KeyRange range = store::KeyRange::Prefix(kAuditPrefix);
  range.begin = absl::StrCat(kAuditPrefix, OrderedNumber(request.after_sequence() + 1));
  ASSIGN_OR_RETURN(const store::Page page, store_->List(range, page_size));
  key::v1::ListAuditEventsResponse response;
  for (const store::Entry& entry : page.entries) {
    if (!response.add_entries()->ParseFromString(entry.value)) return Damaged(entry.key);
  }
  // It is read at the same revision, so that the two fit together.
  const absl::StatusOr<store::Entry> head = store_->Get(kAuditHeadKey, page.revision);
  if (absl::IsNotFound(head.status())) return response;
  RETURN_IF_ERROR(head.status());
  records::AuditHead stored;
  if (!stored.ParseFromString(head->value)) return Damaged(kAuditHeadKey);
  response.set_last_sequence(stored.sequence());
  return response;
}

}  // namespace parley::keyd
