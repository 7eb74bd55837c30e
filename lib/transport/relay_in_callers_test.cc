// A client whose own threads relay: what it sends goes out and what comes in is read, whichever thread waits and
// however many do. The server is another process, because a server's threads would poll for the client.
#include "lib/transport/relay_in_callers.h"

#include <dirent.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "lib/base/error.h"
#include "lib/base/fd.h"
#include "lib/base/file.h"
#include "lib/base/mutex.h"
#include "lib/transport/testing/grpc_door.h"
#include "lib/transport/testing/tcp.h"

namespace parley::transport {
namespace {

constexpr size_t kLargeBytes = 2 * 1024 * 1024;

// Echoes, and writes a byte into a pipe for each message of a stream, before it answers.
class ToldEcho final : public EchoService::Service {
 public:
  explicit ToldEcho(int told) : told_(told) {}

  grpc::Status Echo(grpc::ServerContext*, const EchoRequest* request, EchoResponse* response) override {
    response->set_data(request->data());
    return grpc::Status::OK;
  }
  grpc::Status EchoStream(grpc::ServerContext*, grpc::ServerReaderWriter<EchoResponse, EchoRequest>* stream) override {
    EchoRequest request;
    EchoResponse response;
    while (stream->Read(&request)) {
      Tell();
      response.set_data(request.data());
      if (!stream->Write(response)) break;
    }
    Tell();
    return grpc::Status::OK;
  }

 private:
  void Tell() { EXPECT_EQ(write(told_, "x", 1), 1); }

  const int told_;
};

// Serves until the parent has gone, or ends this process.
[[noreturn]] void Serve(int address, int told) {
  FakeKeys keys;
  keys.Add("alice");
  Listener::Options options;
  options.address = "127.0.0.1:0";
  const auto door = *GrpcDoor::Create(std::move(options), &keys);
  ToldEcho service(told);
  grpc::ServerBuilder builder;
  builder.RegisterService(&service);
  if (!door->Serve(&builder).ok()) _exit(1);
  const std::string line = door->listener().address();
  if (write(address, line.data(), line.size()) < 0) _exit(1);
  while (true) pause();
}

class Server {
 public:
  Server() {
    int address[2], told[2];
    EXPECT_EQ(pipe(address), 0);
    EXPECT_EQ(pipe(told), 0);
    pid_ = fork();
    if (pid_ == 0) Serve(address[1], told[1]);
    told_ = Fd(told[0]);
    close(told[1]);
    close(address[1]);
    char text[64] = {};
    EXPECT_GT(read(address[0], text, sizeof(text) - 1), 0);
    close(address[0]);
    address_ = text;
  }
  ~Server() { End(); }

  // Waits until the server has read a message of a stream, or seen the end of one.
  bool IsTold() {
    pollfd waiting{.fd = told_.get(), .events = POLLIN, .revents = 0};
    char byte = 0;
    return poll(&waiting, 1, 20'000) == 1 && read(told_.get(), &byte, 1) == 1;
  }
  void End() {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    pid_ = 0;
  }
  const std::string& address() const { return address_; }

 private:
  pid_t pid_ = 0;
  Fd told_;
  std::string address_;
};

// The names of this process's threads.
std::vector<std::string> ThreadNames() {
  std::vector<std::string> names;
  DIR* const tasks = opendir("/proc/self/task");
  while (const dirent* const entry = readdir(tasks)) {
    const auto name = ReadFile(absl::StrCat("/proc/self/task/", entry->d_name, "/comm"), 64);
    if (name.ok()) names.push_back(*name);
  }
  closedir(tasks);
  return names;
}

std::unique_ptr<Server>& servers() {
  static std::unique_ptr<Server> server;
  return server;
}

class RelayInCallersTest : public testing::Test {
 protected:
  // The server first: nothing in this process has used gRPC yet, and it has one thread.
  static void SetUpTestSuite() {
    servers() = std::make_unique<Server>();
    ASSERT_TRUE(RelayInCallers());
  }
  static void TearDownTestSuite() { servers().reset(); }

  Server& server() { return *servers(); }
  std::unique_ptr<Channel> Connect() {
    return *Channel::Create({.address = server().address(), .identity = "alice", .psk = PskOf("alice")});
  }
  static grpc::Status Echo(EchoService::Stub* stub, const std::string& data) {
    grpc::ClientContext context;
    context.set_deadline(absl::ToChronoTime(absl::Now() + absl::Seconds(30)));
    EchoRequest request;
    request.set_data(data);
    EchoResponse response;
    grpc::Status status = stub->Echo(&context, request, &response);
    EXPECT_EQ(response.data() == data, status.ok());
    return status;
  }
};

TEST_F(RelayInCallersTest, CallsNeedNoThreadOfTheRelay) {
  const auto channel = Connect();
  const auto stub = EchoService::NewStub(channel->grpc());
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(Echo(stub.get(), "here").ok());
  EXPECT_TRUE(Echo(stub.get(), std::string(kLargeBytes, 'x')).ok());
  for (const std::string& name : ThreadNames()) EXPECT_NE(name, "parley-relay\n");
}

// Otherwise a server would learn of a client's progress when the client next waits for something.
TEST_F(RelayInCallersTest, AMessageGoesOutThoughNoThreadWaits) {
  const auto channel = Connect();
  Stream stream(channel.get());
  EXPECT_TRUE(stream.IsAnswered());
  EXPECT_TRUE(server().IsTold());
  for (int i = 0; i < 20; ++i) {
    stream.Write();
    EXPECT_TRUE(server().IsTold()) << i;
  }
  for (int i = 0; i < 20; ++i) EXPECT_TRUE(stream.Read());
  stream.WritesDone();
  EXPECT_TRUE(server().IsTold());
  EXPECT_TRUE(stream.Finish().ok());
}

TEST_F(RelayInCallersTest, ManyThreadsCallAtOnce) {
  const auto shared = Connect();
  std::atomic<int> answered = 0;
  std::vector<std::thread> callers;
  for (int i = 0; i < 8; ++i) {
    callers.emplace_back([&, i] {
      const auto own = Connect();
      const auto stub = EchoService::NewStub((i % 2 == 0 ? shared : own)->grpc());
      for (int call = 0; call < 100; ++call) {
        if (Echo(stub.get(), std::string(call * 100, 'x')).ok()) ++answered;
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(answered, 8 * 100);
}

TEST_F(RelayInCallersTest, CallbacksAreCalled) {
  const auto channel = Connect();
  const auto stub = EchoService::NewStub(channel->grpc());
  grpc::ClientContext context;
  EchoRequest request;
  EchoResponse response;
  Mutex mutex;
  CondVar changed;
  bool done = false;
  stub->async()->Echo(&context, &request, &response, [&](grpc::Status status) {
    EXPECT_TRUE(status.ok()) << status.error_message();
    MutexLock lock(&mutex);
    done = true;
    changed.NotifyAll();
  });
  MutexLock lock(&mutex);
  while (!done) changed.Wait(&mutex);
}

TEST_F(RelayInCallersTest, ACallThatWaitsCanBeCancelled) {
  const auto channel = Connect();
  Stream stream(channel.get());
  EXPECT_TRUE(stream.IsAnswered());
  EXPECT_TRUE(server().IsTold());
  std::thread canceller([&] { stream.Cancel(); });
  EXPECT_FALSE(stream.Read());
  canceller.join();
  // The server is told, and sees the end of the stream.
  EXPECT_EQ(stream.Finish().error_code(), grpc::StatusCode::CANCELLED);
  EXPECT_TRUE(server().IsTold());
}

// The loop's timers: a silent address is given up after a while, and the next one is tried.
TEST_F(RelayInCallersTest, ADialGoesOnWhileItsCallerWaits) {
  TcpServer silent([](int fd) { TcpClient(fd).ReceiveToEnd(); });
  const auto channel = *Channel::Create(
      {.address = silent.address(), .identity = "alice", .psk = PskOf("alice"), .timeout = absl::Milliseconds(300)});
  const auto stub = EchoService::NewStub(channel->grpc());
  EXPECT_EQ(Reason(channel->Explain(Echo(stub.get(), "here"))), "CONNECTION_TIMEOUT");
}

TEST_F(RelayInCallersTest, TheEndOfTheServerIsNoticed) {
  const auto channel = Connect();
  const auto stub = EchoService::NewStub(channel->grpc());
  EXPECT_TRUE(Echo(stub.get(), "here").ok());
  Stream stream(channel.get());
  EXPECT_TRUE(stream.IsAnswered());
  std::thread killer([this] { server().End(); });
  EXPECT_FALSE(stream.Read());
  killer.join();
  EXPECT_EQ(stream.Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(Reason(channel->Explain(Echo(stub.get(), "here"))), "CONNECTION_REFUSED");
}

}  // namespace
}  // namespace parley::transport
