// A real taskd in this process, and clients of it.
#ifndef PARLEY_SERVICES_TASKD_TESTING_TASKD_TESTING_H_
#define PARLEY_SERVICES_TASKD_TESTING_TASKD_TESTING_H_

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "grpcpp/client_context.h"
#include "lib/keyd_client/device_labels.h"
#include "lib/keys/identity.h"
#include "lib/keys/join_key.h"
#include "parley/task/v1/artifact_service.grpc.pb.h"
#include "parley/task/v1/participation_service.grpc.pb.h"
#include "parley/task/v1/task_service.grpc.pb.h"
#include "services/taskd/taskd.h"
#include "services/testing/service_test.h"

namespace parley::taskd {

using task::v1::ArtifactService;
using task::v1::NegotiateRequest;
using task::v1::NegotiateResponse;
using task::v1::Participant;
using task::v1::ParticipationService;
using task::v1::Task;
using task::v1::TaskService;

class TaskdTestClient : public ServiceClient {
 public:
  TaskdTestClient(const std::string& address, const keys::Keyring::Minted& key, Clock* clock);

  TaskService::Stub& tasks() { return *tasks_; }
  ArtifactService::Stub& artifacts() { return *artifacts_; }
  ParticipationService::Stub& participation() { return *participation_; }

 private:
  std::unique_ptr<TaskService::Stub> tasks_;
  std::unique_ptr<ArtifactService::Stub> artifacts_;
  std::unique_ptr<ParticipationService::Stub> participation_;
};

// A client's side of a negotiation. Keeps attempt, version and sequence as the protocol wants them.
class TestNegotiation {
 public:
  TestNegotiation(TaskdTestClient* client, std::string task);
  ~TestNegotiation();

  NegotiateRequest Message() const;
  // Sends the request unchanged. Returns false if the stream has ended.
  bool Write(const NegotiateRequest& request);
  // The next message of the server; an UNSPECIFIED state when the stream has ended.
  NegotiateResponse Read();
  // Sends the message with the next sequence and reads its answer, skipping pushes.
  NegotiateResponse Send(NegotiateRequest request);

  // Declares like a client of an earlier version, which names no more than it must.
  NegotiateResponse Declare();
  // The declaration, and that the client takes zstd.
  NegotiateResponse Declare(task::v1::Declaration declaration);
  NegotiateResponse Accept();
  NegotiateResponse Report(Participant::State state);
  // From the offer to CHECKING; from the declaration to CHECKING.
  NegotiateResponse Apply();
  NegotiateResponse CarryOn();
  // From the offer through a check that fails.
  NegotiateResponse FailTheCheck();
  // Why the stream ended.
  absl::Status Finish();
  // Breaks off.
  void Cancel();

 private:
  const std::shared_ptr<const transport::Channel> connection_;
  const std::string task_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReaderWriter<NegotiateRequest, NegotiateResponse>> stream_;
  int32_t attempt_ = 0;
  int64_t version_ = 0;
  int64_t sequence_ = 0;
  bool finished_ = false;
};

// Who has joined.
struct JoinedClient {
  std::string task;
  std::string client;
  keys::Keyring::Minted key;
};

class TaskdTest : public ServiceTest {
 protected:
  TaskdTest();
  ~TaskdTest() override;

  void Start();
  void Stop();
  // Makes what follows talk to the server at this address.
  void TalkTo(const std::string& address);
  const Secret& sealing_key() const { return sealing_key_; }
  // Restarts like after a kill: what is not in the store is gone.
  void Restart() {
    Stop();
    Start();
  }

  // What keyd tells of a device from now on.
  void Label(const std::string& device, const std::vector<std::pair<std::string, std::string>>& labels) {
    labels_->Set(device, {labels.begin(), labels.end()});
  }
  // After a restart, while keyd is away; and when its word comes: that there is no label.
  void RestartWithoutKeyd();
  void HearFromKeyd() { labels_->Replace({}); }

  keyd_client::EndedCredentials& ended_credentials() { return taskd_->ended_credentials(); }
  // Says that a credential of 90 days was revoked, and returns once what depends on it has ended.
  void RevokeCredential(const std::string& serial);

  std::unique_ptr<TaskdTestClient> Connect(const keys::Keyring::Minted& key);
  std::unique_ptr<TaskdTestClient> Connect(access::v1::Role role, const std::string& subject);
  // An operator's; made anew by Restart.
  TaskdTestClient& op() { return *operator_; }

  static task::v1::CreateTaskRequest NewTask(const std::string& id);
  // One of a year whose lease to apply is of a week: longer than a test's clock can run ahead of a server that is slow
  // to notice that a client is gone.
  static task::v1::CreateTaskRequest NewLongTask(const std::string& id);
  // The task and the pasted join key.
  absl::StatusOr<task::v1::CreateTaskResponse> Create(const task::v1::CreateTaskRequest& request);
  keys::JoinKey ParseJoinKey(const std::string& pasted);
  keys::Keyring::Minted KeyOf(const keys::JoinKey& key) { return {key.identity, key.secret.Clone()}; }
  static task::v1::JoinRequest NewJoin(const std::string& client);
  // With the task's first join key.
  JoinedClient Join(const task::v1::CreateTaskResponse& task, const std::string& client);
  absl::StatusOr<task::v1::ConfirmResponse> Confirm(TaskdTestClient* connection, const std::string& task,
                                                    const std::string& digest, int attempt = 1);

  Task Get(const std::string& task);
  Participant GetParticipant(const std::string& task, const std::string& client);
  absl::StatusOr<Task> Pause(const std::string& task);
  absl::StatusOr<Task> Resume(const std::string& task);
  absl::StatusOr<Task> Abort(const std::string& task, const std::string& reason);
  absl::StatusOr<task::v1::RetryClientsResponse> Retry(const std::string& task,
                                                       const std::vector<std::string>& clients = {});
  absl::StatusOr<Participant> RevokeParticipant(const std::string& task, const std::string& client);
  absl::StatusOr<Task> Publish(const std::string& task, const std::string& content);
  // Advances the clock by `step` until the client is in the state: for what begins when the server notices something,
  // e.g. that a stream has broken.
  void AdvanceUntil(const std::string& task, const std::string& client, Participant::State state, absl::Duration step);
  // Until the task is in the state; as nothing but commits is between them, this ends.
  void WaitForTask(const std::string& task, Task::State state);

  // Those of Taskd::Config, for the next Start.
  ClockJumps::Steady steady_;
  absl::Duration retention_ = Taskd::Config().retention;
  chunks::ChunkStore::Options chunks_;

 private:
  Secret sealing_key_;
  std::unique_ptr<keyd_client::DeviceLabels> labels_;
  std::unique_ptr<Taskd> taskd_;
  std::unique_ptr<TaskdTestClient> operator_;
};

// What the inline task of NewTask installs, in chunks.
std::string Content();

}  // namespace parley::taskd

#endif  // PARLEY_SERVICES_TASKD_TESTING_TASKD_TESTING_H_
