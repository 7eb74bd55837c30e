#include "lib/transport/connection_table.h"

#include <utility>

namespace parley::transport {

void ConnectionTable::Insert(Entry entry) {
  MutexLock lock(&mutex_);
  const ConnectionId id = entry.peer->connection_id;
  entries_.emplace(id, std::move(entry));
}

void ConnectionTable::Remove(const ConnectionId& id) {
  MutexLock lock(&mutex_);
  entries_.erase(id);
}

std::shared_ptr<const Peer> ConnectionTable::Find(const ConnectionId& id) const {
  MutexLock lock(&mutex_);
  const auto found = entries_.find(id);
  return found == entries_.end() ? nullptr : found->second.peer;
}

int ConnectionTable::CloseKey(absl::string_view key_id) {
  std::vector<Entry> taken;
  {
    MutexLock lock(&mutex_);
    std::erase_if(entries_, [&](auto& each) {
      const bool found = each.second.peer->key.key_id == key_id;
      if (found) taken.push_back(std::move(each.second));
      return found;
    });
  }
  for (const Entry& entry : taken) entry.close();
  return static_cast<int>(taken.size());
}

void ConnectionTable::Close(const ConnectionId& id) {
  mutex_.Lock();
  const auto taken = entries_.extract(id);
  mutex_.Unlock();
  if (!taken.empty()) taken.mapped().close();
}

std::vector<ConnectionTable::Entry> ConnectionTable::All() const {
  std::vector<Entry> entries;
  MutexLock lock(&mutex_);
  entries.reserve(entries_.size());
  for (const auto& [id, entry] : entries_) entries.push_back(entry);
  return entries;
}

}  // namespace parley::transport
