// The dialer among several addresses, some of which refuse, close, are silent, or turn this client away.
#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <latch>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "gmock/gmock.h"
#include "lib/base/error.h"
#include "lib/transport/address.h"
#include "lib/transport/address_memory.h"
#include "lib/transport/dialer.h"
#include "lib/transport/testing/door.h"

namespace parley::transport {
namespace {

std::unique_ptr<TcpClient> ConnectTo(const Dialer& dialer) {
  const SocketAddress address = AbstractAddress(absl::string_view(dialer.target()).substr(14));
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  EXPECT_EQ(connect(fd, address.get(), address.size), 0);
  return std::make_unique<TcpClient>(fd);
}

// Two replicas that know the same keys, on addresses of their own.
class FailoverTest : public testing::Test {
 protected:
  void SetUp() override {
    for (TestDoor& replica : replicas_) replica.Start();
  }

  // `patience` is short in place of a test's waiting.
  std::unique_ptr<Dialer> Dial(const std::vector<std::string>& addresses, absl::Duration timeout = absl::Seconds(10)) {
    auto dialer = Dialer::Create({.address = absl::StrJoin(addresses, ","),
                                  .identity = "alice",
                                  .psk = PskOf("alice"),
                                  .timeout = timeout,
                                  .patience = absl::Milliseconds(20)});
    EXPECT_TRUE(dialer.ok()) << dialer.status();
    return *std::move(dialer);
  }

  // Each new dialer draws the order anew: often enough to meet both.
  static constexpr int kOften = 20;

  void ExpectFirstReplica(const std::string& other) {
    for (int i = 0; i < kOften; ++i) {
      const auto dialer = Dial({other, replicas_[0].address()});
      auto near = ConnectTo(*dialer);
      const Handed far = replicas_[0].Next();
      ASSERT_TRUE(near->Send("ping"));
      ASSERT_EQ(far.local->Receive(), "ping");
      // The client ends it: a server that does counts as failed.
      near = nullptr;
      ASSERT_EQ(far.local->ReceiveToEnd(), "");
    }
  }

  TestDoor replicas_[2];
  int counted_[2] = {0, 0};
};

TEST_F(FailoverTest, ClientsSpreadOverTheAddresses) {
  std::vector<std::unique_ptr<Dialer>> dialers;
  std::vector<std::unique_ptr<TcpClient>> clients;
  for (int i = 0; i < 40; ++i) {
    dialers.push_back(Dial({replicas_[0].address(), replicas_[1].address()}));
    clients.push_back(ConnectTo(*dialers.back()));
    // The dialer's end is closed, or it has connected.
    ASSERT_TRUE(clients.back()->Send("x"));
  }
  replicas_[0].Next();
  replicas_[1].Next();
}

TEST_F(FailoverTest, AnAddressThatRefusesIsPassedOver) { ExpectFirstReplica(FreePort()); }

TEST_F(FailoverTest, AnAddressThatClosesIsPassedOver) {
  const TcpServer closes([](int fd) { shutdown(fd, SHUT_RDWR); });
  ExpectFirstReplica(closes.address());
}

TEST_F(FailoverTest, AnAddressThatIsNoParleyServerIsPassedOver) {
  const EchoServer echo;
  ExpectFirstReplica(echo.address());
}

TEST_F(FailoverTest, AnAddressThatAcceptsAndIsSilentIsPassedOver) {
  const SilentServer silent;
  ExpectFirstReplica(silent.address());
}

// What a machine does that is gone: nothing. The kernel drops what comes for a queue that is full.
TEST_F(FailoverTest, AnAddressThatSwallowsPacketsIsPassedOver) {
  const std::string address = FreePort();
  const SocketAddress where = Resolve(*ParseHostPort(address), false, true)->front();
  const Fd listener(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ASSERT_EQ(bind(listener.get(), where.get(), where.size), 0);
  ASSERT_EQ(listen(listener.get(), 0), 0);
  const TcpClient first(address);
  ExpectFirstReplica(address);
}

TEST_F(FailoverTest, AReplicaThatRefusesTheKeyIsPassedOver) {
  replicas_[1].keys_.Revoke("alice");
  ExpectFirstReplica(replicas_[1].address());
}

TEST_F(FailoverTest, ANameThatDoesNotExistIsPassedOver) { ExpectFirstReplica("no-such-host.invalid:7443"); }

// The slow line: what came first is still there when others are silent.
TEST_F(FailoverTest, ASlowServerIsNotCutOffByTheNextTry) {
  std::latch other_tried(1);
  std::atomic<bool> tried = false;
  const TcpServer other([&](int fd) {
    if (!tried.exchange(true)) other_tried.count_down();
    char byte;
    recv(fd, &byte, 1, MSG_PEEK);
    while (recv(fd, &byte, 1, 0) > 0) {
    }
  });
  const TcpProxy slow(replicas_[0].address(), nullptr, [&](std::string*) { other_tried.wait(); });
  const auto dialer = Dial({slow.address(), other.address()});
  const auto near = ConnectTo(*dialer);
  replicas_[0].Next();
}

// A server that has much to do would get only more.
TEST_F(FailoverTest, AServerThatHasAcceptedIsNotTriedTwiceAtOnce) {
  std::atomic<int> accepted = 0;
  const TcpServer silent([&](int fd) {
    ++accepted;
    char byte;
    while (recv(fd, &byte, 1, 0) > 0) {
    }
  });
  const auto dialer = Dial({silent.address()}, absl::Milliseconds(500));
  EXPECT_EQ(ConnectTo(*dialer)->ReceiveToEnd(), "");
  EXPECT_EQ(Reason(dialer->last_error()), "CONNECTION_TIMEOUT") << dialer->last_error();
  EXPECT_EQ(accepted, 1);
}

TEST_F(FailoverTest, AClientThatLosesItsServerGoesOnAtAnother) {
  for (int i = 0; i < kOften; ++i) {
    const std::vector<std::string> addresses = {replicas_[0].address(), replicas_[1].address()};
    const auto dialer = Dial(addresses);
    const auto near = ConnectTo(*dialer);
    ASSERT_TRUE(near->Send("x"));
    while (replicas_[0].handed_count() + replicas_[1].handed_count() <= 2 * i) std::this_thread::yield();
    const int lost = replicas_[0].handed_count() > counted_[0] ? 0 : 1;
    replicas_[lost].Next();
    ASSERT_EQ(replicas_[lost].listener_->CloseKey("alice"), 1);
    EXPECT_EQ(near->ReceiveToEnd(), "");
    // Another dialer of the process: an agent makes one for each connection.
    const auto next = Dial(addresses);
    const auto again = ConnectTo(*next);
    replicas_[1 - lost].Next();
    for (int replica : {0, 1}) counted_[replica] = replicas_[replica].handed_count();
  }
}

TEST_F(FailoverTest, AReplicaThatIsFullIsTriedLast) {
  TestDoor full;
  full.Start({.max_connections = 2});
  const auto holder = Dial({full.address()});
  const auto held = ConnectTo(*holder);
  const Handed far = full.Next();
  // gRPC is told so by a socket that closes, and comes back.
  const auto refused = Dial({full.address()});
  EXPECT_EQ(ConnectTo(*refused)->ReceiveToEnd(), "");
  EXPECT_EQ(Reason(refused->last_error()), "SERVER_FULL");
  ExpectFirstReplica(full.address());
}

TEST_F(FailoverTest, TheErrorThatSaysMostIsTold) {
  replicas_[1].keys_.Revoke("alice");
  const auto reason = [this](const std::vector<std::string>& addresses) {
    const auto dialer = Dial(addresses, absl::Milliseconds(500));
    EXPECT_EQ(ConnectTo(*dialer)->ReceiveToEnd(), "");
    return Reason(dialer->last_error());
  };
  const SilentServer silent;
  const EchoServer echo;
  EXPECT_EQ(reason({FreePort(), replicas_[1].address()}), "KEY_REFUSED");
  EXPECT_EQ(reason({silent.address(), replicas_[1].address()}), "KEY_REFUSED");
  EXPECT_EQ(reason({FreePort(), echo.address()}), "NOT_A_PARLEY_SERVER");
  EXPECT_EQ(reason({silent.address(), FreePort()}), "CONNECTION_TIMEOUT");
  EXPECT_EQ(reason({FreePort(), FreePort()}), "CONNECTION_REFUSED");
}

TEST(AddressMemory, FailedAddressesComeLastAndTheOldestFailureFirst) {
  FakeClock clock;
  AddressMemory memory(&clock);
  std::vector<ServerAddress> all;
  for (int i = 1; i <= 4; ++i) {
    all.push_back({Resolve({absl::StrCat("192.0.2.", i), "80"}, false, true)->front(), 0});
  }
  const auto order = [&] {
    std::string text;
    for (const ServerAddress& each : memory.Order(all)) text += FormatAddress(each.address)[8];
    return text;
  };
  std::set<std::string> seen;
  for (int i = 0; i < 500; ++i) seen.insert(order());
  EXPECT_EQ(seen.size(), 24);
  memory.Failed(all[2].address);
  clock.Advance(absl::Seconds(1));
  memory.Failed(all[0].address);
  seen.clear();
  for (int i = 0; i < 50; ++i) seen.insert(order());
  EXPECT_THAT(seen, testing::UnorderedElementsAre("2431", "4231"));
  memory.Answered(all[2].address);
  while (order()[0] != '3') {
  }
  clock.Advance(absl::Seconds(61));
  while (order()[0] != '1') {
  }
}

TEST(ParseServers, TakesAListOfServers) {
  const auto servers = ParseServers("taskd-0.example:7443,[2001:db8::1]:7444");
  ASSERT_TRUE(servers.ok()) << servers.status();
  ASSERT_EQ(servers->size(), 2);
  EXPECT_EQ((*servers)[0].host, "taskd-0.example");
  EXPECT_EQ((*servers)[1].host, "2001:db8::1");
  EXPECT_EQ((*servers)[1].port, "7444");
  const std::string many = absl::StrCat("a:1", absl::StrJoin(std::vector<std::string>(16, ",a:1"), ""));
  for (const std::string& bad : {std::string(), std::string(","), std::string("a:1,"), std::string("a:1, b:1"),
                                 std::string("a:1,b"), std::string("a:1,:1"), std::string("a:1,b:0"), many}) {
    EXPECT_EQ(Reason(ParseServers(bad).status()), "ADDRESS_INVALID") << bad;
  }
}

}  // namespace
}  // namespace parley::transport
