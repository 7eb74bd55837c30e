#include "clients/cli/stack.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "clients/cli/command.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/file_lock.h"
#include "lib/keys/credential.h"
#include "lib/keys/identity.h"
#include "lib/transport/address.h"

namespace parley::cli {
namespace {

constexpr int kReadyMilliseconds = 30'000;
// A service that ends so soon after its start may do so again.
constexpr absl::Duration kEarly = absl::Minutes(1);
constexpr int kMostEarlyEnds = 5;

std::string LockPath(const std::string& data) { return data + "/up.lock"; }

absl::StatusOr<transport::HostPort> ParseAddress(absl::string_view option, const std::string& address) {
  absl::StatusOr<transport::HostPort> parsed = transport::ParseHostPort(address);
  if (parsed.ok() && !parsed->host.empty()) return parsed;
  return UsageError(option, " \"", address.substr(0, 60), "\" is not host:port; write it like 127.0.0.1:7443");
}

// The services must know all addresses before either listens, so a free port is taken and given back.
absl::StatusOr<std::string> FreePort(const transport::HostPort& where, const std::string& host) {
  const auto found = transport::Resolve(where, /*passive=*/true, /*numeric_only=*/false);
  if (!found.ok() || found->empty()) {
    return UsageError("there is no address ", host, " on this machine; listen at 127.0.0.1:7443");
  }
  transport::SocketAddress bound = found->front();
  const Fd fd(socket(bound.get()->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd.ok() || bind(fd.get(), bound.get(), bound.size) != 0 ||
      getsockname(fd.get(), bound.get(), &bound.size) != 0) {
    return UsageError("cannot listen at ", host, "; is it an address of this machine?");
  }
  ASSIGN_OR_RETURN(const transport::HostPort taken, transport::ParseHostPort(transport::FormatAddress(bound)));
  return taken.port;
}

std::string HostName() {
  char name[256] = {};
  return gethostname(name, sizeof(name) - 1) == 0 && name[0] != '\0' ? name : "localhost";
}

// Settles where a service listens and how others reach it.
absl::Status ChooseAddress(absl::string_view option, std::string* listen, std::string* public_address) {
  ASSIGN_OR_RETURN(transport::HostPort address, ParseAddress(option, *listen));
  // The host as it was given, in brackets if it is an IPv6 address.
  const std::string host = listen->substr(0, listen->rfind(':'));
  if (address.port == "0") {
    ASSIGN_OR_RETURN(address.port, FreePort(address, host));
  }
  *listen = absl::StrCat(host, ":", address.port);
  if (!public_address->empty()) {
    return ParseAddress(absl::StrCat(option, "'s public address"), *public_address).status();
  }
  const bool everywhere = host == "0.0.0.0" || host == "[::]";
  *public_address = absl::StrCat(everywhere ? HostName() : host, ":", address.port);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<DataLock> DataLock::Take(const std::string& data) {
  const std::string path = LockPath(data);
  Fd file(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!file.ok()) return FileError("write", path, errno);
  if (!TryLockFile(file)) {
    return Error(absl::StatusCode::kAlreadyExists, "UP_RUNNING",
                 absl::StrCat("parley up is already running on ", data, " (pid ", Holder(data),
                              "); stop it with `parley down`, or give another folder with --data"));
  }
  const std::string pid = absl::StrCat(getpid(), "\n");
  if (ftruncate(file.get(), 0) != 0 ||
      pwrite(file.get(), pid.data(), pid.size(), 0) != static_cast<ssize_t>(pid.size())) {
    return FileError("write", path, errno);
  }
  return DataLock(std::move(file));
}

pid_t DataLock::Holder(const std::string& data) {
  const Fd file(open(LockPath(data).c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.ok()) return 0;
  const bool held = !TryLockFile(file, LockKind::kShared);
  char text[32] = {};
  const bool read_it = pread(file.get(), text, sizeof(text) - 1, 0) > 0;
  int pid = 0;
  return held && read_it && absl::SimpleAtoi(absl::StripSuffix(text, "\n"), &pid) ? pid : 0;
}

void DataLock::WaitUntilFree(const std::string& data) {
  LockFile(Fd(open(LockPath(data).c_str(), O_RDONLY | O_CLOEXEC)), LockKind::kShared);
}

absl::StatusOr<std::unique_ptr<Stack>> Stack::Start(Options options) {
  RETURN_IF_ERROR(MakeFolders(options.data, 0700));
  ASSIGN_OR_RETURN(DataLock lock, DataLock::Take(options.data));
  RETURN_IF_ERROR(ChooseAddress("--listen", &options.taskd_listen, &options.taskd_public));
  RETURN_IF_ERROR(ChooseAddress("--listen-keyd", &options.keyd_listen, &options.keyd_public));
  RETURN_IF_ERROR(ChooseAddress("--listen-enrolld", &options.enrolld_listen, &options.enrolld_public));
  for (const char* folder : {"/run", "/log", "/keyd", "/taskd", "/enrolld"}) {
    RETURN_IF_ERROR(MakeFolders(options.data + folder, 0700));
  }
  const std::string given = options.names.empty() ? "" : options.names + ",";
  options.names = absl::StrCat(given, "localhost,127.0.0.1,::1,", HostName());
  auto stack = std::unique_ptr<Stack>(new Stack(std::move(options), std::move(lock)));
  RETURN_IF_ERROR(stack->StartKeyd());
  const Options& settled = stack->options_;
  RETURN_IF_ERROR(stack->StartFollower("taskd", settled.taskd_listen, settled.taskd_public));
  RETURN_IF_ERROR(stack->StartFollower("enrolld", settled.enrolld_listen, settled.enrolld_public));
  for (const char* name : {"admin", "operator"}) RETURN_IF_ERROR(stack->Readdress(stack->CredentialFile(name)));
  return stack;
}

Stack::Stack(Options options, DataLock lock)
    : options_(std::move(options)), lock_(std::move(lock)), signals_({SIGINT, SIGTERM, SIGCHLD}) {
  // A terminal that is closed ends neither this nor the services, which inherit it.
  signal(SIGHUP, SIG_IGN);
}

Stack::~Stack() {
  while (!services_.empty()) services_.pop_back();
}

std::string Stack::CredentialFile(const std::string& name) const {
  return absl::StrCat(options_.data, "/keyd/credentials/", name, ".credential");
}

absl::Status Stack::StartKeyd() {
  return StartService("keyd", {"--listen", options_.keyd_listen, "--keyd-address", options_.keyd_public,
                               "--taskd-address", options_.taskd_public, "--enrolld-address", options_.enrolld_public});
}

absl::Status Stack::StartFollower(const std::string& name, const std::string& listen,
                                  const std::string& public_address) {
  const std::string credential = CredentialFile(name);
  RETURN_IF_ERROR(Readdress(credential));
  return StartService(name, {"--listen", listen, "--public-address", public_address, "--keyd-credential", credential});
}

absl::Status Stack::StartService(const std::string& name, std::vector<std::string> arguments) {
  const std::string ready_file = absl::StrCat(options_.data, "/run/", name, ".ready");
  unlink(ready_file.c_str());
  arguments.insert(arguments.end(), {"--data", absl::StrCat(options_.data, "/", name), "--names", options_.names,
                                     "--ready-file", ready_file});
  services_.push_back({.name = name, .arguments = std::move(arguments)});
  RETURN_IF_ERROR(Launch(&services_.back()));
  return WaitUntilReady(ready_file);
}

absl::Status Stack::Launch(Service* service) {
  service->start = std::chrono::steady_clock::now();
  ASSIGN_OR_RETURN(service->process,
                   ServiceProcess::Start(service->name, service->arguments,
                                         absl::StrCat(options_.data, "/log/", service->name, ".log")));
  return absl::OkStatus();
}

absl::Status Stack::WaitUntilReady(const std::string& ready_file) {
  const Fd watch(inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  if (!watch.ok() || inotify_add_watch(watch.get(), FolderOf(ready_file).c_str(), IN_MOVED_TO | IN_CLOSE_WRITE) < 0) {
    return FileError("watch", FolderOf(ready_file), errno);
  }
  // The file may have come before the watch stood.
  while (::access(ready_file.c_str(), F_OK) != 0) {
    pollfd fds[] = {{watch.get(), POLLIN, 0}, {signals_.fd(), POLLIN, 0}};
    if (poll(fds, 2, kReadyMilliseconds) == 0) {
      return Error(absl::StatusCode::kDeadlineExceeded, "SERVICE_NOT_READY",
                   absl::StrCat(services_.back().name, " was not ready within ", kReadyMilliseconds / 1000,
                                " seconds; see ", options_.data, "/log"));
    }
    char events[4096];
    while (read(watch.get(), events, sizeof(events)) > 0) {
    }
    const int signal = signals_.ReadPending();
    if (signal == SIGINT || signal == SIGTERM) {
      return Error(absl::StatusCode::kCancelled, "CANCELLED", "stopped before everything was started");
    }
    if (const Service* ended = FirstEnded(); ended != nullptr) return ended->process->WhyEnded();
  }
  return absl::OkStatus();
}

Stack::Service* Stack::FirstEnded() {
  for (Service& service : services_) {
    if (service.process != nullptr && service.process->Ended()) return &service;
  }
  return nullptr;
}

absl::Status Stack::Readdress(const std::string& path) {
  ASSIGN_OR_RETURN(keys::Credential credential, keys::ReadCredentialFile(path));
  bool changed = false;
  for (keys::AudienceKey& key : credential.keys) {
    const std::string& address = key.audience == keys::kKeyd      ? options_.keyd_public
                                 : key.audience == keys::kEnrolld ? options_.enrolld_public
                                                                  : options_.taskd_public;
    if (key.address == address) continue;
    key.address = address;
    changed = true;
  }
  return changed ? keys::WriteCredentialFile(path, credential) : absl::OkStatus();
}

absl::Status Stack::OnServiceEnded(Service* service, const OnEnded& on_ended) {
  const SteadyTime now = std::chrono::steady_clock::now();
  const absl::Status why = service->process->WhyEnded();
  service->process = nullptr;
  service->early_ends = now - service->start < absl::ToChronoSeconds(kEarly) ? service->early_ends + 1 : 1;
  if (service->early_ends == kMostEarlyEnds) {
    return Annotate(
        why, absl::StrCat(service->name, " ended ", kMostEarlyEnds, " times in a row, and the others were stopped"));
  }
  // None, 1 s, 2 s, 4 s.
  const absl::Duration pause =
      service->early_ends == 1 ? absl::ZeroDuration() : absl::Seconds(1 << (service->early_ends - 2));
  service->start = now + absl::ToChronoNanoseconds(pause);
  on_ended(service->name, why, pause);
  return absl::OkStatus();
}

absl::StatusOr<int> Stack::StartDue() {
  int wait = -1;
  for (Service& service : services_) {
    if (service.process != nullptr) continue;
    const absl::Duration left = absl::FromChrono(service.start - std::chrono::steady_clock::now());
    if (left <= absl::ZeroDuration()) {
      RETURN_IF_ERROR(Launch(&service));
      continue;
    }
    const int milliseconds = static_cast<int>(absl::ToInt64Milliseconds(left)) + 1;
    wait = wait < 0 ? milliseconds : std::min(wait, milliseconds);
  }
  return wait;
}

absl::Status Stack::WaitForStop(const OnEnded& on_ended) {
  while (true) {
    while (Service* const ended = FirstEnded()) RETURN_IF_ERROR(OnServiceEnded(ended, on_ended));
    ASSIGN_OR_RETURN(const int wait, StartDue());
    pollfd fds = {signals_.fd(), POLLIN, 0};
    if (poll(&fds, 1, wait) < 0 && errno != EINTR) return absl::InternalError("cannot wait for signals");
    const int signal = signals_.ReadPending();
    if (signal == SIGINT || signal == SIGTERM) return absl::OkStatus();
  }
}

}  // namespace parley::cli
