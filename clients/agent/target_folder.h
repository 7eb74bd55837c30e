// The place beside a target folder where updates of it are built, and the lock that goes with it.
//
// For /etc/nginx it is /etc/.parley-nginx, mode 0700: on the same file system, so that a swap is one rename. It is
// there only while somebody has it open or an update is unfinished. A target that is a link is resolved once, here.
//
// Threads: all methods may be called from any thread.
#ifndef PARLEY_CLIENTS_AGENT_WORKPLACE_H_
#define PARLEY_CLIENTS_AGENT_WORKPLACE_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "lib/base/mutex.h"
#include "lib/payload/beneath.h"

namespace parley::agent {

class Workplace {
 public:
  // One sentence each: TARGET_PARENT (the folder above does not exist), TARGET_NOT_FOLDER, TARGET_MOUNT (a mounted
  // file system cannot be swapped), TARGET_PERMISSION, DISK_READ_ONLY, TARGET_IN_USE (another process has it),
  // TARGET_ROOT (/ or a name that is none).
  static absl::StatusOr<std::unique_ptr<Workplace>> Open(const std::string& target);
  // Gives up the lock, and removes the place when nothing is left in it.
  ~Workplace();

  // Absolute and without links.
  const std::string& target() const { return target_; }
  // The target's name in its parent.
  const std::string& name() const { return name_; }
  const std::string& path() const { return path_; }
  int parent() const { return parent_.get(); }
  int folder() const { return folder_.get(); }

  // From the beginning to the end of an update: tasks of one device may share a target, and take turns. Blocks while
  // another one has it.
  void BeginUpdate();
  void EndUpdate();

 private:
  Workplace() = default;

  std::string target_;
  std::string name_;
  std::string path_;
  payload::Fd parent_;
  payload::Fd folder_;
  Mutex mutex_;
  CondVar free_;
  bool updating_ ABSL_GUARDED_BY(mutex_) = false;
};

// As flock, held until the descriptor closes. None with errno EWOULDBLOCK when another has it. `path` is a folder,
// made with mode 0700 when missing.
payload::Fd LockFolder(const std::string& path);

}  // namespace parley::agent

#endif  // PARLEY_CLIENTS_AGENT_WORKPLACE_H_
