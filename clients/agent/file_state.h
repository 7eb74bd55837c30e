// What a file looks like from outside: its inode, owner, size, times and flags.
//
// Threads: any thread may call the functions.
#ifndef PARLEY_CLIENTS_AGENT_FILE_STATE_H_
#define PARLEY_CLIENTS_AGENT_FILE_STATE_H_

#include <fcntl.h>
#include <sys/stat.h>

#include <cstdint>
#include <string>

#include "absl/strings/str_cat.h"

namespace parley::agent {

// Returns a text that changes when the entry is written, replaced or re-owned. A folder's size and times are left out,
// because they change with what is in it, and its change time when its parent is renamed.
inline std::string FileState(const struct statx& info) {
  const bool folder = S_ISDIR(info.stx_mode);
  const auto time = [folder](const statx_timestamp& t) { return folder ? "" : absl::StrCat(t.tv_sec, ".", t.tv_nsec); };
  return absl::StrCat(info.stx_ino, " ", info.stx_mode, " ", info.stx_uid, " ", info.stx_gid, " ",
                      folder ? 0 : info.stx_size, " ", time(info.stx_mtime), " ", time(info.stx_ctime));
}

// Reads what an entry of the folder is, without following a link. Returns whether there is one; errno says why not.
inline bool StatEntry(int folder, const std::string& name, struct statx* info) {
  return statx(folder, name.c_str(), AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, STATX_BASIC_STATS, info) == 0;
}

// Returns the inode of an entry of the folder; 0 if there is none.
inline uint64_t InodeOf(int folder, const std::string& name) {
  struct stat info;
  return fstatat(folder, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0 ? info.st_ino : 0;
}

// Returns whether two states are of the same entry, which was at most renamed between them: that moves its change time.
inline bool IsSameButRenamed(const std::string& before, const std::string& after) {
  const size_t end = before.rfind(' ');
  return end != std::string::npos && before.compare(0, end, after, 0, after.rfind(' ')) == 0;
}

// Returns whether a flag (chattr +i or +a) keeps an entry, or what is in a folder, from being replaced, moved or
// removed.
inline bool IsProtected(const struct statx& info) {
  return (info.stx_attributes & (STATX_ATTR_IMMUTABLE | STATX_ATTR_APPEND)) != 0;
}
inline bool IsProtected(int fd) {
  struct statx info;
  return statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &info) == 0 && IsProtected(info);
}

}  // namespace parley::agent

#endif  // PARLEY_CLIENTS_AGENT_FILE_STATE_H_
