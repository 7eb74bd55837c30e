// A gRPC server behind a door, and its clients.
#ifndef PARLEY_LIB_TRANSPORT_TESTING_GRPC_DOOR_H_
#define PARLEY_LIB_TRANSPORT_TESTING_GRPC_DOOR_H_

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "absl/time/clock.h"
#include "lib/transport/channel.h"
#include "lib/transport/grpc_door.h"
#include "lib/transport/grpc_poller.h"
#include "lib/transport/relay_in_callers.h"
#include "lib/transport/testing/keys.h"
#include "parley/echo/v1/echo.grpc.pb.h"

namespace parley::transport {

using echo::v1::EchoRequest;
using echo::v1::EchoResponse;
using echo::v1::EchoService;

class EchoHandler final : public EchoService::Service {
 public:
  explicit EchoHandler(GrpcDoor* door) : door_(door) {}

  grpc::Status Answer(grpc::ServerContext* context, const EchoRequest& request, EchoResponse* response) {
    const auto peer = door_->PeerOf(*context);
    if (peer == nullptr) return grpc::Status(grpc::StatusCode::UNAUTHENTICATED, "no peer");
    response->set_data(request.data());
    response->set_subject(peer->key.subject);
    return grpc::Status::OK;
  }
  grpc::Status Echo(grpc::ServerContext* context, const EchoRequest* request, EchoResponse* response) override {
    if (before_answer) before_answer();
    return Answer(context, *request, response);
  }
  grpc::Status EchoStream(grpc::ServerContext* context,
                          grpc::ServerReaderWriter<EchoResponse, EchoRequest>* stream) override {
    EchoRequest request;
    while (stream->Read(&request)) {
      EchoResponse response;
      if (const auto status = Answer(context, request, &response); !status.ok()) return status;
      if (!stream->Write(response)) break;
    }
    return grpc::Status::OK;
  }

  std::function<void()> before_answer;

 private:
  GrpcDoor* const door_;
};

// A call on which messages go back and forth.
class Stream {
 public:
  explicit Stream(Channel* channel)
      : stub_(EchoService::NewStub(channel->grpc())), stream_(stub_->EchoStream(&context_)) {}

  bool IsAnswered() { return Write() && Read(); }
  bool Write() { return stream_->Write(EchoRequest()); }
  bool Read() { return stream_->Read(&response_); }
  void WritesDone() { stream_->WritesDone(); }
  void Cancel() { context_.TryCancel(); }
  grpc::Status Finish() { return stream_->Finish(); }

 private:
  const std::unique_ptr<EchoService::Stub> stub_;
  grpc::ClientContext context_;
  const std::unique_ptr<grpc::ClientReaderWriter<EchoRequest, EchoResponse>> stream_;
  EchoResponse response_;
};

class GrpcServerTest : public testing::Test {
 protected:
  // "alice" and "bob" have keys.
  void Serve(Listener::Options options = {}) {
    if (getenv("PARLEY_POLL_IN_LOOP") != nullptr) {
      ASSERT_TRUE(PollGrpcInLoop());
    }
    if (getenv("PARLEY_RELAY_IN_CALLERS") != nullptr) {
      ASSERT_TRUE(RelayInCallers());
    }
    keys_.Add("alice");
    keys_.Add("bob");
    options.address = "127.0.0.1:0";
    options.threads = 1;
    auto door = GrpcDoor::Create(std::move(options), &keys_);
    ASSERT_TRUE(door.ok()) << door.status();
    door_ = *std::move(door);
    service_ = std::make_unique<EchoHandler>(door_.get());
    grpc::ServerBuilder builder;
    builder.RegisterService(service_.get());
    ASSERT_TRUE(door_->Serve(&builder).ok());
  }

  const std::string& address() { return door_->listener().address(); }

  std::unique_ptr<Channel> Connect(const std::string& address, const std::string& identity,
                                   const std::string& key = "") {
    auto channel = Channel::Create(
        Dialer::Options{.address = address, .identity = identity, .psk = PskOf(key.empty() ? identity : key)});
    EXPECT_TRUE(channel.ok()) << channel.status();
    return *std::move(channel);
  }

  // Calls Echo; the status as explained by the channel.
  static absl::Status Call(Channel& channel, EchoResponse* response, absl::Duration timeout = absl::Seconds(10)) {
    grpc::ClientContext context;
    context.set_deadline(absl::ToChronoTime(absl::Now() + timeout));
    EchoRequest request;
    request.set_data("hello");
    return channel.Explain(EchoService::NewStub(channel.grpc())->Echo(&context, request, response));
  }

  static absl::Status Call(Channel& channel) {
    EchoResponse response;
    return Call(channel, &response);
  }

  FakeKeys keys_;
  // For a door that is given it.
  FakeClock clock_;
  // Before the door, whose server calls it to its end.
  std::unique_ptr<EchoHandler> service_;
  std::unique_ptr<GrpcDoor> door_;
};

}  // namespace parley::transport

#endif  // PARLEY_LIB_TRANSPORT_TESTING_GRPC_DOOR_H_
