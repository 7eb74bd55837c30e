// Who may do what, attacked with real keys over the real door.
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <set>

#include "absl/strings/str_cat.h"
#include "google/protobuf/descriptor.h"
#include "lib/base/error.h"
#include "lib/keys/roles.h"
#include "lib/rpc/gate.h"
#include "lib/transport/grpc_status.h"
#include "parley/access/v1/access.pb.h"
#include "services/taskd/domain/names.h"
#include "services/taskd/testing/taskd_testing.h"

namespace parley::taskd {
namespace {

using access::v1::Role;

class Access : public TaskdTest {
 protected:
  // Every RPC that taskd serves, found in the descriptors, so that a new one is tested without being listed.
  static std::vector<const google::protobuf::MethodDescriptor*> AllMethods() {
    std::vector<const google::protobuf::MethodDescriptor*> methods;
    for (const char* name : {"TaskService", "ArtifactService", "ParticipationService"}) {
      const auto* service =
          google::protobuf::DescriptorPool::generated_pool()->FindServiceByName(absl::StrCat("parley.task.v1.", name));
      for (int i = 0; i < service->method_count(); ++i) methods.push_back(service->method(i));
    }
    return methods;
  }

  // Calls with an empty request, whatever kind of RPC it is.
  static absl::Status CallEmpty(TaskdTestClient* client, const google::protobuf::MethodDescriptor* method) {
    grpc::GenericStub stub(client->channel());
    grpc::ClientContext context;
    TaskdTestClient::SetDeadline(&context);
    grpc::CompletionQueue queue;
    const auto call =
        stub.PrepareCall(&context, absl::StrCat("/", method->service()->full_name(), "/", method->name()), &queue);
    void* tag = nullptr;
    bool ok = false;
    call->StartCall(nullptr);
    queue.Next(&tag, &ok);
    if (ok) {
      const grpc::Slice nothing;
      call->WriteLast(grpc::ByteBuffer(&nothing, 1), grpc::WriteOptions(), nullptr);
      queue.Next(&tag, &ok);
    }
    for (grpc::ByteBuffer response; ok;) {
      call->Read(&response, nullptr);
      queue.Next(&tag, &ok);
    }
    grpc::Status status;
    call->Finish(&status, nullptr);
    queue.Next(&tag, &ok);
    queue.Shutdown();
    while (queue.Next(&tag, &ok)) {
    }
    return transport::FromGrpc(status);
  }
};

TEST_F(Access, EveryRpcNamesItsRoles) {
  EXPECT_EQ(AllMethods().size(), 29u);
  for (const auto* method : AllMethods()) {
    EXPECT_FALSE(method->options().GetExtension(access::v1::access).roles().empty()) << method->full_name();
  }
}

TEST_F(Access, OfEachRoleEndsWhereItsRpcsEnd) {
  const auto task = Create(NewTask("site"));
  ASSERT_TRUE(task.ok()) << task.status();
  const JoinedClient member = Join(*task, "web-1");
  std::map<Role, std::unique_ptr<TaskdTestClient>> clients;
  for (const Role role : {access::v1::ROLE_ADMIN, access::v1::ROLE_OPERATOR, access::v1::ROLE_AUDITOR,
                          access::v1::ROLE_SERVICE, access::v1::ROLE_DEVICE, access::v1::ROLE_INVITEE}) {
    clients[role] = Connect(role, "somebody");
  }
  clients[access::v1::ROLE_JOINER] = Connect(KeyOf(ParseJoinKey(task->join_key().pasted())));
  clients[access::v1::ROLE_MEMBER] = Connect(member.key);
  for (const auto* method : AllMethods()) {
    const auto& roles = method->options().GetExtension(access::v1::access).roles();
    for (const auto& [role, client] : clients) {
      const bool allowed = std::find(roles.begin(), roles.end(), role) != roles.end();
      // One that never ends by itself when it is allowed.
      if (allowed && method->name() == "WatchAssignments") continue;
      const absl::Status status = CallEmpty(client.get(), method);
      EXPECT_EQ(Reason(status) == "ROLE_NOT_ALLOWED", !allowed)
          << keys::RoleName(role) << " calls " << method->full_name() << ": " << status;
      if (!allowed) EXPECT_EQ(status.code(), absl::StatusCode::kPermissionDenied) << method->full_name();
    }
  }
  EXPECT_TRUE(audit_.Has("rpc.refused", "ROLE_NOT_ALLOWED"));
}

TEST_F(Access, OfAJoinerIsJoinAlone) {
  const auto task = Create(NewTask("site"));
  const auto joiner = Connect(KeyOf(ParseJoinKey(task->join_key().pasted())));
  std::set<std::string> callable;
  for (const auto* method : AllMethods()) {
    if (Reason(CallEmpty(joiner.get(), method)) != "ROLE_NOT_ALLOWED") callable.insert(method->name());
  }
  EXPECT_EQ(callable, std::set<std::string>{"Join"});
}

TEST_F(Access, OfAJoinerIsItsOwnTask) {
  const auto task = Create(NewTask("site"));
  const auto other = Create(NewTask("other"));
  const auto joiner = Connect(KeyOf(ParseJoinKey(task->join_key().pasted())));
  task::v1::JoinRequest request = NewJoin("web-1");
  request.set_task(other->task().name());
  const auto response = joiner->Call(&joiner->participation(), &ParticipationService::Stub::Join, request);
  EXPECT_EQ(response.status().code(), absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(Reason(response.status()), "OTHER_TASK");
  EXPECT_TRUE(audit_.Has("rpc.refused", "OTHER_TASK"));
  EXPECT_EQ(Get(other->task().name()).counts().joined(), 0);
}

TEST_F(Access, OfAMemberIsItsOwnTaskInEveryRpc) {
  const auto task = Create(NewTask("site"));
  const auto other = Create(NewTask("other"));
  const JoinedClient member = Join(*task, "web-1");
  Join(*other, "web-1");
  const auto client = Connect(member.key);

  TestNegotiation negotiation(client.get(), other->task().name());
  EXPECT_EQ(negotiation.Declare().state(), Participant::STATE_UNSPECIFIED);
  EXPECT_EQ(Reason(negotiation.Finish()), "OTHER_TASK");

  // Also in the middle of a stream that began with its own.
  TestNegotiation mixed(client.get(), task->task().name());
  ASSERT_EQ(mixed.Declare().state(), Participant::STATE_OFFERED);
  NegotiateRequest foreign = mixed.Message();
  foreign.set_task(other->task().name());
  foreign.mutable_accept();
  mixed.Send(foreign);
  EXPECT_EQ(Reason(mixed.Finish()), "OTHER_TASK");
  EXPECT_EQ(GetParticipant(task->task().name(), "web-1").state(), Participant::STATE_OFFERED);

  EXPECT_EQ(Reason(Confirm(client.get(), other->task().name(), std::string(32, 'x')).status()), "OTHER_TASK");

  task::v1::FetchChunksRequest fetch;
  fetch.set_task(other->task().name());
  fetch.set_revision(1);
  fetch.add_chunks()->set_digest(std::string(32, 'x'));
  grpc::ClientContext context;
  TaskdTestClient::SetDeadline(&context);
  const auto reader = client->artifacts().FetchChunks(&context, fetch);
  task::v1::FetchChunksResponse piece;
  EXPECT_FALSE(reader->Read(&piece));
  EXPECT_EQ(Reason(client->Explain(reader->Finish())), "OTHER_TASK");
  EXPECT_EQ(GetParticipant(other->task().name(), "web-1").state(), Participant::STATE_JOINED);
}

TEST_F(Access, OfAMemberIsItsOwnClient) {
  const auto task = Create(NewTask("site"));
  const JoinedClient one = Join(*task, "web-1");
  const JoinedClient two = Join(*task, "web-2");
  // web-1 brings itself up to CHECKING; web-2's key confirms: it is web-2 who is meant, and web-2 checks nothing.
  const auto connection = Connect(one.key);
  TestNegotiation negotiation(connection.get(), one.task);
  negotiation.CarryOn();
  const auto other = Connect(two.key);
  EXPECT_EQ(Reason(Confirm(other.get(), one.task, task->task().payload_digest()).status()), "NOT_CHECKING");
  EXPECT_EQ(GetParticipant(one.task, "web-1").state(), Participant::STATE_CHECKING);
  // A key that is sealed for a client who never joined.
  const auto forged = Connect(access::v1::ROLE_MEMBER, MemberSubject("site", ClientTag("site", "web-3")));
  EXPECT_EQ(Reason(Confirm(forged.get(), one.task, task->task().payload_digest()).status()), "PARTICIPANT_NOT_FOUND");
  // A key of the right subject that this task did not issue.
  const auto twin = Connect(access::v1::ROLE_MEMBER, MemberSubject("site", ClientTag("site", "web-1")));
  EXPECT_EQ(Reason(Confirm(twin.get(), one.task, task->task().payload_digest()).status()), "KEY_REVOKED");
}

TEST_F(Access, OfADeviceIsItsOwnNameAndTheTasksThatSelectIt) {
  task::v1::CreateTaskRequest request = NewTask("site");
  (*request.mutable_selector())["role"] = "web";
  const auto task = Create(request);
  const auto unselective = Create(NewTask("none"));
  const auto device = Connect(access::v1::ROLE_DEVICE, "web-1");
  const auto join = [&](const std::string& name, const std::string& client, const std::string& label) {
    task::v1::JoinRequest join = NewJoin(client);
    join.set_task(name);
    Label("web-1", {{"role", label}});
    return Reason(device->Call(&device->participation(), &ParticipationService::Stub::Join, join).status());
  };
  EXPECT_EQ(join(task->task().name(), "web-2", "web"), "OTHER_CLIENT");
  EXPECT_EQ(join(task->task().name(), "web-1", "db"), "SELECTOR_DIFFERS");
  EXPECT_EQ(join(unselective->task().name(), "web-1", "web"), "SELECTOR_DIFFERS");
  EXPECT_EQ(join("tasks/nowhere", "web-1", "web"), "TASK_NOT_FOUND");
  EXPECT_EQ(join(task->task().name(), "", "web"), "");
  EXPECT_EQ(GetParticipant(task->task().name(), "web-1").labels().at("role"), "web");
}

}  // namespace
}  // namespace parley::taskd
