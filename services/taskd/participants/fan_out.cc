#include "services/taskd/participants/fan_out.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace parley::taskd {

void FanOut::Begin(const std::string& task, bool waves_only) {
  Slice all = parts_->sessions->OfTask(task);
  {
    MutexLock lock(&mutex_);
    const auto [place, began] = waiting_.try_emplace(task);
    // A change before this one may still have something to tell to all.
    if (began && waves_only) {
      const auto awaits = [&](const Sessions::Entry& entry) {
        return parts_->task_index->AwaitsWave(task, entry.client);
      };
      all.erase(std::remove_if(all.begin(), all.end(), awaits), all.end());
    }
    place->second = std::move(all);
    if (!began) return;
  }
  parts_->workers->Run([this, task] { Continue(task); });
}

FanOut::Slice FanOut::Next(const std::string& task) {
  MutexLock lock(&mutex_);
  const auto place = waiting_.find(task);
  Slice& waiting = place->second;
  const auto begin =
      waiting.end() - std::min<ptrdiff_t>(ParticipantUpdater::kClientsPerCommit, waiting.end() - waiting.begin());
  Slice slice(std::make_move_iterator(begin), std::make_move_iterator(waiting.end()));
  waiting.erase(begin, waiting.end());
  if (slice.empty()) waiting_.erase(place);
  return slice;
}

void FanOut::Continue(const std::string& task) {
  const Slice slice = Next(task);
  if (slice.empty()) return;
  // The next slice begins when the last session of this one lets go of it.
  const std::shared_ptr<void> told(nullptr,
                                   [this, task](void*) { parts_->workers->Run([this, task] { Continue(task); }); });
  Offer(task, slice, told);
}

void FanOut::Offer(const std::string& task, const Slice& slice, const std::shared_ptr<void>& told) const {
  std::vector<std::string> clients;
  for (const Sessions::Entry& entry : slice) clients.push_back(entry.client);
  const auto event_of = [&](size_t client) {
    Event event{Event::Kind::kOfferDue};
    event.labels = parts_->labels->Find(clients[client]);
    return event;
  };
  const auto expect = [&](size_t client, int64_t version) { slice[client].session->Expect(version); };
  auto applied = parts_->updater->TryApply(task, clients, event_of, expect);
  for (size_t i = 0; i < slice.size(); ++i) {
    if (applied.ok()) {
      slice[i].session->Show(std::move(applied->snapshots[i]), told);
    } else {
      // One of them has moved meanwhile, or is gone: each finds out for itself.
      slice[i].session->Notify(0);
    }
  }
}

}  // namespace parley::taskd
