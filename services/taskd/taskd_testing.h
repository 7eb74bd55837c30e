// A real taskd in this process, behind a real door, on a store in a folder of its own; and clients of it. keyd is left
// out: the keyring is filled by hand.
#ifndef PARLEY_SERVICES_TASKD_TASKD_TESTING_H_
#define PARLEY_SERVICES_TASKD_TASKD_TESTING_H_

#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "grpcpp/client_context.h"
#include "lib/base/clock.h"
#include "lib/base/mutex.h"
#include "lib/keys/identity.h"
#include "lib/keys/join_key.h"
#include "lib/keys/key_source.h"
#include "lib/rpc/audit.h"
#include "lib/store/store.h"
#include "lib/transport/grpc_door.h"
#include "parley/task/v1/artifact_service.grpc.pb.h"
#include "parley/task/v1/participation_service.grpc.pb.h"
#include "parley/task/v1/task_service.grpc.pb.h"
#include "services/taskd/service/taskd.h"

namespace parley::taskd {

using task::v1::ArtifactService;
using task::v1::NegotiateRequest;
using task::v1::NegotiateResponse;
using task::v1::Participant;
using task::v1::ParticipationService;
using task::v1::Task;
using task::v1::TaskService;

class FakeAuditLog final : public rpc::AuditLog {
 public:
  void Record(key::v1::AuditEvent event) override;
  // Whether there is an event of this action and outcome.
  bool Has(absl::string_view action, absl::string_view outcome) const;

 private:
  mutable Mutex mutex_;
  std::vector<key::v1::AuditEvent> events_ ABSL_GUARDED_BY(mutex_);
};

// A connection under one key. Errors as absl::Status, with their reason.
class TestClient {
 public:
  TestClient(const std::string& address, const keys::Keyring::Minted& key, Clock* clock);

  TaskService::Stub& tasks() { return *tasks_; }
  ArtifactService::Stub& artifacts() { return *artifacts_; }
  ParticipationService::Stub& participation() { return *participation_; }
  const std::shared_ptr<grpc::Channel> channel() { return channel_->grpc(); }

  // Call(&client.tasks(), &TaskService::Stub::GetTask, request): the response or the error.
  template <typename Stub, typename Request, typename Response>
  absl::StatusOr<Response> Call(Stub* stub,
                                grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
                                const Request& request) {
    grpc::ClientContext context;
    SetDeadline(&context);
    Response response;
    const absl::Status status = Explain((stub->*method)(&context, request, &response));
    if (!status.ok()) return status;
    return response;
  }
  static void SetDeadline(grpc::ClientContext* context);
  absl::Status Explain(const grpc::Status& status) const;

 private:
  std::unique_ptr<transport::Channel> channel_;
  std::unique_ptr<TaskService::Stub> tasks_;
  std::unique_ptr<ArtifactService::Stub> artifacts_;
  std::unique_ptr<ParticipationService::Stub> participation_;
};

// A client's side of a negotiation. Keeps attempt, version and sequence as the protocol wants them.
class Negotiation {
 public:
  Negotiation(TestClient* client, std::string task);
  ~Negotiation();

  NegotiateRequest Message() const;
  // Sends as it is; false when the stream has ended.
  bool Write(const NegotiateRequest& request);
  // The next message of the server; an UNSPECIFIED state when the stream has ended.
  NegotiateResponse Read();
  // Sends the message with the next sequence and reads its answer, skipping pushes.
  NegotiateResponse Send(NegotiateRequest request);

  NegotiateResponse Declare();
  NegotiateResponse Accept();
  NegotiateResponse Report(Participant::State state);
  // From the declaration to CHECKING.
  NegotiateResponse CarryOn();
  // Why the stream ended.
  absl::Status Finish();
  // Breaks off.
  void Cancel();

 private:
  TestClient* const client_;
  const std::string task_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReaderWriter<NegotiateRequest, NegotiateResponse>> stream_;
  int32_t attempt_ = 0;
  int64_t version_ = 0;
  int64_t sequence_ = 0;
  bool finished_ = false;
};

// Who has joined.
struct Joined {
  std::string task;
  std::string client;
  keys::Keyring::Minted key;
};

class TaskdTest : public ::testing::Test {
 protected:
  TaskdTest();
  ~TaskdTest() override;

  void Start();
  void Stop();
  // As after a kill: what is not in the store is gone.
  void Restart() {
    Stop();
    Start();
  }

  keys::Keyring::Minted Mint(access::v1::Role role, const std::string& subject,
                             absl::Duration ttl = absl::Hours(24 * 90));
  std::unique_ptr<TestClient> Connect(const keys::Keyring::Minted& key);
  std::unique_ptr<TestClient> Connect(access::v1::Role role, const std::string& subject);
  // An operator's; made anew by Restart.
  TestClient& op() { return *operator_; }

  static task::v1::CreateTaskRequest NewTask(const std::string& id);
  // The task and the pasted join key.
  absl::StatusOr<task::v1::CreateTaskResponse> Create(const task::v1::CreateTaskRequest& request);
  keys::JoinKey ParseJoinKey(const std::string& pasted);
  keys::Keyring::Minted KeyOf(const keys::JoinKey& key) { return {key.identity, key.secret.Clone()}; }
  static task::v1::JoinRequest NewJoin(const std::string& client);
  // With the task's first join key.
  Joined Join(const task::v1::CreateTaskResponse& task, const std::string& client);
  absl::StatusOr<task::v1::ConfirmResponse> Confirm(TestClient* connection, const std::string& task,
                                                    const std::string& digest, int attempt = 1);

  Task Get(const std::string& task);
  Participant GetParticipant(const std::string& task, const std::string& client);
  absl::StatusOr<Task> Pause(const std::string& task);
  absl::StatusOr<Task> Resume(const std::string& task);
  absl::StatusOr<Task> Abort(const std::string& task, const std::string& reason);
  absl::StatusOr<Task> Publish(const std::string& task, const std::string& content);
  // Advances the clock by `step` until the client is in the state: for what begins when the server notices something,
  // e.g. that a stream has broken.
  void AdvanceUntil(const std::string& task, const std::string& client, Participant::State state, absl::Duration step);
  // Until the task is in the state; as nothing but commits is between them, this ends.
  void WaitForTask(const std::string& task, Task::State state);

  FakeClock clock_;
  FakeAuditLog audit_;
  std::string folder_;
  std::unique_ptr<store::Store> store_;

 private:
  keys::Keyring keyring_;
  Secret root_;
  Secret sealing_key_;
  std::string address_ = "127.0.0.1:0";
  std::unique_ptr<keys::AudienceKeySource> key_source_;
  std::unique_ptr<transport::GrpcDoor> door_;
  std::unique_ptr<Taskd> taskd_;
  std::unique_ptr<TestClient> operator_;
};

// What the inline task of NewTask installs, in chunks.
std::string Content();

}  // namespace parley::taskd

#endif  // PARLEY_SERVICES_TASKD_TASKD_TESTING_H_
