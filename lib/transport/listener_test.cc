// What the door promises to those who may come in, and to those who may no longer.
#include "lib/transport/listener.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "lib/transport/testing/door.h"

namespace parley::transport {
namespace {

using ListenerTest = DoorTest;

TEST_F(ListenerTest, APskPeerIsKnown) {
  Start();
  TlsClient client(address(), TlsClient::Psk("alice", "alice"));
  ASSERT_TRUE(client.Handshake());
  const Handed handed = Next();
  EXPECT_EQ(handed.peer->key.key_id, "alice");
  EXPECT_EQ(handed.peer->key.subject, "alice");
  EXPECT_EQ(handed.peer->key.role, 7);
  EXPECT_EQ(handed.peer->protocol, "TLS 1.2 ECDHE-PSK-CHACHA20-POLY1305");
  EXPECT_TRUE(absl::StartsWith(handed.peer->remote_address, "127.0.0.1:")) << handed.peer->remote_address;
  EXPECT_EQ(handed.application, Application::kGrpc);
}

TEST_F(ListenerTest, ACertificatePeerIsKnown) {
  Start();
  const crypto::EcKey key = EcKeyOf("alice");
  TlsClient client(address(), TlsClient::Certificate("alice", key));
  ASSERT_TRUE(client.Handshake());
  const Handed handed = Next();
  EXPECT_EQ(handed.peer->key.subject, "alice");
  EXPECT_TRUE(absl::StartsWith(handed.peer->protocol, "TLS 1.3 TLS_")) << handed.peer->protocol;
  ASSERT_TRUE(client.Write("ping"));
  EXPECT_EQ(handed.local->Receive(), "ping");
}

TEST_F(ListenerTest, TheLocalEndsNameIsTheConnectionsId) {
  Start();
  TlsClient client(address(), TlsClient::Psk("alice", "alice"));
  ASSERT_TRUE(client.Handshake());
  const Handed handed = Next();
  sockaddr_un name{};
  socklen_t size = sizeof(name);
  ASSERT_EQ(getpeername(handed.local->fd(), reinterpret_cast<sockaddr*>(&name), &size), 0);
  const std::string path(name.sun_path + 1, size - offsetof(sockaddr_un, sun_path) - 1);
  const ConnectionId id = handed.peer->connection_id;
  EXPECT_EQ(path, id.SocketName());
  EXPECT_EQ(path, "parley-" + id.ToString());
  EXPECT_EQ(id.ToString().size(), 32u);
  EXPECT_EQ(listener_->FindPeer(id), handed.peer);
  EXPECT_EQ(ConnectionId::FromGrpcPeer("unix-abstract:" + path), id);
  EXPECT_EQ(ConnectionId::FromGrpcPeer("unix-abstract:%00" + path), id);
  EXPECT_EQ(ConnectionId::FromGrpcPeer("unix-abstract:" + id.SocketName("-rest7")), id);
  for (const std::string& other : {path, "unix-abstract:" + id.ToString(), "unix-abstract:" + path + "0",
                                   std::string("unix-abstract:parley-"), std::string("ipv4:127.0.0.1:80")}) {
    EXPECT_EQ(ConnectionId::FromGrpcPeer(other), std::nullopt) << other;
  }
}

TEST_F(ListenerTest, AClosedConnectionIsForgotten) {
  Start();
  auto client = std::make_unique<TlsClient>(address(), TlsClient::Psk("alice", "alice"));
  ASSERT_TRUE(client->Handshake());
  const Handed handed = Next();
  client.reset();
  EXPECT_EQ(handed.local->Receive(), "");
  // The close is seen here first, and in the table a moment later in the same turn of the loop.
  while (listener_->stats().connections > 0) std::this_thread::yield();
  EXPECT_EQ(listener_->FindPeer(handed.peer->connection_id), nullptr);
}

TEST_F(ListenerTest, APeerThatOffersPskGetsItEvenIfItOffersTls13) {
  Start();
  TlsClient::Options options = TlsClient::Psk("alice", "alice");
  options.version = 0x0304;
  TlsClient client(address(), std::move(options));
  ASSERT_TRUE(client.Handshake());
  EXPECT_EQ(Next().peer->protocol, "TLS 1.2 ECDHE-PSK-CHACHA20-POLY1305");
}

TEST_F(ListenerTest, NothingIsResumable) {
  Start();
  const crypto::EcKey key = EcKeyOf("alice");
  for (const bool psk : {true, false}) {
    TlsClient client(address(), psk ? TlsClient::Psk("alice", "alice") : TlsClient::Certificate("alice", key));
    ASSERT_TRUE(client.Handshake());
    const Handed handed = Next();
    ASSERT_TRUE(handed.local->Send("after any ticket"));
    EXPECT_EQ(client.Read(), "after any ticket");
    EXPECT_FALSE(client.resumable());
  }
}

TEST_F(ListenerTest, HalfCloseLeavesTheOtherDirectionOpen) {
  Start();
  TlsClient client(address(), TlsClient::Psk("alice", "alice"));
  ASSERT_TRUE(client.Handshake());
  const Handed handed = Next();
  ASSERT_TRUE(client.Write("last words"));
  client.Close();
  EXPECT_EQ(handed.local->ReceiveToEnd(), "last words");
  ASSERT_TRUE(handed.local->Send("answer"));
  handed.local->ShutDownSending();
  EXPECT_EQ(client.Read(), "answer");
}

TEST_F(ListenerTest, ALocalCloseReachesThePeer) {
  Start();
  TlsClient client(address(), TlsClient::Psk("alice", "alice"));
  ASSERT_TRUE(client.Handshake());
  Handed handed = Next();
  ASSERT_TRUE(handed.local->Send("bye"));
  handed.local.reset();
  EXPECT_EQ(client.Read(), "bye");
  EXPECT_EQ(client.Read(), "");
  // TLS's own end came first: nothing was cut off.
  EXPECT_EQ(client.alerts(), std::string("\x01\x00", 2));
}

TEST_F(ListenerTest, AlpnChoosesTheApplication) {
  Listener::Options options;
  options.accept_rest = true;
  Start(std::move(options));
  const auto choose = [this](std::vector<std::string> offered) {
    TlsClient::Options options = TlsClient::Psk("alice", "alice");
    options.alpn = std::move(offered);
    TlsClient client(address(), std::move(options));
    if (!client.Handshake()) return std::string("refused");
    const bool rest = Next().application == Application::kRest;
    return absl::StrCat(client.alpn(), rest ? " rest" : " grpc");
  };
  EXPECT_EQ(choose({}), " grpc");
  EXPECT_EQ(choose({"h2"}), "h2 grpc");
  EXPECT_EQ(choose({"grpc-exp", "h2"}), "h2 grpc");
  EXPECT_EQ(choose({"http/1.1"}), "http/1.1 rest");
  EXPECT_EQ(choose({"h2", "http/1.1"}), "http/1.1 rest");
  EXPECT_EQ(choose({"spdy/3"}), "refused");
}

TEST_F(ListenerTest, RestIsRefusedWhereItIsNotWanted) {
  Start();
  for (const auto& [offered, expected] : {std::pair("http/1.1", false), std::pair("h2", true)}) {
    TlsClient::Options options = TlsClient::Psk("alice", "alice");
    options.alpn = {offered};
    TlsClient client(address(), std::move(options));
    EXPECT_EQ(client.Handshake(), expected) << offered;
  }
}

TEST_F(ListenerTest, ANewCertificateIsUsedForNewConnections) {
  Start();
  const crypto::EcKey ca = EcKeyOf("ca"), server = EcKeyOf("other server"), key = EcKeyOf("alice");
  const absl::Time now = absl::Now();
  const std::string ca_pem = *crypto::MakeCaCertificate(ca, "Test", now, now + absl::Hours(1));
  const std::string pem =
      *crypto::MakeServerCertificate(ca, ca_pem, server.PublicKey(), {"other.example"}, now, now + absl::Hours(1));
  EXPECT_EQ(Reason(listener_->ReplaceCertificate(pem, EcKeyOf("not its key").ToPem())), "CERTIFICATE_INVALID");
  EXPECT_EQ(Reason(listener_->ReplaceCertificate("garbage", server.ToPem())), "CERTIFICATE_INVALID");
  ASSERT_EQ(listener_->ReplaceCertificate(pem, server.ToPem()), absl::OkStatus());
  TlsClient client(address(), TlsClient::Certificate("alice", key));
  ASSERT_TRUE(client.Handshake());
  EXPECT_EQ(*crypto::PublicKeyOfCertificate(client.server_certificate()), server.PublicKey());
}

TEST_F(ListenerTest, WithoutACertificateOnlyPskIsServed) {
  Start();
  auto listener = Listener::Create(Listener::Options{.address = "127.0.0.1:0", .threads = 1}, &keys_);
  ASSERT_TRUE(listener.ok());
  int handed = 0;
  (*listener)->Start([&handed](int fd, std::shared_ptr<const Peer>, Application) {
    ++handed;
    close(fd);
  });
  const crypto::EcKey key = EcKeyOf("alice");
  TlsClient certificate((*listener)->address(), TlsClient::Certificate("alice", key));
  EXPECT_FALSE(certificate.Handshake());
  TlsClient psk((*listener)->address(), TlsClient::Psk("alice", "alice"));
  EXPECT_TRUE(psk.Handshake());
  (*listener)->Shutdown();
  EXPECT_EQ(handed, 1);
}

TEST_F(ListenerTest, BadOptionsAreRefused) {
  const auto reason = [this](Listener::Options options) {
    return Reason(Listener::Create(std::move(options), &keys_).status());
  };
  EXPECT_EQ(reason({.address = "no port"}), "ADDRESS_INVALID");
  EXPECT_EQ(reason({.address = "192.0.2.1:7443"}), "ADDRESS_INVALID");
  EXPECT_EQ(reason({.address = "127.0.0.1:0", .certificate_pem = "x"}), "CERTIFICATE_INVALID");
}

TEST_F(ListenerTest, ListensOnEveryAddressOfBothFamilies) {
  auto listener = Listener::Create(Listener::Options{.address = ":0", .threads = 1}, &keys_);
  ASSERT_TRUE(listener.ok()) << listener.status();
  (*listener)->Start([](int fd, std::shared_ptr<const Peer>, Application) { close(fd); });
  keys_.Add("alice");
  TlsClient client((*listener)->address(), TlsClient::Psk("alice", "alice"));
  EXPECT_TRUE(client.Handshake());
}

TEST_F(ListenerTest, StopAcceptingKeepsLiveConnections) {
  Start();
  TlsClient client(address(), TlsClient::Psk("alice", "alice"));
  ASSERT_TRUE(client.Handshake());
  const Handed handed = Next();
  listener_->StopAccepting();
  TcpClient late(address());
  EXPECT_FALSE(late.connected());
  ASSERT_TRUE(client.Write("still here"));
  EXPECT_EQ(handed.local->Receive(), "still here");
  listener_->Shutdown();
  EXPECT_EQ(client.Read(), "");
}

TEST_F(ListenerTest, DrainBringsAcrossWhatWasWrittenBeforeTheLocalEnd) {
  Start();
  auto client = std::make_unique<TlsClient>(address(), TlsClient::Psk("alice", "alice"));
  ASSERT_TRUE(client->Handshake());
  Handed handed = Next();
  // Until nothing moves any more: the kernel is full, and so are the relay and the local socket.
  const std::string piece(65536, 'x');
  size_t sent = 0;
  for (pollfd writable{handed.local->fd(), POLLOUT, 0}; poll(&writable, 1, /*milliseconds=*/100) > 0;) {
    const ssize_t count = send(writable.fd, piece.data(), piece.size(), MSG_DONTWAIT);
    if (count > 0) sent += static_cast<size_t>(count);
  }
  handed.local.reset();
  // Closes nothing itself, also when its time is over.
  listener_->Drain(absl::InfinitePast());
  EXPECT_EQ(listener_->stats().connections, 1);
  std::thread drain([&] { listener_->Drain(absl::Now() + absl::Seconds(20)); });
  size_t received = 0;
  for (std::string read; !(read = client->Read()).empty();) received += read.size();
  client.reset();
  EXPECT_EQ(received, sent);
  drain.join();
  EXPECT_EQ(listener_->stats().connections, 0);
}

using RevocationTest = DoorTest;

TEST_F(RevocationTest, ClosesTheKeysConnectionsAndNoOther) {
  Start();
  TlsClient first(address(), TlsClient::Psk("alice", "alice"));
  ASSERT_TRUE(first.Handshake());
  const Handed first_handed = Next();
  const crypto::EcKey key = EcKeyOf("alice");
  TlsClient second(address(), TlsClient::Certificate("alice", key));
  ASSERT_TRUE(second.Handshake());
  const Handed second_handed = Next();
  TlsClient other(address(), TlsClient::Psk("bob", "bob"));
  ASSERT_TRUE(other.Handshake());
  const Handed other_handed = Next();

  // The clock stands still: nothing but this closes them.
  keys_.Revoke("alice");
  EXPECT_EQ(listener_->CloseKey("alice"), 2);
  EXPECT_EQ(listener_->FindPeer(first_handed.peer->connection_id), nullptr);
  EXPECT_EQ(first.Read(), "");
  EXPECT_EQ(second.Read(), "");
  EXPECT_EQ(first_handed.local->Receive(), "");
  EXPECT_EQ(second_handed.local->Receive(), "");

  EXPECT_EQ(listener_->CloseKey("alice"), 0);
  ASSERT_TRUE(other.Write("here"));
  EXPECT_EQ(other_handed.local->Receive(), "here");
}

TEST_F(RevocationTest, RecheckClosesWhatTheSourceNoLongerKnows) {
  Start();
  TlsClient alice(address(), TlsClient::Psk("alice", "alice"));
  ASSERT_TRUE(alice.Handshake());
  const Handed alice_handed = Next();
  TlsClient bob(address(), TlsClient::Psk("bob", "bob"));
  ASSERT_TRUE(bob.Handshake());
  const Handed bob_handed = Next();
  keys_.Revoke("alice");
  listener_->Recheck();
  EXPECT_EQ(alice.Read(), "");
  ASSERT_TRUE(bob.Write("here"));
  EXPECT_EQ(bob_handed.local->Receive(), "here");
}

TEST_F(RevocationTest, ExpiryClosesALiveConnection) {
  Start();
  keys_.Add("short", clock_.Now() + absl::Minutes(5));
  TlsClient client(address(), TlsClient::Psk("short", "short"));
  ASSERT_TRUE(client.Handshake());
  const Handed handed = Next();
  clock_.Advance(absl::Minutes(5) - absl::Milliseconds(1));
  ASSERT_TRUE(client.Write("not yet"));
  EXPECT_EQ(handed.local->Receive(), "not yet");
  clock_.Advance(absl::Milliseconds(1));
  EXPECT_EQ(client.Read(), "");
  EXPECT_EQ(handed.local->Receive(), "");
}

// A source that is told of a revocation between its two questions.
class FickleKeys final : public KeySource {
 public:
  absl::StatusOr<Key> Find(absl::string_view identity, Want) override {
    if (++asked_ % 2 == 0) return absl::NotFoundError("revoked meanwhile");
    return Key{.info = {.key_id = std::string(identity)}, .psk = PskOf(identity)};
  }

 private:
  int asked_ = 0;
};

class RevocationRaceTest : public DoorTest {
 protected:
  KeySource* keys() override { return &fickle_; }
  FickleKeys fickle_;
};

TEST_F(RevocationRaceTest, RevocationDuringTheHandshakeIsNotMissed) {
  Start();
  TlsClient client(address(), TlsClient::Psk("alice", "alice"));
  client.Handshake();
  EXPECT_EQ(client.Read(), "");
  EXPECT_EQ(handed_count(), 0);
  EXPECT_EQ(listener_->stats().handshakes["refused"], 1);
}

}  // namespace
}  // namespace parley::transport
