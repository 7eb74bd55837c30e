#include "services/keyd/store/audit_trail.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "lib/audit/audit_buffer.h"
#include "lib/audit/audit_chain.h"
#include "lib/base/error.h"
#include "lib/store/update.h"
#include "services/keyd/domain/audit_events.h"
#include "services/keyd/domain/credential_rules.h"

namespace parley::keyd {
namespace {

using key::v1::AuditEntry;
using key::v1::AuditEvent;

// Two entries of the store each, beside the head; a commit takes 128.
constexpr size_t kEventsPerCommit = 60;

std::string IdKey(absl::string_view service, absl::string_view id) {
  return absl::StrCat(kAuditIdPrefix, service, "/", id);
}

}  // namespace

absl::Status AuditTrail::LoadHead() {
  head_.reset();
  ASSIGN_OR_RETURN(head_, FindRecord<records::AuditHead>(store_, kAuditHeadKey));
  if (!head_->exists()) head_->value.set_hash(audit::AuditMark().hash);
  return absl::OkStatus();
}

absl::Status AuditTrail::TryCommit(const std::vector<AuditEvent>& events, const Operation& operation) {
  Versioned<records::AuditHead> next = *head_;
  store::Transaction transaction;
  operation(next.value.sequence() + 1, &transaction);
  transaction.conditions.push_back({kAuditHeadKey, next.revision});
  for (AuditEvent event : events) {
    event.set_sequence(next.value.sequence() + 1);
    AuditEntry entry;
    entry.set_event_bytes(event.SerializeAsString());
    entry.set_hash(audit::ChainHash(next.value.hash(), entry.event_bytes()));
    next.value.set_sequence(event.sequence());
    next.value.set_hash(entry.hash());
    transaction.Set(absl::StrCat(kAuditPrefix, OrderedNumber(event.sequence())), entry.SerializeAsString());
    transaction.Set(IdKey(event.service(), event.id()), "");
  }
  transaction.Set(kAuditHeadKey, next.value.SerializeAsString());
  // Whatever goes wrong, the store knows better.
  head_.reset();
  ASSIGN_OR_RETURN(next.revision, store_->Commit(std::move(transaction)));
  head_ = std::move(next);
  return absl::OkStatus();
}

absl::Status AuditTrail::CommitComplete(const std::vector<AuditEvent>& events, const Operation& operation) {
  MutexLock lock(&mutex_);
  if (!head_.has_value()) RETURN_IF_ERROR(LoadHead());
  store::Conflicts conflicts;
  while (true) {
    const int64_t before = head_->revision;
    const absl::Status status = TryCommit(events, operation);
    if (!absl::IsAborted(status)) return status;
    // Whose condition was it? The head's only when another keyd has appended meanwhile.
    RETURN_IF_ERROR(LoadHead());
    if (head_->revision == before || !conflicts.Again(status)) return status;
  }
}

absl::Status AuditTrail::Commit(std::vector<AuditEvent> events, const Operation& operation) {
  for (AuditEvent& event : events) audit::CompleteEvent("keyd", clock_->Now(), &event);
  return CommitComplete(events, operation);
}

absl::Status AuditTrail::Append(absl::string_view service, const std::vector<AuditEvent>& events) {
  RETURN_IF_ERROR(CheckAuditEvents(events));
  // In the order of the batch: after a failure in between the same batch comes again.
  for (size_t first = 0; first < events.size(); first += kEventsPerCommit) {
    const size_t last = std::min(events.size(), first + kEventsPerCommit);
    const std::vector<AuditEvent> some(events.begin() + first, events.begin() + last);
    RETURN_IF_ERROR(store::RetryConflicts([&] { return AppendFresh(service, some); }));
  }
  return absl::OkStatus();
}

absl::Status AuditTrail::AppendFresh(absl::string_view service, const std::vector<AuditEvent>& events) {
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
  // A conflict when the same batch came twice at once: the other one appended it, or a part of it.
  return CommitComplete(fresh, [&](int64_t, store::Transaction* transaction) {
    for (const AuditEvent& event : fresh) transaction->IfAbsent(IdKey(service, event.id()));
  });
}

absl::Status AuditTrail::List(const key::v1::ListAuditEventsRequest& request,
                              key::v1::ListAuditEventsResponse* response) const {
  ASSIGN_OR_RETURN(const int page_size, PageSize(request.page_size()));
  RETURN_IF_ERROR(CheckAfterSequence(request.after_sequence()));
  ASSIGN_OR_RETURN(const store::Page page, store_->List(After(kAuditPrefix, request.after_sequence()), page_size));
  for (const store::Entry& entry : page.entries) {
    ASSIGN_OR_RETURN(*response->add_entries(), ParseRecord<AuditEntry>(entry.key, entry.value));
  }
  // It is read at the same revision, so that the two fit together.
  ASSIGN_OR_RETURN(const auto head, FindRecord<records::AuditHead>(store_, kAuditHeadKey, page.revision));
  response->set_last_sequence(head.value.sequence());
  return absl::OkStatus();
}

}  // namespace parley::keyd
