// Attacks on the door.
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "lib/base/encoding.h"
#include "lib/transport/address.h"
#include "lib/transport/testing/door.h"

namespace parley::transport {
namespace {

// The records of a stream of TLS bytes as type, version and length, e.g. "16 0303 4a; 15 0303 2;".
std::string Shape(absl::string_view bytes) {
  std::string shape;
  while (bytes.size() >= 5) {
    const size_t length = static_cast<uint8_t>(bytes[3]) * 256u + static_cast<uint8_t>(bytes[4]);
    absl::StrAppend(&shape, HexEncode(bytes.substr(0, 1)), " ", HexEncode(bytes.substr(1, 2)), " ", absl::Hex(length),
                    "; ");
    bytes.remove_prefix(std::min(bytes.size(), 5 + length));
  }
  return shape + HexEncode(bytes);
}

std::string LastRecord(absl::string_view bytes) {
  absl::string_view last;
  while (bytes.size() >= 5) {
    const size_t length = 5 + static_cast<uint8_t>(bytes[3]) * 256u + static_cast<uint8_t>(bytes[4]);
    last = bytes.substr(0, length);
    bytes.remove_prefix(std::min(bytes.size(), length));
  }
  return std::string(last);
}

class HostileTest : public DoorTest {
 protected:
  // Keys that ended in the two ways.
  void StartWithEndedKeys() {
    Start();
    keys_.Add("expired", clock_.Now() - absl::Seconds(1));
    keys_.Add("revoked");
    keys_.Revoke("revoked");
  }

  // The first bytes of an honest client.
  static std::string HonestHello(TlsClient::Options options) {
    std::string hello;
    {
      TcpServer sink([&hello](int fd) {
        hello.resize(16 * 1024);
        hello.resize(std::max<ssize_t>(0, recv(fd, hello.data(), hello.size(), 0)));
        shutdown(fd, SHUT_RDWR);
      });
      TlsClient client(sink.address(), std::move(options));
      client.Handshake();
    }
    return hello;
  }

  // Sends bytes, ends, and waits until the listener has had enough of them. What it answered.
  std::string Throw(absl::string_view bytes) {
    TcpClient client(address());
    client.Send(bytes);
    client.ShutDownSending();
    return client.ReceiveToEnd();
  }
};

TEST_F(HostileTest, EveryPskRefusalIsTheSameOnTheWire) {
  StartWithEndedKeys();
  struct Case {
    const char* identity;
    const char* key;
  };
  std::string shape;
  for (const Case& each : {Case{"alice", "wrong"}, Case{"nobody", "nobody"}, Case{"expired", "expired"},
                           Case{"revoked", "revoked"}, Case{"expired", "wrong"}, Case{"revoked", "wrong"}}) {
    TlsClient client(address(), TlsClient::Psk(each.identity, each.key));
    EXPECT_FALSE(client.Handshake()) << each.identity;
    EXPECT_EQ(client.Read(), "");
    // A plaintext alert, fatal, bad_record_mac.
    EXPECT_EQ(HexEncode(LastRecord(client.server_bytes())), "15030300020214") << each.identity;
    if (shape.empty()) shape = Shape(client.server_bytes());
    EXPECT_EQ(Shape(client.server_bytes()), shape) << each.identity;
  }
  EXPECT_EQ(handed_count(), 0);
  EXPECT_EQ(listener_->stats().handshakes["refused"], 6);
  ExpectServes();
}

TEST_F(HostileTest, EveryCertificateRefusalIsTheSameOnTheWire) {
  StartWithEndedKeys();
  const crypto::EcKey alice = EcKeyOf("alice"), wrong = EcKeyOf("wrong"), nobody = EcKeyOf("nobody");
  const crypto::EcKey expired = EcKeyOf("expired"), revoked = EcKeyOf("revoked");
  std::vector<std::pair<std::string, TlsClient::Options>> cases;
  cases.emplace_back("wrong key", TlsClient::Certificate("alice", wrong));
  cases.emplace_back("unknown", TlsClient::Certificate("nobody", nobody));
  cases.emplace_back("expired", TlsClient::Certificate("expired", expired));
  cases.emplace_back("revoked", TlsClient::Certificate("revoked", revoked));
  // The right certificate, which is no secret, without its key: CertificateVerify fails.
  cases.emplace_back("bad signature", TlsClient::Certificate("alice", alice));
  cases.back().second.signing_key = &wrong;
  for (auto& [name, options] : cases) {
    TlsClient client(address(), std::move(options));
    EXPECT_TRUE(client.Handshake()) << name << ": with TLS 1.3 a client is done first";
    EXPECT_EQ(client.Read(), "") << name;
    // Fatal, decrypt_error; on the wire one encrypted record of 2 + 1 + 16 bytes.
    EXPECT_EQ(HexEncode(client.alerts()), "0233") << name;
    EXPECT_EQ(HexEncode(LastRecord(client.server_bytes()).substr(0, 5)), "1703030013") << name;
  }
  EXPECT_EQ(handed_count(), 0);
  EXPECT_EQ(listener_->stats().handshakes["refused"], 5);
  ExpectServes();
}

TEST_F(HostileTest, ACertificateOfOurMakingWithoutAnIdentityIsRefused) {
  Start();
  const crypto::EcKey key = EcKeyOf("alice");
  TlsClient::Options options = TlsClient::Certificate("alice", key);
  const std::string ca_pem = *crypto::MakeCaCertificate(key, "Test", absl::Now(), absl::Now() + absl::Hours(1));
  options.certificate_pem = *crypto::MakeServerCertificate(key, ca_pem, key.PublicKey(), {"alice"}, absl::Now(),
                                                           absl::Now() + absl::Hours(1));
  TlsClient client(address(), std::move(options));
  client.Handshake();
  EXPECT_EQ(client.Read(), "");
  EXPECT_EQ(HexEncode(client.alerts()), "0233");
  EXPECT_EQ(handed_count(), 0);
}

TEST_F(HostileTest, Tls13WithoutACertificateIsRefused) {
  Start();
  TlsClient::Options options;
  options.version = 0x0304;
  TlsClient client(address(), std::move(options));
  client.Handshake();
  EXPECT_EQ(client.Read(), "");
  EXPECT_EQ(handed_count(), 0);
  EXPECT_EQ(listener_->stats().handshakes["refused"], 1);
}

TEST_F(HostileTest, OtherSuitesOfTls12AreRefused) {
  Start();
  const crypto::EcKey key = EcKeyOf("alice");
  for (const char* suites : {"ECDHE-PSK-AES128-CBC-SHA", "ECDHE-PSK-AES256-CBC-SHA", "PSK-AES128-CBC-SHA",
                             "ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305", "AES128-SHA"}) {
    TlsClient::Options options = TlsClient::Psk("alice", "alice");
    options.ciphers = suites;
    TlsClient client(address(), std::move(options));
    EXPECT_FALSE(client.Handshake()) << suites;
  }
  // A certificate that TLS 1.3 would take buys nothing in 1.2.
  TlsClient::Options options = TlsClient::Certificate("alice", key);
  options.version = 0x0303;
  options.ciphers = "ECDHE-ECDSA-CHACHA20-POLY1305";
  TlsClient client(address(), std::move(options));
  EXPECT_FALSE(client.Handshake());
  EXPECT_EQ(handed_count(), 0);
  ExpectServes();
}

TEST_F(HostileTest, PlaintextIsRefused) {
  Start();
  for (const absl::string_view bytes :
       {absl::string_view("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), absl::string_view("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        absl::string_view("\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 16), absl::string_view("\x15\x03\x03\x00\x02\x01\x00", 7),
        absl::string_view("")}) {
    Throw(bytes);
  }
  EXPECT_EQ(handed_count(), 0);
  ExpectServes();
}

TEST_F(HostileTest, ARecordedSessionReplayedIsRefused) {
  Start();
  std::string recorded;
  {
    TcpProxy proxy(address());
    TlsClient client(proxy.address(), TlsClient::Psk("alice", "alice"));
    ASSERT_TRUE(client.Handshake());
    const Handed handed = Next();
    ASSERT_TRUE(client.Write("transfer everything"));
    EXPECT_EQ(handed.local->Receive(), "transfer everything");
    recorded = proxy.client_bytes();
  }
  ASSERT_GT(recorded.size(), 200u);
  for (int i = 0; i < 3; ++i) Throw(recorded);
  EXPECT_EQ(handed_count(), 1);
  EXPECT_EQ(listener_->stats().handshakes["refused"], 3);
  ExpectServes();
}

TEST_F(HostileTest, AFlippedBitEndsTheConnection) {
  Start();
  // Each direction in turn; the handshake passes untouched.
  for (const bool to_server : {true, false}) {
    std::atomic<bool> armed{false};
    const TcpProxy::Tamper flip = [&armed](std::string* bytes) {
      if (armed.exchange(false)) bytes->back() ^= 1;
    };
    TcpProxy proxy(address(), to_server ? flip : nullptr, to_server ? nullptr : flip);
    TlsClient client(proxy.address(), TlsClient::Psk("alice", "alice"));
    ASSERT_TRUE(client.Handshake());
    const Handed handed = Next();
    ASSERT_TRUE(client.Write("fine"));
    EXPECT_EQ(handed.local->Receive(), "fine");
    armed = true;
    if (to_server) {
      ASSERT_TRUE(client.Write("pay 10 to bob"));
      EXPECT_EQ(handed.local->Receive(), "");
      EXPECT_EQ(client.Read(), "");
    } else {
      ASSERT_TRUE(handed.local->Send("pay 10 to bob"));
      EXPECT_EQ(client.Read(), "");
    }
  }
  ExpectServes();
}

TEST_F(HostileTest, EveryFlippedByteOfAHandshakeIsRefused) {
  Start();
  // The size counts the client's bytes, in whichever message they are.
  const size_t size = [this] {
    TcpProxy proxy(address());
    TlsClient client(proxy.address(), TlsClient::Psk("alice", "alice"));
    EXPECT_TRUE(client.Handshake());
    Next();
    return proxy.client_bytes().size();
  }();
  const int before = handed_count();
  for (size_t position = 0; position < size; position += 3) {
    size_t passed = 0;
    TcpProxy proxy(address(), [&passed, position](std::string* bytes) {
      if (position >= passed && position < passed + bytes->size()) (*bytes)[position - passed] ^= 0x40;
      passed += bytes->size();
    });
    TlsClient client(proxy.address(), TlsClient::Psk("alice", "alice"));
    // A length that now asks for more leaves the server waiting, so this client gives up.
    client.SetTimeout(absl::Milliseconds(20));
    EXPECT_FALSE(client.Handshake()) << position;
  }
  EXPECT_EQ(handed_count(), before);
  ExpectServes();
}

TEST_F(HostileTest, TenThousandRandomAndMutatedHellos) {
  Start();
  const crypto::EcKey key = EcKeyOf("alice");
  const std::string hellos[] = {HonestHello(TlsClient::Psk("alice", "alice")),
                                HonestHello(TlsClient::Certificate("alice", key))};
  std::mt19937 random(20221122);
  const auto below = [&random](size_t bound) { return std::uniform_int_distribution<size_t>(0, bound - 1)(random); };
  for (int i = 0; i < 10'000; ++i) {
    std::string bytes = hellos[i % 2];
    switch (below(5)) {
      case 0:
        bytes.resize(below(300));
        for (char& byte : bytes) byte = static_cast<char>(below(256));
        break;
      case 1:
        bytes.resize(below(bytes.size()));
        break;
      case 2:
        bytes.insert(below(bytes.size()), std::string(1 + below(40), static_cast<char>(below(256))));
        break;
      default:
        break;
    }
    for (size_t flips = below(6); flips > 0 && !bytes.empty(); --flips) {
      bytes[below(bytes.size())] = static_cast<char>(below(256));
    }
    Throw(bytes);
  }
  EXPECT_EQ(handed_count(), 0);
  ExpectServes();
}

TEST_F(HostileTest, SlowSendersAndHalfOpenConnectionsRunIntoTheDeadline) {
  Listener::Options options;
  options.handshake_timeout = absl::Seconds(10);
  Start(std::move(options));
  const std::string hello = HonestHello(TlsClient::Psk("alice", "alice"));
  std::vector<std::unique_ptr<TcpClient>> clients;
  for (int i = 0; i < 40; ++i) {
    clients.push_back(std::make_unique<TcpClient>(address()));
    ASSERT_TRUE(clients.back()->Send(absl::string_view(hello).substr(0, i)));
  }
  while (listener_->stats().handshakes_under_way < 40) std::this_thread::yield();
  ExpectServes();
  // A byte now and then does not move the deadline.
  for (int second = 0; second < 9; ++second) {
    clock_.Advance(absl::Seconds(1));
    for (int i = 1; i < 40; ++i) clients[i]->Send(absl::string_view(hello).substr(i + second, 1));
  }
  EXPECT_EQ(listener_->stats().handshakes["timeout"], 0);
  clock_.Advance(absl::Seconds(1));
  for (auto& client : clients) EXPECT_EQ(client->ReceiveToEnd(), "");
  EXPECT_EQ(listener_->stats().handshakes["timeout"], 40);
  EXPECT_EQ(listener_->stats().handshakes_under_way, 0);
  ExpectServes();
}

// A socket that is bound to an address of this machine.
int SocketFrom(const std::string& host) {
  const SocketAddress from = Resolve({host, "0"}, /*passive=*/true, /*numeric_only=*/true)->front();
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  EXPECT_EQ(bind(fd, from.get(), from.size), 0);
  return fd;
}

TEST_F(HostileTest, HandshakesAreCapped) {
  Listener::Options options;
  options.max_handshakes = 4;
  Start(std::move(options));
  std::vector<std::unique_ptr<TcpClient>> clients;
  for (int i = 0; i < 4; ++i) clients.push_back(std::make_unique<TcpClient>(address()));
  while (listener_->stats().handshakes_under_way < 4) std::this_thread::yield();
  TcpClient fifth(address());
  EXPECT_EQ(fifth.Receive(), "");
  EXPECT_EQ(listener_->stats().handshakes["overloaded"], 1);
  clients.clear();
  while (listener_->stats().handshakes_under_way > 0) std::this_thread::yield();
  ExpectServes();
}

TEST_F(HostileTest, OneAddressThatHasEveryPlaceShutsNobodyOut) {
  Listener::Options options;
  options.max_handshakes = 4;
  Start(std::move(options));
  std::vector<std::unique_ptr<TcpClient>> clients;
  for (int i = 0; i < 4; ++i) clients.push_back(std::make_unique<TcpClient>(SocketFrom("127.0.0.2"), address()));
  while (listener_->stats().handshakes_under_way < 4) std::this_thread::yield();
  ExpectServes();
  EXPECT_EQ(clients[0]->Receive(), "");
  EXPECT_EQ(listener_->stats().handshakes["overloaded"], 1);
}

TEST_F(HostileTest, RunningOutOfFileDescriptorsIsSurvived) {
  Start();
  // The clients' descriptors exist before the shortage: it must be the listener that runs out.
  constexpr int kClients = 64;
  std::vector<int> sockets;
  for (int i = 0; i < kClients; ++i) sockets.push_back(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  rlimit before{};
  getrlimit(RLIMIT_NOFILE, &before);
  const int next = dup(0);
  close(next);
  const rlimit scarce{.rlim_cur = static_cast<rlim_t>(next + 3), .rlim_max = before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &scarce), 0);
  std::vector<std::unique_ptr<TcpClient>> clients;
  for (const int fd : sockets) clients.push_back(std::make_unique<TcpClient>(fd, address()));
  while (listener_->stats().handshakes["overloaded"] < kClients - 3) std::this_thread::yield();
  // Those are told so, rather than left in the queue.
  int closed = 0;
  for (int i = 3; i < kClients; ++i) closed += clients[i]->Receive().empty();
  EXPECT_EQ(closed, kClients - 3);
  // And a peer whose handshake completes without a descriptor left for its pair is let down, not the listener.
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
  clients.clear();
  EXPECT_EQ(handed_count(), 0);
  ExpectServes();
}

}  // namespace
}  // namespace parley::transport
