// Whose data a store has, and what it is opened for. Both engines keep the owner beside the data.
//
// Threads: as any value.
#ifndef PARLEY_LIB_STORE_OWNER_H_
#define PARLEY_LIB_STORE_OWNER_H_

#include <cstdint>
#include <string>

namespace parley::store {

struct StoreOwner {
  // The service, such as "taskd". A database of an earlier version does not say it.
  std::string service;
  // The organisation, in the words of whoever opened the store first knowing it; empty while nobody has.
  std::string organisation;
};

struct StorePurpose {
  enum class Use {
    // By the service itself.
    kServe,
    // By who copies it away: nothing is changed, not even made, and leases stand still.
    kRead,
    // By who fills it. It must be absent, or have been left unfinished, and what that left is deleted. No service opens
    // it, of an earlier version neither, until it is said to be whole.
    kFill,
  };
  Use use = Use::kServe;
  // For kFill, the newest revision that the data had where they come from. All revisions here will be above it, and
  // it and those below it count as compacted, so that whoever remembers one of them reads anew.
  int64_t after = 0;
};

}  // namespace parley::store

#endif  // PARLEY_LIB_STORE_OWNER_H_
