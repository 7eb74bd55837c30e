#include "lib/transport/dialer.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <utility>

#include "lib/base/error.h"
#include "lib/transport/address.h"
#include "lib/transport/testing/door.h"

namespace parley::transport {
namespace {

std::unique_ptr<TcpClient> ConnectTo(const std::string& target) {
  const SocketAddress address = AbstractAddress(absl::string_view(target).substr(sizeof("unix-abstract:") - 1));
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  EXPECT_EQ(connect(fd, address.get(), address.size), 0);
  return std::make_unique<TcpClient>(fd);
}

int64_t ResidentBytes() {
  std::ifstream statm("/proc/self/statm");
  int64_t total = 0, resident = 0;
  statm >> total >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

class DialerTest : public DoorTest {
 protected:
  std::unique_ptr<Dialer> Dial(const std::string& address, const std::string& identity, const std::string& key) {
    auto dialer =
        Dialer::Create(Dialer::Options{.address = address, .identity = identity, .psk = PskOf(key), .clock = &clock_});
    EXPECT_TRUE(dialer.ok()) << dialer.status();
    return *std::move(dialer);
  }
};

// Sends a stream of bytes that only its seed knows, in pieces of every size; wrong bytes are found where they are.
void SendNoise(TcpClient& to, uint32_t seed, size_t size) {
  std::mt19937 random(seed);
  std::string piece;
  while (size > 0) {
    piece.resize(std::min<size_t>(size, 4 * (1 + random() % 50'000)));
    for (size_t i = 0; i < piece.size(); i += 4) {
      const uint32_t word = random();
      memcpy(&piece[i], &word, std::min<size_t>(4, piece.size() - i));
    }
    ASSERT_TRUE(to.Send(piece));
    size -= piece.size();
  }
  to.ShutDownSending();
}

size_t HashOf(TcpClient& from, size_t* size) {
  std::string all = from.ReceiveToEnd();
  *size = all.size();
  return std::hash<std::string>()(all);
}

size_t HashOfNoise(uint32_t seed, size_t size) {
  int pair[2];
  EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
  TcpClient to(pair[0]), from(pair[1]);
  std::thread sender([&] { SendNoise(to, seed, size); });
  size_t received = 0;
  const size_t hash = HashOf(from, &received);
  sender.join();
  return hash;
}

TEST_F(DialerTest, BigTransfersInBothDirectionsArriveWhole) {
  Start();
  const auto dialer = Dial(address(), "alice", "alice");
  const auto near = ConnectTo(dialer->target());
  const Handed far = Next();
  constexpr size_t kBytes = 48 << 20;
  std::thread up([&] { SendNoise(*near, 1, kBytes); });
  std::thread down([&] { SendNoise(*far.local, 2, kBytes); });
  size_t up_size = 0, down_size = 0, up_hash = 0;
  std::thread up_reader([&] { up_hash = HashOf(*far.local, &up_size); });
  const size_t down_hash = HashOf(*near, &down_size);
  up.join();
  down.join();
  up_reader.join();
  EXPECT_EQ(up_size, kBytes);
  EXPECT_EQ(down_size, kBytes);
  EXPECT_EQ(up_hash, HashOfNoise(1, kBytes));
  EXPECT_EQ(down_hash, HashOfNoise(2, kBytes));
  EXPECT_GT(listener_->stats().bytes_in, static_cast<int64_t>(kBytes));
  EXPECT_GT(listener_->stats().bytes_out, static_cast<int64_t>(kBytes));
}

TEST_F(DialerTest, AStalledReaderStallsTheSenderInsteadOfFillingMemory) {
  Start();
  const auto dialer = Dial(address(), "alice", "alice");
  const auto near = ConnectTo(dialer->target());
  const Handed far = Next();
  const int64_t before = ResidentBytes();
  // Until nothing moves: the sockets' buffers are full and the relays hold at most one read each.
  constexpr size_t kFarTooMuch = 64 << 20;
  const std::string piece(64 * 1024, 'x');
  size_t sent = 0;
  pollfd writable{.fd = near->fd(), .events = POLLOUT, .revents = 0};
  while (sent < kFarTooMuch && poll(&writable, 1, /*milliseconds=*/300) > 0) {
    const ssize_t count = send(near->fd(), piece.data(), piece.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (count > 0) sent += count;
  }
  EXPECT_LT(sent, kFarTooMuch);
  // Far below what was sent, and far above what a sanitizer keeps for itself.
  EXPECT_LT(ResidentBytes() - before, 16 << 20);
  near->ShutDownSending();
  EXPECT_EQ(far.local->ReceiveToEnd(), std::string(sent, 'x'));
}

TEST_F(DialerTest, AnotherProcessCannotUseTheKey) {
  Start();
  const auto dialer = Dial(address(), "alice", "alice");
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    // System calls alone: the other threads, and their locks, did not come along.
    const SocketAddress address = AbstractAddress(absl::string_view(dialer->target()).substr(14));
    const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (connect(fd, address.get(), address.size) != 0) _exit(2);
    send(fd, "let me in", 9, MSG_NOSIGNAL);
    char byte;
    _exit(recv(fd, &byte, 1, 0) <= 0 ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(listener_->stats().connections, 0);
  // This process still can.
  const auto near = ConnectTo(dialer->target());
  EXPECT_EQ(Next().peer->key.subject, "alice");
}

TEST_F(DialerTest, AServerWithoutTheKeyNeverHearsAByteOfOurs) {
  // A member of the same task that knows our identity, but not our key.
  Start();
  const auto dialer = Dial(address(), "alice", "what only the real server knows");
  const auto near = ConnectTo(dialer->target());
  near->Send("secret");
  EXPECT_EQ(near->ReceiveToEnd(), "");
  EXPECT_EQ(Reason(dialer->last_error()), "KEY_REFUSED");
  EXPECT_EQ(handed_count(), 0);
}

TEST_F(DialerTest, AServerThatOnlyPretendsToKnowTheKeyIsNamed) {
  // The server's Finished is all that proves it; this one is wrong.
  Start();
  size_t passed = 0;
  TcpProxy proxy(address(), nullptr, [&passed](std::string* bytes) {
    if (passed > 0) bytes->back() ^= 1;
    passed += bytes->size();
  });
  const auto dialer = Dial(proxy.address(), "alice", "alice");
  const auto near = ConnectTo(dialer->target());
  near->Send("secret");
  EXPECT_EQ(near->ReceiveToEnd(), "");
  EXPECT_EQ(Reason(dialer->last_error()), "SERVER_NOT_GENUINE") << dialer->last_error();
}

TEST_F(DialerTest, TriesEveryAddressOfAName) {
  Start();
  // "localhost" is ::1 first where it is both, and the listener is on 127.0.0.1.
  const std::string port = address().substr(address().rfind(':'));
  const auto dialer = Dial("localhost" + port, "alice", "alice");
  const auto near = ConnectTo(dialer->target());
  EXPECT_EQ(Next().peer->key.subject, "alice");
}

TEST_F(DialerTest, ASuccessClearsTheError) {
  Start();
  keys_.Revoke("alice");
  const auto dialer = Dial(address(), "alice", "alice");
  EXPECT_EQ(ConnectTo(dialer->target())->ReceiveToEnd(), "");
  EXPECT_EQ(Reason(dialer->last_error()), "KEY_REFUSED");
  EXPECT_EQ(dialer->protocol(), "");
  keys_.Add("alice");
  const auto near = ConnectTo(dialer->target());
  Next();
  ASSERT_TRUE(near->Send("x"));
  while (!dialer->last_error().ok()) std::this_thread::yield();
  EXPECT_EQ(dialer->protocol(), "TLS 1.2 ECDHE-PSK-CHACHA20-POLY1305");
}

TEST_F(DialerTest, ItsEndClosesItsConnections) {
  Start();
  auto dialer = Dial(address(), "alice", "alice");
  const auto near = ConnectTo(dialer->target());
  const Handed far = Next();
  dialer.reset();
  EXPECT_EQ(near->ReceiveToEnd(), "");
  EXPECT_EQ(far.local->ReceiveToEnd(), "");
}

TEST_F(DialerTest, ItsEndInTheMiddleOfADialIsClean) {
  SilentServer silent;
  for (int i = 0; i < 50; ++i) {
    auto dialer = Dial(i % 2 == 0 ? silent.address() : "localhost:1", "alice", "alice");
    const auto near = ConnectTo(dialer->target());
    dialer.reset();
    EXPECT_EQ(near->ReceiveToEnd(), "");
  }
}

// The extension as it must look: type, sizes, kind and name.
std::string GreetingFor(const std::string& name) {
  const auto size = [](size_t bytes) { return std::string{'\0', static_cast<char>(bytes)}; };
  return std::string(2, '\0') + size(name.size() + 5) + size(name.size() + 3) + '\0' + size(name.size()) + name;
}

TEST_F(DialerTest, GreetsTheServerByNameAndNoAddress) {
  Start();
  const TcpProxy ingress(address());
  const std::string port = ingress.address().substr(ingress.address().find(':'));
  const auto by_name = Dial("LocalHost" + port, "alice", "alice");
  auto near = ConnectTo(by_name->target());
  EXPECT_EQ(Next().peer->key.subject, "alice");
  const std::string greeting = ingress.client_bytes();
  EXPECT_NE(greeting.find(GreetingFor("localhost")), std::string::npos);

  const auto by_address = Dial(ingress.address(), "alice", "alice");
  near = ConnectTo(by_address->target());
  EXPECT_EQ(Next().peer->key.subject, "alice");
  const std::string second = ingress.client_bytes().substr(greeting.size());
  EXPECT_EQ(second.find("localhost"), std::string::npos);
  EXPECT_EQ(second.find("127.0.0.1"), std::string::npos);
}

TEST_F(DialerTest, BadOptionsAreRefused) {
  const auto reason = [](Dialer::Options options) { return Reason(Dialer::Create(std::move(options)).status()); };
  EXPECT_EQ(reason({.address = "host", .identity = "a", .psk = PskOf("a")}), "ADDRESS_INVALID");
  EXPECT_EQ(reason({.address = ":7443", .identity = "a", .psk = PskOf("a")}), "ADDRESS_INVALID");
  EXPECT_EQ(reason({.address = "host:0", .identity = "a", .psk = PskOf("a")}), "ADDRESS_INVALID");
  EXPECT_EQ(reason({.address = "host:1", .identity = "", .psk = PskOf("a")}), "IDENTITY_INVALID");
  EXPECT_EQ(reason({.address = "host:1", .identity = std::string(129, 'a'), .psk = PskOf("a")}), "IDENTITY_INVALID");
  EXPECT_EQ(reason({.address = "host:1", .identity = "a", .psk = Secret(31)}), "KEY_INVALID");
}

TEST(HostPort, IsReadStrictly) {
  EXPECT_EQ(ParseHostPort("taskd.example:7443")->host, "taskd.example");
  EXPECT_EQ(ParseHostPort("[2001:db8::1]:7443")->host, "2001:db8::1");
  EXPECT_EQ(ParseHostPort("192.0.2.7:07443")->port, "7443");
  EXPECT_EQ(ParseHostPort(":0")->host, "");
  for (const char* bad : {"", "host", "host:", "host:x", "host:65536", "host:-1", "host:+1", "2001:db8::1:7443", "[]:1",
                          "[::1:1", "a b:1", "http://host:1", "host:123456"}) {
    EXPECT_FALSE(ParseHostPort(bad).ok()) << bad;
  }
}

TEST(ServerName, IsADnsName) {
  const auto name = [](const char* host) { return ServerName({host, "443"}); };
  EXPECT_EQ(name("keyd.Parley.example."), "keyd.parley.example");
  EXPECT_EQ(name("a_b-c.x1"), "a_b-c.x1");
  for (const char* none : {"", ".", "192.0.2.7", "127.1", "2001:db8::1", "fe80::1%eth0", "a b", "n\xc3\xa4me"}) {
    EXPECT_EQ(name(none), "") << none;
  }
  EXPECT_EQ(name(std::string(254, 'a').c_str()), "");
}

TEST(Address, IsShownAndGroupedBySource) {
  const auto one = [](const char* host) { return Resolve({host, "80"}, false, true)->front(); };
  EXPECT_EQ(FormatAddress(one("192.0.2.7")), "192.0.2.7:80");
  EXPECT_EQ(FormatAddress(one("2001:db8::1")), "[2001:db8::1]:80");
  EXPECT_EQ(FormatAddress(one("::ffff:192.0.2.7")), "192.0.2.7:80");
  EXPECT_EQ(SourceOf(one("::ffff:192.0.2.7")), SourceOf(one("192.0.2.7")));
  EXPECT_EQ(SourceOf(one("2001:db8::1")), SourceOf(one("2001:db8::ffff:1")));
  EXPECT_NE(SourceOf(one("2001:db8::1")), SourceOf(one("2001:db8:0:1::1")));
  EXPECT_NE(SourceOf(one("192.0.2.7")), SourceOf(one("192.0.2.8")));
}

}  // namespace
}  // namespace parley::transport
