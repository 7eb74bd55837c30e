#include "services/taskd/store/task_index.h"

#include <algorithm>
#include <set>

#include "lib/base/log.h"
#include "lib/base/proto_time.h"
#include "lib/task/states.h"
#include "services/taskd/domain/names.h"
#include "services/taskd/domain/task.h"
#include "services/taskd/store/keys.h"

namespace parley::taskd {

using task::v1::Participant;

TaskIndex::TaskIndex(const TaskStore* store, Clock* clock, TimerQueue* timers)
    : store_(store),
      clock_(clock),
      timers_(timers),
      follower_(
          store->store(), AllTasksRange(), [this] { return Load(); },
          [this](const std::vector<store::Change>& changes) { Apply(changes); }, clock, timers) {}

absl::Status TaskIndex::Start(Observer observer) {
  observer_ = std::move(observer);
  return follower_.Start();
}

void TaskIndex::Stop() {
  {
    MutexLock lock(&mutex_);
    stopped_ = true;
  }
  follower_.Stop();
}

void TaskIndex::Committed(int64_t revision) {
  MutexLock lock(&mutex_);
  committed_ = std::max(committed_, revision);
}

void TaskIndex::CatchUp() {
  int64_t revision = 0;
  {
    MutexLock lock(&mutex_);
    revision = committed_;
  }
  follower_.WaitFor(revision);
}

absl::StatusOr<int64_t> TaskIndex::Load() {
  ASSIGN_OR_RETURN(const store::Page unsettled, store_->store()->List(UnsettledRange()));
  std::set<std::string> tasks;
  for (const store::Entry& mark : unsettled.entries) tasks.insert(LastPart(mark.key));
  {
    // When the watch broke, those that were settled meanwhile.
    MutexLock lock(&mutex_);
    for (const auto& [task, entry] : entries_) tasks.insert(task);
  }
  for (const std::string& task : tasks) {
    ASSIGN_OR_RETURN(const store::Page page, store_->store()->List(TaskRange(task), 0, unsettled.revision));
    Notices notices;
    {
      MutexLock lock(&mutex_);
      // The task, whose key is the last of the range, comes first.
      for (auto entry = page.entries.rbegin(); entry != page.entries.rend(); ++entry) {
        Observe(entry->key, entry->value, entry->mod_revision, &notices);
      }
    }
    for (const auto& notice : notices) notice();
  }
  return unsettled.revision;
}

void TaskIndex::Apply(const std::vector<store::Change>& changes) {
  Notices notices;
  {
    MutexLock lock(&mutex_);
    for (const store::Change& change : changes) {
      if (change.value.has_value()) Observe(change.key, *change.value, change.mod_revision, &notices);
    }
  }
  for (const auto& notice : notices) notice();
}

void TaskIndex::Observe(absl::string_view key, absl::string_view value, int64_t mod_revision, Notices* notices) {
  if (stopped_) return;
  const WatchedKey watched = ParseWatchedKey(key);
  const std::string task(watched.task);
  if (watched.client.empty()) return ObserveTask(task, key, value, mod_revision, notices);
  const auto entry = entries_.find(task);
  if (entry == entries_.end()) return;
  ObserveClient(&entry->second, std::string(watched.client), key, value, mod_revision, notices);
}

void TaskIndex::ObserveTask(const std::string& task, absl::string_view key, absl::string_view value,
                            int64_t mod_revision, Notices* notices) {
  auto stored = std::make_shared<Stored<TaskRecord>>();
  stored->revision = mod_revision;
  if (const absl::Status status = ParseRecord(key, value, &stored->value); !status.ok()) {
    LogError(status.message());
    return;
  }
  Entry& entry = entries_[task];
  if (entry.task != nullptr && entry.task->revision >= mod_revision) return;
  const bool recount = entry.task != nullptr && entry.task->value.task().revision() != stored->value.task().revision();
  entry.task = stored;
  if (recount) Recount(&entry);
  if (entry.timer != 0) timers_->Cancel(entry.timer);
  entry.timer = 0;
  notices->push_back([this, stored = TaskSnapshot(stored)] { observer_.task_changed(stored); });
  if (stored->value.settled()) return Forget(entries_.find(task));
  notices->push_back([this, task] { observer_.task_due(task); });
  if (const absl::Time next = NextDue(stored->value); next != absl::InfiniteFuture()) {
    entry.timer = timers_->Schedule(next, [this, task] { observer_.task_due(task); });
  }
}

void TaskIndex::ObserveClient(Entry* entry, const std::string& name, absl::string_view key, absl::string_view value,
                              int64_t mod_revision, Notices* notices) {
  ParticipantRecord record;
  if (const absl::Status status = ParseRecord(key, value, &record); !status.ok()) {
    LogError(status.message());
    return;
  }
  const Participant& participant = record.participant();
  Client& client = entry->clients[name];
  if (client.mod_revision >= mod_revision) return;
  const bool known = client.mod_revision != 0;
  if (known) CountClient(client, -1, entry);
  const bool renewed = known && client.version == participant.version();
  client.counted = {participant.state(), task::Place(participant), participant.hindered(), participant.revision(),
                    record.borne()};
  client.version = participant.version();
  client.mod_revision = mod_revision;
  const absl::Time lease = participant.has_lease_time() ? ToTime(participant.lease_time()) : absl::InfiniteFuture();
  client.lease = renewed ? std::max(client.lease, lease) : lease;
  client.retry = record.has_retry_time() ? ToTime(record.retry_time()) : absl::InfiniteFuture();
  // Also after a restart of this service, when all are gone.
  if (!client.connected && task::IsWorking(client.counted.state) && client.gone == absl::InfiniteFuture()) {
    client.gone = clock_->Now() + ToDuration(entry->task->value.task().leases().session());
  }
  CountClient(client, 1, entry);
  const std::string task = *ParseTaskName(entry->task->value.task().name());
  Schedule(task, name, &client);
  notices->push_back(
      [this, task, name, version = client.version] { observer_.participant_changed(task, name, version); });
  const TaskRecord& record_of_task = entry->task->value;
  if (task::IsAtRest(client.counted.state) && (task::HasEnded(record_of_task.task().state()) ||
                                               taskd::Due(record_of_task, entry->tally, clock_->Now()).has_value())) {
    notices->push_back([this, task] { observer_.task_due(task); });
  }
}

void TaskIndex::CountClient(const Client& client, int sign, Entry* entry) {
  Count(client.counted, entry->task->value.task().revision(), sign, &entry->tally);
}

void TaskIndex::Recount(Entry* entry) {
  entry->tally = Tally();
  for (const auto& [name, client] : entry->clients) {
    if (client.mod_revision != 0) CountClient(client, 1, entry);
  }
}

void TaskIndex::Forget(Entries::iterator entry) {
  for (const auto& [name, client] : entry->second.clients) {
    if (client.timer != 0) timers_->Cancel(client.timer);
  }
  entries_.erase(entry);
}

// Keeps one timer a client. It is moved only to come earlier: when it comes too early it is set again, so that a lease
// that each report renews costs nothing.
void TaskIndex::Schedule(const std::string& task, const std::string& name, Client* client) {
  if (stopped_) return;
  absl::Time next = std::min(client->lease, client->gone);
  if (client->connected) next = std::min(next, client->retry);
  if (task::IsAtRest(client->counted.state) || next >= client->timer_at) return;
  if (client->timer != 0) timers_->Cancel(client->timer);
  client->timer_at = next;
  client->timer = timers_->Schedule(next, [this, task, name] { OnTimer(task, name); });
}

void TaskIndex::OnTimer(const std::string& task, const std::string& name) {
  Notices notices;
  {
    MutexLock lock(&mutex_);
    Client* const client = FindClient(task, name);
    if (client == nullptr || stopped_) return;
    client->timer = 0;
    client->timer_at = absl::InfiniteFuture();
    const absl::Time now = clock_->Now();
    const int64_t version = client->version;
    const auto notify = [&](absl::Time* at, Due due) {
      if (*at > now) return;
      *at = absl::InfiniteFuture();
      notices.push_back([this, task, name, due, version] { observer_.participant_due(task, name, due, version); });
    };
    notify(&client->lease, Due::kLease);
    notify(&client->gone, Due::kSession);
    if (client->connected) notify(&client->retry, Due::kOffer);
    Schedule(task, name, client);
  }
  for (const auto& notice : notices) notice();
}

TaskIndex::Client* TaskIndex::FindClient(absl::string_view task, absl::string_view client) {
  const auto entry = entries_.find(task);
  if (entry == entries_.end()) return nullptr;
  const auto found = entry->second.clients.find(std::string(client));
  return found == entry->second.clients.end() ? nullptr : &found->second;
}

TaskSnapshot TaskIndex::Find(absl::string_view task) const {
  MutexLock lock(&mutex_);
  const auto entry = entries_.find(task);
  return entry == entries_.end() ? nullptr : entry->second.task;
}

std::vector<TaskSnapshot> TaskIndex::Tasks() const {
  std::vector<TaskSnapshot> tasks;
  MutexLock lock(&mutex_);
  for (const auto& [name, entry] : entries_) tasks.push_back(entry.task);
  return tasks;
}

std::optional<Tally> TaskIndex::TallyOf(absl::string_view task) const {
  MutexLock lock(&mutex_);
  const auto entry = entries_.find(task);
  if (entry == entries_.end()) return std::nullopt;
  return entry->second.tally;
}

TaskIndex::Unended TaskIndex::FindUnended(absl::string_view task) const {
  Unended unended;
  MutexLock lock(&mutex_);
  const auto entry = entries_.find(task);
  if (entry == entries_.end()) return unended;
  const TaskRecord& record = entry->second.task->value;
  for (const auto& [name, client] : entry->second.clients) {
    if (client.mod_revision == 0) continue;
    const bool outdated =
        client.counted.revision < record.task().revision() && client.counted.state != Participant::STATE_CANCELED;
    if (task::IsAtRest(client.counted.state) && !outdated) continue;
    unended.all_ended = false;
    if (record.ended_by_time() || !task::IsApplying(client.counted.place)) unended.clients.push_back(name);
  }
  return unended;
}

bool TaskIndex::IsConnected(absl::string_view task, absl::string_view name) {
  MutexLock lock(&mutex_);
  const Client* const client = FindClient(task, name);
  return client != nullptr && client->connected;
}

void TaskIndex::ShowPresence(Participant* participant) {
  const absl::StatusOr<ParticipantId> id = ParseParticipantName(participant->name());
  if (!id.ok()) return;
  MutexLock lock(&mutex_);
  const Client* const client = FindClient(id->task, id->client);
  if (client == nullptr) return;
  participant->set_connected(client->connected);
  if (client->connected || client->disconnected == absl::InfinitePast()) return;
  *participant->mutable_disconnect_time() = ToProto(client->disconnected);
}

void TaskIndex::SessionBegan(absl::string_view task, absl::string_view name) {
  MutexLock lock(&mutex_);
  const auto entry = entries_.find(task);
  if (entry == entries_.end()) return;
  // It may be here before the watch has shown that it joined.
  Client& client = entry->second.clients[std::string(name)];
  client.connected = true;
  client.gone = absl::InfiniteFuture();
  Schedule(std::string(task), std::string(name), &client);
}

void TaskIndex::SessionEnded(absl::string_view task, absl::string_view name) {
  MutexLock lock(&mutex_);
  Client* const client = FindClient(task, name);
  if (client == nullptr) return;
  client->connected = false;
  client->disconnected = clock_->Now();
  if (!task::IsWorking(client->counted.state)) return;
  client->gone = clock_->Now() + ToDuration(entries_.find(task)->second.task->value.task().leases().session());
  Schedule(std::string(task), std::string(name), client);
}

void TaskIndex::RenewLease(absl::string_view task, absl::string_view client, absl::Time until) {
  MutexLock lock(&mutex_);
  Client* const found = FindClient(task, client);
  if (found == nullptr || found->lease == absl::InfiniteFuture()) return;
  found->lease = std::max(found->lease, until);
  Schedule(std::string(task), std::string(client), found);
}

}  // namespace parley::taskd
