#include "services/taskd/store/task_index.h"

#include <algorithm>
#include <set>
#include <utility>

#include "lib/base/error.h"
#include "lib/base/log.h"
#include "lib/base/proto_time.h"
#include "lib/task/states.h"
#include "services/taskd/domain/names.h"
#include "services/taskd/domain/task.h"
#include "services/taskd/store/keys.h"

namespace parley::taskd {

using task::v1::Participant;

namespace {

// Says whether nothing that a client is told has changed, but who may be offered the revision.
bool DiffersInWavesOnly(const TaskRecord& former, const TaskRecord& now) {
  return now.task().has_rollout() && former.task().revision() == now.task().revision() &&
         former.task().state() == now.task().state();
}

}  // namespace

TaskIndex::TaskIndex(const TaskStore* store, ClientPresence* presence, Barrier* barrier, Clock* clock,
                     TimerQueue* timers)
    : store_(store),
      presence_(presence),
      barrier_(barrier),
      clock_(clock),
      timers_(timers),
      leads_(presence == nullptr),
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

absl::Status TaskIndex::CatchUp() {
  int64_t revision = 0;
  {
    MutexLock lock(&mutex_);
    revision = committed_;
  }
  if (follower_.WaitFor(revision)) return absl::OkStatus();
  return Unavailable("STORE_BEHIND", "this server does not hear from its store what has changed; try again");
}

absl::Status TaskIndex::CatchUpWithAll() {
  if (barrier_ != nullptr) {
    ASSIGN_OR_RETURN(const int64_t revision, barrier_->Pass());
    Committed(revision);
  }
  return CatchUp();
}

void TaskIndex::OnLead(bool leads) {
  Notices notices;
  {
    MutexLock lock(&mutex_);
    leads_ = leads;
    if (!leads) return;
    for (auto& [task, entry] : entries_) {
      notices.push_back([this, task = task] { observer_.task_due(task); });
      for (auto& [name, client] : entry.clients) Schedule(task, name, &client);
    }
  }
  for (const auto& notice : notices) notice();
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
      const auto known = entries_.find(task);
      if (known != entries_.end() && (page.entries.empty() || page.entries.back().key != TaskKey(task))) {
        // It was settled meanwhile, and deleted.
        Forget(known);
        continue;
      }
      // The task, whose key is the last of the range, comes first.
      for (auto entry = page.entries.rbegin(); entry != page.entries.rend(); ++entry) {
        Observe(entry->key, entry->value, entry->mod_revision, &notices);
      }
    }
    for (const auto& notice : notices) notice();
  }
  MutexLock lock(&mutex_);
  shown_ = std::max(shown_, unsettled.revision);
  return unsettled.revision;
}

void TaskIndex::Apply(const std::vector<store::Change>& changes) {
  Notices notices;
  {
    MutexLock lock(&mutex_);
    for (const store::Change& change : changes) {
      if (change.value.has_value()) Observe(change.key, *change.value, change.mod_revision, &notices);
      shown_ = std::max(shown_, change.mod_revision);
    }
  }
  for (const auto& notice : notices) notice();
}

void TaskIndex::Observe(absl::string_view key, absl::string_view value, int64_t mod_revision, Notices* notices) {
  const WatchedKey watched = ParseWatchedKey(key);
  // A barrier has no task.
  if (stopped_ || watched.task.empty()) return;
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
  const TaskSnapshot former = std::exchange(entry.task, stored);
  const bool waves_only = former != nullptr && DiffersInWavesOnly(former->value, stored->value);
  if (waves_only || (former != nullptr && former->value.task().revision() != stored->value.task().revision())) {
    Recount(&entry);
  }
  if (entry.timer != 0) timers_->Cancel(entry.timer);
  entry.timer = 0;
  notices->push_back([this, stored = TaskSnapshot(stored), waves_only] { observer_.task_changed(stored, waves_only); });
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
  const std::string task = *ParseTaskName(entry->task->value.task().name());
  if (!known && presence_ != nullptr) SetPresence(presence_->Find(task, name), entry, name, &client);
  const bool renewed = known && client.version == participant.version();
  client.counted = {participant.state(),    task::Place(participant), participant.hindered(),
                    participant.revision(), record.borne(),           participant.has_revoke_time()};
  client.joined_revision = record.joined_revision();
  client.waves_missed = record.waves_missed();
  const bool has_labels = record.own_credential() && !participant.labels().empty();
  client.labels = has_labels ? std::make_unique<const Labels>(participant.labels()) : nullptr;
  FindWaves(*entry, name, &client);
  client.version = participant.version();
  client.mod_revision = mod_revision;
  const absl::Time lease = participant.has_lease_time() ? ToTime(participant.lease_time()) : absl::InfiniteFuture();
  client.lease = renewed ? std::max(client.lease, lease) : lease;
  client.stored_lease = lease;
  client.retry = record.has_retry_time() ? ToTime(record.retry_time()) : absl::InfiniteFuture();
  // Also after a restart of this service, when all are gone.
  if (!client.connected() && task::IsWorking(client.counted.state) && client.gone == absl::InfiniteFuture()) {
    client.gone = clock_->Now() + ToDuration(entry->task->value.task().leases().session());
  }
  CountClient(client, 1, entry);
  Schedule(task, name, &client);
  notices->push_back(
      [this, task, name, version = client.version] { observer_.participant_changed(task, name, version); });
  const TaskRecord& record_of_task = entry->task->value;
  // A wave may wait for a client to join.
  const bool may_matter = task::IsAtRest(client.counted.state) || record_of_task.task().has_rollout();
  if (may_matter && (task::HasEnded(record_of_task.task().state()) ||
                     taskd::Due(record_of_task, entry->tally, clock_->Now()).has_value())) {
    notices->push_back([this, task] { observer_.task_due(task); });
  }
}

void TaskIndex::CountClient(const Client& client, int sign, Entry* entry) {
  const task::v1::Task& task = entry->task->value.task();
  Count(client.counted, task.revision(), sign, &entry->tally);
  if (!task.has_rollout()) return;
  CountInRollout(client.counted, client.wave, client.named, task.revision(), sign, &entry->tally.rollout);
}

void TaskIndex::FindWaves(const Entry& entry, absl::string_view name, Client* client) const {
  const TaskRecord& task = entry.task->value;
  if (!task.task().has_rollout()) return;
  const InWaves in_waves =
      FindInWaves({name, client->joined_revision, client->waves_missed, client->labels.get()}, task);
  client->named = in_waves.named;
  client->wave = WaveOf(in_waves, PlaceInOrder(task.task().name(), name), task);
}

void TaskIndex::OpenNextWave(TaskRecord* task) const {
  std::vector<Candidate> candidates;
  MutexLock lock(&mutex_);
  const auto entry = entries_.find(*ParseTaskName(task->task().name()));
  if (entry == entries_.end()) return;
  for (const auto& [name, client] : entry->second.clients) {
    if (client.mod_revision == 0 || !IsCandidate(client.counted, task->task().revision())) continue;
    const WaveClient found{name, client.joined_revision, client.waves_missed, client.labels.get()};
    candidates.push_back({PlaceInOrder(task->task().name(), name), FindInWaves(found, *task)});
  }
  taskd::OpenNextWave(std::move(candidates), clock_->Now(), task);
}

bool TaskIndex::AwaitsWave(absl::string_view task, absl::string_view name) const {
  MutexLock lock(&mutex_);
  const auto entry = entries_.find(task);
  if (entry == entries_.end()) return false;
  const auto client = entry->second.clients.find(std::string(name));
  return client != entry->second.clients.end() && client->second.mod_revision != 0 && client->second.wave == 0;
}

void TaskIndex::Recount(Entry* entry) {
  entry->tally = Tally();
  for (auto& [name, client] : entry->clients) {
    if (client.mod_revision == 0) continue;
    FindWaves(*entry, name, &client);
    CountClient(client, 1, entry);
  }
}

void TaskIndex::Forget(Entries::iterator entry) {
  if (entry->second.timer != 0) timers_->Cancel(entry->second.timer);
  for (const auto& [name, client] : entry->second.clients) {
    if (client.timer != 0) timers_->Cancel(client.timer);
  }
  entries_.erase(entry);
}

absl::Time TaskIndex::NextOf(const Client& client) const {
  if (!IsOurs(client)) return absl::InfiniteFuture();
  const absl::Time next = std::min(client.lease, client.gone);
  return client.here ? std::min(next, client.retry) : next;
}

// Keeps one timer a client. It is moved only to come earlier: when it comes too early it is set again, so that a lease
// that each report renews costs nothing.
void TaskIndex::Schedule(const std::string& task, const std::string& name, Client* client) {
  if (stopped_) return;
  const absl::Time next = NextOf(*client);
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
    if (!IsOurs(*client)) return;
    const absl::Time now = clock_->Now();
    const int64_t version = client->version;
    const auto notify = [&](absl::Time* at, Due due) {
      if (*at > now) return;
      *at = absl::InfiniteFuture();
      notices.push_back([this, task, name, due, version] { observer_.participant_due(task, name, due, version); });
    };
    notify(&client->lease, Due::kLease);
    notify(&client->gone, Due::kSession);
    if (client->here) notify(&client->retry, Due::kOffer);
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
  return client != nullptr && client->connected();
}

int64_t TaskIndex::ShownRevision(absl::string_view task, absl::string_view name) {
  MutexLock lock(&mutex_);
  const Client* const client = FindClient(task, name);
  return client == nullptr || client->mod_revision == 0 ? shown_ + 1 : client->mod_revision;
}

bool TaskIndex::IsNew(absl::string_view task, absl::string_view name) {
  MutexLock lock(&mutex_);
  const auto entry = entries_.find(task);
  if (entry == entries_.end()) return false;
  const Client* const client = FindClient(task, name);
  return client == nullptr || client->mod_revision == 0;
}

void TaskIndex::ShowPresence(Participant* participant) {
  const absl::StatusOr<ParticipantId> id = ParseParticipantName(participant->name());
  if (!id.ok()) return;
  MutexLock lock(&mutex_);
  const Client* const client = FindClient(id->task, id->client);
  if (client == nullptr) return;
  participant->set_wave(client->wave);
  participant->set_connected(client->connected());
  if (client->connected() || client->disconnected == absl::InfinitePast()) return;
  *participant->mutable_disconnect_time() = ToProto(client->disconnected);
}

void TaskIndex::SetPresence(const ClientPresence::View& view, Entry* entry, const std::string& name, Client* client) {
  const bool was_connected = client->connected();
  client->here = view.here;
  client->elsewhere = view.elsewhere;
  if (client->connected()) {
    client->gone = absl::InfiniteFuture();
  } else {
    client->disconnected = view.disconnected;
    if (was_connected && task::IsWorking(client->counted.state)) {
      client->gone = clock_->Now() + ToDuration(entry->task->value.task().leases().session());
    }
  }
  Schedule(*ParseTaskName(entry->task->value.task().name()), name, client);
}

void TaskIndex::PresenceChanged(const std::string& task, const std::string& name) {
  MutexLock lock(&mutex_);
  Client* const client = FindClient(task, name);
  if (client != nullptr) SetPresence(presence_->Find(task, name), &entries_.find(task)->second, name, client);
}

void TaskIndex::SessionBegan(absl::string_view task, absl::string_view name) {
  if (presence_ != nullptr) presence_->SessionBegan(task, name);
  MutexLock lock(&mutex_);
  const auto entry = entries_.find(task);
  if (entry == entries_.end()) return;
  // It may be here before the watch has shown that it joined.
  Client& client = entry->second.clients[std::string(name)];
  const ClientPresence::View view =
      presence_ != nullptr ? presence_->Find(task, name) : ClientPresence::View{.here = true};
  SetPresence(view, &entry->second, std::string(name), &client);
}

void TaskIndex::SessionEnded(absl::string_view task, absl::string_view name) {
  if (presence_ != nullptr) presence_->SessionEnded(task, name);
  MutexLock lock(&mutex_);
  Client* const client = FindClient(task, name);
  if (client == nullptr) return;
  const ClientPresence::View view =
      presence_ != nullptr ? presence_->Find(task, name) : ClientPresence::View{.disconnected = clock_->Now()};
  SetPresence(view, &entries_.find(task)->second, std::string(name), client);
}

bool TaskIndex::RenewLease(absl::string_view task, absl::string_view client, absl::Time until) {
  MutexLock lock(&mutex_);
  Client* const found = FindClient(task, client);
  if (found == nullptr || found->lease == absl::InfiniteFuture()) return false;
  found->lease = std::max(found->lease, until);
  Schedule(std::string(task), std::string(client), found);
  if (presence_ == nullptr || until - found->stored_lease < CheckpointOf(entries_.find(task)->second.task->value)) {
    return false;
  }
  // Once for each commit, which shows here a moment later.
  found->stored_lease = until;
  return true;
}

}  // namespace parley::taskd
