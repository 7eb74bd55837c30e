// A mount namespace of one's own, for tests that mount something.
#ifndef PARLEY_CLIENTS_AGENT_NAMESPACE_TESTING_H_
#define PARLEY_CLIENTS_AGENT_NAMESPACE_TESTING_H_

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>
#include <string>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace parley::agent {

inline bool WriteText(const std::string& path, const std::string& text) {
  const int fd = open(path.c_str(), O_WRONLY | O_CLOEXEC);
  const bool written = fd >= 0 && write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  if (fd >= 0) close(fd);
  return written;
}

// Returns whether this is root of the machine, and not only of a user namespace such as a build's sandbox.
inline bool IsRealRoot() {
  unsigned inside = 1, outside = 1, count = 0;
  FILE* const map = fopen("/proc/self/uid_map", "re");
  const bool read = map != nullptr && fscanf(map, "%u %u %u", &inside, &outside, &count) == 3;
  if (map != nullptr) fclose(map);
  return geteuid() == 0 && read && inside == 0 && outside == 0 && count > 65535;
}

// Mounts an overlay of the folders lower, upper and work in `layers`.
inline void MountOverlay(const std::string& layers, const std::string& point) {
  const std::string how = absl::StrCat("lowerdir=", layers, "/lower,upperdir=", layers, "/upper,workdir=", layers,
                                       "/work", IsRealRoot() ? "" : ",userxattr");
  ASSERT_EQ(mount("none", point.c_str(), "overlay", 0, how.c_str()), 0) << strerror(errno);
}

// Enters a new mount namespace, in a new user namespace where this user may not do it otherwise. The process must have
// one thread. Returns whether it could.
inline bool EnterNamespace() {
  const uid_t user = geteuid();
  const gid_t group = getegid();
  if (unshare(CLONE_NEWNS) != 0) {
    if (unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) return false;
    WriteText("/proc/self/setgroups", "deny");
    if (!WriteText("/proc/self/uid_map", absl::StrCat("0 ", user, " 1")) ||
        !WriteText("/proc/self/gid_map", absl::StrCat("0 ", group, " 1"))) {
      return false;
    }
  }
  return mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0;
}

// Runs `body`, with its expectations, in a process that may mount what it likes.
inline void InNamespace(const std::function<void()>& body) {
  const pid_t child = fork();
  if (child == 0) {
    if (!EnterNamespace()) {
      ADD_FAILURE() << "no mount namespace: " << strerror(errno);
      _exit(2);
    }
    body();
    fflush(stdout);
    _exit(testing::Test::HasFailure() ? 1 : 0);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "see the failures above";
}

inline void Bind(const std::string& source, const std::string& target) {
  ASSERT_EQ(mount(source.c_str(), target.c_str(), nullptr, MS_BIND, nullptr), 0) << strerror(errno);
}

}  // namespace parley::agent

#endif  // PARLEY_CLIENTS_AGENT_NAMESPACE_TESTING_H_
