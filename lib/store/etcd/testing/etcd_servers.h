// Real members of an etcd for tests: processes of the `etcd` in PATH, with data in the test's own folder. `etcdctl`
// must be of the same version, and so must `etcdutl` from 3.6 on.
//
// Threads: not thread-safe, but for const methods.
#ifndef PARLEY_LIB_STORE_ETCD_TESTING_ETCD_SERVERS_H_
#define PARLEY_LIB_STORE_ETCD_TESTING_ETCD_SERVERS_H_

#include <sys/types.h>

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "lib/store/etcd/etcd_store.h"
#include "lib/store/etcd/testing/private_machine.h"

namespace parley::store {

class EtcdServers {
 public:
  struct Options {
    int members = 1;
    // Mutual TLS for clients.
    bool tls = false;
    // With it, clients need no certificate.
    bool open = false;
    // Each member on a host of its own, in place of all on one address of loopback. Needs EnterPrivateMachine, and TLS.
    bool apart = false;
    // More flags for each member.
    std::vector<std::string> flags;
  };

  // Makes folders and certificates. No member runs yet.
  explicit EtcdServers(Options options);
  // Kills the members and removes the folder.
  ~EtcdServers();

  // Starts all members and returns when each of them serves.
  void StartAll();
  // Begins to start a member; AwaitServing returns when it serves.
  void Start(int member);
  void AwaitServing(int member);
  void Kill(int member);
  void Signal(int member, int signal) const;
  // Waits until each member answers a linearizable read.
  void AwaitHealthy() const;
  // Waits until a member that runs says that it leads.
  int Leader() const;

  // Returns what OpenEtcdStore needs to reach all members, and the member of this number first.
  EtcdOptions ClientOptions(const std::string& prefix, int first = 0) const;
  // Runs etcdctl against one member. Returns what it prints, and adds a failure to the test if it fails.
  std::string Control(int member, const std::string& arguments) const;

  const std::string& folder() const { return folder_; }
  std::string DataFolder(int member) const;
  // Makes a CA and, under it, a certificate for loopback and for a name.
  void MakeCertificates(const std::string& name, const std::string& dns_name) const;
  // Gives the members, none of which runs, the data of a snapshot, which `etcdctl snapshot save` has made.
  void Restore(const std::string& snapshot);
  // The hosts of members that are apart.
  Hosts* hosts() const { return hosts_.get(); }
  int ClientPort(int member) const { return members_[member].client_port; }

 private:
  struct Member {
    int client_port = 0;
    int peer_port = 0;
    pid_t pid = -1;
    int log = -1;
    std::thread reader;
  };
  // How etcdctl is called against one member.
  std::string ControlProgram(int member) const;
  // The flags that say who is in the cluster.
  std::string ClusterFlags(int member) const;
  std::vector<std::string> Flags(int member) const;
  std::string Name(int member) const;
  std::string ClientUrl(int member) const;
  std::string PeerUrl(int member) const;

  const Options options_;
  std::string Host(int member) const { return hosts_ == nullptr ? host_ : Hosts::Address(member); }

  const std::string host_;
  const std::unique_ptr<Hosts> hosts_;
  std::string folder_;
  std::string data_suffix_;
  std::vector<Member> members_;
};

}  // namespace parley::store

#endif  // PARLEY_LIB_STORE_ETCD_TESTING_ETCD_SERVERS_H_
