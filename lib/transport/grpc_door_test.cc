#include "lib/transport/grpc_door.h"

#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <atomic>
#include <latch>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "lib/base/may_pass.h"
#include "lib/transport/channel.h"
#include "lib/transport/testing/grpc_door.h"
#include "lib/transport/testing/tcp.h"

namespace parley::transport {
namespace {

// Another server with the same keys.
class Replica {
 public:
  explicit Replica(FakeKeys* keys) {
    door_ = *GrpcDoor::Create(Listener::Options{.address = "127.0.0.1:0", .threads = 1}, keys);
    service_ = std::make_unique<EchoHandler>(door_.get());
    service_->before_answer = [this] { ++served_; };
    grpc::ServerBuilder builder;
    builder.RegisterService(service_.get());
    EXPECT_TRUE(door_->Serve(&builder).ok());
    address_ = door_->listener().address();
  }
  const std::string& address() const { return address_; }
  int served() const { return served_; }
  // Like a process that is killed: its connections close, and nobody listens.
  void End() { door_.reset(); }

 private:
  std::atomic<int> served_ = 0;
  std::unique_ptr<EchoHandler> service_;
  std::unique_ptr<GrpcDoor> door_;
  std::string address_;
};

class GrpcDoorTest : public GrpcServerTest {
 protected:
  void SetUp() override { Serve(); }
};

TEST_F(GrpcDoorTest, EveryCallKnowsItsPeer) {
  const auto alice = Connect(address(), "alice");
  const auto bob = Connect(address(), "bob");
  for (int i = 0; i < 3; ++i) {
    EchoResponse response;
    ASSERT_EQ(Call(*alice, &response), absl::OkStatus());
    EXPECT_EQ(response.data(), "hello");
    EXPECT_EQ(response.subject(), "alice");
    ASSERT_EQ(Call(*bob, &response), absl::OkStatus());
    EXPECT_EQ(response.subject(), "bob");
  }
  EXPECT_EQ(alice->dialer().protocol(), "TLS 1.2 ECDHE-PSK-CHACHA20-POLY1305");
  EXPECT_EQ(door_->listener().stats().handshakes["ok"], 2);
}

TEST_F(GrpcDoorTest, StreamsBothWaysAtOnce) {
  const auto channel = Connect(address(), "alice");
  const auto stub = EchoService::NewStub(channel->grpc());
  grpc::ClientContext context;
  const auto stream = stub->EchoStream(&context);
  constexpr int kMessages = 200;
  std::thread writer([&stream] {
    for (int i = 0; i < kMessages; ++i) {
      EchoRequest request;
      request.set_data(std::string(i * 997 % 65536, static_cast<char>(i)));
      ASSERT_TRUE(stream->Write(request));
    }
    stream->WritesDone();
  });
  EchoResponse response;
  int received = 0;
  while (stream->Read(&response)) {
    EXPECT_EQ(response.data(), std::string(received * 997 % 65536, static_cast<char>(received)));
    ++received;
  }
  writer.join();
  EXPECT_EQ(received, kMessages);
  EXPECT_TRUE(stream->Finish().ok());
}

TEST_F(GrpcDoorTest, RevocationEndsCallsUnderWay) {
  const auto channel = Connect(address(), "alice");
  Stream stream(channel.get());
  ASSERT_TRUE(stream.IsAnswered());
  keys_.Revoke("alice");
  EXPECT_EQ(door_->listener().CloseKey("alice"), 1);
  EXPECT_FALSE(stream.Read());
  EXPECT_EQ(stream.Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
  const auto bob = Connect(address(), "bob");
  EXPECT_EQ(Call(*bob), absl::OkStatus());
}

TEST_F(GrpcDoorTest, ShutdownLetsACallFinish) {
  const auto channel = Connect(address(), "alice");
  Stream stream(channel.get());
  ASSERT_TRUE(stream.IsAnswered());
  std::thread shutdown([this] { door_->Shutdown(absl::Now() + absl::Seconds(20)); });
  ASSERT_TRUE(stream.IsAnswered());
  stream.WritesDone();
  EXPECT_FALSE(stream.Read());
  EXPECT_TRUE(stream.Finish().ok());
  shutdown.join();
  door_->Wait();
}

TEST_F(GrpcDoorTest, AStreamThatNeverEndsDoesNotOutliveTheDoor) {
  const auto channel = Connect(address(), "alice");
  Stream stream(channel.get());
  ASSERT_TRUE(stream.IsAnswered());
  // Whose deadline has long passed.
  door_.reset();
  EXPECT_FALSE(stream.Read());
  EXPECT_EQ(stream.Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
}

// When gRPC is done with an answer, most of it may still be on its way through the relay.
TEST_F(GrpcDoorTest, ShutdownBringsEveryAnswerAcross) {
  constexpr int kCalls = 16;
  std::latch all_accepted(kCalls + 1);
  service_->before_answer = [&] { all_accepted.arrive_and_wait(); };
  std::vector<std::thread> callers;
  std::atomic<int> answered = 0;
  for (int i = 0; i < kCalls; ++i) {
    callers.emplace_back([&] {
      const auto channel = Connect(address(), "alice");
      grpc::ClientContext context;
      EchoRequest request;
      request.set_data(std::string(3'000'000, 'x'));
      EchoResponse response;
      const grpc::Status status = EchoService::NewStub(channel->grpc())->Echo(&context, request, &response);
      EXPECT_TRUE(status.ok()) << status.error_message();
      if (response.data() == request.data()) ++answered;
    });
  }
  all_accepted.arrive_and_wait();
  door_->Shutdown(absl::Now() + absl::Seconds(20));
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(answered, kCalls);
}

TEST_F(GrpcDoorTest, AChannelReconnectsByItself) {
  const auto channel = Connect(address(), "alice");
  ASSERT_EQ(Call(*channel), absl::OkStatus());
  ASSERT_EQ(door_->listener().CloseKey("alice"), 1);
  EchoResponse response;
  // A call may still meet the old connection.
  while (!Call(*channel, &response).ok()) {
  }
  EXPECT_EQ(response.subject(), "alice");
}

TEST_F(GrpcDoorTest, AnotherReplicaAnswersWithinASecondOfALoss) {
  for (int i = 0; i < 10; ++i) {
    Replica replicas[2] = {Replica(&keys_), Replica(&keys_)};
    const auto channel = Connect(absl::StrCat(replicas[0].address(), ",", replicas[1].address()), "alice");
    ASSERT_EQ(Call(*channel), absl::OkStatus());
    Replica& lost = replicas[replicas[0].served() > 0 ? 0 : 1];
    Replica& other = replicas[replicas[0].served() > 0 ? 1 : 0];
    const absl::Time began = absl::Now();
    lost.End();
    // A call may still meet the old connection.
    while (!Call(*channel).ok()) ASSERT_LT(absl::Now() - began, absl::Seconds(1));
    EXPECT_LT(absl::Now() - began, absl::Seconds(1));
    EXPECT_EQ(other.served(), 1);
  }
}

// Its kernel goes on to acknowledge what it is sent.
TEST_F(GrpcDoorTest, AServerThatHangsInTheMiddleOfAStreamIsLeftWithinTenSeconds) {
  std::latch freed(1);
  std::atomic<bool> hangs = false;
  const auto hang = [&](std::string*) {
    if (hangs) freed.wait();
  };
  const TcpProxy hanging(address(), hang, hang);
  const auto channel = Connect(hanging.address(), "alice");
  Stream stream(channel.get());
  ASSERT_TRUE(stream.IsAnswered());
  hangs = true;
  const absl::Time began = absl::Now();
  EXPECT_FALSE(stream.Read());
  EXPECT_LT(absl::Now() - began, absl::Seconds(10));
  EXPECT_EQ(stream.Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
  freed.count_down();
}

TEST_F(GrpcDoorTest, SaysThatAServerThatStopsBrokeACallOff) {
  const auto channel = Connect(address(), "alice");
  const absl::Status status = channel->Explain(grpc::Status(grpc::StatusCode::CANCELLED, "CANCELLED"));
  EXPECT_EQ(Reason(status), "CALL_CANCELLED");
  EXPECT_TRUE(MayPass(status));
}

TEST_F(GrpcDoorTest, ExplainsAWrongKey) {
  const absl::Status status = Call(*Connect(address(), "alice", "mallory"));
  EXPECT_EQ(Reason(status), "KEY_REFUSED") << status;
  EXPECT_EQ(status.code(), absl::StatusCode::kUnauthenticated);
}

TEST_F(GrpcDoorTest, ExplainsAnUnknownIdentityLikeAWrongKey) {
  EXPECT_EQ(Call(*Connect(address(), "nobody")).message(), Call(*Connect(address(), "alice", "mallory")).message());
}

TEST_F(GrpcDoorTest, ExplainsAServerThatDoesNotListen) {
  const auto channel = Connect(FreePort(), "alice");
  const absl::Status status = Call(*channel);
  EXPECT_EQ(Reason(status), "CONNECTION_REFUSED") << status;
}

TEST_F(GrpcDoorTest, ExplainsAPlainTcpServer) {
  EchoServer echo;
  const absl::Status status = Call(*Connect(echo.address(), "alice"));
  EXPECT_EQ(Reason(status), "NOT_A_PARLEY_SERVER") << status;
}

TEST_F(GrpcDoorTest, ExplainsANameThatDoesNotExist) {
  const absl::Status status = Call(*Connect("no-such-host.invalid:7443", "alice"));
  EXPECT_EQ(Reason(status), "NAME_NOT_FOUND") << status;
}

TEST_F(GrpcDoorTest, ExplainsACallThatAnEarlierServerDoesNotKnow) {
  const auto channel = Connect(address(), "alice");
  grpc::ClientContext context;
  grpc::CompletionQueue queue;
  grpc::GenericStub stub(channel->grpc());
  const auto call = stub.PrepareUnaryCall(&context, "/parley.echo.v1.EchoService/OfALaterVersion", {}, &queue);
  grpc::ByteBuffer response;
  grpc::Status status;
  call->StartCall();
  call->Finish(&response, &status, nullptr);
  void* tag;
  bool ok;
  ASSERT_TRUE(queue.Next(&tag, &ok));
  const absl::Status explained = channel->Explain(status);
  EXPECT_EQ(Reason(explained), "CALL_UNKNOWN") << explained;
  EXPECT_TRUE(absl::StrContains(explained.message(), "upgrade")) << explained;
}

TEST_F(GrpcDoorTest, ExplainsASilentServer) {
  SilentServer silent;
  auto channel = Channel::Create(Dialer::Options{
      .address = silent.address(), .identity = "alice", .psk = PskOf("alice"), .timeout = absl::Milliseconds(200)});
  const absl::Status status = Call(**channel);
  EXPECT_EQ(Reason(status), "CONNECTION_TIMEOUT") << status;
}

TEST_F(GrpcDoorTest, ExplainsAnExpiredKeyWithoutAPacket) {
  FakeClock clock;
  auto channel = Channel::Create(Dialer::Options{.address = address(),
                                                 .identity = "alice",
                                                 .psk = PskOf("alice"),
                                                 .not_after = clock.Now() - absl::Seconds(1),
                                                 .clock = &clock});
  const absl::Status status = Call(**channel);
  EXPECT_EQ(Reason(status), "KEY_EXPIRED") << status;
  EXPECT_EQ(door_->listener().stats().connections, 0);
}

TEST_F(GrpcDoorTest, ADoorWithoutServeShutsDown) {
  auto door = GrpcDoor::Create(Listener::Options{.address = "127.0.0.1:0"}, &keys_);
  ASSERT_TRUE(door.ok());
}

TEST_F(GrpcDoorTest, TwoDoorsOnOneAddressAreRefused) {
  const auto second = GrpcDoor::Create(Listener::Options{.address = address()}, &keys_);
  EXPECT_EQ(Reason(second.status()), "ADDRESS_IN_USE") << second.status();
}

}  // namespace
}  // namespace parley::transport
