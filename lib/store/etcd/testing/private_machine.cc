#include "lib/store/etcd/testing/private_machine.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "lib/base/fd.h"

namespace parley::store {
namespace {

std::string Name(int host) { return absl::StrCat("host", host); }
std::string Gateway(int host) { return absl::StrCat("10.77.", host, ".1"); }

void Drop(const std::string& chain, const std::string& packets) {
  RunCommand(absl::StrCat("iptables -w -A ", chain, " ", packets, " -j DROP"));
}

}  // namespace

std::string EnterPrivateMachine() {
  // Where iptables, losetup and mkfs are, which Bazel's PATH leaves out.
  const char* const path = getenv("PATH");
  setenv("PATH", absl::StrCat(path == nullptr ? "/usr/bin:/bin" : path, ":/usr/sbin:/sbin").c_str(), /*overwrite=*/1);
  if (unshare(CLONE_NEWNET | CLONE_NEWNS) != 0 || mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
      // `ip netns` keeps its names there.
      mount("none", "/run", "tmpfs", 0, nullptr) != 0) {
    return absl::StrCat("no network and mounts of its own: ", strerror(errno));
  }
  return system("(ip link set lo up && echo 1 >/proc/sys/net/ipv4/ip_forward && iptables -w -L) >/dev/null") == 0
             ? ""
             : "no ip, or no iptables";
}

std::string RunCommand(const std::string& command) {
  FILE* const pipe = popen(absl::StrCat("{ ", command, "\n} 2>&1").c_str(), "re");
  std::string output;
  char buffer[4096];
  for (size_t count; (count = fread(buffer, 1, sizeof(buffer), pipe)) > 0;) output.append(buffer, count);
  EXPECT_EQ(pclose(pipe), 0) << command << "\n" << output;
  return output;
}

Hosts::Hosts(int count) : count_(count) {
  for (int i = 0; i < count_; ++i) {
    const std::string name = Name(i);
    RunCommand(absl::StrCat("ip netns add ", name, " && ip link add ", name, " type veth peer name eth0 netns ", name,
                            " && ip address add ", Gateway(i), "/24 dev ", name, " && ip link set ", name, " up"));
    RunCommand(absl::StrCat("ip -n ", name, " link set lo up && ip -n ", name, " address add ", Address(i),
                            "/24 dev eth0 && ip -n ", name, " link set eth0 up && ip -n ", name,
                            " route add default via ", Gateway(i)));
  }
}

Hosts::~Hosts() {
  HealAll();
  for (int i = 0; i < count_; ++i) RunCommand(absl::StrCat("ip link del ", Name(i), " && ip netns del ", Name(i)));
}

std::string Hosts::Address(int host) { return absl::StrCat("10.77.", host, ".2"); }

void Hosts::Enter(int host) {
  const Fd space(open(absl::StrCat("/run/netns/", Name(host)).c_str(), O_RDONLY | O_CLOEXEC));
  if (setns(space.get(), CLONE_NEWNET) != 0) _exit(126);
}

void Hosts::CutOff(int host, From from) {
  Drop("FORWARD", "-s " + Address(host));
  Drop("FORWARD", "-d " + Address(host));
  if (from == From::kOtherHosts) return;
  Drop("INPUT", "-s " + Address(host));
  Drop("OUTPUT", "-d " + Address(host));
}

void Hosts::HealAll() { RunCommand("iptables -w -F"); }

Disk::Disk(std::string folder) : folder_(std::move(folder)) {
  RunCommand(absl::StrCat("mkdir ", folder_, " && truncate -s 1G ", folder_, ".img && mkfs.ext4 -q ", folder_,
                          ".img && mount -o loop ", folder_, ".img ", folder_));
}

Disk::~Disk() {
  Thaw();
  RunCommand("umount " + folder_);
}

void Disk::Freeze() {
  // The end of its input thaws the disk, and who kills the test with all that belongs to it does not kill this: what
  // writes to a disk that stands still for ever can not be killed, nor the disk be unmounted.
  frozen_ =
      popen(absl::StrCat("setsid --wait sh -c 'cat >/dev/null; fsfreeze --unfreeze ", folder_, "'").c_str(), "we");
  RunCommand("fsfreeze --freeze " + folder_);
}

void Disk::Thaw() {
  if (frozen_ == nullptr) return;
  EXPECT_EQ(pclose(std::exchange(frozen_, nullptr)), 0);
}

}  // namespace parley::store
