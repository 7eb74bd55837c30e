// What a peer with a key can make the server bear: the guard and gRPC's own limits, at a real server.
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "lib/base/log_sink.h"
#include "lib/transport/testing/frames.h"
#include "lib/transport/testing/grpc_door.h"
#include "lib/transport/testing/tls_client.h"

namespace parley::transport {
namespace {

using namespace frames;

class GrpcLimitsTest : public GrpcServerTest {
 protected:
  // Budgets that are soon spent, and not refilled, as the clock stands. Certificates are served too.
  void ServeWithSmallLimits() {
    FrameGuard::Limits limits;
    limits.max_open_streams = 4;
    limits.max_early_streams = 2;
    limits.max_header_block_bytes = 1000;
    limits.cancelled.burst = 5;
    limits.control.burst = 20;
    Listener::Options options;
    options.frame_limits = limits;
    options.clock = &clock_;
    const ServerCertificate certificate = MakeTestServerCertificate(absl::Now());
    options.certificate_pem = certificate.pem;
    options.private_key_pem = certificate.key_pem.Clone();
    Serve(std::move(options));
  }

  // The default limits, with few control frames, of which nothing is refilled. A client that measures the line on a
  // busy machine changes its settings a dozen times.
  void ServeStandingStill() {
    Listener::Options options;
    options.frame_limits.emplace().control = {.per_second = 1, .burst = 100};
    options.clock = &clock_;
    Serve(std::move(options));
  }

  // A peer that has begun HTTP/2 and has acknowledged the server's settings.
  std::unique_ptr<TlsClient> Open(TlsClient::Options options) {
    options.alpn = {"h2"};
    auto client = std::make_unique<TlsClient>(address(), std::move(options));
    EXPECT_TRUE(client->Handshake());
    EXPECT_TRUE(client->Write(kPreface + Frame(kSettings, 0, 0)));
    EXPECT_FALSE(client->Read().empty());
    EXPECT_TRUE(client->Write(Frame(kSettings, kAck, 0)));
    return client;
  }
  std::unique_ptr<TlsClient> Open() { return Open(TlsClient::Psk("alice", "alice")); }

  // The server ends the connection, and says why. Nothing but frames comes before that.
  static void ExpectFarewell(TlsClient* client, uint32_t code, const std::string& reason) {
    std::string bytes;
    for (std::string more; !(more = client->Read()).empty();) bytes += more;
    const std::vector<Parsed> frames = Parse(bytes);
    ASSERT_FALSE(frames.empty());
    EXPECT_EQ(frames.back().type, kGoaway);
    EXPECT_EQ(frames.back().payload.substr(4), Number(code, 4) + "parley: " + reason);
  }

  int64_t breaches(const std::string& name) { return door_->listener().stats().breaches[name]; }
  int64_t breaches() {
    int64_t sum = 0;
    for (const auto& [name, count] : door_->listener().stats().breaches) sum += count;
    return sum;
  }
};

constexpr uint32_t kEnhanceYourCalm = 11;

TEST_F(GrpcLimitsTest, EndsAConnectionForEachBudget) {
  ServeWithSmallLimits();
  std::string pings, resets, streams;
  for (int i = 0; i < 21; ++i) pings += Ping();
  for (uint32_t i = 0; i < 6; ++i) resets += Begin(2 * i + 1) + Reset(2 * i + 1);
  for (uint32_t i = 0; i < 5; ++i) streams += Begin(2 * i + 1);
  struct Case {
    std::string reason;
    std::string frames;
    uint32_t code = kEnhanceYourCalm;
  };
  for (const Case& each : {Case{"control", pings}, Case{"cancelled", resets}, Case{"open_streams", streams},
                           Case{"header_block", Header(1001, kHeaders, kEndHeaders, 1)},
                           Case{"frame_size", Header(1 << 23, kData, 0, 1), 6},
                           Case{"sequence", Frame(kPushPromise, kEndHeaders, 1, "1234"), 1}}) {
    SCOPED_TRACE(each.reason);
    for (const bool psk : {true, false}) {
      const auto client = Open(psk ? TlsClient::Psk("alice", "alice") : TlsClient::Certificate("bob", EcKeyOf("bob")));
      ASSERT_TRUE(client->Write(each.frames));
      ExpectFarewell(client.get(), each.code, each.reason);
      EXPECT_EQ(breaches(each.reason), psk ? 1 : 2);
    }
  }
  EXPECT_EQ(breaches(), 12);
}

TEST_F(GrpcLimitsTest, EndsAConnectionThatNeverAcknowledgesTheSettings) {
  ServeWithSmallLimits();
  TlsClient client(address(), TlsClient::Psk("alice", "alice"));
  ASSERT_TRUE(client.Handshake());
  ASSERT_TRUE(client.Write(kPreface + Frame(kSettings, 0, 0)));
  for (uint32_t stream = 1; stream < 7; stream += 2) ASSERT_TRUE(client.Write(Begin(stream)));
  ExpectFarewell(&client, kEnhanceYourCalm, "settings");
}

TEST_F(GrpcLimitsTest, WhatIsNotHttp2DoesNotReachGrpc) {
  ServeWithSmallLimits();
  TlsClient client(address(), TlsClient::Psk("alice", "alice"));
  ASSERT_TRUE(client.Handshake());
  ASSERT_TRUE(client.Write("GET / HTTP/1.1\r\nHost: parley\r\n\r\n"));
  ExpectFarewell(&client, 1, "preface");
  EXPECT_EQ(breaches("preface"), 1);
}

TEST_F(GrpcLimitsTest, EndsOnlyTheConnectionThatIsAtFault) {
  ServeWithSmallLimits();
  const auto bob = Connect(address(), "bob");
  // Another connection under the same key.
  const auto other = Connect(address(), "alice");
  Stream of_bob(bob.get()), of_alice(other.get());
  ASSERT_TRUE(of_bob.IsAnswered());
  ASSERT_TRUE(of_alice.IsAnswered());
  const auto client = Open();
  std::string resets;
  for (uint32_t stream = 1; stream < 13; stream += 2) resets += Begin(stream) + Reset(stream);
  ASSERT_TRUE(client->Write(resets));
  ExpectFarewell(client.get(), kEnhanceYourCalm, "cancelled");
  EXPECT_TRUE(of_bob.IsAnswered());
  EXPECT_TRUE(of_alice.IsAnswered());
  EXPECT_EQ(Call(*bob), absl::OkStatus());
  EXPECT_EQ(door_->listener().stats().handshakes["ok"], 3);
}

TEST_F(GrpcLimitsTest, LogsOneLineWithoutWhatThePeerSaid) {
  ServeWithSmallLimits();
  Mutex mutex;
  std::string lines;
  SetLogSink([&](const LogRecord& record) {
    MutexLock lock(&mutex);
    lines.append(record.line.data(), record.line.size());
  });
  {
    TlsClient client(address(), TlsClient::Psk("alice", "alice"));
    ASSERT_TRUE(client.Handshake());
    ASSERT_TRUE(client.Write("{\"level\":\"error\"}\n{\"level\":\"error\"}\n"));
    ExpectFarewell(&client, 1, "preface");
  }
  SetLogSink(nullptr);
  MutexLock lock(&mutex);
  EXPECT_NE(
      lines.find(R"("message":"connection ended by the guard","breach":"preface","key":"alice","from":"127.0.0.1:)"),
      std::string::npos)
      << lines;
  EXPECT_EQ(lines.find('\n'), lines.size() - 1);
  EXPECT_EQ(lines.find("error"), std::string::npos);
}

TEST_F(GrpcLimitsTest, AGrpcClientThatCancelsTooOftenIsToldSo) {
  ServeWithSmallLimits();
  const auto channel = Connect(address(), "alice");
  const auto stub = EchoService::NewStub(channel->grpc());
  for (int i = 0; i < 6; ++i) {
    grpc::ClientContext context;
    const auto stream = stub->EchoStream(&context);
    EchoResponse response;
    ASSERT_TRUE(stream->Write(EchoRequest()));
    ASSERT_TRUE(stream->Read(&response)) << i;
    context.TryCancel();
    EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::CANCELLED);
  }
  while (breaches("cancelled") == 0) std::this_thread::yield();
  EXPECT_EQ(breaches(), 1);
  // It connects anew.
  while (!Call(*channel).ok()) {
  }
}

// Clients that act rightly.
TEST_F(GrpcLimitsTest, ThousandsOfCallsAreNeverCut) {
  ServeStandingStill();
  const auto channel = Connect(address(), "alice");
  std::atomic<int> answered = 0;
  std::vector<std::thread> callers;
  constexpr int kThreads = 64, kCalls = 150;
  for (int i = 0; i < kThreads; ++i) {
    callers.emplace_back([&] {
      const auto stub = EchoService::NewStub(channel->grpc());
      for (int call = 0; call < kCalls; ++call) {
        grpc::ClientContext context;
        EchoRequest request;
        request.set_data("hello");
        EchoResponse response;
        const grpc::Status status = stub->Echo(&context, request, &response);
        EXPECT_TRUE(status.ok()) << status.error_message();
        ++answered;
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(answered, kThreads * kCalls);
  EXPECT_EQ(breaches(), 0);
  EXPECT_EQ(door_->listener().stats().handshakes["ok"], 1);
}

TEST_F(GrpcLimitsTest, CancelledAndRefusedCallsWithinTheBudgetAreNoFault) {
  ServeStandingStill();
  const auto channel = Connect(address(), "alice");
  const auto stub = EchoService::NewStub(channel->grpc());
  for (int i = 0; i < 500; ++i) {
    grpc::ClientContext context;
    const auto stream = stub->EchoStream(&context);
    if (i % 2 == 0) {
      EchoResponse response;
      ASSERT_TRUE(stream->Write(EchoRequest()));
      ASSERT_TRUE(stream->Read(&response)) << i;
    }
    context.TryCancel();
    EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::CANCELLED);
  }
  // Calls that the server ends while the client still may write are no cancelled ones, however many.
  grpc::GenericStub generic(channel->grpc());
  for (int i = 0; i < 2000; ++i) {
    grpc::ClientContext context;
    grpc::CompletionQueue queue;
    const auto stream = generic.PrepareCall(&context, "/parley.echo.v1.EchoService/Nothing", &queue);
    void* tag = nullptr;
    bool ok = false;
    stream->StartCall(nullptr);
    ASSERT_TRUE(queue.Next(&tag, &ok));
    grpc::Status status;
    stream->Finish(&status, nullptr);
    ASSERT_TRUE(queue.Next(&tag, &ok));
    EXPECT_EQ(status.error_code(), grpc::StatusCode::UNIMPLEMENTED) << status.error_message();
    queue.Shutdown();
  }
  EXPECT_EQ(Call(*channel), absl::OkStatus());
  EXPECT_EQ(breaches(), 0);
  EXPECT_EQ(door_->listener().stats().handshakes["ok"], 1);
}

TEST_F(GrpcLimitsTest, LongStreamsAreNeverCut) {
  ServeStandingStill();
  const auto channel = Connect(address(), "alice");
  const auto stub = EchoService::NewStub(channel->grpc());
  std::vector<std::thread> streams;
  for (const size_t size : {size_t{0}, size_t{10}, size_t{300'000}}) {
    streams.emplace_back([&stub, size] {
      const int messages = size > 1000 ? 200 : 10'000;
      grpc::ClientContext context;
      const auto stream = stub->EchoStream(&context);
      std::thread writer([&] {
        EchoRequest request;
        request.set_data(std::string(size, 'x'));
        for (int i = 0; i < messages; ++i) ASSERT_TRUE(stream->Write(request));
        stream->WritesDone();
      });
      EchoResponse response;
      int received = 0;
      while (stream->Read(&response)) ++received;
      writer.join();
      EXPECT_EQ(received, messages);
      EXPECT_TRUE(stream->Finish().ok());
    });
  }
  for (std::thread& stream : streams) stream.join();
  EXPECT_EQ(breaches(), 0);
}

TEST_F(GrpcLimitsTest, ACompressedRequestIsRefused) {
  Serve();
  for (const grpc_compression_algorithm algorithm : {GRPC_COMPRESS_GZIP, GRPC_COMPRESS_DEFLATE}) {
    const auto channel = Connect(address(), "alice");
    grpc::ClientContext context;
    context.set_compression_algorithm(algorithm);
    EchoRequest request;
    request.set_data(std::string(100'000, 'x'));
    EchoResponse response;
    const grpc::Status status = EchoService::NewStub(channel->grpc())->Echo(&context, request, &response);
    EXPECT_EQ(status.error_code(), grpc::StatusCode::UNIMPLEMENTED) << status.error_message();
    // The connection serves on.
    EXPECT_EQ(Call(*channel), absl::OkStatus());
  }
  EXPECT_EQ(breaches(), 0);
  EXPECT_EQ(door_->listener().stats().handshakes["ok"], 2);
}

}  // namespace
}  // namespace parley::transport
