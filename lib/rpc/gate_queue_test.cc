// The gate's queue, with a real gRPC server before it.
#include <atomic>
#include <latch>
#include <memory>
#include <thread>

#include "grpcpp/channel.h"
#include "grpcpp/client_context.h"
#include "grpcpp/server.h"
#include "grpcpp/server_builder.h"
#include "gtest/gtest.h"
#include "lib/rpc/gate.h"
#include "lib/rpc/worker_pool.h"
#include "parley/access/v1/access.pb.h"
#include "parley/key/v1/key_service.grpc.pb.h"

namespace parley::rpc {
namespace {

constexpr char kIssue[] = "parley.key.v1.KeyService.IssueCredential";

class NoAuditLog final : public audit::AuditLog {
 public:
  void Record(key::v1::AuditEvent) override {}
};

// KeyService with one RPC, which waits for nothing but its worker.
class IssueService final : public key::v1::KeyService::CallbackService {
 public:
  explicit IssueService(const Gate* gate) : gate_(gate) {}
  grpc::ServerUnaryReactor* IssueCredential(grpc::CallbackServerContext* context,
                                            const key::v1::IssueCredentialRequest*,
                                            key::v1::IssueCredentialResponse*) override {
    auto* const reactor = gate_->Unary(context, kIssue, [this](const Caller&) {
      ++handled;
      return absl::OkStatus();
    });
    taken = context;
    taken.notify_all();
    return reactor;
  }

  std::atomic<grpc::CallbackServerContext*> taken = nullptr;
  std::atomic<int> handled = 0;

 private:
  const Gate* const gate_;
};

TEST(GateQueue, ACallThatIsCancelledWhileItWaitsIsNeverHandled) {
  transport::Peer peer;
  peer.key.role = access::v1::ROLE_ADMIN;
  const auto shared_peer = std::make_shared<const transport::Peer>(peer);
  NoAuditLog audit;
  WorkerPool workers(1);
  const Gate gate([&](const grpc::ServerContextBase&) { return shared_peer; }, &audit, &workers);
  IssueService service(&gate);
  grpc::ServerBuilder builder;
  builder.RegisterService(&service);
  const auto server = builder.BuildAndStart();
  const auto stub = key::v1::KeyService::NewStub(server->InProcessChannel(grpc::ChannelArguments()));
  const auto call = [&stub](grpc::ClientContext* context) {
    key::v1::IssueCredentialResponse response;
    return stub->IssueCredential(context, key::v1::IssueCredentialRequest(), &response).error_code();
  };
  std::latch busy(1);
  workers.Run([&busy] { busy.wait(); });
  grpc::ClientContext cancelled, honest;
  std::thread caller([&] { EXPECT_EQ(call(&cancelled), grpc::StatusCode::CANCELLED); });
  service.taken.wait(nullptr);
  cancelled.TryCancel();
  caller.join();
  while (!service.taken.load()->IsCancelled()) std::this_thread::yield();
  busy.count_down();
  // Its turn comes after that of the other.
  EXPECT_EQ(call(&honest), grpc::StatusCode::OK);
  EXPECT_EQ(service.handled, 1);
  server->Shutdown();
}

}  // namespace
}  // namespace parley::rpc
