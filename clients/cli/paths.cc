#include "clients/cli/paths.h"

#include <pwd.h>
#include <stdlib.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"

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
ops::TaskKeyFolder OwnTaskKeys() { return ops::TaskKeyFolder(ConfigFolder() + "/tasks"); }
std::string DataFolder() { return XdgFolder("XDG_DATA_HOME", ".local/share"); }

std::string StateFolder() {
  if (geteuid() == 0 && Environment("XDG_STATE_HOME").empty()) return "/var/lib/parley";
  return XdgFolder("XDG_STATE_HOME", ".local/state");
}

}  // namespace parley::cli
