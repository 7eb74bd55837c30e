// Shares the places of a door among the many that want them: those for handshakes by address, those for connections by
// key and by address. Nobody sets how much one holder may take, and a fleet behind one address finds nearly all places
// if nobody else wants one.
//
// Threads: all methods may be called from any thread.
#ifndef PARLEY_LIB_TRANSPORT_PLACES_H_
#define PARLEY_LIB_TRANSPORT_PLACES_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>

#include "lib/base/mutex.h"

namespace parley::transport {

// An address may take every free place. If none is free, a newcomer gets that of the oldest handshake of the address
// that has most, if that address has at least two more than the newcomer's own. So neither one address nor a few can
// shut others out, whatever they hold.
class HandshakePlaces {
 public:
  using Ticket = uint64_t;

  explicit HandshakePlaces(size_t total) : total_(total) {}

  // Returns no value if there is no place. `evict` is called, in another's Take, when the place goes to another; it
  // must not block, and must not call this.
  std::optional<Ticket> Take(const std::string& address, std::function<void()> evict);
  // Must be called once for each Take, also after an eviction.
  void Leave(Ticket ticket);
  int taken() const;

 private:
  struct Handshake {
    std::string address;
    std::function<void()> evict;
  };

  bool MakeRoom(const std::string& newcomer) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Remove(Ticket ticket) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const size_t total_;
  mutable Mutex mutex_;
  Ticket last_ ABSL_GUARDED_BY(mutex_) = 0;
  std::unordered_map<Ticket, Handshake> handshakes_ ABSL_GUARDED_BY(mutex_);
  std::unordered_map<std::string, std::set<Ticket>> by_address_ ABSL_GUARDED_BY(mutex_);
};

// No holder loses a place. It may take another while it has less than a multiple of the places that are free (dynamic
// thresholds: Choudhury and Hahne, IEEE/ACM Transactions on Networking, 1998): alone, a key gets half of all, and an
// address fifteen sixteenths.
class ConnectionPlaces {
 public:
  struct Holder {
    std::string key;
    std::string address;
    // The holder may take the places that are kept, too, and shares the address with nobody.
    bool preferred = false;
  };
  // The limit that refuses another connection.
  enum class Limit { kNone, kAll, kKey, kAddress };
  // Returns the limit's name for logs: "key" for kKey.
  static const char* Name(Limit limit);

  explicit ConnectionPlaces(int total);

  // After kNone, Leave must follow.
  Limit Take(const Holder& holder);
  void Leave(const Holder& holder);
  int total() const { return total_; }

 private:
  using Counts = std::unordered_map<std::string, int>;

  const int total_;
  const int kept_;
  mutable Mutex mutex_;
  int machines_ ABSL_GUARDED_BY(mutex_) = 0;
  int preferred_ ABSL_GUARDED_BY(mutex_) = 0;
  Counts by_key_ ABSL_GUARDED_BY(mutex_);
  Counts by_address_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace parley::transport

#endif  // PARLEY_LIB_TRANSPORT_PLACES_H_
