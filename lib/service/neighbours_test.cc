// One loop relays for all connections and does gRPC's work: whatever one connection does, the others do not wait for
// it.
#include <fcntl.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <latch>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "lib/base/error.h"
#include "lib/base/mutex.h"
#include "lib/rpc/gate.h"
#include "lib/rpc/out_stream.h"
#include "lib/rpc/start_stream.h"
#include "lib/store/sqlite_store.h"
#include "lib/store/store.h"
#include "lib/transport/channel.h"
#include "lib/transport/grpc_door.h"
#include "lib/transport/grpc_poller.h"
#include "lib/transport/testing/frames.h"
#include "lib/transport/testing/keys.h"
#include "lib/transport/testing/tls_client.h"
#include "parley/task/v1/artifact_service.grpc.pb.h"
#include "parley/task/v1/task_service.grpc.pb.h"

namespace parley::service {
namespace {

namespace frames = transport::frames;
using task::v1::ArtifactService;
using task::v1::FetchChunksRequest;
using task::v1::FetchChunksResponse;
using task::v1::GetTaskRequest;
using task::v1::Task;
using task::v1::TaskService;

constexpr char kFetch[] = "/parley.task.v1.ArtifactService/FetchChunks";
constexpr int kWorkers = 4;
constexpr int kCalls = 200;
constexpr size_t kPieceBytes = 64 * 1024;
constexpr int kIdleConnections = 6000;

class NoAuditLog final : public audit::AuditLog {
 public:
  void Record(key::v1::AuditEvent) override {}
};

// Runs what a test says on a worker, by the name that was asked for.
class Tasks final : public TaskService::CallbackService {
 public:
  explicit Tasks(const rpc::Gate* gate) : gate_(gate) {}
  grpc::ServerUnaryReactor* GetTask(grpc::CallbackServerContext* context, const GetTaskRequest* request,
                                    Task* response) override {
    return gate_->Unary(context, "parley.task.v1.TaskService.GetTask", [this, request, response](const rpc::Caller&) {
      response->set_name(request->name());
      return handle ? handle(request->name()) : absl::OkStatus();
    });
  }

  std::function<absl::Status(const std::string& name)> handle;

 private:
  const rpc::Gate* const gate_;
};

// Sends as much as the peer takes.
class Artifacts final : public ArtifactService::CallbackService {
 public:
  explicit Artifacts(const rpc::Gate* gate) : gate_(gate) {}
  grpc::ServerWriteReactor<FetchChunksResponse>* FetchChunks(grpc::CallbackServerContext* context,
                                                             const FetchChunksRequest*) override {
    class Endless final : public rpc::OutStream<grpc::ServerWriteReactor<FetchChunksResponse>, FetchChunksResponse> {
     public:
      explicit Endless(Artifacts* artifacts) : artifacts_(artifacts) {}
      void Begin() { OnSent(); }

     private:
      void OnSent() override {
        ++artifacts_->pieces;
        artifacts_->pieces.notify_all();
        FetchChunksResponse response;
        response.set_data(std::string(kPieceBytes, 'x'));
        Send(std::move(response));
      }
      void OnClosed() override {
        artifacts_->ended = true;
        artifacts_->ended.notify_all();
      }

      Artifacts* const artifacts_;
    };
    return rpc::StartStream(*gate_, context, "parley.task.v1.ArtifactService.FetchChunks",
                            [this](const rpc::Caller&) { return std::make_shared<Endless>(this); });
  }

  std::atomic<int> pieces = 0;
  std::atomic<bool> ended = false;

 private:
  const rpc::Gate* const gate_;
};

class NeighboursTest : public testing::Test {
 protected:
  static void SetUpTestSuite() { ASSERT_TRUE(transport::PollGrpcInLoop()); }

  void SetUp() override {
    for (const char* name : {"alice", "bob"}) keys_.AddPreferred(name);
    keys_.Add("member");
    transport::Listener::Options options;
    options.address = "127.0.0.1:0";
    // Leaves the descriptors to the connections.
    options.max_handshakes = 64;
    auto door = transport::GrpcDoor::Create(std::move(options), &keys_);
    ASSERT_TRUE(door.ok()) << door.status();
    door_ = *std::move(door);
    grpc::ServerBuilder builder;
    builder.RegisterService(&tasks_);
    builder.RegisterService(&artifacts_);
    ASSERT_TRUE(door_->Serve(&builder).ok());
  }
  void TearDown() override {
    door_->Shutdown(absl::Now());
    door_->Wait();
  }

  const std::string& address() { return door_->listener().address(); }

  std::unique_ptr<transport::Channel> Connect(const std::string& name) {
    return *transport::Channel::Create({.address = address(), .identity = name, .psk = transport::PskOf(name)});
  }

  static absl::Status GetTask(transport::Channel& channel, const std::string& name) {
    grpc::ClientContext context;
    context.set_deadline(absl::ToChronoTime(absl::Now() + absl::Minutes(2)));
    GetTaskRequest request;
    request.set_name(name);
    Task response;
    return channel.Explain(TaskService::NewStub(channel.grpc())->GetTask(&context, request, &response));
  }

  // Bob's calls on a connection of his own, which nothing in the test is to hold up.
  void ExpectBobIsServed(const std::string& name = "quick") {
    const auto bob = Connect("bob");
    for (int i = 0; i < kCalls; ++i) ASSERT_EQ(GetTask(*bob, name), absl::OkStatus());
  }

  transport::FakeKeys keys_;
  NoAuditLog audit_;
  rpc::WorkerPool workers_{kWorkers};
  rpc::Gate gate_{[this](const grpc::ServerContextBase& context) { return door_->PeerOf(context); }, &audit_,
                  &workers_};
  Tasks tasks_{&gate_};
  Artifacts artifacts_{&gate_};
  std::unique_ptr<transport::GrpcDoor> door_;
};

TEST_F(NeighboursTest, OfAHandlerThatBlocks) {
  std::latch blocked(1), released(1);
  tasks_.handle = [&](const std::string& name) {
    if (name == "slow") {
      blocked.count_down();
      released.wait();
    }
    return absl::OkStatus();
  };
  std::thread slow([&] { EXPECT_EQ(GetTask(*Connect("alice"), "slow"), absl::OkStatus()); });
  blocked.wait();
  ExpectBobIsServed();
  released.count_down();
  slow.join();
}

TEST_F(NeighboursTest, OfAHandlerThatKeepsTheStoreBusy) {
  const auto store = *store::OpenSqliteStore({.path = testing::TempDir() + "/neighbours.db"});
  const auto put = [&store](const std::string& key) {
    store::Transaction write;
    write.Set(key, std::string(4096, 'x'));
    return store->Commit(std::move(write)).status();
  };
  std::latch begun(1);
  std::atomic<bool> over = false;
  int commits = 0;
  tasks_.handle = [&](const std::string& name) {
    if (name != "busy") return put(name);
    begun.count_down();
    for (; !over; ++commits) RETURN_IF_ERROR(put(absl::StrCat("busy-", commits % 100)));
    return absl::OkStatus();
  };
  std::thread busy([&] { EXPECT_EQ(GetTask(*Connect("alice"), "busy"), absl::OkStatus()); });
  begun.wait();
  ExpectBobIsServed("bobs");
  over = true;
  busy.join();
  EXPECT_GT(commits, 1);
}

// A call by hand, so that nothing on this side takes bytes out of the socket.
std::string FetchByHand(const std::string& authority) {
  const auto literal = [](const std::string& text) { return std::string(1, static_cast<char>(text.size())) + text; };
  // RFC 7541: POST, http, :path, :authority, te and content-type, without Huffman's code or a table.
  const std::string headers =
      absl::StrCat("\x83\x86", "\x04", literal(kFetch), "\x01", literal(authority), std::string("\0", 1), literal("te"),
                   literal("trailers"), std::string("\x0f\x10", 2), literal("application/grpc"));
  constexpr uint32_t kWindow = 1 << 30;
  return absl::StrCat(frames::kPreface,
                      frames::Frame(frames::kSettings, 0, 0, frames::Number(4, 2) + frames::Number(kWindow, 4)),
                      frames::Frame(frames::kSettings, frames::kAck, 0),
                      frames::Frame(frames::kWindowUpdate, 0, 0, frames::Number(kWindow, 4)),
                      frames::Frame(frames::kHeaders, frames::kEndHeaders, 1, headers),
                      // An empty message of gRPC: not compressed, of no bytes.
                      frames::Frame(frames::kData, frames::kEndStream, 1, std::string(5, '\0')));
}

TEST_F(NeighboursTest, OfAPeerThatNeverReads) {
  // What the kernel's buffers of a connection, gRPC's and the relay's can hold together.
  constexpr size_t kMostBytes = 64 << 20;
  {
    transport::TlsClient deaf(address(), transport::TlsClient::Psk("member", "member"));
    ASSERT_TRUE(deaf.Handshake());
    ASSERT_TRUE(deaf.Write(FetchByHand(address())));
    // The stream is under way.
    for (int pieces = 0; pieces < 4; pieces = artifacts_.pieces) artifacts_.pieces.wait(pieces);
    ExpectBobIsServed();
    EXPECT_LT(artifacts_.pieces * kPieceBytes, kMostBytes);
    EXPECT_FALSE(artifacts_.ended);
  }
  // It has left, and its stream ends with it.
  artifacts_.ended.wait(false);
}

// Keeps connections open in a process of its own, which has descriptors of its own: says so, and after a line from its
// parent asks each for a sign of life.
int KeepIdleConnections(const std::string& address, int count) {
  std::vector<std::unique_ptr<transport::TlsClient>> clients;
  const auto reads = [](transport::TlsClient* client, const std::string& wanted) {
    std::string all;
    while (all.find(wanted) == all.npos) {
      const std::string more = client->Read();
      if (more.empty()) return false;
      all += more;
    }
    return true;
  };
  for (int i = 0; i < count; ++i) {
    const std::string name = absl::StrCat("idle-", i);
    clients.push_back(std::make_unique<transport::TlsClient>(address, transport::TlsClient::Psk(name, name)));
    transport::TlsClient* const client = clients.back().get();
    client->SetTimeout(absl::Minutes(2));
    // Whatever its settings are, they follow a header for stream 0 of the type that is theirs.
    const std::string settings("\x04\0\0\0\0\0", 6);
    if (!client->Handshake() ||
        !client->Write(absl::StrCat(frames::kPreface, frames::Frame(frames::kSettings, 0, 0))) ||
        !reads(client, settings) || !client->Write(frames::Frame(frames::kSettings, frames::kAck, 0))) {
      printf("lost %d\n", i);
      return 1;
    }
  }
  printf("connected\n");
  fflush(stdout);
  if (getchar() == EOF) return 1;
  int alive = 0;
  for (const auto& client : clients) {
    if (client->Write(frames::Ping()) && reads(client.get(), frames::Ping(frames::kAck))) ++alive;
  }
  printf("alive %d\n", alive);
  return 0;
}

TEST_F(NeighboursTest, OfThousandsThatAreIdle) {
  for (int i = 0; i < kIdleConnections; ++i) keys_.Add(absl::StrCat("idle-", i));
  int to_child[2], from_child[2];
  ASSERT_EQ(pipe2(to_child, O_CLOEXEC), 0);
  ASSERT_EQ(pipe2(from_child, O_CLOEXEC), 0);
  const std::string count = absl::StrCat(kIdleConnections);
  const pid_t child = fork();
  if (child == 0) {
    dup2(to_child[0], STDIN_FILENO);
    dup2(from_child[1], STDOUT_FILENO);
    execl("/proc/self/exe", "idle", "--idle", address().c_str(), count.c_str(), nullptr);
    _exit(127);
  }
  close(to_child[0]);
  close(from_child[1]);
  const std::unique_ptr<FILE, int (*)(FILE*)> answers(fdopen(from_child[0], "r"), &fclose);
  char line[64] = "";
  ASSERT_NE(fgets(line, sizeof(line), answers.get()), nullptr);
  ASSERT_STREQ(line, "connected\n") << "is the limit of open files below 20,000?";
  ExpectBobIsServed();
  ASSERT_EQ(write(to_child[1], "\n", 1), 1);
  ASSERT_NE(fgets(line, sizeof(line), answers.get()), nullptr);
  EXPECT_EQ(std::string(line), absl::StrCat("alive ", count, "\n"));
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  close(to_child[1]);
}

}  // namespace
}  // namespace parley::service

int main(int argc, char** argv) {
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  if (argc == 4 && std::string(argv[1]) == "--idle")
    return parley::service::KeepIdleConnections(argv[2], atoi(argv[3]));
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
