#include "lib/transport/places.h"

#include <algorithm>
#include <utility>

namespace parley::transport {
namespace {

// Many clients join with one key at the same time, and none of them stays under it.
constexpr int64_t kKeyWeight = 1;
// All clients may come from the address of a load balancer.
constexpr int64_t kAddressWeight = 15;

int CountOf(const std::unordered_map<std::string, int>& counts, const std::string& holder) {
  const auto found = counts.find(holder);
  return found == counts.end() ? 0 : found->second;
}

void Decrement(const std::string& holder, std::unordered_map<std::string, int>* counts) {
  const auto found = counts->find(holder);
  if (--found->second == 0) counts->erase(found);
}

}  // namespace

std::optional<HandshakePlaces::Ticket> HandshakePlaces::Take(const std::string& address, std::function<void()> evict) {
  MutexLock lock(&mutex_);
  if (handshakes_.size() >= total_ && !MakeRoom(address)) return std::nullopt;
  const Ticket ticket = ++last_;
  handshakes_.emplace(ticket, Handshake{address, std::move(evict)});
  by_address_[address].insert(ticket);
  return ticket;
}

bool HandshakePlaces::MakeRoom(const std::string& newcomer) {
  const auto most = std::max_element(by_address_.begin(), by_address_.end(), [](const auto& left, const auto& right) {
    return left.second.size() < right.second.size();
  });
  if (most == by_address_.end()) return false;
  const auto own = by_address_.find(newcomer);
  const size_t has = own == by_address_.end() ? 0 : own->second.size();
  if (most->second.size() < has + 2) return false;
  const Ticket oldest = *most->second.begin();
  handshakes_.at(oldest).evict();
  Remove(oldest);
  return true;
}

void HandshakePlaces::Leave(Ticket ticket) {
  MutexLock lock(&mutex_);
  Remove(ticket);
}

void HandshakePlaces::Remove(Ticket ticket) {
  const auto handshake = handshakes_.find(ticket);
  if (handshake == handshakes_.end()) return;  // It was evicted.
  const auto address = by_address_.find(handshake->second.address);
  address->second.erase(ticket);
  if (address->second.empty()) by_address_.erase(address);
  handshakes_.erase(handshake);
}

int HandshakePlaces::taken() const {
  MutexLock lock(&mutex_);
  return static_cast<int>(handshakes_.size());
}

const char* ConnectionPlaces::Name(Limit limit) {
  static constexpr const char* kNames[] = {"none", "all", "key", "address"};
  return kNames[static_cast<int>(limit)];
}

// A twentieth: enough for a team, and little of a small door.
ConnectionPlaces::ConnectionPlaces(int total) : total_(total), kept_(std::min(64, (total + 19) / 20)) {}

ConnectionPlaces::Limit ConnectionPlaces::Take(const Holder& holder) {
  MutexLock lock(&mutex_);
  const int for_preferred = holder.preferred ? preferred_ : std::max(preferred_, kept_);
  const int64_t free = total_ - machines_ - for_preferred;
  if (free <= 0) return Limit::kAll;
  if (CountOf(by_key_, holder.key) >= kKeyWeight * free) return Limit::kKey;
  if (!holder.preferred && CountOf(by_address_, holder.address) >= kAddressWeight * free) return Limit::kAddress;
  ++by_key_[holder.key];
  if (!holder.preferred) ++by_address_[holder.address];
  ++(holder.preferred ? preferred_ : machines_);
  return Limit::kNone;
}

void ConnectionPlaces::Leave(const Holder& holder) {
  MutexLock lock(&mutex_);
  Decrement(holder.key, &by_key_);
  if (!holder.preferred) Decrement(holder.address, &by_address_);
  --(holder.preferred ? preferred_ : machines_);
}

}  // namespace parley::transport
