// Finds the live connections of a listener by their ids.
//
// Threads: all methods may be called from any thread.
#ifndef PARLEY_LIB_TRANSPORT_CONNECTION_TABLE_H_
#define PARLEY_LIB_TRANSPORT_CONNECTION_TABLE_H_

#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "absl/hash/hash.h"
#include "absl/strings/string_view.h"
#include "lib/base/mutex.h"
#include "lib/transport/peer.h"

namespace parley::transport {

class ConnectionTable {
 public:
  struct Entry {
    std::shared_ptr<const Peer> peer;
    std::string identity;
    KeySource::Want want = KeySource::Want::kPsk;
    // Ends the connection. May be called from any thread.
    std::function<void()> close;
  };

  void Insert(Entry entry);
  void Remove(const ConnectionId& id);
  std::shared_ptr<const Peer> Find(const ConnectionId& id) const;

  // Take entries out of the table, so that no call finds them any more, and close them. CloseKey returns how many.
  int CloseKey(absl::string_view key_id);
  void Close(const ConnectionId& id);
  // Returns a copy, so that FindPeer does not wait for the caller.
  std::vector<Entry> All() const;

 private:
  mutable Mutex mutex_;
  std::unordered_map<ConnectionId, Entry, absl::Hash<ConnectionId>> entries_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace parley::transport

#endif  // PARLEY_LIB_TRANSPORT_CONNECTION_TABLE_H_
