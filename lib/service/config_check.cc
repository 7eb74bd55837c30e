#include "lib/service/config_check.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "lib/base/fd.h"
#include "lib/base/file.h"
#include "lib/service/addresses.h"
#include "lib/transport/address.h"

namespace parley::service {
namespace {

// Why one cannot listen there; empty when one can. On another port, so that the running service is not in the way.
std::string WhyNotLocal(transport::HostPort where) {
  where.port = "0";
  const auto found = transport::Resolve(where, /*passive=*/true, /*numeric_only=*/false);
  if (!found.ok()) return std::string(found.status().message());
  std::string why = "it has no address";
  for (const transport::SocketAddress& each : *found) {
    const Fd fd(socket(each.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!fd.ok()) continue;
    const bool bound = bind(fd.get(), each.get(), each.size) == 0;
    why = bound ? "" : ErrnoText(errno);
    if (bound) break;
  }
  return why;
}

}  // namespace

void ConfigCheck::Found(absl::string_view flag, const absl::Status& status) {
  if (!status.ok()) problems_.push_back(absl::StrCat(flag, ": ", status.message()));
}

void ConfigCheck::Listens(absl::string_view flag, const std::string& address) {
  const absl::StatusOr<transport::HostPort> where = transport::ParseHostPort(address);
  if (!where.ok()) return Found(flag, where.status());
  if (const std::string why = WhyNotLocal(*where); !why.empty()) {
    problems_.push_back(
        absl::StrCat(flag, ": cannot listen on ", address, ": ", why, "; give an address of this machine"));
  }
  if (where->port != "0" && !listens_.insert(where->port).second) {
    problems_.push_back(absl::StrCat(flag, ": port ", where->port, " is another flag's too; choose another"));
  }
}

void ConfigCheck::Dialled(absl::string_view flag, const std::string& address) {
  if (address.empty()) return;
  const absl::StatusOr<transport::HostPort> where = transport::ParseHostPort(address);
  if (!where.ok()) return Found(flag, where.status());
  if (where->port != "0" && !IsEveryAddress(address)) return;
  problems_.push_back(
      absl::StrCat(flag, ": nobody can connect to ", address, "; write host:port, like taskd.example:7443"));
}

void ConfigCheck::Folder(absl::string_view flag, const std::string& path) {
  std::string there = path;
  struct stat info {};
  while (stat(there.c_str(), &info) != 0) {
    if (errno != ENOENT || there == "/" || there == ".") {
      problems_.push_back(absl::StrCat(flag, ": cannot use ", path, ": ", ErrnoText(errno), "; choose another folder"));
      return;
    }
    there = FolderOf(there);
  }
  if (!S_ISDIR(info.st_mode)) {
    problems_.push_back(absl::StrCat(flag, ": ", there, " is not a folder; choose another path"));
  } else if (access(there.c_str(), R_OK | W_OK | X_OK) != 0) {
    problems_.push_back(
        absl::StrCat(flag, ": this user may not write to ", there, "; give it to the user that runs the service"));
  }
}

void ConfigCheck::ParentFolder(absl::string_view flag, const std::string& path) {
  if (!path.empty()) Folder(flag, FolderOf(path));
}

}  // namespace parley::service
