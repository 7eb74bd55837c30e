#include "services/taskd/participants/roster.h"

#include <algorithm>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/types/span.h"
#include "lib/audit/audit_log.h"
#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/base/proto_time.h"
#include "lib/rpc/page.h"
#include "lib/store/update.h"
#include "lib/task/states.h"
#include "services/taskd/domain/explanation.h"
#include "services/taskd/domain/names.h"
#include "services/taskd/domain/task.h"
#include "services/taskd/domain/validation.h"
#include "services/taskd/participants/device_labels.h"
#include "services/taskd/store/keys.h"

namespace parley::taskd {
namespace {

constexpr size_t kMaxPageBytes = 1'000'000;
constexpr int kMaxClientsToRetry = 1000;
constexpr int kClientsPerPage = 200;
// The audit log allows 1000 bytes.
constexpr size_t kMaxAuditedNames = 900;

// "3 clients", and which when they were named.
std::string ShowRetried(int retried, const std::set<std::string>& named) {
  std::string text = absl::StrCat(retried, retried == 1 ? " client" : " clients");
  if (named.empty()) return text;
  const std::string names = absl::StrJoin(named, ", ");
  return absl::StrCat(text, " of ", names.substr(0, kMaxAuditedNames), names.size() > kMaxAuditedNames ? " …" : "");
}

// An answer has room for some of a thousand names.
constexpr size_t kMaxNamesShown = 10;

absl::Status NoSuchClients(const std::string& task, const std::vector<std::string>& clients) {
  const absl::Span<const std::string> shown(clients.data(), std::min(clients.size(), kMaxNamesShown));
  const std::string names =
      absl::StrJoin(shown, ", ", [](std::string* out, const auto& name) { absl::StrAppend(out, "\"", name, "\""); });
  const size_t more = clients.size() - shown.size();
  return NotFound("PARTICIPANT_NOT_FOUND",
                  absl::StrCat(TaskName(task), " has no client", clients.size() == 1 ? " " : "s ", names,
                               more > 0 ? absl::StrCat(" and ", more, " more") : "",
                               "; of those named with it none was given another attempt; list them with: parley task ",
                               "members ", task));
}

}  // namespace

absl::Status Roster::CreateJoinKey(const rpc::Caller& caller, const task::v1::CreateJoinKeyRequest& request,
                                   task::v1::CreateJoinKeyResponse* response) {
  ASSIGN_OR_RETURN(const std::string id, ParseTaskName(request.parent()));
  ASSIGN_OR_RETURN(RequestLog::Request done,
                   parts_->request_log->Begin(caller, "CreateJoinKey", request.request_id(), request));
  if (request.max_members() < 0) {
    return Error(absl::StatusCode::kInvalidArgument, "NUMBER_NEGATIVE", "max_members can not be below 0");
  }
  std::optional<RequestRecord> earlier;
  const auto decide = [&](int conflicts) -> absl::StatusOr<std::optional<store::Transaction>> {
    if (conflicts > 0) RETURN_IF_ERROR(parts_->store->CheckNotRevoked(caller.peer->key.key_id));
    ASSIGN_OR_RETURN(earlier, parts_->request_log->FindDone(done));
    if (earlier.has_value()) return std::nullopt;
    return NewJoinKey(caller, request, id, &done);
  };
  RETURN_IF_ERROR(store::Update(parts_->store->store(), request.parent(), decide).status());
  const std::string serial = earlier.value_or(done.record).join_key();
  if (!earlier.has_value()) RecordAction(parts_->audit, caller.Name(), "join_key.created", JoinKeyName(id, serial));
  return AnswerJoinKey(id, serial, response);
}

absl::StatusOr<store::Transaction> Roster::NewJoinKey(const rpc::Caller& caller,
                                                      const task::v1::CreateJoinKeyRequest& request,
                                                      const std::string& id, RequestLog::Request* done) const {
  ASSIGN_OR_RETURN(const auto task, parts_->store->GetTask(id));
  RETURN_IF_ERROR(CheckNotEnded(task.value));
  store::Transaction transaction;
  transaction.conditions.push_back({TaskKey(id), task.revision});
  RETURN_IF_ERROR(AddJoinKey(caller, task.value.task(), request.has_ttl() ? &request.ttl() : nullptr,
                             request.max_members(), done, &transaction));
  RETURN_IF_ERROR(parts_->request_log->Record(done, &transaction));
  return transaction;
}

absl::Status Roster::AddJoinKey(const rpc::Caller& caller, const task::v1::Task& task,
                                const google::protobuf::Duration* ttl, int max_members, RequestLog::Request* done,
                                store::Transaction* transaction) const {
  const std::string id = *ParseTaskName(task.name());
  const absl::Time now = parts_->clock->Now();
  ASSIGN_OR_RETURN(const absl::Time end, JoinKeyExpiry(ttl, now, ToTime(task.expire_time())));
  JoinKeyRecord record = parts_->keys->NewJoinKey(id, now, end, caller.peer->key);
  record.mutable_join_key()->set_max_members(max_members);
  record.mutable_join_key()->set_creator(caller.subject());
  const std::string serial = HexEncode(record.serial());
  done->record.set_task(id);
  done->record.set_join_key(serial);
  transaction->Set(JoinKeyKey(id, serial), record.SerializeAsString());
  TaskStore::Tie(caller.peer->key.key_id, JoinKeyKey(id, serial), transaction);
  return absl::OkStatus();
}

absl::Status Roster::AnswerJoinKey(const std::string& task, const std::string& serial,
                                   task::v1::CreateJoinKeyResponse* response) const {
  ASSIGN_OR_RETURN(const auto stored, parts_->store->GetTask(task));
  ASSIGN_OR_RETURN(const auto key, parts_->store->GetJoinKey(task, serial));
  *response->mutable_join_key() = key.value.join_key();
  ASSIGN_OR_RETURN(const Secret pasted,
                   parts_->keys->FormatJoinKey(task, stored.value.task().verification_key(), key.value));
  response->set_pasted(std::string(pasted.Expose()));
  return absl::OkStatus();
}

absl::Status Roster::ListJoinKeys(const task::v1::ListJoinKeysRequest& request,
                                  task::v1::ListJoinKeysResponse* response) {
  ASSIGN_OR_RETURN(const std::string id, ParseTaskName(request.parent()));
  ASSIGN_OR_RETURN(const int page_size, PageSize(request.page_size()));
  RETURN_IF_ERROR(parts_->updater->FindTask(id).status());
  store::KeyRange range = JoinKeyRange(id);
  RETURN_IF_ERROR(rpc::ApplyPageToken(request.page_token(), range.end, &range.begin));
  ASSIGN_OR_RETURN(const store::Page page, parts_->store->store()->List(range, page_size));
  ASSIGN_OR_RETURN(auto records, ParseEntries<JoinKeyRecord>(page.entries));
  for (JoinKeyRecord& record : records) *response->add_join_keys() = std::move(*record.mutable_join_key());
  if (page.more) response->set_next_page_token(rpc::PageToken(page.entries.back().key));
  return absl::OkStatus();
}

absl::StatusOr<int64_t> Roster::RevokeKey(const JoinKeyId& id, bool with_credential, JoinKeyRecord* record) {
  const auto decide = [&](int) -> absl::StatusOr<std::optional<store::Transaction>> {
    ASSIGN_OR_RETURN(auto key, parts_->store->GetJoinKey(id.task, id.serial));
    *record = std::move(key.value);
    task::v1::JoinKey& join_key = *record->mutable_join_key();
    if (join_key.has_revoke_time()) return std::nullopt;
    *join_key.mutable_revoke_time() = ToProto(parts_->clock->Now());
    record->set_ended_with_credential(with_credential);
    store::Transaction transaction;
    Replace(JoinKeyKey(id.task, id.serial), key.revision, *record, &transaction);
    RETURN_IF_ERROR(parts_->revoked->Add(record->serial(), ToTime(join_key.expire_time()), &transaction));
    return transaction;
  };
  return store::Update(parts_->store->store(), JoinKeyName(id.task, id.serial), decide);
}

absl::Status Roster::RevokeJoinKey(const rpc::Caller& caller, const task::v1::RevokeJoinKeyRequest& request,
                                   task::v1::JoinKey* response) {
  ASSIGN_OR_RETURN(const JoinKeyId id, ParseJoinKeyName(request.name()));
  JoinKeyRecord record;
  ASSIGN_OR_RETURN(const int64_t revision, RevokeKey(id, /*with_credential=*/false, &record));
  if (revision > 0) RecordAction(parts_->audit, caller.Name(), "join_key.revoked", request.name());
  *response = std::move(*record.mutable_join_key());
  if (request.with_members()) {
    ASSIGN_OR_RETURN(const int ended, EndMembersOf(caller, id));
    response->set_ended_members(ended);
  }
  // A repeated request waits for what the first one may not have waited for.
  return revision > 0 && !request.with_members() ? parts_->revoked->Await(revision) : parts_->revoked->AwaitAll();
}

absl::StatusOr<bool> Roster::EndJoinKey(absl::string_view task, absl::string_view serial,
                                        absl::string_view credential) {
  const JoinKeyId id{std::string(task), std::string(serial)};
  JoinKeyRecord record;
  ASSIGN_OR_RETURN(const int64_t revision, RevokeKey(id, /*with_credential=*/true, &record));
  if (revision > 0) {
    RecordAction(parts_->audit, "taskd", "join_key.revoked", record.join_key().name(),
                 absl::StrCat("with credentials/", credential));
  }
  return record.ended_with_credential();
}

absl::StatusOr<int> Roster::EndMembersOf(const rpc::Caller& caller, const JoinKeyId& id) {
  ASSIGN_OR_RETURN(const std::vector<std::string> members, ClientsThat(id.task, [&](const ParticipantRecord& record) {
                     return HexEncode(record.credential()) == id.serial && !record.participant().has_revoke_time();
                   }));
  constexpr absl::string_view kReason = "its join key was revoked, with all who have joined with it";
  for (const std::string& client : members) {
    ASSIGN_OR_RETURN(ParticipantSnapshot snapshot, parts_->updater->Load(id.task, client));
    ASSIGN_OR_RETURN(const bool revoked, RevokeKey({id.task, client}, kReason, /*credential=*/"", &snapshot));
    if (!revoked) continue;
    RecordAction(parts_->audit, caller.Name(), "participant.revoked", ParticipantName(id.task, client), kReason);
  }
  return static_cast<int>(members.size());
}

absl::Status Roster::ListParticipants(const task::v1::ListParticipantsRequest& request,
                                      task::v1::ListParticipantsResponse* response) {
  ASSIGN_OR_RETURN(const std::string id, ParseTaskName(request.parent()));
  ASSIGN_OR_RETURN(const int page_size, PageSize(request.page_size()));
  RETURN_IF_ERROR(parts_->updater->FindTask(id).status());
  store::KeyRange range = ParticipantRange(id);
  RETURN_IF_ERROR(rpc::ApplyPageToken(request.page_token(), range.end, &range.begin));
  size_t bytes = 0;
  while (true) {
    ASSIGN_OR_RETURN(const store::Page page, parts_->store->store()->List(range, page_size));
    parts_->task_index->Committed(NewestOf(page.entries));
    ASSIGN_OR_RETURN(auto records, ParseEntries<ParticipantRecord>(page.entries));
    for (size_t i = 0; i < records.size(); ++i) {
      range.begin = page.entries[i].key + '\0';
      const auto& states = request.states();
      const auto state = records[i].participant().state();
      if (!states.empty() && std::find(states.begin(), states.end(), state) == states.end()) continue;
      *response->add_participants() = ShowParticipant(*parts_, std::move(records[i]));
      bytes += page.entries[i].value.size();
      // A page may be shorter than asked for: clients say how large their records are.
      if (response->participants_size() < page_size && bytes < kMaxPageBytes) continue;
      if (page.more || i + 1 < records.size()) response->set_next_page_token(rpc::PageToken(page.entries[i].key));
      return absl::OkStatus();
    }
    if (!page.more) return absl::OkStatus();
  }
}

absl::Status Roster::GetParticipant(const task::v1::GetParticipantRequest& request, task::v1::Participant* response) {
  ASSIGN_OR_RETURN(const ParticipantId id, ParseParticipantName(request.name()));
  ASSIGN_OR_RETURN(auto client, parts_->store->GetParticipant(id.task, id.client));
  parts_->task_index->Committed(client.revision);
  *response = ShowParticipant(*parts_, std::move(client.value));
  return absl::OkStatus();
}

absl::Status Roster::ExplainParticipant(const task::v1::ExplainParticipantRequest& request,
                                        task::v1::ExplainParticipantResponse* response) {
  ASSIGN_OR_RETURN(const ParticipantId id, ParseParticipantName(request.name()));
  ASSIGN_OR_RETURN(const auto task, parts_->store->GetTask(id.task));
  ASSIGN_OR_RETURN(auto client, parts_->store->GetParticipant(id.task, id.client));
  parts_->task_index->Committed(std::max(task.revision, client.revision));
  RETURN_IF_ERROR(parts_->task_index->CatchUp());
  *response->mutable_participant() = ShowParticipant(*parts_, client.value);
  *client.value.mutable_participant() = response->participant();
  const Tally tally = parts_->task_index->TallyOf(id.task).value_or(Tally());
  const auto labels = parts_->labels->Find(id.client);
  for (std::string& sentence : Explain(client.value, task.value, tally.rollout, labels.get(), parts_->clock->Now())) {
    response->add_sentences(std::move(sentence));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::set<std::string>> Roster::NamedClients(const std::string& task,
                                                           const task::v1::RetryClientsRequest& request) const {
  if (request.clients_size() > kMaxClientsToRetry) {
    return Error(absl::StatusCode::kInvalidArgument, "TOO_MANY_CLIENTS",
                 "over 1000 clients are named; name fewer, or none for all that have failed, declined or timed out");
  }
  std::set<std::string> named;
  std::vector<std::string> unknown;
  for (const std::string& client : request.clients()) {
    if (!IsClientId(client)) {
      return Error(absl::StatusCode::kInvalidArgument, "CLIENT_MALFORMED",
                   "one of the clients is not a client's name such as web-1; give the last part of Participant.name");
    }
    if (!named.insert(client).second) continue;
    ASSIGN_OR_RETURN(const auto found, parts_->store->FindParticipant(task, client));
    if (!found.has_value()) unknown.push_back(client);
  }
  if (!unknown.empty()) return NoSuchClients(task, unknown);
  return named;
}

absl::StatusOr<std::vector<std::string>> Roster::ClientsThat(
    const std::string& task, const std::function<bool(const ParticipantRecord&)>& match) const {
  std::vector<std::string> clients;
  store::KeyRange range = ParticipantRange(task);
  for (bool more = true; more;) {
    ASSIGN_OR_RETURN(const store::Page page, parts_->store->store()->List(range, kClientsPerPage));
    ASSIGN_OR_RETURN(const auto records, ParseEntries<ParticipantRecord>(page.entries));
    for (size_t i = 0; i < records.size(); ++i) {
      if (match(records[i])) clients.push_back(LastPart(page.entries[i].key));
      range.begin = page.entries[i].key + '\0';
    }
    more = page.more;
  }
  return clients;
}

absl::StatusOr<std::vector<std::string>> Roster::FailedClients(const std::string& task) const {
  return ClientsThat(task, [](const ParticipantRecord& record) {
    // Why a client cannot take part is not mended by another attempt, unless a person means just that client.
    const bool cannot = record.participant().state() == task::v1::Participant::STATE_INELIGIBLE;
    return task::MayRetry(record.participant()) && !cannot;
  });
}

absl::Status Roster::BearFailures(const std::string& task) const {
  ASSIGN_OR_RETURN(const std::vector<std::string> clients, FailedClients(task));
  return parts_->updater->ApplyToAll(task, clients, Event{Event::Kind::kBorne}).status();
}

absl::Status Roster::RetryClients(const rpc::Caller& caller, const task::v1::RetryClientsRequest& request,
                                  task::v1::RetryClientsResponse* response) {
  ASSIGN_OR_RETURN(const std::string id, ParseTaskName(request.name()));
  // From the store: a task that has just ended may not show as ended in memory yet.
  ASSIGN_OR_RETURN(const auto task, parts_->store->GetTask(id));
  RETURN_IF_ERROR(CheckNotEnded(task.value));
  ASSIGN_OR_RETURN(const std::set<std::string> named, NamedClients(id, request));
  std::vector<std::string> clients(named.begin(), named.end());
  if (clients.empty()) {
    ASSIGN_OR_RETURN(clients, FailedClients(id));
  }
  ASSIGN_OR_RETURN(const int retried, parts_->updater->ApplyToAll(id, clients, Event{Event::Kind::kRetry}));
  RecordAction(parts_->audit, caller.Name(), "task.clients_retried", request.name(), ShowRetried(retried, named));
  response->set_retried_clients(retried);
  return absl::OkStatus();
}

absl::Status Roster::RevokeParticipant(const rpc::Caller& caller, const task::v1::RevokeParticipantRequest& request,
                                       task::v1::Participant* response) {
  ASSIGN_OR_RETURN(const ParticipantId id, ParseParticipantName(request.name()));
  RETURN_IF_ERROR(ValidateReason(request.reason()));
  ASSIGN_OR_RETURN(ParticipantSnapshot snapshot, parts_->updater->Load(id.task, id.client));
  ASSIGN_OR_RETURN(const bool revoked, RevokeKey(id, request.reason(), /*credential=*/"", &snapshot));
  if (revoked) RecordAction(parts_->audit, caller.Name(), "participant.revoked", request.name(), request.reason());
  // A repeated request waits for what the first one may not have waited for.
  RETURN_IF_ERROR(revoked ? parts_->revoked->Await(snapshot.client.revision) : parts_->revoked->AwaitAll());
  *response = ShowParticipant(*parts_, std::move(snapshot.client.value));
  return absl::OkStatus();
}

absl::StatusOr<bool> Roster::EndMember(absl::string_view task, absl::string_view client, absl::string_view credential) {
  ASSIGN_OR_RETURN(ParticipantSnapshot snapshot, parts_->updater->Load(task, client));
  ASSIGN_OR_RETURN(const bool revoked,
                   RevokeKey({std::string(task), std::string(client)}, "the credential that it joined with was revoked",
                             credential, &snapshot));
  if (revoked) {
    RecordAction(parts_->audit, "taskd", "participant.revoked", ParticipantName(task, client),
                 absl::StrCat("with credentials/", credential));
  }
  const ParticipantRecord& record = snapshot.client.value;
  return HexEncode(record.credential()) == credential && record.ended_with_credential();
}

absl::StatusOr<bool> Roster::RevokeKey(const ParticipantId& id, absl::string_view reason, absl::string_view credential,
                                       ParticipantSnapshot* snapshot) {
  Event event{Event::Kind::kRevoked};
  event.reason = reason;
  std::optional<std::string> serial;
  store::Transaction revocation;
  const auto decide = [&](const ParticipantRecord& record,
                          const TaskRecord& task) -> absl::StatusOr<std::optional<ParticipantRecord>> {
    if (!credential.empty() && HexEncode(record.credential()) != credential) return std::nullopt;
    ASSIGN_OR_RETURN(auto next, Advance(record, event, task, parts_->clock->Now()));
    if (next.has_value()) next->set_ended_with_credential(!credential.empty());
    // Made before the commit, because it may fail, and anew when the client has joined again meanwhile.
    if (next.has_value() && serial != record.serial()) {
      serial = record.serial();
      revocation = store::Transaction();
      RETURN_IF_ERROR(parts_->revoked->Add(*serial, ToTime(record.key_expire_time()), &revocation));
    }
    return next;
  };
  const auto revoke = [&](const ParticipantRecord&, store::Transaction* transaction) {
    transaction->puts.push_back(revocation.puts.front());
  };
  return parts_->updater->Update(id.task, id.client, snapshot, decide, revoke);
}

}  // namespace parley::taskd
