// Remembers what was used last, within a bound of bytes.
//
// Threads: all methods may be called from any thread.
#ifndef PARLEY_LIB_BASE_BOUNDED_CACHE_H_
#define PARLEY_LIB_BASE_BOUNDED_CACHE_H_

#include <list>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>

#include "lib/base/mutex.h"

namespace parley {

template <typename Value>
class BoundedCache {
 public:
  explicit BoundedCache(size_t max_bytes) : max_bytes_(max_bytes) {}

  // Returns null if the value is not there.
  std::shared_ptr<const Value> Find(const std::string& key) {
    MutexLock lock(&mutex_);
    const auto found = index_.find(key);
    if (found == index_.end()) return nullptr;
    items_.splice(items_.begin(), items_, found->second);
    return found->second->value;
  }

  void Put(const std::string& key, std::shared_ptr<const Value> value, size_t bytes) {
    MutexLock lock(&mutex_);
    if (bytes > max_bytes_ || index_.count(key) != 0) return;
    items_.push_front({key, std::move(value), bytes});
    index_[key] = items_.begin();
    bytes_ += bytes;
    while (bytes_ > max_bytes_) {
      bytes_ -= items_.back().bytes;
      index_.erase(items_.back().key);
      items_.pop_back();
    }
  }

 private:
  struct Item {
    std::string key;
    std::shared_ptr<const Value> value;
    size_t bytes;
  };

  const size_t max_bytes_;
  Mutex mutex_;
  size_t bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  std::list<Item> items_ ABSL_GUARDED_BY(mutex_);
  std::unordered_map<std::string, typename std::list<Item>::iterator> index_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace parley

#endif  // PARLEY_LIB_BASE_BOUNDED_CACHE_H_
