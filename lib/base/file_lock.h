// Locks between processes on open files and folders (flock). A lock is held until every copy of its descriptor is
// closed, or the process ends.
//
// Threads: free functions without state.
#ifndef PARLEY_LIB_BASE_FILE_LOCK_H_
#define PARLEY_LIB_BASE_FILE_LOCK_H_

#include "lib/base/fd.h"

namespace parley {

enum class LockKind { kExclusive, kShared };

// Takes the lock without waiting. Returns false with errno, which is EWOULDBLOCK when another descriptor holds it.
bool TryLockFile(const Fd& file, LockKind kind = LockKind::kExclusive);
// Waits for the lock, also across signals. Returns false with errno.
bool LockFile(const Fd& file, LockKind kind = LockKind::kExclusive);

}  // namespace parley

#endif  // PARLEY_LIB_BASE_FILE_LOCK_H_
