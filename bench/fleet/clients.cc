// The clients of a fleet, all in one process. Reads commands from standard input, a line each, and answers each with a
// line. Moments are seconds of CLOCK_MONOTONIC, latencies are milliseconds.
//
//   join COUNT JOIN_KEY       → "SECONDS"; the clients are members of the key's task
//   issue COUNT CREDENTIAL    → "SECONDS"; the clients are devices, with credentials that this admin has issued
//   connect                   → "SECONDS P50 P99", when each has its stream open; as many at once as kConnectAtOnce
//   expect                    → "ok"; what the clients are told from now on counts
//   told MOMENT               → "P50 P99 LAST LAST_MOMENT" of what each was told, since this moment
//   decline                   → "SECONDS", when the server has noted that each member declines its offer
//   sources COUNT             → "ok"; from now on, clients connect from so many addresses
//   lose INDEX                → "COUNT" of the clients at this one of the key's servers; streams that they open from
//   now
//                               on count
//   back                      → "MOMENT50 MOMENT99 MOMENT_LAST FAILURES", when each of those has a stream again
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include <algorithm>
#include <iostream>
#include <memory>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "bench/fleet/credentials.h"
#include "bench/fleet/live_client.h"
#include "bench/fleet/tally.h"
#include "bench/fleet/waiting_member.h"
#include "bench/fleet/watching_device.h"
#include "lib/base/error.h"
#include "lib/keys/identity.h"
#include "lib/transport/address.h"

namespace parley::bench {
namespace {

// A service lets one address have 128 handshakes under way.
constexpr int kConnectAtOnce = 64;
// Only a fleet that hangs takes so long.
constexpr absl::Duration kLimit = absl::Minutes(5);

class Clients {
 public:
  // Runs one command. Returns its answer.
  absl::StatusOr<std::string> Run(const std::string& line);

 private:
  absl::StatusOr<std::string> Join(int count, std::string key);
  absl::StatusOr<std::string> Issue(int count, const std::string& admin);
  absl::StatusOr<std::string> Connect();
  absl::StatusOr<std::string> Told(double since);
  absl::StatusOr<std::string> Decline();
  absl::StatusOr<std::string> Back();
  absl::Status SetServers(const std::string& addresses);
  int Lose(size_t server);
  void ConnectNext();
  int count() const { return static_cast<int>(clients_.size()); }

  // The fleet and its clients are never freed, as gRPC's threads use them until the process ends.
  Fleet& fleet_ = *new Fleet;
  std::vector<LiveClient*> clients_;
  std::vector<WaitingMember*> members_;
  std::atomic<int> next_ = 0;
};

absl::Status Clients::SetServers(const std::string& addresses) {
  ASSIGN_OR_RETURN(const auto servers, transport::ParseServers(addresses));
  for (const transport::HostPort& where : servers) {
    ASSIGN_OR_RETURN(const auto found, transport::Resolve(where, /*passive=*/false, /*numeric_only=*/true));
    if (found.front().storage.ss_family != AF_INET) return absl::InvalidArgumentError("the server has no IPv4 address");
    fleet_.servers.push_back(*reinterpret_cast<const sockaddr_in*>(found.front().get()));
  }
  return absl::OkStatus();
}

// Returns how many clients are at this server.
int Clients::Lose(size_t server) {
  int lost = 0;
  fleet_.failures = 0;
  fleet_.open.Expect(count());
  for (int i = 0; i < count(); ++i) {
    clients_[i]->ForgetFailures();
    if (clients_[i]->server() == server) {
      ++lost;
    } else {
      fleet_.open.Note(i);
    }
  }
  return lost;
}

absl::StatusOr<std::string> Clients::Join(int count, std::string pasted) {
  ASSIGN_OR_RETURN(const keys::JoinKey key, keys::ParseJoinKey(Secret::Take(std::move(pasted)), absl::Now()));
  RETURN_IF_ERROR(SetServers(key.address));
  const double start = Moment();
  ASSIGN_OR_RETURN(const auto joined, JoinAll(key, count));
  const double seconds = Moment() - start;
  for (int i = 0; i < count; ++i) {
    members_.push_back(new WaitingMember(&fleet_, i, joined[i]));
    clients_.push_back(members_.back());
  }
  return absl::StrCat(seconds);
}

absl::StatusOr<std::string> Clients::Issue(int count, const std::string& admin) {
  const double start = Moment();
  ASSIGN_OR_RETURN(const auto issued, IssueAll(admin, count));
  const double seconds = Moment() - start;
  for (int i = 0; i < count; ++i) {
    ASSIGN_OR_RETURN(const keys::AudienceKey* const key, issued[i].KeyFor(keys::kTaskd));
    if (i == 0) RETURN_IF_ERROR(SetServers(key->address));
    clients_.push_back(new WatchingDevice(&fleet_, i, key->identity, key->secret));
  }
  return absl::StrCat(seconds);
}

void Clients::ConnectNext() {
  if (const int index = next_++; index < count()) clients_[index]->Connect();
}

absl::StatusOr<std::string> Clients::Connect() {
  const double start = Moment();
  fleet_.open.Expect(count());
  fleet_.on_open = [this] { ConnectNext(); };
  for (int i = 0; i < kConnectAtOnce; ++i) ConnectNext();
  ASSIGN_OR_RETURN(const auto moments, fleet_.open.Wait(kLimit, "connect"));
  std::vector<double> seconds;
  for (const LiveClient* client : clients_) seconds.push_back(client->connect_seconds());
  std::sort(seconds.begin(), seconds.end());
  return absl::StrCat(moments.back() - start, " ", Quantile(seconds, 0.5) * 1e3, " ", Quantile(seconds, 0.99) * 1e3);
}

absl::StatusOr<std::string> Clients::Told(double since) {
  ASSIGN_OR_RETURN(const auto moments, fleet_.told.Wait(kLimit, "told"));
  return absl::StrFormat("%.3f %.3f %.3f %.6f", (Quantile(moments, 0.5) - since) * 1e3,
                         (Quantile(moments, 0.99) - since) * 1e3, (moments.back() - since) * 1e3, moments.back());
}

absl::StatusOr<std::string> Clients::Decline() {
  const double start = Moment();
  fleet_.declined.Expect(count());
  for (WaitingMember* member : members_) member->Decline();
  ASSIGN_OR_RETURN(const auto moments, fleet_.declined.Wait(kLimit, "decline"));
  return absl::StrCat(moments.back() - start);
}

absl::StatusOr<std::string> Clients::Back() {
  ASSIGN_OR_RETURN(const auto moments, fleet_.open.Wait(kLimit, "back"));
  return absl::StrFormat("%.6f %.6f %.6f %d", Quantile(moments, 0.5), Quantile(moments, 0.99), moments.back(),
                         fleet_.failures.load());
}

absl::StatusOr<std::string> Clients::Run(const std::string& line) {
  std::istringstream words(line);
  std::string command, text;
  int64_t number = 0;
  double moment = 0;
  words >> command;
  if (command == "join" && words >> number >> text) return Join(static_cast<int>(number), std::move(text));
  if (command == "issue" && words >> number >> text) return Issue(static_cast<int>(number), text);
  if (command == "connect") return Connect();
  if (command == "told" && words >> moment) return Told(moment);
  if (command == "decline") return Decline();
  if (command == "back") return Back();
  if (command == "lose" && words >> number) return absl::StrCat(Lose(static_cast<size_t>(number)));
  if (command == "expect") {
    fleet_.told.Expect(count());
  } else if (command == "sources" && words >> number) {
    fleet_.sources = static_cast<int>(number);
  } else {
    return absl::InvalidArgumentError(absl::StrCat("unknown command: ", command));
  }
  return "ok";
}

}  // namespace
}  // namespace parley::bench

int main() {
  signal(SIGPIPE, SIG_IGN);
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  parley::bench::Clients clients;
  for (std::string line; std::getline(std::cin, line);) {
    const auto answer = clients.Run(line);
    if (!answer.ok()) {
      std::cerr << "clients: " << answer.status().message() << std::endl;
      _Exit(1);
    }
    std::cout << *answer << std::endl;
  }
  // The process ends without waiting for the streams.
  _Exit(0);
}
