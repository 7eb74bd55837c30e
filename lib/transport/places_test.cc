// Who gets a place at a door that has none left, and what the others are told.
#include "lib/transport/places.h"

#include <sys/resource.h>

#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "lib/transport/address.h"
#include "lib/transport/dialer.h"
#include "lib/transport/testing/door.h"
#include "lib/transport/testing/frames.h"

namespace parley::transport {
namespace {

using Limit = ConnectionPlaces::Limit;

class HandshakePlacesTest : public testing::Test {
 protected:
  // Takes a place, and keeps account of who lost one.
  std::optional<HandshakePlaces::Ticket> Take(const std::string& address) {
    return places_.Take(address, [this, address] { evicted_.push_back(address); });
  }

  HandshakePlaces places_{6};
  std::vector<std::string> evicted_;
};

TEST_F(HandshakePlacesTest, AnAddressThatIsAloneGetsAll) {
  for (int i = 0; i < 6; ++i) EXPECT_TRUE(Take("fleet").has_value());
  EXPECT_FALSE(Take("fleet").has_value());
  EXPECT_TRUE(evicted_.empty());
}

TEST_F(HandshakePlacesTest, WhoHasMostMakesRoomForANewcomer) {
  for (const char* address : {"greedy", "greedy", "greedy", "greedy", "modest", "modest"}) Take(address);
  EXPECT_TRUE(Take("newcomer").has_value());
  EXPECT_TRUE(Take("newcomer").has_value());
  EXPECT_EQ(evicted_, (std::vector<std::string>{"greedy", "greedy"}));
  // Each has two now.
  EXPECT_FALSE(Take("newcomer").has_value());
  EXPECT_TRUE(Take("another").has_value());
  EXPECT_EQ(places_.taken(), 6);
}

TEST_F(HandshakePlacesTest, TheOldestGoesAndMayLeaveLater) {
  std::vector<HandshakePlaces::Ticket> tickets;
  std::vector<int> evicted;
  for (int i = 0; i < 6; ++i) tickets.push_back(*places_.Take("greedy", [&evicted, i] { evicted.push_back(i); }));
  ASSERT_TRUE(Take("newcomer").has_value());
  EXPECT_EQ(evicted, std::vector<int>{0});
  for (const auto ticket : tickets) places_.Leave(ticket);
  EXPECT_EQ(places_.taken(), 1);
}

TEST(ConnectionPlacesTest, AKeyThatIsAloneGetsHalf) {
  ConnectionPlaces places(200);
  int taken = 0;
  // From a new address each time.
  while (places.Take({"join", absl::StrCat(taken)}) == Limit::kNone) ++taken;
  EXPECT_EQ(taken, 95);  // There are 190 for all; ten are kept.
  EXPECT_EQ(places.Take({"join", "new"}), Limit::kKey);
  EXPECT_EQ(places.Take({"other", "new"}), Limit::kNone);
}

TEST(ConnectionPlacesTest, AFleetBehindOneAddressGetsNearlyAll) {
  ConnectionPlaces places(200);
  int taken = 0;
  while (places.Take({absl::StrCat(taken), "nat"}) == Limit::kNone) ++taken;
  EXPECT_EQ(taken, 179);
  EXPECT_EQ(places.Take({"new", "nat"}), Limit::kAddress);
  EXPECT_EQ(places.Take({"new", "elsewhere"}), Limit::kNone);
  // An operator in the same office.
  EXPECT_EQ(places.Take({"operator", "nat", true}), Limit::kNone);
}

TEST(ConnectionPlacesTest, SomeAreKeptForThePreferred) {
  ConnectionPlaces places(40);
  int taken = 0;
  while (places.Take({absl::StrCat(taken), absl::StrCat(taken)}) == Limit::kNone) ++taken;
  EXPECT_EQ(taken, 38);
  EXPECT_EQ(places.Take({"machine", "m"}), Limit::kAll);
  EXPECT_EQ(places.Take({"operator", "o", true}), Limit::kNone);
  EXPECT_EQ(places.Take({"admin", "o", true}), Limit::kNone);
  EXPECT_EQ(places.Take({"auditor", "o", true}), Limit::kAll);
  // A place that is not kept, which both may have.
  places.Leave({"0", "0"});
  EXPECT_EQ(places.Take({"auditor", "o", true}), Limit::kNone);
  EXPECT_EQ(places.Take({"machine", "m"}), Limit::kAll);
}

class FullDoorTest : public DoorTest {
 protected:
  // Two places, of which one is kept, and a machine in the other.
  void SetUp() override {
    Listener::Options options;
    options.max_connections = 2;
    options.accept_rest = true;
    keys_.AddPreferred("operator");
    Start(std::move(options));
    first_ = Connect("alice", "h2");
    ASSERT_TRUE(first_->Handshake());
    first_handed_ = Next();
  }

  std::unique_ptr<TlsClient> Connect(const std::string& name, const std::string& alpn) {
    TlsClient::Options options = TlsClient::Psk(name, name);
    options.alpn = {alpn};
    return std::make_unique<TlsClient>(address(), std::move(options));
  }
  static std::string ReadToEnd(TlsClient* client) {
    std::string bytes;
    for (std::string more; !(more = client->Read()).empty();) bytes += more;
    return bytes;
  }

  std::unique_ptr<TlsClient> first_;
  Handed first_handed_;
};

TEST_F(FullDoorTest, TellsAPeerOfHttp2) {
  const auto client = Connect("bob", "h2");
  ASSERT_TRUE(client->Handshake());
  const auto said = frames::Parse(ReadToEnd(client.get()));
  ASSERT_EQ(said.size(), 2);
  EXPECT_EQ(said[0].type, frames::kSettings);
  EXPECT_EQ(said[1].type, frames::kGoaway);
  EXPECT_TRUE(absl::StrContains(said[1].payload, "no place"));
}

TEST_F(FullDoorTest, TellsAPeerOfRest) {
  const auto client = Connect("bob", "http/1.1");
  ASSERT_TRUE(client->Handshake());
  const std::string said = ReadToEnd(client.get());
  EXPECT_TRUE(absl::StartsWith(said, "HTTP/1.1 503 ")) << said;
  const size_t head = said.find("\r\n\r\n") + 4;
  EXPECT_TRUE(absl::StrContains(said, absl::StrCat("Content-Length: ", said.size() - head, "\r\n"))) << said;
}

TEST_F(FullDoorTest, TheDialerSaysWhy) {
  auto dialer =
      Dialer::Create(Dialer::Options{.address = address(), .identity = "bob", .psk = PskOf("bob"), .clock = &clock_});
  ASSERT_TRUE(dialer.ok());
  const SocketAddress target = AbstractAddress(absl::string_view((*dialer)->target()).substr(14));
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  ASSERT_EQ(connect(fd, target.get(), target.size), 0);
  // gRPC would take a server that says its settings for a good one.
  EXPECT_EQ(TcpClient(fd).Receive(), "");
  EXPECT_EQ(Reason((*dialer)->last_error()), "SERVER_FULL");
}

TEST_F(FullDoorTest, AnOperatorGetsInAndTheNextMachineOnceAPlaceIsFree) {
  auto refused = Connect("bob", "h2");
  ASSERT_TRUE(refused->Handshake());
  ReadToEnd(refused.get());
  refused = nullptr;
  const auto preferred = Connect("operator", "h2");
  ASSERT_TRUE(preferred->Handshake());
  const Handed handed = Next();
  EXPECT_EQ(handed.peer->key.subject, "operator");
  first_ = nullptr;
  first_handed_.local = nullptr;
  const auto alice_left = [this] { return listener_->FindPeer(first_handed_.peer->connection_id) == nullptr; };
  while (!alice_left()) std::this_thread::yield();
  const auto next = Connect("bob", "h2");
  ASSERT_TRUE(next->Handshake());
  EXPECT_EQ(Next().peer->key.subject, "bob");
  while (listener_->stats().handshakes["overloaded"] < 1) std::this_thread::yield();
}

TEST_F(DoorTest, PlacesAreAsManyAsDescriptorsAllow) {
  rlimit before{};
  getrlimit(RLIMIT_NOFILE, &before);
  const rlimit few{.rlim_cur = 400, .rlim_max = before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &few), 0);
  Start();
  setrlimit(RLIMIT_NOFILE, &before);
  // A hundred are for others, and an eighth of the rest for handshakes; each connection takes three.
  EXPECT_EQ(listener_->stats().max_connections, 87);
}

}  // namespace
}  // namespace parley::transport
