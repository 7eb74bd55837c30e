#include "lib/store/etcd/testing/etcd_servers.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <map>
#include <random>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "gtest/gtest.h"

namespace parley::store {
namespace {

// Returns "127.x.y.z", a host of these members alone: nobody takes their ports while they are away.
std::string OwnHost() {
  std::random_device random;
  const auto part = [&random] { return std::uniform_int_distribution<int>(1, 254)(random); };
  return absl::StrCat("127.", part(), ".", part(), ".", part());
}

int FreePort(const std::string& host) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  EXPECT_EQ(inet_pton(AF_INET, host.c_str(), &address.sin_addr), 1);
  socklen_t size = sizeof(address);
  EXPECT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&address), size), 0);
  EXPECT_EQ(getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size), 0);
  close(fd);
  return ntohs(address.sin_port);
}

}  // namespace

EtcdServers::EtcdServers(Options options)
    : options_(std::move(options)),
      host_(OwnHost()),
      hosts_(options_.apart ? std::make_unique<Hosts>(options_.members) : nullptr),
      folder_(std::filesystem::path(testing::TempDir()) / "etcd.XXXXXX"),
      members_(options_.members) {
  EXPECT_NE(mkdtemp(folder_.data()), nullptr);
  for (Member& member : members_) {
    // A host of its own has all its ports free.
    member.client_port = options_.apart ? 2379 : FreePort(host_);
    member.peer_port = options_.apart ? 2380 : FreePort(host_);
  }
  if (options_.tls) MakeCertificates("good", "etcd.example");
}

EtcdServers::~EtcdServers() {
  for (size_t i = 0; i < members_.size(); ++i) Kill(static_cast<int>(i));
  std::filesystem::remove_all(folder_);
}

void EtcdServers::MakeCertificates(const std::string& name, const std::string& dns_name) const {
  const std::string base = absl::StrCat(folder_, "/", name);
  std::string hosts;
  for (int i = 0; i < options_.members; ++i) absl::StrAppend(&hosts, ",IP:", Host(i));
  const std::string key = " -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 ";
  RunCommand(absl::StrCat("openssl req -x509", key, "-subj /CN=ca-", name, " -keyout ", base, "-ca.key -out ", base,
                          "-ca.pem -addext basicConstraints=critical,CA:TRUE"));
  for (const std::string& owner : {"server", "client"}) {
    const std::string file = absl::StrCat(base, "-", owner);
    RunCommand(absl::StrCat("openssl req -new", key, "-subj /CN=parley -keyout ", file, ".key -out ", file, ".csr"));
    RunCommand(absl::StrCat("printf 'subjectAltName=DNS:", dns_name, owner == std::string("server") ? hosts : "",
                            "\\nextendedKeyUsage=serverAuth,clientAuth\\n' > ", file, ".ext"));
    RunCommand(absl::StrCat("openssl x509 -req -days 2 -in ", file, ".csr -CA ", base, "-ca.pem -CAkey ", base,
                            "-ca.key -CAcreateserial -extfile ", file, ".ext -out ", file, ".pem"));
    RunCommand(absl::StrCat("chmod 0600 ", file, ".key"));
  }
}

std::string EtcdServers::Name(int member) const { return absl::StrCat("m", member); }
std::string EtcdServers::DataFolder(int member) const { return absl::StrCat(folder_, "/", Name(member), data_suffix_); }
std::string EtcdServers::ClientUrl(int member) const {
  return absl::StrCat(options_.tls ? "https" : "http", "://", Host(member), ":", members_[member].client_port);
}
std::string EtcdServers::PeerUrl(int member) const {
  return absl::StrCat("http://", Host(member), ":", members_[member].peer_port);
}

std::string EtcdServers::ClusterFlags(int member) const {
  std::vector<std::string> all;
  for (int i = 0; i < options_.members; ++i) all.push_back(absl::StrCat(Name(i), "=", PeerUrl(i)));
  return absl::StrCat("--name=", Name(member), " --initial-cluster=", absl::StrJoin(all, ","),
                      " --initial-advertise-peer-urls=", PeerUrl(member), " --initial-cluster-token=test");
}

std::vector<std::string> EtcdServers::Flags(int member) const {
  std::vector<std::string> flags = absl::StrSplit(ClusterFlags(member), ' ');
  flags.push_back(absl::StrCat("--data-dir=", DataFolder(member)));
  flags.push_back(absl::StrCat("--listen-client-urls=", ClientUrl(member)));
  flags.push_back(absl::StrCat("--advertise-client-urls=", ClientUrl(member)));
  flags.push_back(absl::StrCat("--listen-peer-urls=", PeerUrl(member)));
  flags.insert(flags.end(), {"--logger=zap", "--log-level=info"});
  if (options_.tls) {
    const std::string base = absl::StrCat(folder_, "/good");
    flags.insert(flags.end(),
                 {absl::StrCat("--cert-file=", base, "-server.pem"), absl::StrCat("--key-file=", base, "-server.key")});
    if (!options_.open) {
      flags.insert(flags.end(), {"--client-cert-auth=true", absl::StrCat("--trusted-ca-file=", base, "-ca.pem")});
    }
  }
  flags.insert(flags.end(), options_.flags.begin(), options_.flags.end());
  return flags;
}

void EtcdServers::Start(int index) {
  Member& member = members_[index];
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  std::vector<std::string> flags = Flags(index);
  flags.insert(flags.begin(), "etcd");
  std::vector<char*> arguments;
  for (std::string& flag : flags) arguments.push_back(flag.data());
  arguments.push_back(nullptr);
  member.pid = fork();
  if (member.pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (options_.apart) Hosts::Enter(index);
    dup2(ends[1], STDERR_FILENO);
    dup2(ends[1], STDOUT_FILENO);
    execvp(arguments[0], arguments.data());
    _exit(127);
  }
  close(ends[1]);
  member.log = ends[0];
}

void EtcdServers::AwaitServing(int index) {
  Member& member = members_[index];
  std::string log;
  char buffer[4096];
  while (log.find("serving client traffic") == std::string::npos) {
    const ssize_t count = read(member.log, buffer, sizeof(buffer));
    ASSERT_GT(count, 0) << "etcd ended:\n" << log;
    log.append(buffer, static_cast<size_t>(count));
  }
  // What follows is nobody's, but a full pipe would hold the member up.
  member.reader = std::thread([fd = member.log] {
    char rest[4096];
    while (read(fd, rest, sizeof(rest)) > 0) {
    }
  });
}

void EtcdServers::StartAll() {
  for (int i = 0; i < options_.members; ++i) Start(i);
  for (int i = 0; i < options_.members; ++i) AwaitServing(i);
}

void EtcdServers::Kill(int index) {
  Member& member = members_[index];
  if (member.pid < 0) return;
  kill(member.pid, SIGKILL);
  waitpid(member.pid, nullptr, 0);
  member.pid = -1;
  if (member.reader.joinable()) member.reader.join();
  close(member.log);
}

void EtcdServers::Signal(int member, int signal) const { kill(members_[member].pid, signal); }

std::string EtcdServers::ControlProgram(int member) const {
  const std::string base = absl::StrCat(folder_, "/good");
  const std::string tls =
      absl::StrCat(" --cacert=", base, "-ca.pem --cert=", base, "-client.pem --key=", base, "-client.key");
  return absl::StrCat("etcdctl --endpoints=", ClientUrl(member), options_.tls ? tls : "", " ");
}

std::string EtcdServers::Control(int member, const std::string& arguments) const {
  return RunCommand(absl::StrCat(ControlProgram(member), arguments));
}

void EtcdServers::AwaitHealthy() const {
  for (int i = 0; i < options_.members; ++i) {
    RunCommand(absl::StrCat("until ", ControlProgram(i), "get healthy >/dev/null 2>&1; do :; done"));
  }
}

void EtcdServers::Restore(const std::string& snapshot) {
  data_suffix_ += "-restored";
  for (int i = 0; i < options_.members; ++i) {
    // etcd 3.4 has no etcdutl, and etcdctl no such command from 3.6 on.
    RunCommand(absl::StrCat("$(command -v etcdutl || command -v etcdctl) snapshot restore ", snapshot,
                            " --data-dir=", DataFolder(i), " ", ClusterFlags(i)));
  }
}

int EtcdServers::Leader() const {
  while (true) {
    for (int i = 0; i < options_.members; ++i) {
      if (members_[i].pid < 0) continue;
      std::map<std::string, std::string> fields;
      for (const absl::string_view line : absl::StrSplit(Control(i, "endpoint status -w fields"), '\n')) {
        fields.insert(absl::StrSplit(line, absl::MaxSplits(" : ", 1)));
      }
      if (fields["\"Leader\""] == fields["\"MemberID\""]) return i;
    }
  }
}

EtcdOptions EtcdServers::ClientOptions(const std::string& prefix, int first) const {
  EtcdOptions options;
  for (int i = 0; i < options_.members; ++i) options.endpoints.push_back(ClientUrl((first + i) % options_.members));
  options.prefix = prefix;
  options.service = "test";
  if (options_.tls) {
    const std::string base = absl::StrCat(folder_, "/good");
    options.ca_file = base + "-ca.pem";
    options.certificate_file = base + "-client.pem";
    options.key_file = base + "-client.key";
  }
  return options;
}

}  // namespace parley::store
