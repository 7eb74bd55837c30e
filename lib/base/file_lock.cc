#include "lib/base/file_lock.h"

#include <errno.h>
#include <sys/file.h>

namespace parley {
namespace {

int Operation(LockKind kind) { return kind == LockKind::kShared ? LOCK_SH : LOCK_EX; }

}  // namespace

bool TryLockFile(const Fd& file, LockKind kind) { return flock(file.get(), Operation(kind) | LOCK_NB) == 0; }

bool LockFile(const Fd& file, LockKind kind) {
  while (flock(file.get(), Operation(kind)) != 0) {
    if (errno != EINTR) return false;
  }
  return true;
}

}  // namespace parley
