#include <string>
#include <utility>
#include <vector>

#include "google/protobuf/descriptor.h"
#include "google/rpc/status.pb.h"
#include "grpcpp/server_context.h"
#include "gtest/gtest.h"
#include "lib/base/error.h"
#include "lib/rpc/gate.h"
#include "lib/rpc/live_streams.h"
#include "lib/rpc/metrics.h"
#include "lib/rpc/worker_pool.h"
#include "lib/transport/grpc_status.h"
#include "parley/access/v1/access.pb.h"
#include "parley/key/v1/key_service.pb.h"

namespace parley::rpc {
namespace {

class FakeAuditLog final : public audit::AuditLog {
 public:
  void Record(key::v1::AuditEvent event) override { events.push_back(std::move(event)); }
  std::vector<key::v1::AuditEvent> events;
};

constexpr char kIssue[] = "parley.key.v1.KeyService.IssueCredential";

class GateTest : public testing::Test {
 protected:
  absl::StatusOr<Caller> AdmitAs(int role, absl::string_view method) {
    transport::Peer peer;
    peer.key.role = role;
    peer.key.subject = "alice";
    peer_ = std::make_shared<const transport::Peer>(std::move(peer));
    return gate_.Admit(grpc::ServerContext(), method);
  }

  // Links the descriptors in, as a service that serves them does.
  const std::string linked_ = key::v1::CredentialRecord::descriptor()->full_name();
  std::shared_ptr<const transport::Peer> peer_;
  FakeAuditLog audit_;
  WorkerPool workers_{1};
  Gate gate_{[this](const grpc::ServerContextBase&) { return peer_; }, &audit_, &workers_};
};

TEST_F(GateTest, AdmitsARoleThatTheMethodNames) {
  const auto caller = AdmitAs(access::v1::ROLE_ADMIN, kIssue);
  ASSERT_TRUE(caller.ok()) << caller.status();
  EXPECT_EQ(caller->Name(), "admin/alice");
  EXPECT_TRUE(audit_.events.empty());
}

TEST_F(GateTest, RefusesEveryOtherRoleAndRecordsIt) {
  for (int role = access::v1::Role_MIN; role <= access::v1::Role_MAX + 1; ++role) {
    if (role == access::v1::ROLE_ADMIN) continue;
    const auto caller = AdmitAs(role, kIssue);
    EXPECT_EQ(caller.status().code(), absl::StatusCode::kPermissionDenied) << role;
    EXPECT_EQ(Reason(caller.status()), "ROLE_NOT_ALLOWED");
    ASSERT_FALSE(audit_.events.empty());
    EXPECT_EQ(audit_.events.back().resource(), kIssue);
  }
  EXPECT_EQ(audit_.events.size(), access::v1::Role_MAX + 1);
}

TEST_F(GateTest, RefusesAMethodThatNobodyDeclared) {
  EXPECT_EQ(AdmitAs(access::v1::ROLE_ADMIN, "parley.key.v1.KeyService.Nothing").status().code(),
            absl::StatusCode::kPermissionDenied);
}

TEST_F(GateTest, RefusesACallWhoseConnectionIsGone) {
  EXPECT_EQ(gate_.Admit(grpc::ServerContext(), kIssue).status().code(), absl::StatusCode::kUnauthenticated);
}

TEST_F(GateTest, CountsWhatItAdmitsAndWhatItRefuses) {
  Metrics metrics;
  Gate gate([this](const grpc::ServerContextBase&) { return peer_; }, &audit_, &workers_, &metrics);
  transport::Peer peer;
  peer.key.role = access::v1::ROLE_ADMIN;
  peer_ = std::make_shared<const transport::Peer>(peer);
  {
    auto caller = gate.Admit(grpc::ServerContext(), kIssue);
    ASSERT_TRUE(caller.ok());
    caller->call->End(absl::OkStatus());
    EXPECT_EQ(metrics.Text().find("grpc_server_handled_total{"), std::string::npos);
  }
  peer.key.role = access::v1::ROLE_AUDITOR;
  peer_ = std::make_shared<const transport::Peer>(peer);
  EXPECT_FALSE(gate.Admit(grpc::ServerContext(), kIssue).ok());
  const std::string text = metrics.Text();
  const std::string labels =
      R"(grpc_method="IssueCredential",grpc_service="parley.key.v1.KeyService",grpc_type="unary"} )";
  EXPECT_NE(text.find("grpc_server_started_total{" + labels + "2\n"), std::string::npos) << text;
  EXPECT_NE(text.find("{grpc_code=\"OK\"," + labels + "1\n"), std::string::npos) << text;
  EXPECT_NE(text.find("{grpc_code=\"PermissionDenied\"," + labels + "1\n"), std::string::npos) << text;
}

TEST(LiveStreams, EndWithTheServerWheneverTheyCome) {
  struct Stream final : LiveStream {
    void End(const absl::Status& status) override { ends.push_back(Reason(status)); }
    std::vector<std::string> ends;
  };
  LiveStreams streams;
  const auto there = std::make_shared<Stream>(), gone = std::make_shared<Stream>(), late = std::make_shared<Stream>();
  streams.Add(there);
  streams.Add(gone);
  streams.Remove(gone.get());
  streams.Close(ServerStopping());
  streams.Add(late);
  EXPECT_EQ(there->ends, std::vector<std::string>{"SERVER_STOPPING"});
  EXPECT_EQ(gone->ends, std::vector<std::string>{});
  EXPECT_EQ(late->ends, std::vector<std::string>{"SERVER_STOPPING"});
}

TEST(Errors, KeepReasonAndSentenceOverTheWire) {
  const absl::Status status = Error(absl::StatusCode::kNotFound, "TASK_NOT_FOUND", "there is no task nginx-tls");
  const absl::Status back = transport::FromGrpc(transport::ToGrpc(status));
  EXPECT_EQ(back.code(), status.code());
  EXPECT_EQ(back.message(), status.message());
  EXPECT_EQ(Reason(back), "TASK_NOT_FOUND");
}

TEST(Errors, AnErrorWithoutAReasonGetsItsCode) {
  EXPECT_EQ(Reason(transport::FromGrpc(transport::ToGrpc(absl::AbortedError("again")))), "ABORTED");
}

TEST(Errors, DoNotTellWhereTheServerKeepsItsFiles) {
  const auto told = [](absl::string_view message) {
    return transport::ToGrpc(Error(absl::StatusCode::kUnavailable, "DISK_FULL", message)).error_message();
  };
  EXPECT_EQ(told("cannot write /var/lib/parley-taskd/taskd.db: no space left on device"),
            "cannot write taskd.db: no space left on device");
  EXPECT_EQ(told("/srv/data/taskd.db is damaged; restore it"), "taskd.db is damaged; restore it");
  EXPECT_EQ(told("there is \"/srv/a\" and (/srv/c)"), "there is \"a\" and (c)");
  EXPECT_EQ(told("a path such as / or tasks/site or 24/7 stays"), "a path such as / or tasks/site or 24/7 stays");
}

TEST(Errors, DetailsThatAreNotOursAreIgnored) {
  const absl::Status status =
      transport::FromGrpc(grpc::Status(grpc::StatusCode::INTERNAL, "broken", "\xff\x00garbage"));
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  EXPECT_EQ(Reason(status), "");
}

}  // namespace
}  // namespace parley::rpc
