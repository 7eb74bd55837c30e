// A real door with REST behind it, before a gRPC server that answers every RPC as a test wants.
#ifndef PARLEY_LIB_REST_REST_TESTING_H_
#define PARLEY_LIB_REST_REST_TESTING_H_

#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/server_builder.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "lib/base/mutex.h"
#include "lib/rest/server.h"
#include "lib/transport/grpc_door.h"
#include "lib/transport/testing/keys.h"
#include "lib/transport/testing/tls_client.h"

namespace parley::rest {

// What came to the server, and what it answers.
struct RpcCall {
  std::string method;
  std::vector<std::string> requests;
  std::shared_ptr<const transport::Peer> peer;
};
struct RpcAnswer {
  std::vector<std::string> answers;
  grpc::Status status;
  // The stream stays open after the answers until it is canceled.
  bool hold = false;
};

class AnyService final : public grpc::CallbackGenericService {
 public:
  std::function<std::shared_ptr<const transport::Peer>(const grpc::ServerContextBase&)> find_peer;

  void Answer(RpcAnswer answer) {
    MutexLock lock(&mutex_);
    answer_ = std::move(answer);
  }
  std::vector<RpcCall> calls() {
    MutexLock lock(&mutex_);
    return calls_;
  }
  void WaitForCancel() {
    MutexLock lock(&mutex_);
    while (canceled_ == 0) changed_.Wait(&mutex_);
  }

 private:
  class Reactor final : public grpc::ServerGenericBidiReactor {
   public:
    Reactor(AnyService* service, RpcCall call) : service_(service), call_(std::move(call)) {
      StartSendInitialMetadata();
      StartRead(&in_);
    }

   private:
    void OnReadDone(bool ok) override {
      if (!ok) {
        answer_ = service_->Take(call_);
        return Next();
      }
      grpc::Slice slice;
      EXPECT_TRUE(in_.DumpToSingleSlice(&slice).ok());
      call_.requests.emplace_back(reinterpret_cast<const char*>(slice.begin()), slice.size());
      StartRead(&in_);
    }
    void Next() {
      if (sent_ == answer_.answers.size()) {
        if (!answer_.hold) Finish(answer_.status);
        return;
      }
      const grpc::Slice slice(answer_.answers[sent_++]);
      out_ = grpc::ByteBuffer(&slice, 1);
      StartWrite(&out_);
    }
    void OnWriteDone(bool) override { Next(); }
    void OnCancel() override {
      if (answer_.hold) Finish(grpc::Status::CANCELLED);
      MutexLock lock(&service_->mutex_);
      ++service_->canceled_;
      service_->changed_.NotifyAll();
    }
    void OnDone() override { delete this; }

    AnyService* const service_;
    RpcCall call_;
    RpcAnswer answer_;
    size_t sent_ = 0;
    grpc::ByteBuffer in_, out_;
  };

  grpc::ServerGenericBidiReactor* CreateReactor(grpc::GenericCallbackServerContext* context) override {
    return new Reactor(this, RpcCall{context->method(), {}, find_peer(*context)});
  }
  RpcAnswer Take(const RpcCall& call) {
    MutexLock lock(&mutex_);
    calls_.push_back(call);
    return answer_;
  }

  Mutex mutex_;
  CondVar changed_;
  RpcAnswer answer_ ABSL_GUARDED_BY(mutex_);
  std::vector<RpcCall> calls_ ABSL_GUARDED_BY(mutex_);
  int canceled_ ABSL_GUARDED_BY(mutex_) = 0;
};

class RestTest : public testing::Test {
 protected:
  void Start(Server::Options options = {}) {
    keys_.Add("alice");
    keys_.Add("bob");
    const transport::ServerCertificate certificate = transport::MakeTestServerCertificate(absl::Now());
    transport::Listener::Options listener;
    listener.address = "127.0.0.1:0";
    listener.certificate_pem = certificate.pem;
    listener.private_key_pem = certificate.key_pem.Clone();
    listener.threads = 1;
    listener.accept_rest = true;
    door_ = *transport::GrpcDoor::Create(std::move(listener), &keys_);
    options.services = {"parley.task.v1.TaskService",          "parley.task.v1.ArtifactService",
                        "parley.task.v1.ParticipationService", "parley.key.v1.KeyService",
                        "parley.trust.v1.TrustService",        "parley.enrol.v1.InvitationService"};
    options.open_api = "{\"openapi\":\"3.1.0\"}";
    options.threads = 1;
    auto rest = Server::Attach(door_.get(), std::move(options));
    ASSERT_TRUE(rest.ok()) << rest.status();
    rest_ = *std::move(rest);
    service_.find_peer = [this](const grpc::ServerContextBase& context) { return door_->PeerOf(context); };
    grpc::ServerBuilder builder;
    builder.RegisterCallbackGenericService(&service_);
    ASSERT_TRUE(door_->Serve(&builder).ok());
  }
  ~RestTest() override {
    if (door_ != nullptr) door_->Shutdown(absl::Now());
  }

  std::unique_ptr<transport::TlsClient> Connect(const std::string& name = "alice") {
    // The client signs with it as long as it lives.
    const auto& key = ec_keys_.try_emplace(name, transport::EcKeyOf(name)).first->second;
    transport::TlsClient::Options options = transport::TlsClient::Certificate(name, key);
    options.alpn = {"http/1.1"};
    auto client = std::make_unique<transport::TlsClient>(door_->listener().address(), std::move(options));
    EXPECT_TRUE(client->Handshake());
    return client;
  }
  static std::string ReadToEnd(transport::TlsClient* client) {
    std::string all;
    for (std::string piece = client->Read(); !piece.empty(); piece = client->Read()) all += piece;
    return all;
  }
  // What the server says to these bytes until it closes.
  std::string Raw(const std::string& bytes, const std::string& name = "alice") {
    const auto client = Connect(name);
    client->Write(bytes);
    return ReadToEnd(client.get());
  }
  static std::string Text(const std::string& method, const std::string& target, const std::string& body = "",
                          const std::string& headers = "") {
    return absl::StrCat(
        method, " ", target, " HTTP/1.1\r\nHost: h\r\nConnection: close\r\n", headers,
        body.empty() ? "" : absl::StrCat("Content-Type: application/json\r\nContent-Length: ", body.size(), "\r\n"),
        "\r\n", body);
  }
  static int StatusOf(const std::string& answer) { return answer.size() < 12 ? 0 : std::stoi(answer.substr(9, 3)); }
  static std::string BodyOf(const std::string& answer) {
    const size_t end = answer.find("\r\n\r\n");
    return end == std::string::npos ? "" : answer.substr(end + 4);
  }
  // What chunks hold.
  static std::string Joined(absl::string_view chunks) {
    std::string all;
    while (!chunks.empty()) {
      const size_t end = chunks.find("\r\n"), size = std::stoul(std::string(chunks.substr(0, end)), nullptr, 16);
      absl::StrAppend(&all, chunks.substr(end + 2, size));
      chunks.remove_prefix(std::min(chunks.size(), end + 2 + size + 2));
    }
    return all;
  }
  // Honest requests are answered.
  void ExpectServes() {
    service_.Answer({{""}});
    EXPECT_EQ(StatusOf(Raw(Text("GET", "/v1/tasks/a"))), 200);
  }

  transport::FakeKeys keys_;
  std::map<std::string, crypto::EcKey> ec_keys_;
  AnyService service_;
  std::unique_ptr<transport::GrpcDoor> door_;
  std::unique_ptr<Server> rest_;
};

}  // namespace parley::rest

#endif  // PARLEY_LIB_REST_REST_TESTING_H_
