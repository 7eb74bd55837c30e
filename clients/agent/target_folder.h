// The target of updates, a folder or a single file, and the place where updates of it are built, with its lock.
//
// For /etc/nginx the place is /etc/.parley-nginx, mode 0700: on the same file system, so that a swap is one rename. For
// a target that is a mount of its own it is .parley inside, for the same reason. It holds the journal of an update and
// the record of what is installed, and goes when neither is there. A target that is a link is resolved once, here.
//
// Threads: all methods may be called from any thread.
#ifndef PARLEY_CLIENTS_AGENT_TARGET_FOLDER_H_
#define PARLEY_CLIENTS_AGENT_TARGET_FOLDER_H_

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "lib/base/fd.h"
#include "lib/base/mutex.h"

namespace parley::agent {

class TargetFolder {
 public:
  enum class Kind {
    // The payload's paths lie below the target.
    kFolder,
    // The target is one file, and the payload has one, whatever its name.
    kFile,
  };

  // Takes the lock of the target. Errors: TARGET_PARENT (the folder above does not exist), TARGET_NOT_FOLDER (it is no
  // folder, or no file), TARGET_MOUNT (a file that is mounted by itself, a file system of the kernel's, something
  // mounted over an unfinished update), TARGET_PERMISSION, TARGET_IMMUTABLE, DISK_READ_ONLY, TARGET_IN_USE (another
  // process has it), TARGET_ROOT (/, a name that is none or too long, or the place of another target), and those of
  // lib/base/file.h.
  static absl::StatusOr<std::unique_ptr<TargetFolder>> Open(const std::string& target, Kind kind = Kind::kFolder);
  // Looks at the target, and takes no lock and changes nothing. Returns those errors of Open that do not depend on the
  // lock.
  static absl::Status Examine(const std::string& target, Kind kind);
  // Gives up the lock, and removes the place when nothing is left in it.
  ~TargetFolder();

  Kind kind() const { return kind_; }
  // Returns the path of the target, absolute and without links.
  const std::string& target() const { return target_; }
  // Returns the target's name in its parent.
  const std::string& name() const { return name_; }
  // Return the folder that holds the target: its path and a descriptor.
  const std::string& parent_path() const { return parent_path_; }
  int parent() const { return parent_.get(); }
  // Return the place, and whether it lies in the target because the target is a mount.
  const std::string& place_path() const { return place_path_; }
  int place() const { return place_.get(); }
  bool is_mount() const { return is_mount_; }

  // Opens the folder in which the payload's paths lie: the target, or the folder that holds the single file. Returns
  // none with errno, which is ENOENT if it does not exist.
  Fd OpenRoot() const;
  // Return its path, and where a path of the payload lies in it.
  const std::string& root_path() const { return kind_ == Kind::kFile ? parent_path_ : target_; }
  std::string OnDisk(absl::string_view path) const { return kind_ == Kind::kFile ? name_ : std::string(path); }

  // Returns whether the paths of the target, of the folder above it and of the place still lead to what is held here.
  // They do not when somebody has removed or replaced the place or the folder above, or has mounted or unmounted
  // something there.
  bool IsCurrent() const;
  // Returns the same of the folder above the target alone.
  bool IsParentCurrent() const;
  // Returns whether a link has taken the place of the target since it was opened.
  bool IsLink() const;
  // Makes the place anew, empty, if somebody has removed it, and goes on with it where its file system was mounted
  // again. Returns TARGET_CHANGED if its path leads elsewhere, and the errors with which Open takes the lock.
  absl::Status EnsurePlace();
  // Returns whether a path leads to the place.
  bool IsOwnPlace(const std::string& path) const;
  // Returns whether somebody has removed the place since it was opened, with all that lay in it.
  bool lost_place() const { return lost_place_; }

  // Shows whether an update is undecided to users who may not look into the place: by the sticky bit of the place,
  // which means nothing else in a folder of one user. It does nothing where the file system has no such bit.
  void ShowUndecided(bool undecided);

  // How often, one time after the other, somebody else wrote to the target while a new set of it was built.
  int changes() const { return changes_; }
  void set_changes(int changes) { changes_ = changes; }

 private:
  TargetFolder() = default;
  absl::Status Locate(const std::string& target);
  absl::Status CheckKind();
  absl::Status ChoosePlace();
  absl::Status FollowMounts();

  Kind kind_ = Kind::kFolder;
  std::string target_;
  std::string name_;
  std::string parent_path_;
  std::string place_path_;
  bool is_mount_ = false;
  Fd parent_;
  Fd place_;
  std::atomic<bool> lost_place_ = false;
  std::atomic<int> changes_ = 0;
};

// Returns the name of the place that lies beside a target of this name.
std::string PlaceName(absl::string_view target_name);
// Returns the paths at which the place of a target may be: beside it, and in it if it is a mount.
std::vector<std::string> PlacesOf(const std::string& target);
// Returns whether a place, which may be another user's, shows that an update is undecided in it.
bool IsShownUndecided(const std::string& place);

// Takes the exclusive lock of the folder `path`, which is made with mode 0700 when missing. The lock is held until the
// descriptor closes. Returns none with errno, which is EWOULDBLOCK when another has it.
Fd LockFolder(const std::string& path);

}  // namespace parley::agent

#endif  // PARLEY_CLIENTS_AGENT_TARGET_FOLDER_H_
