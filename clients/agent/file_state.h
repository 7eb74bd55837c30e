// What a file looks like from outside.
#ifndef PARLEY_CLIENTS_AGENT_FILE_STATE_H_
#define PARLEY_CLIENTS_AGENT_FILE_STATE_H_

#include <fcntl.h>
#include <sys/stat.h>

#include <string>

#include "absl/strings/str_cat.h"

namespace parley::agent {

// Changes when it is written, replaced or re-owned. A folder's size and times move with what is in it, and its change
// time when its parent is renamed; they are left out.
inline std::string FileState(const struct statx& info) {
  const bool folder = S_ISDIR(info.stx_mode);
  const auto time = [folder](const statx_timestamp& t) { return folder ? "" : absl::StrCat(t.tv_sec, ".", t.tv_nsec); };
  return absl::StrCat(info.stx_ino, " ", info.stx_mode, " ", info.stx_uid, " ", info.stx_gid, " ",
                      folder ? 0 : info.stx_size, " ", time(info.stx_mtime), " ", time(info.stx_ctime));
}

// Whether two states are of the same entry, between which it was only renamed, which moves its change time.
inline bool IsSameButRenamed(const std::string& before, const std::string& after) {
  const size_t end = before.rfind(' ');
  return end != std::string::npos && before.compare(0, end, after, 0, after.rfind(' ')) == 0;
}

// Whether a flag (chattr +i or +a) keeps it from being replaced, moved or removed; and of a folder, what is in it.
inline bool IsProtected(const struct statx& info) {
  return (info.stx_attributes & (STATX_ATTR_IMMUTABLE | STATX_ATTR_APPEND)) != 0;
}
inline bool IsProtected(int fd) {
  struct statx info;
  return statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &info) == 0 && IsProtected(info);
}

}  // namespace parley::agent

#endif  // PARLEY_CLIENTS_AGENT_FILE_STATE_H_
