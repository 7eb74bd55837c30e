#include "clients/cli/proxy.h"

#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "lib/base/error.h"
#include "lib/base/file.h"

namespace parley::cli {
namespace {

constexpr size_t kMaxConnections = 128;

// A path, or an abstract name when it begins with a zero byte.
Fd ConnectUnix(absl::string_view name) {
  sockaddr_un address = {};
  if (name.size() >= sizeof(address.sun_path)) return Fd();
  address.sun_family = AF_UNIX;
  memcpy(address.sun_path, name.data(), name.size());
  Fd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size());
  const bool connected = fd.ok() && connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), size) == 0;
  return connected ? std::move(fd) : Fd();
}

// Makes room for a socket at the path: takes away one that is dead.
absl::Status ClearPath(const std::string& path) {
  struct stat found;
  if (lstat(path.c_str(), &found) != 0) {
    return errno == ENOENT ? absl::OkStatus() : FileError("look at", path, errno);
  }
  if (!S_ISSOCK(found.st_mode)) {
    return Error(absl::StatusCode::kAlreadyExists, "FILE_EXISTS",
                 absl::StrCat(path, " is there already and is no socket; choose another path"));
  }
  if (ConnectUnix(path).ok()) {
    return Error(absl::StatusCode::kAlreadyExists, "ADDRESS_IN_USE",
                 absl::StrCat("somebody listens at ", path, " already; use that, or choose another path"));
  }
  return unlink(path.c_str()) == 0 ? absl::OkStatus() : FileError("replace", path, errno);
}

absl::StatusOr<Fd> ListenUnix(const std::string& path) {
  sockaddr_un address = {};
  if (path.empty() || path.size() >= sizeof(address.sun_path)) {
    return Error(
        absl::StatusCode::kInvalidArgument, "PATH_TOO_LONG",
        absl::StrCat("a socket's path has 1 to ", sizeof(address.sun_path) - 1, " letters; choose another one"));
  }
  RETURN_IF_ERROR(ClearPath(path));
  address.sun_family = AF_UNIX;
  memcpy(address.sun_path, path.data(), path.size());
  Fd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd.ok()) return FileError("make", path, errno);
  // The mode must hold from the socket's first moment on.
  const mode_t umask_before = umask(0177);
  const bool bound = bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0;
  const int error_number = errno;
  umask(umask_before);
  if (bound && listen(fd.get(), 64) == 0) return fd;
  return FileError("listen at", path, error_number);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Proxy>> Proxy::Listen(const std::string& path, transport::Dialer::Options options) {
  ASSIGN_OR_RETURN(std::unique_ptr<transport::Dialer> dialer, transport::Dialer::Create(std::move(options)));
  ASSIGN_OR_RETURN(Fd listener, ListenUnix(path));
  return std::unique_ptr<Proxy>(new Proxy(path, std::move(listener), std::move(dialer)));
}

Proxy::Proxy(std::string path, Fd listener, std::unique_ptr<transport::Dialer> dialer)
    : path_(std::move(path)), listener_(std::move(listener)), dialer_(std::move(dialer)) {}

Proxy::~Proxy() {
  listener_ = Fd();
  unlink(path_.c_str());
  for (Connection& connection : connections_) {
    shutdown(connection.local.get(), SHUT_RDWR);
    shutdown(connection.remote.get(), SHUT_RDWR);
  }
  Reap(/*all=*/true);
}

void Proxy::Serve(int stop_fd) {
  pollfd fds[] = {{listener_.get(), POLLIN, 0}, {stop_fd, POLLIN, 0}};
  while (true) {
    if (poll(fds, 2, -1) < 0 && errno != EINTR) return;
    if (fds[1].revents != 0) return;
    if (fds[0].revents != 0) Accept();
  }
}

void Proxy::Accept() {
  Reap(/*all=*/false);
  Fd local(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
  if (!local.ok()) return;
  const std::string name = std::string(1, '\0') + std::string(absl::StripPrefix(dialer_->target(), "unix-abstract:"));
  Fd remote = connections_.size() < kMaxConnections ? ConnectUnix(name) : Fd();
  if (!remote.ok()) return;
  Connection& connection = connections_.emplace_back();
  connection.local = std::move(local);
  connection.remote = std::move(remote);
  connection.up =
      std::thread([this, &connection] { Copy(connection.local.get(), connection.remote.get(), &connection, false); });
  connection.down =
      std::thread([this, &connection] { Copy(connection.remote.get(), connection.local.get(), &connection, true); });
}

void Proxy::Copy(int from, int to, Connection* connection, bool is_answer) {
  char buffer[16384];
  bool any = false;
  while (true) {
    const ssize_t got = read(from, buffer, sizeof(buffer));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    any = true;
    if (!WriteAll(to, path_, absl::string_view(buffer, static_cast<size_t>(got))).ok()) break;
  }
  if (is_answer && !any) {
    // The caller sees a closed socket only; the reason is for whoever runs the proxy.
    const absl::Status why = dialer_->last_error();
    if (!why.ok()) fprintf(stderr, "parley: %s\n", std::string(why.message()).c_str());
  }
  // Nothing can be read from `from` or written to `to` any more; the other direction may go on.
  shutdown(to, SHUT_WR);
  shutdown(from, SHUT_RD);
  --connection->directions_open;
}

void Proxy::Reap(bool all) {
  for (auto it = connections_.begin(); it != connections_.end();) {
    if (!all && it->directions_open > 0) {
      ++it;
      continue;
    }
    it->up.join();
    it->down.join();
    it = connections_.erase(it);
  }
}

}  // namespace parley::cli
