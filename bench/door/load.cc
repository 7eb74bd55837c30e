#include "bench/door/load.h"

#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <iostream>
#include <sstream>
#include <thread>
#include <utility>

namespace parley::bench {
namespace {

using Clock = std::chrono::steady_clock;
constexpr size_t kUnaryBytes = 128;
constexpr size_t kPieceBytes = 64 * 1024;
// Enough to keep both cores of a small machine busy.
constexpr int kHandshakeThreads = 8;

grpc::ByteBuffer Bytes(size_t size) {
  const grpc::Slice slice(std::string(size, 'x'));
  return grpc::ByteBuffer(&slice, 1);
}

class EchoReactor final : public grpc::ServerGenericBidiReactor {
 public:
  EchoReactor() { StartRead(&message_); }
  void OnReadDone(bool ok) override {
    if (!ok) return Finish(grpc::Status::OK);
    StartWriteAndFinish(&message_, grpc::WriteOptions(), grpc::Status::OK);
  }
  void OnDone() override { delete this; }

 private:
  grpc::ByteBuffer message_;
};

class DownloadReactor final : public grpc::ServerGenericBidiReactor {
 public:
  DownloadReactor() : message_(Bytes(kPieceBytes)) { StartWrite(&message_); }
  void OnWriteDone(bool ok) override {
    if (!ok) return Finish(grpc::Status::OK);
    StartWrite(&message_);
  }
  void OnDone() override { delete this; }

 private:
  const grpc::ByteBuffer message_;
};

class Service final : public grpc::CallbackGenericService {
  grpc::ServerGenericBidiReactor* CreateReactor(grpc::GenericCallbackServerContext* context) override {
    if (context->method() == "/bench/Download") return new DownloadReactor;
    return new EchoReactor;
  }
};

struct UnaryCall {
  grpc::ClientContext context;
  grpc::ByteBuffer response;
  grpc::Status status;
  std::unique_ptr<grpc::GenericClientAsyncResponseReader> reader;
  Clock::time_point start;
};

void StartCall(grpc::GenericStub* stub, grpc::CompletionQueue* queue) {
  static const grpc::ByteBuffer request = Bytes(kUnaryBytes);
  auto* call = new UnaryCall;
  call->start = Clock::now();
  call->reader = stub->PrepareUnaryCall(&call->context, "/bench/Echo", request, queue);
  call->reader->StartCall();
  call->reader->Finish(&call->response, &call->status, call);
}

double SecondsSince(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

std::string Unary(grpc::GenericStub* stub, int in_flight, double seconds) {
  grpc::CompletionQueue queue;
  std::vector<double> micros;
  micros.reserve(1 << 18);
  const auto start = Clock::now();
  for (int i = 0; i < in_flight; ++i) StartCall(stub, &queue);
  double elapsed = 0;
  for (int open = in_flight; open > 0;) {
    void* tag = nullptr;
    bool ok = false;
    if (!queue.Next(&tag, &ok)) break;
    const std::unique_ptr<UnaryCall> call(static_cast<UnaryCall*>(tag));
    if (!call->status.ok()) {
      std::cerr << "call failed: " << call->status.error_message() << std::endl;
      exit(1);
    }
    micros.push_back(SecondsSince(call->start) * 1e6);
    if (elapsed == 0 && SecondsSince(start) < seconds) {
      StartCall(stub, &queue);
    } else {
      if (elapsed == 0) elapsed = SecondsSince(start);
      --open;
    }
  }
  queue.Shutdown();
  const double rate = static_cast<double>(micros.size()) / SecondsSince(start);
  std::sort(micros.begin(), micros.end());
  std::ostringstream line;
  line << rate << " " << micros[micros.size() / 2] << " " << micros[micros.size() * 99 / 100];
  return line.str();
}

std::string Stream(grpc::GenericStub* stub, double seconds) {
  grpc::CompletionQueue queue;
  grpc::ClientContext context;
  void* tag = nullptr;
  bool ok = false;
  auto stream = stub->PrepareCall(&context, "/bench/Download", &queue);
  stream->StartCall(nullptr);
  queue.Next(&tag, &ok);
  int64_t received = 0;
  const auto start = Clock::now();
  while (SecondsSince(start) < seconds) {
    grpc::ByteBuffer message;
    stream->Read(&message, nullptr);
    if (!queue.Next(&tag, &ok) || !ok) break;
    received += static_cast<int64_t>(message.Length());
  }
  const double elapsed = SecondsSince(start);
  context.TryCancel();
  grpc::Status status;
  stream->Finish(&status, nullptr);
  queue.Next(&tag, &ok);
  queue.Shutdown();
  return std::to_string(static_cast<double>(received) / elapsed / (1 << 20));
}

std::string Handshakes(const Reach& reach, double seconds) {
  std::atomic<int64_t> count{0};
  const auto start = Clock::now();
  std::vector<std::thread> threads;
  for (int i = 0; i < kHandshakeThreads; ++i) {
    threads.emplace_back([&] {
      while (SecondsSince(start) < seconds) {
        if (!reach.handshake()) {
          std::cerr << "handshake failed" << std::endl;
          exit(1);
        }
        ++count;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  return std::to_string(static_cast<double>(count) / SecondsSince(start));
}

std::vector<std::shared_ptr<grpc::Channel>> OpenIdle(const Reach& reach, int count) {
  std::vector<std::shared_ptr<grpc::Channel>> channels;
  for (int i = 0; i < count; ++i) {
    channels.push_back(reach.connect());
    grpc::GenericStub stub(channels.back());
    Unary(&stub, 1, 0);
  }
  return channels;
}

}  // namespace

std::unique_ptr<grpc::CallbackGenericService> MakeService() { return std::make_unique<Service>(); }

void RunClient(const Reach& reach) {
  std::shared_ptr<grpc::Channel> channel;
  std::vector<std::shared_ptr<grpc::Channel>> idle;
  for (std::string line; std::getline(std::cin, line);) {
    std::istringstream words(line);
    std::string command;
    words >> command;
    if (channel == nullptr && (command == "unary" || command == "stream")) {
      channel = reach.connect();
      grpc::GenericStub stub(channel);
      Unary(&stub, 1, 0.1);
    }
    grpc::GenericStub stub(channel);
    int count = 0;
    double seconds = 0;
    if (command == "unary" && words >> count >> seconds) {
      std::cout << Unary(&stub, count, seconds) << std::endl;
    } else if (command == "stream" && words >> seconds) {
      std::cout << Stream(&stub, seconds) << std::endl;
    } else if (command == "handshakes" && words >> seconds) {
      std::cout << Handshakes(reach, seconds) << std::endl;
    } else if (command == "idle" && words >> count) {
      idle.clear();
      idle = OpenIdle(reach, count);
      std::cout << idle.size() << std::endl;
    } else {
      std::cerr << "unknown command: " << line << std::endl;
      exit(1);
    }
  }
}

void AwaitEnd(const std::string& address) {
  std::cout << "ready " << address << std::endl;
  for (std::string line; std::getline(std::cin, line);) {
  }
}

void RaiseLimits() {
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
}

}  // namespace parley::bench
