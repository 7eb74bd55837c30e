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

  // Takes the place of a value that is there.
  void Put(const std::string& key, std::shared_ptr<const Value> value, size_t bytes) {
    MutexLock lock(&mutex_);
    Drop(index_.find(key));
    if (bytes > max_bytes_) return;
    items_.push_front({key, std::move(value), bytes});
    index_[key] = items_.begin();
    bytes_ += bytes;
    while (bytes_ > max_bytes_) Drop(index_.find(items_.back().key));
  }

  void Erase(const std::string& key) {
    MutexLock lock(&mutex_);
    Drop(index_.find(key));
  }

 private:
  struct Item {
    std::string key;
    std::shared_ptr<const Value> value;
    size_t bytes;
  };
  using Index = std::unordered_map<std::string, typename std::list<Item>::iterator>;

  void Drop(typename Index::iterator found) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (found == index_.end()) return;
    bytes_ -= found->second->bytes;
    items_.erase(found->second);
    index_.erase(found);
  }

  const size_t max_bytes_;
  Mutex mutex_;
  size_t bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  std::list<Item> items_ ABSL_GUARDED_BY(mutex_);
  Index index_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace parley

#endif  // PARLEY_LIB_BASE_BOUNDED_CACHE_H_
