#include "services/taskd/store/client_presence.h"

#include <algorithm>

#include "lib/base/error.h"
#include "lib/base/log.h"
#include "lib/base/proto_time.h"
#include "services/taskd/store/keys.h"
#include "services/taskd/store/records.pb.h"

namespace parley::taskd {
namespace {

// Few enough for the limit that engines have for one commit.
constexpr size_t kMaxWrites = 100;
constexpr absl::Duration kRetryAfter = absl::Seconds(1);

}  // namespace

ClientPresence::ClientPresence(const TaskStore* store, const store::Replicas* replicas, Clock* clock,
                               TimerQueue* timers, rpc::WorkerPool* workers)
    : store_(store),
      replicas_(replicas),
      clock_(clock),
      timers_(timers),
      workers_(workers),
      follower_(
          store->store(), AllPresenceRange(), [this] { return Load(); },
          [this](const std::vector<store::Change>& changes) { Apply(changes); }, clock, timers) {}

absl::Status ClientPresence::Start(Observer observer) {
  observer_ = std::move(observer);
  return follower_.Start();
}

void ClientPresence::Leave() {
  MutexLock lock(&mutex_);
  left_ = true;
}

void ClientPresence::Stop() {
  {
    MutexLock lock(&mutex_);
    stopped_ = true;
  }
  follower_.Stop();
}

void ClientPresence::OnLease(bool held) {
  MutexLock lock(&mutex_);
  held_ = held;
  if (!held) return;
  for (auto& [task, clients] : tasks_) {
    for (auto& [name, client] : clients) {
      if (!client.here) continue;
      client.stored = false;
      dirty_.insert({task, name});
    }
  }
  WriteSoon();
}

void ClientPresence::OnLead(bool leads) {
  std::vector<Id> gone;
  {
    MutexLock lock(&mutex_);
    leads_ = leads;
    if (!leads) return;
    for (const auto& [task, clients] : tasks_) {
      for (const auto& [name, client] : clients) {
        if (!client.here && !client.elsewhere) gone.emplace_back(task, name);
      }
    }
  }
  for (const Id& id : gone) {
    if (!observer_.is_open(id.first)) {
      Tidy(id);
      continue;
    }
    MutexLock lock(&mutex_);
    const Client* const client = FindClient(id);
    if (client != nullptr && client->entry == 0) StoreSoon(id);
  }
}

absl::StatusOr<int64_t> ClientPresence::Load() {
  ASSIGN_OR_RETURN(const store::Page page, store_->store()->List(AllPresenceRange()));
  std::set<Id> present;
  Notices notices;
  {
    MutexLock lock(&mutex_);
    for (const store::Entry& entry : page.entries) {
      PresenceRecord record;
      RETURN_IF_ERROR(ParseRecord(entry.key, entry.value, &record));
      Id id = ParsePresenceKey(entry.key);
      Observe(id, &record, entry.mod_revision, &notices);
      present.insert(std::move(id));
    }
    std::vector<Id> vanished;
    for (const auto& [task, clients] : tasks_) {
      for (const auto& [name, client] : clients) {
        if (client.entry != 0 && present.count({task, name}) == 0) vanished.emplace_back(task, name);
      }
    }
    for (const Id& id : vanished) Observe(id, nullptr, page.revision, &notices);
  }
  Tell(notices);
  return page.revision;
}

void ClientPresence::Apply(const std::vector<store::Change>& changes) {
  Notices notices;
  {
    MutexLock lock(&mutex_);
    for (const store::Change& change : changes) {
      PresenceRecord record;
      if (change.value.has_value()) {
        if (const absl::Status status = ParseRecord(change.key, *change.value, &record); !status.ok()) {
          LogError(status.message());
          continue;
        }
      }
      Observe(ParsePresenceKey(change.key), change.value.has_value() ? &record : nullptr, change.mod_revision,
              &notices);
    }
  }
  Tell(notices);
  for (const store::Change& change : changes) {
    const Id id = ParsePresenceKey(change.key);
    if (!observer_.is_open(id.first)) Tidy(id);
  }
}

void ClientPresence::Observe(const Id& id, const PresenceRecord* record, int64_t revision, Notices* notices) {
  if (stopped_ || (record == nullptr && FindClient(id) == nullptr)) return;
  Client& client = tasks_[id.first][id.second];
  if (revision <= client.seen) return;
  client.seen = revision;
  notices->changed.push_back(id);
  const bool was_elsewhere = client.elsewhere;
  client.elsewhere = record != nullptr && !record->replica().empty() && record->replica() != replicas_->name();
  client.entry = record != nullptr ? revision : 0;
  if (record != nullptr && record->replica().empty()) {
    client.disconnected = ToTime(record->disconnect_time());
    client.stored = !client.here;
  }
  if (client.elsewhere && client.here && client.stored) {
    client.stored = false;
    notices->replaced.push_back(id);
  }
  if (record == nullptr && was_elsewhere && !client.here) {
    // Its replica has gone, and the client was not back elsewhere in time.
    client.disconnected = clock_->Now();
    client.stored = false;
    if (leads_) StoreSoon(id);
  }
}

void ClientPresence::Tell(const Notices& notices) const {
  for (const auto& [task, client] : notices.changed) observer_.changed(task, client);
  for (const auto& [task, client] : notices.replaced) observer_.replaced(task, client);
}

void ClientPresence::Tidy(const Id& id) {
  MutexLock lock(&mutex_);
  Client* const client = FindClient(id);
  if (client == nullptr || client->here || client->elsewhere) return;
  if (client->entry == 0) return Drop(id);
  client->stored = false;
  if (leads_) StoreSoon(id);
}

const ClientPresence::Client* ClientPresence::FindClient(absl::string_view task, absl::string_view client) const {
  const auto clients = tasks_.find(task);
  if (clients == tasks_.end()) return nullptr;
  const auto found = clients->second.find(std::string(client));
  return found == clients->second.end() ? nullptr : &found->second;
}

ClientPresence::Client* ClientPresence::FindClient(const Id& id) {
  return const_cast<Client*>(FindClient(id.first, id.second));
}

void ClientPresence::Drop(const Id& id) {
  const auto clients = tasks_.find(id.first);
  clients->second.erase(id.second);
  if (clients->second.empty()) tasks_.erase(clients);
}

ClientPresence::View ClientPresence::Find(absl::string_view task, absl::string_view name) const {
  MutexLock lock(&mutex_);
  const Client* const client = FindClient(task, name);
  if (client == nullptr) return {};
  return {client->here, client->elsewhere, client->disconnected};
}

void ClientPresence::SessionBegan(absl::string_view task, absl::string_view name) {
  MutexLock lock(&mutex_);
  const Id id{task, name};
  Client& client = tasks_[id.first][id.second];
  client.here = true;
  client.stored = false;
  ++client.session;
  StoreSoon(id);
}

void ClientPresence::SessionEnded(absl::string_view task, absl::string_view name) {
  MutexLock lock(&mutex_);
  const Id id{task, name};
  Client& client = tasks_[id.first][id.second];
  client.here = false;
  client.stored = false;
  client.disconnected = clock_->Now();
  StoreSoon(id);
}

void ClientPresence::Forget(const std::string& task) {
  std::vector<Id> ids;
  {
    MutexLock lock(&mutex_);
    const auto clients = tasks_.find(task);
    if (clients == tasks_.end()) return;
    for (const auto& [name, client] : clients->second) ids.emplace_back(task, name);
  }
  for (const Id& id : ids) Tidy(id);
}

void ClientPresence::StoreSoon(const Id& id) {
  dirty_.insert(id);
  WriteSoon();
}

void ClientPresence::WriteSoon() {
  if (writing_ || stopped_ || left_ || !held_ || dirty_.empty()) return;
  writing_ = true;
  workers_->Run([this] { WriteAll(); });
}

void ClientPresence::WriteAll() {
  while (true) {
    std::vector<Write> writes = TakeNext();
    if (writes.empty()) return;
    const absl::Status status = Commit(writes);
    if (status.ok()) continue;
    LogWarning("it could not be stored which clients are connected", {{"error", std::string(status.message())}});
    MutexLock lock(&mutex_);
    for (const Write& write : writes) dirty_.insert(write.id);
    writing_ = false;
    if (stopped_) return;
    timers_->Schedule(clock_->Now() + kRetryAfter, [this] {
      MutexLock lock(&mutex_);
      WriteSoon();
    });
    return;
  }
}

std::vector<ClientPresence::Write> ClientPresence::TakeNext() {
  std::vector<Write> writes;
  MutexLock lock(&mutex_);
  while (!dirty_.empty() && writes.size() < kMaxWrites && held_ && !left_ && !stopped_) {
    const Id id = *dirty_.begin();
    dirty_.erase(dirty_.begin());
    const Client* const client = FindClient(id);
    // Another replica keeps the entry of a client that it has.
    if (client == nullptr || client->stored || (!client->here && client->elsewhere)) continue;
    writes.push_back({id, *client});
  }
  writing_ = !writes.empty();
  return writes;
}

absl::StatusOr<bool> ClientPresence::IsSettled(const std::string& task) const {
  if (observer_.is_open(task)) return false;
  // A task that is new may not show yet.
  const absl::Status mark = store_->store()->Get(UnsettledKey(task)).status();
  if (absl::IsNotFound(mark)) return true;
  RETURN_IF_ERROR(mark);
  return false;
}

absl::Status ClientPresence::Commit(std::vector<Write> writes) {
  for (Write& write : writes) {
    if (!write.client.here) {
      ASSIGN_OR_RETURN(write.forget, IsSettled(write.id.first));
    }
  }
  const absl::Status together = TryCommit(writes);
  if (!absl::IsAborted(together)) return together;
  for (const Write& write : writes) {
    const absl::Status status = TryCommit({&write, 1});
    // The follower tells who was faster.
    if (!absl::IsAborted(status)) RETURN_IF_ERROR(status);
  }
  return absl::OkStatus();
}

absl::Status ClientPresence::TryCommit(absl::Span<const Write> writes) {
  const store::LeaseId lease = replicas_->lease();
  if (lease == 0) return Unavailable("REPLICA_CUT_OFF", "this server holds no lease of its store");
  store::Transaction transaction;
  for (const Write& write : writes) {
    const std::string key = PresenceKey(write.id.first, write.id.second);
    PresenceRecord record;
    if (write.client.here) {
      record.set_replica(replicas_->name());
      transaction.Set(key, record.SerializeAsString(), lease);
      continue;
    }
    transaction.conditions.push_back({key, write.client.entry});
    if (write.forget) {
      transaction.Delete(key);
    } else {
      *record.mutable_disconnect_time() = ToProto(write.client.disconnected);
      transaction.Set(key, record.SerializeAsString());
    }
  }
  ASSIGN_OR_RETURN(const int64_t revision, store_->store()->Commit(std::move(transaction)));
  Notices notices;
  {
    MutexLock lock(&mutex_);
    for (const Write& write : writes) Written(write, revision, &notices);
  }
  Tell(notices);
  return absl::OkStatus();
}

void ClientPresence::Written(const Write& write, int64_t revision, Notices* notices) {
  Client* const client = FindClient(write.id);
  if (client == nullptr) return;
  const bool overtaken = client->seen > revision;
  if (!overtaken) {
    client->seen = revision;
    client->entry = write.forget ? 0 : revision;
    client->elsewhere = false;
    notices->changed.push_back(write.id);
  }
  if (client->session != write.client.session || client->here != write.client.here) return;
  // It may be due again, for another cause than the one that it was written for.
  client->stored = !overtaken && dirty_.count(write.id) == 0;
  if (client->here && overtaken && client->elsewhere) notices->replaced.push_back(write.id);
  if (write.forget && client->entry == 0) Drop(write.id);
}

}  // namespace parley::taskd
