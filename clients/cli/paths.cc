#include "clients/cli/paths.h"

#include <errno.h>
#include <pwd.h>
#include <stdlib.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "lib/base/file.h"

namespace parley::cli {
namespace {

std::string Home() {
  std::string home = Environment("HOME");
  if (!home.empty()) return home;
  const passwd* user = getpwuid(getuid());
  return user != nullptr && user->pw_dir != nullptr ? user->pw_dir : "/";
}

std::string XdgFolder(const char* variable, absl::string_view below_home) {
  const std::string base = Environment(variable);
  // The specification says that a relative path is to be ignored.
  if (!base.empty() && base[0] == '/') return absl::StrCat(base, "/parley");
  return absl::StrCat(Home(), "/", below_home, "/parley");
}

}  // namespace

std::string Environment(const char* name) {
  const char* value = getenv(name);
  return value == nullptr ? "" : value;
}

std::string ConfigFolder() { return XdgFolder("XDG_CONFIG_HOME", ".config"); }
std::string DataFolder() { return XdgFolder("XDG_DATA_HOME", ".local/share"); }

std::string StateFolder() {
  if (geteuid() == 0 && Environment("XDG_STATE_HOME").empty()) return "/var/lib/parley";
  return XdgFolder("XDG_STATE_HOME", ".local/state");
}

absl::Status CanCreate(const std::string& path, absl::string_view what) {
  if (::access(path.c_str(), F_OK) == 0) {
    return Error(absl::StatusCode::kAlreadyExists, "FILE_EXISTS",
                 absl::StrCat(path, " exists already; move it away or choose another place for ", what));
  }
  return CanWriteTo(FolderOf(path), what);
}

absl::Status CanWriteTo(const std::string& folder, absl::string_view what) {
  // With a slash, so that it must be a folder.
  if (::access((folder + "/").c_str(), W_OK | X_OK) == 0) return absl::OkStatus();
  const absl::Status why = FileError(absl::StrCat("write ", what, " to"), folder, errno);
  return Error(why.code(), Reason(why), absl::StrCat(why.message(), "; choose another place for it"));
}

}  // namespace parley::cli
