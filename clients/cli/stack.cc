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
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "clients/cli/command.h"
#include "clients/cli/paths.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/file_lock.h"
#include "lib/crypto/kdf.h"
#include "lib/keys/credential.h"
#include "lib/keys/identity.h"
#include "lib/transport/address.h"

namespace parley::cli {
namespace {

constexpr int kReadyMilliseconds = 30'000;
// A service that ends so soon after its start may do so again.
constexpr absl::Duration kEarly = absl::Minutes(1);
constexpr int kMostEarlyEnds = 5;
// So many ports are between two replicas of a service.
constexpr int kPortsApart = 10;
constexpr int kEtcdMembers = 3;
constexpr size_t kSharedSecretBytes = 32;

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

// Settles where a process listens.
absl::StatusOr<std::string> ChooseListen(absl::string_view option, const std::string& listen, int replica) {
  ASSIGN_OR_RETURN(transport::HostPort address, ParseAddress(option, listen));
  // The host as it was given, in brackets if it is an IPv6 address.
  const std::string host = listen.substr(0, listen.rfind(':'));
  int port = 0;
  if (address.port == "0") {
    ASSIGN_OR_RETURN(address.port, FreePort(address, host));
  } else if (absl::SimpleAtoi(address.port, &port)) {
    address.port = absl::StrCat(port + kPortsApart * (replica - 1));
  }
  return absl::StrCat(host, ":", address.port);
}

std::string ReachedAt(const std::string& listen) {
  const size_t colon = listen.rfind(':');
  const std::string host = listen.substr(0, colon);
  const bool everywhere = host == "0.0.0.0" || host == "[::]";
  return absl::StrCat(everywhere ? HostName() : host, listen.substr(colon));
}

// A folder has the data of one process of each service, or of several; the two are not mixed.
absl::Status CheckData(const std::string& data, bool several) {
  const auto there = [&data](const char* path) { return ::access((data + path).c_str(), F_OK) == 0; };
  if (several && there("/keyd/keyd.db")) {
    return Error(absl::StatusCode::kFailedPrecondition, "DATA_OF_ONE",
                 absl::StrCat(data, " has the data of a stack without replicas; give another folder with --data"));
  }
  if (!several && there("/etcd")) {
    return Error(absl::StatusCode::kFailedPrecondition, "DATA_OF_SEVERAL",
                 absl::StrCat(data, " has the data of a stack with --replicas; give that, or another folder"));
  }
  return absl::OkStatus();
}

std::string NameOf(const std::string& service, int replica) {
  return replica == 1 ? service : absl::StrCat(service, "-", replica);
}

absl::StatusOr<std::string> FindEtcd() {
  for (const absl::string_view folder : absl::StrSplit(Environment("PATH"), ':', absl::SkipEmpty())) {
    const std::string path = absl::StrCat(folder, "/etcd");
    if (::access(path.c_str(), X_OK) == 0) return path;
  }
  return Error(absl::StatusCode::kNotFound, "PROGRAM_MISSING",
               "replicas share an etcd, which is not installed; on Debian: apt install etcd-server");
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

absl::StatusOr<Stack::Listens> Stack::ChooseAddresses(absl::string_view option, int replicas, const std::string& listen,
                                                      std::string* public_address) {
  Listens listens;
  for (int replica = 1; replica <= replicas; ++replica) {
    ASSIGN_OR_RETURN(listens.emplace_back(), ChooseListen(option, listen, replica));
  }
  if (public_address->empty()) {
    *public_address = absl::StrJoin(
        listens, ",", [](std::string* text, const std::string& at) { absl::StrAppend(text, ReachedAt(at)); });
  } else {
    RETURN_IF_ERROR(ParseAddress(absl::StrCat(option, "'s public address"), *public_address).status());
  }
  return listens;
}

absl::StatusOr<std::unique_ptr<Stack>> Stack::Start(Options options) {
  if (options.replicas < 1 || options.replicas > 9) return UsageError("--replicas takes 1 to 9");
  RETURN_IF_ERROR(MakeFolders(options.data, 0700));
  ASSIGN_OR_RETURN(DataLock lock, DataLock::Take(options.data));
  RETURN_IF_ERROR(CheckData(options.data, options.replicas > 1));
  const int replicas = options.replicas;
  ASSIGN_OR_RETURN(const Listens taskd,
                   ChooseAddresses("--listen", replicas, options.taskd_listen, &options.taskd_public));
  ASSIGN_OR_RETURN(const Listens keyd,
                   ChooseAddresses("--listen-keyd", replicas, options.keyd_listen, &options.keyd_public));
  ASSIGN_OR_RETURN(const Listens enrolld,
                   ChooseAddresses("--listen-enrolld", replicas, options.enrolld_listen, &options.enrolld_public));
  for (const char* folder : {"/run", "/log"}) RETURN_IF_ERROR(MakeFolders(options.data + folder, 0700));
  const std::string given = options.names.empty() ? "" : options.names + ",";
  options.names = absl::StrCat(given, "localhost,127.0.0.1,::1,", HostName());
  auto stack = std::unique_ptr<Stack>(new Stack(std::move(options), std::move(lock)));
  const Options& settled = stack->options_;
  if (stack->shares_store()) RETURN_IF_ERROR(stack->StartEtcd());
  for (int replica = 1; replica <= replicas; ++replica) {
    RETURN_IF_ERROR(stack->StartKeyd(replica, keyd[replica - 1]));
  }
  for (int replica = 1; replica <= replicas; ++replica) {
    RETURN_IF_ERROR(stack->StartFollower("taskd", replica, taskd[replica - 1], settled.taskd_public));
    RETURN_IF_ERROR(stack->StartFollower("enrolld", replica, enrolld[replica - 1], settled.enrolld_public));
  }
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

absl::Status Stack::MakeSharedSecret(const std::string& path) const {
  if (::access(path.c_str(), F_OK) == 0) return absl::OkStatus();
  return WriteSecretFile(path, crypto::RandomSecret(kSharedSecretBytes));
}

// Its sockets lie in a folder that only this user can enter. etcd takes them for ports of a host, in the folder where
// it runs.
absl::Status Stack::StartEtcd() {
  ASSIGN_OR_RETURN(const std::string etcd, FindEtcd());
  const std::string folder = options_.data + "/etcd";
  RETURN_IF_ERROR(MakeFolders(folder, 0700));
  RETURN_IF_ERROR(MakeSharedSecret(options_.data + "/kek"));
  RETURN_IF_ERROR(MakeSharedSecret(options_.data + "/seal.key"));
  std::vector<std::string> members;
  for (int i = 1; i <= kEtcdMembers; ++i) members.push_back(absl::StrCat("etcd-", i, "=unix://localhost:", i));
  for (int i = 1; i <= kEtcdMembers; ++i) {
    const std::string name = absl::StrCat("etcd-", i);
    const std::string peer = absl::StrCat("unix://localhost:", i);
    const std::string client = absl::StrCat("unix://localhost:", kEtcdMembers + i);
    RETURN_IF_ERROR(Add({.name = name,
                         .path = etcd,
                         .arguments = {"--name",
                                       name,
                                       "--data-dir",
                                       absl::StrCat(folder, "/", name),
                                       "--listen-peer-urls",
                                       peer,
                                       "--initial-advertise-peer-urls",
                                       peer,
                                       "--listen-client-urls",
                                       client,
                                       "--advertise-client-urls",
                                       client,
                                       "--initial-cluster",
                                       absl::StrJoin(members, ","),
                                       "--initial-cluster-state",
                                       "new",
                                       "--auto-compaction-retention",
                                       "1h",
                                       "--logger",
                                       "zap"},
                         .folder = folder,
                         .log_path = absl::StrCat(options_.data, "/log/", name, ".log"),
                         .leftovers = {folder + peer.substr(6), folder + client.substr(6)}}));
  }
  return absl::OkStatus();
}

absl::Status Stack::StartKeyd(int replica, const std::string& listen) {
  std::vector<std::string> arguments = {"--listen",          listen,
                                        "--keyd-address",    options_.keyd_public,
                                        "--taskd-address",   options_.taskd_public,
                                        "--enrolld-address", options_.enrolld_public};
  if (shares_store()) arguments.insert(arguments.end(), {"--kek-file", options_.data + "/kek"});
  return StartService("keyd", replica, std::move(arguments));
}

absl::Status Stack::StartFollower(const std::string& name, int replica, const std::string& listen,
                                  const std::string& public_address) {
  const std::string credential = CredentialFile(name);
  RETURN_IF_ERROR(Readdress(credential));
  std::vector<std::string> arguments = {"--listen",          listen,    "--public-address", public_address,
                                        "--keyd-credential", credential};
  if (shares_store() && name == keys::kTaskd) {
    arguments.insert(arguments.end(), {"--seal-key-file", options_.data + "/seal.key"});
  }
  return StartService(name, replica, std::move(arguments));
}

absl::Status Stack::StartService(const std::string& name, int replica, std::vector<std::string> arguments) {
  ServiceProgram program;
  program.name = NameOf(name, replica);
  ASSIGN_OR_RETURN(program.path, FindProgram(name));
  program.log_path = absl::StrCat(options_.data, "/log/", program.name, ".log");
  const std::string folder = absl::StrCat(options_.data, "/", program.name);
  RETURN_IF_ERROR(MakeFolders(folder, 0700));
  const std::string ready_file = absl::StrCat(options_.data, "/run/", program.name, ".ready");
  unlink(ready_file.c_str());
  arguments.insert(arguments.end(), {"--data", folder, "--names", options_.names, "--ready-file", ready_file});
  if (shares_store()) {
    std::vector<std::string> members;
    for (int i = 1; i <= kEtcdMembers; ++i) {
      members.push_back(absl::StrCat("unix:", options_.data, "/etcd/localhost:", kEtcdMembers + i));
    }
    arguments.insert(arguments.end(), {"--store", "etcd:" + absl::StrJoin(members, ",")});
  }
  program.arguments = std::move(arguments);
  RETURN_IF_ERROR(Add(std::move(program)));
  return WaitUntilReady(ready_file);
}

absl::Status Stack::Add(ServiceProgram program) {
  services_.push_back({.program = std::move(program)});
  return Launch(&services_.back());
}

absl::Status Stack::Launch(Service* service) {
  service->start = std::chrono::steady_clock::now();
  ASSIGN_OR_RETURN(service->process, ServiceProcess::Start(service->program));
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
                   absl::StrCat(services_.back().program.name, " was not ready within ", kReadyMilliseconds / 1000,
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
    return Annotate(why, absl::StrCat(service->program.name, " ended ", kMostEarlyEnds,
                                      " times in a row, and the others were stopped"));
  }
  // None, 1 s, 2 s, 4 s.
  const absl::Duration pause =
      service->early_ends == 1 ? absl::ZeroDuration() : absl::Seconds(1 << (service->early_ends - 2));
  service->start = now + absl::ToChronoNanoseconds(pause);
  on_ended(service->program.name, why, pause);
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
