#include "services/taskd/participants/joining.h"

#include <algorithm>
#include <limits>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "lib/audit/audit_log.h"
#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/base/proto_time.h"
#include "lib/base/secret.h"
#include "lib/crypto/hash.h"
#include "lib/store/update.h"
#include "services/taskd/domain/names.h"
#include "services/taskd/domain/selection.h"
#include "services/taskd/domain/task.h"
#include "services/taskd/domain/validation.h"
#include "services/taskd/participants/device_labels.h"
#include "services/taskd/store/keys.h"

namespace parley::taskd {
namespace {

using task::v1::JoinRequest;
using task::v1::JoinResponse;
using task::v1::Participant;

// Four operations each, and few enough for every engine's limit.
constexpr size_t kMaxBatch = 24;
constexpr int kMaxTries = 50;

absl::Status Taken(absl::string_view client, absl::string_view task) {
  return Error(absl::StatusCode::kAlreadyExists, "CLIENT_ALREADY_JOINED",
               absl::StrCat("another client has joined ", TaskName(task), " as ", client, "; join under another name"));
}

absl::Status SelectorDiffers(absl::string_view task, absl::string_view device) {
  return Error(absl::StatusCode::kFailedPrecondition, "SELECTOR_DIFFERS",
               absl::StrCat(TaskName(task), " does not select this device; an admin changes its labels with: ",
                            "parley key label ", device, " KEY=VALUE"));
}

// Whether the client has its state still, by its nonce, and its key was not revoked.
bool GoesOn(const ParticipantRecord& former, const JoinRequest& request) {
  return !former.participant().has_revoke_time() &&
         Secret::CopyOf(former.nonce_hash()) == Secret::Take(crypto::Sha256(request.nonce()));
}

absl::Status CheckJoinKey(const JoinKeyRecord& key, absl::Time now) {
  if (key.join_key().has_revoke_time()) {
    return Error(absl::StatusCode::kPermissionDenied, "JOIN_KEY_REVOKED", "this join key was revoked; ask for another");
  }
  if (now >= ToTime(key.join_key().expire_time())) {
    return Error(
        absl::StatusCode::kPermissionDenied, "JOIN_KEY_EXPIRED",
        absl::StrCat("this join key expired at ", ShowTime(ToTime(key.join_key().expire_time())), "; ask for another"));
  }
  return absl::OkStatus();
}

// How many may still join with it.
size_t PlacesOf(const JoinKeyRecord& key) {
  const task::v1::JoinKey& join_key = key.join_key();
  if (join_key.max_members() == 0) return std::numeric_limits<size_t>::max();
  return std::max(0, join_key.max_members() - join_key.members());
}

}  // namespace

absl::Status Joining::Join(const rpc::Caller& caller, const JoinRequest& request, JoinResponse* response) {
  RETURN_IF_ERROR(ValidateJoin(request));
  std::string client;
  ASSIGN_OR_RETURN(const Group group, CheckCaller(caller, request, &client));
  ASSIGN_OR_RETURN(const TaskSnapshot task, parts_->updater->FindTask(group.task));
  const Secret nonce_hash = Secret::Take(crypto::Sha256(request.nonce()));
  absl::Status refused;
  for (int tries = 0; tries < kMaxTries; ++tries) {
    std::optional<Stored<ParticipantRecord>> found;
    // The commit finds out whether it is new after all.
    if (tries > 0 || !parts_->task_index->IsNew(group.task, client)) {
      ASSIGN_OR_RETURN(found, parts_->store->FindParticipant(group.task, client));
    }
    if (found.has_value()) {
      const ParticipantRecord& record = found->value;
      const bool revoked = record.participant().has_revoke_time();
      const bool same = nonce_hash == Secret::CopyOf(record.nonce_hash());
      const bool own_name = group.join_key.empty();
      // Under another credential the device gets another key, which ends with that one; so does each client whose key
      // was made under a root that has been retired.
      const bool renewed = (own_name && HexEncode(record.credential()) != caller.peer->key.key_id) ||
                           !parts_->keys->IsLive(group.task, ClientTag(group.task, client), record);
      if (same && !revoked && !renewed) return Answer(group.task, client, record, task, response);
      // A device joins under its own name alone, as CheckCaller has seen. It comes back when it has lost its state, but
      // not when it was shut out of the task: it would do so by itself.
      const bool shut_out = revoked && !record.ended_with_credential();
      if (shut_out && (same || (own_name && record.own_credential()))) {
        return Error(absl::StatusCode::kPermissionDenied, "PARTICIPANT_REVOKED",
                     absl::StrCat("the key of client ", client, " was revoked; ask the operator"));
      }
      if (!own_name && !revoked && !same) return Taken(client, group.task);
    }
    ASSIGN_OR_RETURN(Pending pending, NewPending(group, client, request, task->value, caller, std::move(found)));
    const absl::Status status = Add(group, &pending);
    // Another was faster under its name: perhaps this client's own request, sent twice.
    if (absl::IsAlreadyExists(status)) {
      refused = status;
      continue;
    }
    if (absl::IsResourceExhausted(status)) {
      // There was a last place, and perhaps it is this client's own.
      ASSIGN_OR_RETURN(found, parts_->store->FindParticipant(group.task, client));
      if (found.has_value() && nonce_hash == Secret::CopyOf(found->value.nonce_hash())) continue;
    }
    RETURN_IF_ERROR(status);
    AuditJoin(caller, group, pending);
    return Answer(group.task, client, pending.record, task, response);
  }
  return refused;
}

absl::StatusOr<Joining::Pending> Joining::NewPending(const Group& group, const std::string& client,
                                                     const JoinRequest& request, const TaskRecord& task,
                                                     const rpc::Caller& caller,
                                                     std::optional<Stored<ParticipantRecord>> former) const {
  RETURN_IF_ERROR(CheckNotEnded(task));
  const keys::Labels facts = FactsOf(request.facts(), request.labels());
  if (group.join_key.empty()) {
    const auto labels = parts_->labels->Find(client);
    RETURN_IF_ERROR(CheckSelected(Select(task.task(), labels.get(), facts), SelectorDiffers(group.task, client)));
  }
  Pending pending{client, ClientTag(group.task, client), {}, std::move(former)};
  const absl::Time now = parts_->clock->Now();
  if (pending.former.has_value() && GoesOn(pending.former->value, request)) {
    // The same run of the same device, under its next credential.
    pending.record = pending.former->value;
  } else if (pending.former.has_value()) {
    const bool connected = parts_->task_index->IsConnected(group.task, client);
    pending.record = Rejoined(pending.former->value, client, task, connected, now);
  } else {
    pending.record = NewParticipant(client, task, now);
  }
  *pending.record.mutable_participant()->mutable_facts() = facts;
  pending.record.set_nonce_hash(crypto::Sha256(request.nonce()));
  const bool own = group.join_key.empty();
  pending.record.set_own_credential(own);
  pending.record.set_credential(HexDecode(caller.peer->key.key_id).value_or(""));
  const absl::Time end = ToTime(task.task().expire_time()) + kMemberKeyGrace;
  parts_->keys->FillNew(own ? std::min(end, caller.peer->key.not_after) : end, &pending.record);
  return pending;
}

void Joining::AuditJoin(const rpc::Caller& caller, const Group& group, const Pending& pending) const {
  const std::string name = ParticipantName(group.task, pending.client);
  if (pending.former.has_value()) {
    const bool revoked = pending.former->value.participant().has_revoke_time();
    RecordAction(
        parts_->audit, caller.Name(), "participant.rejoined", name,
        revoked ? "its former key had been revoked" : "the device took its name back; its former key is revoked");
  }
  RecordAction(parts_->audit, caller.Name(), "member_key.issued", name);
}

// The names in a request are claims; the key is what counts.
absl::StatusOr<Joining::Group> Joining::CheckCaller(const rpc::Caller& caller, const JoinRequest& request,
                                                    std::string* client) const {
  const auto refuse = [&](absl::string_view reason, absl::string_view sentence) {
    return RecordRefusal(parts_->audit, caller.Name(), "parley.task.v1.ParticipationService.Join", reason, sentence);
  };
  if (caller.role() == access::v1::ROLE_JOINER) {
    if (!request.task().empty() && request.task() != TaskName(caller.subject())) {
      return refuse("OTHER_TASK", "this join key is for another task than the one named");
    }
    if (!IsClientId(request.client())) {
      return Error(absl::StatusCode::kInvalidArgument, "CLIENT_MALFORMED", "client is required: the client's name");
    }
    *client = request.client();
    return Group{caller.subject(), caller.peer->key.key_id};
  }
  ASSIGN_OR_RETURN(std::string task, ParseTaskName(request.task()));
  if (!request.client().empty() && request.client() != caller.subject()) {
    return refuse("OTHER_CLIENT", "a device joins under the name that its key stands for, and no other");
  }
  if (!IsClientId(caller.subject())) {
    return Error(absl::StatusCode::kInvalidArgument, "CLIENT_MALFORMED",
                 "a device whose name begins with a punctuation mark can not join");
  }
  *client = caller.subject();
  return Group{std::move(task), ""};
}

// The first to come commits for all who wait, until its own is done.
absl::Status Joining::Add(const Group& group, Pending* pending) {
  mutex_.Lock();
  Queue& queue = queues_[group];
  ++queue.users;
  queue.waiting.push_back(pending);
  while (!pending->done) {
    if (queue.busy) {
      queue.moved.Wait(&mutex_);
      continue;
    }
    queue.busy = true;
    Batch batch = TakeNextBatch(&queue);
    mutex_.Unlock();
    Commit(group, batch);
    mutex_.Lock();
    for (Pending* const done : batch) done->done = true;
    queue.busy = false;
    queue.moved.NotifyAll();
  }
  if (--queue.users == 0) queues_.erase(group);
  mutex_.Unlock();
  return pending->status;
}

// Returns as many joins as go into one commit, with no client twice.
Joining::Batch Joining::TakeNextBatch(Queue* queue) {
  Batch batch;
  std::set<std::string> clients;
  std::deque<Pending*> left;
  size_t bytes = 0;
  for (Pending* const pending : queue->waiting) {
    const size_t size = pending->record.ByteSizeLong();
    if (batch.size() < kMaxBatch && bytes + size <= kMaxCommitBytes && clients.insert(pending->client).second) {
      batch.push_back(pending);
      bytes += size;
    } else {
      left.push_back(pending);
    }
  }
  queue->waiting = std::move(left);
  return batch;
}

void Joining::Commit(const Group& group, Batch batch) {
  const std::string key_name = JoinKeyKey(group.task, group.join_key);
  Stored<JoinKeyRecord> key;
  bool alone = true;
  const auto decide = [&](int conflicts) -> absl::StatusOr<std::optional<store::Transaction>> {
    if (conflicts == 0) {
      ASSIGN_OR_RETURN(const TaskSnapshot task, parts_->updater->FindTask(group.task));
      return NewTransaction(group, task, &batch, &key);
    }
    alone = false;
    recent_keys_.Erase(key_name);
    RETURN_IF_ERROR(DropPresent(group.task, &batch));
    if (batch.empty()) return std::nullopt;
    ASSIGN_OR_RETURN(auto fresh, parts_->store->GetTask(group.task));
    return NewTransaction(group, std::make_shared<const Stored<TaskRecord>>(std::move(fresh)), &batch, &key);
  };
  absl::StatusOr<int64_t> revision = store::Update(parts_->store->store(), "the task", decide);
  if (revision.ok() && *revision > 0) {
    key.revision = *revision;
    // While another process counts the key's members too, what is in memory would only cost conflicts.
    if (alone && !group.join_key.empty()) {
      const size_t bytes = key.value.SpaceUsedLong();
      recent_keys_.Put(key_name, std::make_shared<const Stored<JoinKeyRecord>>(std::move(key)), bytes);
    }
    Committed(group, batch, *revision);
    if (const absl::Status in_force = AwaitRevoked(batch, *revision); !in_force.ok()) revision = in_force;
  }
  for (Pending* const pending : batch) pending->status = revision.status();
}

void Joining::Committed(const Group& group, const Batch& batch, int64_t revision) {
  parts_->task_index->Committed(revision);
  for (const Pending* const pending : batch) {
    parts_->updater->Committed(group.task, pending->client, pending->record, revision);
    parts_->callers->Joined(group.task, pending->tag, pending->client);
  }
}

// No key of a client is good beside its new one.
absl::Status Joining::AwaitRevoked(const Batch& batch, int64_t revision) {
  const auto revokes = [](const Pending* pending) { return pending->is_back(); };
  if (std::none_of(batch.begin(), batch.end(), revokes)) return absl::OkStatus();
  return parts_->revoked->Await(revision);
}

absl::Status Joining::ReadJoinKey(const Group& group, size_t clients, Stored<JoinKeyRecord>* key) {
  const absl::Time now = parts_->clock->Now();
  if (const auto recent = recent_keys_.Find(JoinKeyKey(group.task, group.join_key))) {
    *key = *recent;
    if (CheckJoinKey(key->value, now).ok() && PlacesOf(key->value) >= clients) return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(*key, parts_->store->GetJoinKey(group.task, group.join_key));
  return CheckJoinKey(key->value, now);
}

absl::StatusOr<std::optional<store::Transaction>> Joining::NewTransaction(const Group& group, const TaskSnapshot& task,
                                                                          Batch* batch, Stored<JoinKeyRecord>* key) {
  RETURN_IF_ERROR(CheckNotEnded(task->value));
  store::Transaction transaction;
  transaction.conditions.push_back({TaskKey(group.task), task->revision});
  if (!group.join_key.empty()) {
    RETURN_IF_ERROR(ReadJoinKey(group, batch->size(), key));
    task::v1::JoinKey& join_key = *key->value.mutable_join_key();
    for (const size_t places = PlacesOf(key->value); batch->size() > places; batch->pop_back()) {
      batch->back()->status = Error(absl::StatusCode::kResourceExhausted, "MAX_MEMBERS",
                                    absl::StrCat("this join key is for ", join_key.max_members(),
                                                 " clients, who have all joined; ", "ask for another"));
    }
    if (batch->empty()) return std::nullopt;
    join_key.set_members(join_key.members() + static_cast<int>(batch->size()));
    Replace(JoinKeyKey(group.task, group.join_key), key->revision, key->value, &transaction);
  }
  for (Pending* const pending : *batch) {
    // It may have waited while the task went on. A client that takes its name back stays in its waves.
    if (!pending->is_back()) NoteJoined(task->value, &pending->record);
    RETURN_IF_ERROR(AddToTransaction(group, *pending, &transaction));
  }
  return transaction;
}

absl::Status Joining::AddToTransaction(const Group& group, const Pending& pending,
                                       store::Transaction* transaction) const {
  const std::string key = ParticipantKey(group.task, pending.client);
  const std::string tag = TagKey(group.task, pending.tag);
  if (pending.former.has_value()) {
    const ParticipantRecord& former = pending.former->value;
    transaction->conditions.push_back({key, pending.former->revision});
    if (pending.is_back()) {
      RETURN_IF_ERROR(parts_->revoked->Add(former.serial(), ToTime(former.key_expire_time()), transaction));
    }
  } else {
    transaction->IfAbsent(key).IfAbsent(tag);
  }
  transaction->Set(key, pending.record.SerializeAsString()).Set(tag, pending.client);
  if (pending.record.own_credential()) TaskStore::Tie(HexEncode(pending.record.credential()), key, transaction);
  return absl::OkStatus();
}

absl::Status Joining::DropPresent(const std::string& task, Batch* batch) {
  Batch left;
  for (Pending* const pending : *batch) {
    ASSIGN_OR_RETURN(const auto found, parts_->store->FindParticipant(task, pending->client));
    const absl::StatusOr<std::string> tagged = parts_->store->ClientOfTag(task, pending->tag);
    if (!absl::IsNotFound(tagged.status())) RETURN_IF_ERROR(tagged.status());
    const bool moved = pending->former.has_value() ? !found.has_value() || found->revision != pending->former->revision
                                                   : found.has_value() || tagged.ok();
    absl::Status revoked;
    if (pending->record.own_credential()) {
      revoked = parts_->store->CheckNotRevoked(HexEncode(pending->record.credential()));
    }
    if (moved || !revoked.ok()) {
      pending->status = revoked.ok() ? Taken(pending->client, task) : revoked;
    } else {
      left.push_back(pending);
    }
  }
  *batch = std::move(left);
  return absl::OkStatus();
}

absl::Status Joining::Answer(const std::string& task, const std::string& client, const ParticipantRecord& record,
                             const TaskSnapshot& snapshot, JoinResponse* response) const {
  ASSIGN_OR_RETURN(auto minted, parts_->keys->MintMember(task, ClientTag(task, client), record));
  response->set_participant(ParticipantName(task, client));
  response->set_identity(std::move(minted.identity));
  response->set_secret(std::string(minted.secret.Expose()));
  *response->mutable_expire_time() = record.key_expire_time();
  *response->mutable_task() = snapshot->value.task();
  response->mutable_task()->set_etag(absl::StrCat(snapshot->revision));
  return absl::OkStatus();
}

}  // namespace parley::taskd
