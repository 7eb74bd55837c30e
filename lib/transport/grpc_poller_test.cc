// gRPC's work on the shared loop: nothing that is due is forgotten, whoever begins it and however much comes at once.
#include "lib/transport/grpc_poller.h"

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "lib/base/mutex.h"
#include "lib/transport/event_loop.h"
#include "lib/transport/testing/grpc_door.h"

namespace parley::transport {
namespace {

// Answers at once, on a thread of its own, or for each message of a stream, and counts what the loop did not call.
class LoopEcho final : public EchoService::CallbackService {
 public:
  grpc::ServerUnaryReactor* Echo(grpc::CallbackServerContext* context, const EchoRequest* request,
                                 EchoResponse* response) override {
    CountThread();
    response->set_data(request->data());
    auto* const reactor = context->DefaultReactor();
    if (request->data() != "elsewhere") {
      reactor->Finish(grpc::Status::OK);
    } else {
      std::thread([reactor] { reactor->Finish(grpc::Status::OK); }).detach();
    }
    return reactor;
  }

  grpc::ServerBidiReactor<EchoRequest, EchoResponse>* EchoStream(grpc::CallbackServerContext*) override {
    class Reactor final : public grpc::ServerBidiReactor<EchoRequest, EchoResponse> {
     public:
      explicit Reactor(LoopEcho* service) : service_(service) { StartRead(&request_); }
      void OnReadDone(bool ok) override {
        service_->CountThread();
        if (!ok) return Finish(grpc::Status::OK);
        response_.set_data(request_.data());
        StartWrite(&response_);
      }
      void OnWriteDone(bool ok) override {
        service_->CountThread();
        if (ok) StartRead(&request_);
        if (!ok) Finish(grpc::Status::OK);
      }
      void OnDone() override { delete this; }

     private:
      LoopEcho* const service_;
      EchoRequest request_;
      EchoResponse response_;
    };
    CountThread();
    return new Reactor(this);
  }

  int in_loop() const { return in_loop_; }
  int elsewhere() const { return elsewhere_; }

 private:
  void CountThread() { ++(EventLoop::Shared()->InLoop() ? in_loop_ : elsewhere_); }

  std::atomic<int> in_loop_ = 0;
  std::atomic<int> elsewhere_ = 0;
};

// A call whose end nobody waits for in gRPC, so that no other thread polls.
class Call {
 public:
  Call(EchoService::Stub* stub, const std::string& data) {
    context_.set_deadline(absl::ToChronoTime(absl::Now() + absl::Seconds(30)));
    request_.set_data(data);
    stub->async()->Echo(&context_, &request_, &response_, [this](grpc::Status status) {
      MutexLock lock(&mutex_);
      status_ = std::move(status);
      done_ = true;
      changed_.NotifyAll();
    });
  }
  bool IsAnswered() {
    MutexLock lock(&mutex_);
    while (!done_) changed_.Wait(&mutex_);
    return status_.ok() && response_.data() == request_.data();
  }

 private:
  grpc::ClientContext context_;
  EchoRequest request_;
  EchoResponse response_;
  Mutex mutex_;
  CondVar changed_;
  bool done_ ABSL_GUARDED_BY(mutex_) = false;
  grpc::Status status_ ABSL_GUARDED_BY(mutex_);
};

class GrpcPollerTest : public testing::Test {
 protected:
  static void SetUpTestSuite() { ASSERT_TRUE(PollGrpcInLoop()); }

  void SetUp() override {
    keys_.Add("alice");
    Listener::Options options;
    options.address = "127.0.0.1:0";
    auto door = GrpcDoor::Create(std::move(options), &keys_);
    ASSERT_TRUE(door.ok()) << door.status();
    door_ = *std::move(door);
    grpc::ServerBuilder builder;
    builder.RegisterService(&service_);
    ASSERT_TRUE(door_->Serve(&builder).ok());
  }
  void TearDown() override {
    door_->Shutdown(absl::Now());
    door_->Wait();
  }

  std::unique_ptr<Channel> Connect() {
    return *Channel::Create({.address = door_->listener().address(), .identity = "alice", .psk = PskOf("alice")});
  }

  FakeKeys keys_;
  LoopEcho service_;
  std::unique_ptr<GrpcDoor> door_;
};

TEST_F(GrpcPollerTest, CallsAreHandledInTheLoop) {
  const auto channel = Connect();
  const auto stub = EchoService::NewStub(channel->grpc());
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(Call(stub.get(), "here").IsAnswered());
  EXPECT_EQ(service_.in_loop(), 100);
  EXPECT_EQ(service_.elsewhere(), 0);
}

TEST_F(GrpcPollerTest, AnswersMayComeFromAnyThread) {
  const auto channel = Connect();
  const auto stub = EchoService::NewStub(channel->grpc());
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(Call(stub.get(), "elsewhere").IsAnswered());
}

// gRPC takes up to 100 events from the kernel and deals with one of them at a time.
TEST_F(GrpcPollerTest, NothingIsForgottenOfMuchThatComesAtOnce) {
  constexpr int kChannels = 150;
  std::vector<std::unique_ptr<Channel>> channels;
  std::vector<std::unique_ptr<EchoService::Stub>> stubs;
  for (int i = 0; i < kChannels; ++i) {
    stubs.push_back(EchoService::NewStub(channels.emplace_back(Connect())->grpc()));
  }
  for (int round = 0; round < 3; ++round) {
    std::vector<std::unique_ptr<Call>> calls;
    for (const auto& stub : stubs) {
      calls.push_back(std::make_unique<Call>(stub.get(), "here"));
      calls.push_back(std::make_unique<Call>(stub.get(), "elsewhere"));
    }
    for (const auto& call : calls) EXPECT_TRUE(call->IsAnswered());
  }
}

// A thread that waits for its own call polls as well, and may take the events that the loop expects.
TEST_F(GrpcPollerTest, SynchronousCallersTakeNothingAway) {
  std::vector<std::thread> callers;
  std::atomic<int> answered = 0;
  for (int i = 0; i < 8; ++i) {
    callers.emplace_back([this, &answered] {
      const auto channel = Connect();
      const auto stub = EchoService::NewStub(channel->grpc());
      for (int call = 0; call < 50; ++call) {
        grpc::ClientContext context;
        EchoRequest request;
        EchoResponse response;
        context.set_deadline(absl::ToChronoTime(absl::Now() + absl::Seconds(30)));
        if (stub->Echo(&context, request, &response).ok()) ++answered;
        if (Call(stub.get(), "elsewhere").IsAnswered()) ++answered;
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(answered, 8 * 50 * 2);
}

TEST_F(GrpcPollerTest, StreamsGoOnInTheLoop) {
  const auto channel = Connect();
  Stream stream(channel.get());
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(stream.IsAnswered());
  stream.WritesDone();
  EXPECT_TRUE(stream.Finish().ok());
}

// Sockets that are no relay's: of a health port, and of whatever else a program does with gRPC.
TEST_F(GrpcPollerTest, OtherServersAreServed) {
  LoopEcho service;
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  builder.RegisterService(&service);
  const auto server = builder.BuildAndStart();
  const auto channel = grpc::CreateChannel(absl::StrCat("127.0.0.1:", port), grpc::InsecureChannelCredentials());
  const auto stub = EchoService::NewStub(channel);
  for (int i = 0; i < 20; ++i) EXPECT_TRUE(Call(stub.get(), "here").IsAnswered());
  EXPECT_EQ(service.elsewhere(), 0);
  server->Shutdown();
}

TEST_F(GrpcPollerTest, AConnectionCanBeClosedWhereverItIs) {
  for (int i = 0; i < 50; ++i) {
    const auto channel = Connect();
    const auto stub = EchoService::NewStub(channel->grpc());
    Call call(stub.get(), "here");
    // It may be in its handshake, on its way into the shared loop, or there.
    door_->listener().CloseKey("alice");
    call.IsAnswered();
  }
  const auto channel = Connect();
  const auto stub = EchoService::NewStub(channel->grpc());
  EXPECT_TRUE(Call(stub.get(), "here").IsAnswered());
}

}  // namespace
}  // namespace parley::transport
