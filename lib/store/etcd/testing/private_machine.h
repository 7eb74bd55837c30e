// A machine within the machine for tests: hosts that can be cut off from one another, and disks that can stand still.
// Both are gone with the process.
//
// Threads: not thread-safe, but for const methods.
#ifndef PARLEY_LIB_STORE_ETCD_TESTING_PRIVATE_MACHINE_H_
#define PARLEY_LIB_STORE_ETCD_TESTING_PRIVATE_MACHINE_H_

#include <stdio.h>

#include <string>
#include <vector>

namespace parley::store {

// Gives the process a network and mounts of its own. To be called before any thread is started. Returns why it can not,
// or an empty text.
std::string EnterPrivateMachine();

// Runs a command of the shell. Returns what it prints, and adds a failure to the test if it fails.
std::string RunCommand(const std::string& command);

// Needs EnterPrivateMachine, and is the only one of its kind in the process.
class Hosts {
 public:
  explicit Hosts(int count);
  ~Hosts();

  static std::string Address(int host);
  // Moves the calling process, which must have one thread, to the host.
  static void Enter(int host);

  enum class From {
    kOtherHosts,
    // From the test too.
    kEverybody,
  };
  // Drops all packets to and from the host, without a word.
  void CutOff(int host, From from);
  // Lets all hosts hear one another again.
  void HealAll();

 private:
  const int count_;
};

// A file system of its own, mounted on a folder. Needs EnterPrivateMachine.
class Disk {
 public:
  // Makes the folder, and a file beside it that has the content.
  explicit Disk(std::string folder);
  ~Disk();
  // From then on all who write to the disk stand still, until Thaw or the end of this process.
  void Freeze();
  void Thaw();

 private:
  const std::string folder_;
  // A process that thaws the disk once nobody holds this any more.
  FILE* frozen_ = nullptr;
};

}  // namespace parley::store

#endif  // PARLEY_LIB_STORE_ETCD_TESTING_PRIVATE_MACHINE_H_
