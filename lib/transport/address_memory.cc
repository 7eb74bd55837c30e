#include "lib/transport/address_memory.h"

#include <algorithm>
#include <utility>

namespace parley::transport {
namespace {

constexpr absl::Duration kCounts = absl::Minutes(1);

}  // namespace

AddressMemory* AddressMemory::Shared() {
  static auto* const memory = new AddressMemory(Clock::System());
  return memory;
}

std::vector<ServerAddress> AddressMemory::Order(std::vector<ServerAddress> addresses) {
  const absl::Time now = clock_->Now();
  std::vector<std::pair<absl::Time, ServerAddress>> ordered;
  MutexLock lock(&mutex_);
  std::shuffle(addresses.begin(), addresses.end(), random_);
  for (const ServerAddress& each : addresses) ordered.emplace_back(FailedAt(each.address, now), each);
  std::stable_sort(ordered.begin(), ordered.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  std::transform(ordered.begin(), ordered.end(), addresses.begin(), [](const auto& item) { return item.second; });
  return addresses;
}

absl::Time AddressMemory::FailedAt(const SocketAddress& address, absl::Time now) const {
  const auto failed = failed_.find(address.bytes());
  return failed == failed_.end() || now - failed->second > kCounts ? absl::InfinitePast() : failed->second;
}

void AddressMemory::Failed(const SocketAddress& address) {
  const absl::Time now = clock_->Now();
  MutexLock lock(&mutex_);
  std::erase_if(failed_, [now](const auto& item) { return now - item.second > kCounts; });
  failed_[address.bytes()] = now;
}

void AddressMemory::Answered(const SocketAddress& address) {
  MutexLock lock(&mutex_);
  failed_.erase(address.bytes());
}

}  // namespace parley::transport
