// Decides in which order the addresses of a server are tried, and remembers which of them failed lately.
//
// The order is drawn at random, so that clients spread over the replicas of a service. An address that failed within
// the last minute comes after all that did not; among those that failed, the one that failed longest ago comes first.
// So a client that loses its server goes on at another one, and an address that is dead costs its time only once.
//
// Threads: all methods may be called from any thread.
#ifndef PARLEY_LIB_TRANSPORT_ADDRESS_MEMORY_H_
#define PARLEY_LIB_TRANSPORT_ADDRESS_MEMORY_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "lib/base/clock.h"
#include "lib/base/mutex.h"
#include "lib/transport/address.h"

namespace parley::transport {

// An address of one of several servers.
struct ServerAddress {
  SocketAddress address;
  // The place of the server in the list that its addresses were found by.
  size_t server = 0;
};

class AddressMemory {
 public:
  // `clock` must outlive the memory.
  explicit AddressMemory(Clock* clock, uint32_t seed = std::random_device()()) : clock_(clock), random_(seed) {}

  // Returns the memory that all dialers of the process share: an agent makes a new dialer each time that it connects.
  static AddressMemory* Shared();

  // Returns the addresses in the order in which to try them.
  std::vector<ServerAddress> Order(std::vector<ServerAddress> addresses);

  // Records that the address did not answer, refused, or closed a connection.
  void Failed(const SocketAddress& address);
  // Records that a connection to the address stands.
  void Answered(const SocketAddress& address);

 private:
  absl::Time FailedAt(const SocketAddress& address, absl::Time now) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  Clock* const clock_;
  Mutex mutex_;
  std::minstd_rand random_ ABSL_GUARDED_BY(mutex_);
  // When each address failed last, by its bytes. What no longer counts is dropped at the next failure.
  std::map<std::string, absl::Time> failed_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace parley::transport

#endif  // PARLEY_LIB_TRANSPORT_ADDRESS_MEMORY_H_
