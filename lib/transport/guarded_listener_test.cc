// How a relay ends a connection for a breach: what it passes on before that, and where its last frame stands.
#include <string>

#include "lib/transport/testing/door.h"
#include "lib/transport/testing/frames.h"

namespace parley::transport {
namespace {

using namespace frames;

class GuardedListenerTest : public DoorTest {
 protected:
  void SetUp() override {
    Listener::Options options;
    options.accept_rest = true;
    options.frame_limits.emplace().control = {.per_second = 1, .burst = 3};
    Start(std::move(options));
    client_ = Connect("h2");
    ASSERT_TRUE(client_->Handshake());
    local_ = Next().local;
    ASSERT_TRUE(client_->Write(kBegin));
    EXPECT_EQ(Receive(local_.get(), kBegin.size()), kBegin);
  }

  std::unique_ptr<TlsClient> Connect(const std::string& alpn) {
    TlsClient::Options options = TlsClient::Psk("alice", "alice");
    options.alpn = {alpn};
    return std::make_unique<TlsClient>(address(), std::move(options));
  }

  static std::string Receive(TcpClient* from, size_t size) {
    std::string bytes;
    for (std::string more; bytes.size() < size && !(more = from->Receive()).empty();) bytes += more;
    return bytes;
  }
  std::string ReadToEnd() {
    std::string bytes;
    for (std::string more; !(more = client_->Read()).empty();) bytes += more;
    return bytes;
  }
  // Passes on `bytes` of the server's.
  void Answer(const std::string& bytes) {
    ASSERT_TRUE(local_->Send(bytes));
    std::string read;
    while (read.size() < bytes.size()) read += client_->Read();
    EXPECT_EQ(read, bytes);
  }

  const std::string kBegin = kPreface + Frame(kSettings, 0, 0);
  const std::string kTooMuch = Frame(kSettings, 0, 0) + Frame(kSettings, 0, 0) + Frame(kSettings, 0, 0);
  std::unique_ptr<TlsClient> client_;
  std::unique_ptr<TcpClient> local_;
};

TEST_F(GuardedListenerTest, NothingThatCameWithABreachIsPassedOn) {
  ASSERT_TRUE(client_->Write(Begin(1)));
  EXPECT_EQ(Receive(local_.get(), Begin(1).size()), Begin(1));
  ASSERT_TRUE(client_->Write(kTooMuch));
  EXPECT_EQ(local_->Receive(), "");
  EXPECT_EQ(listener_->stats().breaches["control"], 1);
}

TEST_F(GuardedListenerTest, TheFarewellFollowsWholeFrames) {
  Answer(Frame(kSettings, 0, 0) + Frame(kData, 0, 1, "12345"));
  ASSERT_TRUE(client_->Write(kTooMuch));
  const auto frames = Parse(ReadToEnd());
  ASSERT_EQ(frames.size(), 1);
  EXPECT_EQ(frames[0].type, kGoaway);
}

TEST_F(GuardedListenerTest, BeforeTheServersSettingsTheFarewellHasItsOwn) {
  ASSERT_TRUE(client_->Write(kTooMuch));
  const auto frames = Parse(ReadToEnd());
  ASSERT_EQ(frames.size(), 2);
  EXPECT_EQ(frames[0].type, kSettings);
  EXPECT_EQ(frames[1].type, kGoaway);
}

TEST_F(GuardedListenerTest, ThereIsNoFarewellInTheMiddleOfAFrame) {
  const std::string data = Frame(kData, 0, 1, "12345");
  for (const size_t size : {size_t{4}, data.size() - 1}) {
    Answer(Frame(kSettings, 0, 0) + data.substr(0, size));
    ASSERT_TRUE(client_->Write(kTooMuch));
    EXPECT_EQ(ReadToEnd(), "");
    // Another connection of the same kind.
    client_ = Connect("h2");
    ASSERT_TRUE(client_->Handshake());
    local_ = Next().local;
    ASSERT_TRUE(client_->Write(kBegin));
    EXPECT_EQ(Receive(local_.get(), kBegin.size()), kBegin);
  }
  EXPECT_EQ(listener_->stats().breaches["control"], 2);
}

TEST_F(GuardedListenerTest, APeerThatSpeaksHttp1IsNotWatched) {
  const auto rest = Connect("http/1.1");
  ASSERT_TRUE(rest->Handshake());
  const Handed handed = Next();
  EXPECT_EQ(handed.application, Application::kRest);
  ASSERT_TRUE(rest->Write("GET / HTTP/1.1\r\n\r\n"));
  EXPECT_EQ(handed.local->Receive(), "GET / HTTP/1.1\r\n\r\n");
  ASSERT_TRUE(rest->Write(kTooMuch));
  EXPECT_EQ(handed.local->Receive(), kTooMuch);
}

// A client can make the server do the resetting.
TEST_F(GuardedListenerTest, ABreachThatTheServersFrameCompletesEndsTheConnection) {
  Listener::Options options;
  options.frame_limits.emplace().cancelled = {.per_second = 1, .burst = 1};
  Start(std::move(options));
  client_ = Connect("h2");
  ASSERT_TRUE(client_->Handshake());
  local_ = Next().local;
  const std::string begun = kBegin + Begin(1) + Begin(3);
  ASSERT_TRUE(client_->Write(begun));
  // A server resets no stream that it has not seen.
  EXPECT_EQ(Receive(local_.get(), begun.size()), begun);
  Answer(Frame(kSettings, 0, 0) + Reset(1));
  ASSERT_TRUE(local_->Send(Reset(3)));
  const auto frames = Parse(ReadToEnd());
  ASSERT_EQ(frames.size(), 2);
  EXPECT_EQ(frames[0].type, kReset);
  EXPECT_EQ(frames[1].type, kGoaway);
  EXPECT_EQ(listener_->stats().breaches["cancelled"], 1);
}

}  // namespace
}  // namespace parley::transport
