#include "services/taskd/testing/taskd_testing.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "grpcpp/server_builder.h"
#include "lib/crypto/kdf.h"
#include "services/taskd/domain/names.h"

namespace parley::taskd {
TaskdTestClient::TaskdTestClient(const std::string& address, const keys::Keyring::Minted& key, Clock* clock)
    : ServiceClient(address, key, clock),
      tasks_(TaskService::NewStub(channel())),
      artifacts_(ArtifactService::NewStub(channel())),
      participation_(ParticipationService::NewStub(channel())) {}

TestNegotiation::TestNegotiation(TaskdTestClient* client, std::string task)
    : connection_(client->connection()), task_(std::move(task)) {
  TaskdTestClient::SetDeadline(&context_);
  stream_ = client->participation().Negotiate(&context_);
}

TestNegotiation::~TestNegotiation() {
  if (!finished_) Cancel();
}

void TestNegotiation::Cancel() {
  context_.TryCancel();
  (void)Finish();
}

absl::Status TestNegotiation::Finish() {
  finished_ = true;
  NegotiateResponse rest;
  while (stream_->Read(&rest)) {
  }
  return connection_->Explain(stream_->Finish());
}

NegotiateRequest TestNegotiation::Message() const {
  NegotiateRequest request;
  request.set_task(task_);
  request.set_attempt(attempt_);
  request.set_expected_version(version_);
  return request;
}

bool TestNegotiation::Write(const NegotiateRequest& request) { return stream_->Write(request); }

NegotiateResponse TestNegotiation::Read() {
  NegotiateResponse response;
  if (!stream_->Read(&response)) return NegotiateResponse();
  attempt_ = response.attempt();
  version_ = response.version();
  return response;
}

NegotiateResponse TestNegotiation::Send(NegotiateRequest request) {
  request.set_sequence(++sequence_);
  if (!Write(request)) return NegotiateResponse();
  while (true) {
    NegotiateResponse response = Read();
    if (response.state() == Participant::STATE_UNSPECIFIED || response.sequence() == sequence_) return response;
  }
}

NegotiateResponse TestNegotiation::Declare() { return Declare(task::v1::Declaration()); }

NegotiateResponse TestNegotiation::Declare(task::v1::Declaration declaration) {
  NegotiateRequest request = Message();
  *request.mutable_declare() = std::move(declaration);
  request.mutable_declare()->add_encodings("zstd");
  return Send(std::move(request));
}

NegotiateResponse TestNegotiation::Accept() {
  NegotiateRequest request = Message();
  request.mutable_accept();
  return Send(std::move(request));
}

NegotiateResponse TestNegotiation::Report(Participant::State state) {
  NegotiateRequest request = Message();
  request.mutable_progress()->set_state(state);
  return Send(std::move(request));
}

NegotiateResponse TestNegotiation::CarryOn() {
  const NegotiateResponse response = Declare();
  EXPECT_EQ(response.state(), Participant::STATE_OFFERED) << response.DebugString();
  return Apply();
}

NegotiateResponse TestNegotiation::FailTheCheck() {
  Apply();
  NegotiateRequest request = Message();
  request.mutable_progress()->set_state(Participant::STATE_ROLLED_BACK);
  request.mutable_progress()->set_reason("check_failed");
  request.mutable_progress()->set_detail("nginx: line 14");
  NegotiateResponse response = Send(std::move(request));
  EXPECT_EQ(response.state(), Participant::STATE_ROLLED_BACK) << response.DebugString();
  return response;
}

NegotiateResponse TestNegotiation::Apply() {
  NegotiateResponse response;
  EXPECT_EQ(Accept().state(), Participant::STATE_ACCEPTED);
  for (const auto state : {Participant::STATE_TRANSFERRING, Participant::STATE_STAGED, Participant::STATE_APPLYING,
                           Participant::STATE_CHECKING}) {
    response = Report(state);
    EXPECT_EQ(response.state(), state) << response.DebugString();
  }
  return response;
}

TaskdTest::TaskdTest()
    : ServiceTest(std::string(keys::kTaskd)),
      sealing_key_(crypto::RandomSecret(32)),
      labels_(std::make_unique<keyd_client::DeviceLabels>()) {
  HearFromKeyd();
  Start();
}

TaskdTest::~TaskdTest() { Stop(); }

void TaskdTest::Start() {
  ASSERT_NO_FATAL_FAILURE(Open());
  Taskd::Config config = NewConfig<Taskd::Config>();
  config.sealing_key = sealing_key_.Clone();
  config.steady = steady_;
  config.retention = retention_;
  config.chunks = chunks_;
  config.labels = labels_.get();
  auto taskd = Taskd::Create(std::move(config));
  ASSERT_TRUE(taskd.ok()) << taskd.status();
  taskd_ = *std::move(taskd);
  grpc::ServerBuilder builder;
  taskd_->Register(&builder);
  Serve(&builder);
  operator_ = Connect(access::v1::ROLE_OPERATOR, "olga");
}

void TaskdTest::Stop() {
  operator_ = nullptr;
  if (taskd_ == nullptr) return;
  taskd_->Drain();
  Shutdown(absl::Seconds(5));
  taskd_ = nullptr;
  Close();
}

void TaskdTest::TalkTo(const std::string& address) {
  address_ = address;
  operator_ = Connect(access::v1::ROLE_OPERATOR, "olga");
}

void TaskdTest::RestartWithoutKeyd() {
  Stop();
  labels_ = std::make_unique<keyd_client::DeviceLabels>();
  Start();
}

void TaskdTest::RevokeCredential(const std::string& serial) {
  const absl::Time not_after = clock_.Now() + absl::Hours(24 * 90);
  RevokeAtDoor(serial, not_after);
  ended_credentials().OnRevoked(serial, not_after);
  EXPECT_EQ(ended_credentials().CatchUp(), absl::OkStatus());
}

std::unique_ptr<TaskdTestClient> TaskdTest::Connect(const keys::Keyring::Minted& key) {
  return std::make_unique<TaskdTestClient>(address_, key, &clock_);
}

std::unique_ptr<TaskdTestClient> TaskdTest::Connect(access::v1::Role role, const std::string& subject) {
  return Connect(Mint(role, subject));
}

// Two chunks, of bytes that do not shrink to nothing.
std::string Content() {
  static const std::string* const content = new std::string(crypto::RandomBytes(300'000));
  return *content;
}

task::v1::CreateTaskRequest TaskdTest::NewTask(const std::string& id) {
  task::v1::CreateTaskRequest request;
  request.set_request_id(crypto::RandomUuid());
  request.set_task_id(id);
  request.set_title("new certificates");
  task::v1::InlineFile* const file = request.mutable_files()->add_files();
  file->set_path("site.conf");
  file->set_content(Content());
  return request;
}

absl::StatusOr<task::v1::CreateTaskResponse> TaskdTest::Create(const task::v1::CreateTaskRequest& request) {
  return op().Call(&op().tasks(), &TaskService::Stub::CreateTask, request);
}

task::v1::CreateTaskRequest TaskdTest::NewLongTask(const std::string& id) {
  task::v1::CreateTaskRequest request = NewTask(id);
  request.mutable_ttl()->set_seconds(absl::ToInt64Seconds(absl::Hours(24 * 366)));
  request.mutable_leases()->mutable_apply()->set_seconds(absl::ToInt64Seconds(absl::Hours(24 * 7)));
  return request;
}

keys::JoinKey TaskdTest::ParseJoinKey(const std::string& pasted) {
  auto key = keys::ParseJoinKey(Secret::CopyOf(pasted), clock_.Now());
  EXPECT_TRUE(key.ok()) << key.status();
  return *std::move(key);
}

task::v1::JoinRequest TaskdTest::NewJoin(const std::string& client) {
  task::v1::JoinRequest request;
  request.set_client(client);
  request.set_nonce(crypto::RandomBytes(32));
  return request;
}

JoinedClient TaskdTest::Join(const task::v1::CreateTaskResponse& task, const std::string& client) {
  const auto joiner = Connect(KeyOf(ParseJoinKey(task.join_key().pasted())));
  const auto response = joiner->Call(&joiner->participation(), &ParticipationService::Stub::Join, NewJoin(client));
  EXPECT_TRUE(response.ok()) << response.status();
  if (!response.ok()) return {};
  return {task.task().name(), client, {response->identity(), Secret::CopyOf(response->secret())}};
}

absl::StatusOr<task::v1::ConfirmResponse> TaskdTest::Confirm(TaskdTestClient* connection, const std::string& task,
                                                             const std::string& digest, int attempt) {
  task::v1::ConfirmRequest request;
  request.set_task(task);
  request.set_attempt(attempt);
  request.set_installed_digest(digest);
  return connection->Call(&connection->participation(), &ParticipationService::Stub::Confirm, request);
}

Task TaskdTest::Get(const std::string& task) {
  task::v1::GetTaskRequest request;
  request.set_name(task);
  auto response = op().Call(&op().tasks(), &TaskService::Stub::GetTask, request);
  EXPECT_TRUE(response.ok()) << response.status();
  return response.ok() ? *std::move(response) : Task();
}

Participant TaskdTest::GetParticipant(const std::string& task, const std::string& client) {
  task::v1::GetParticipantRequest request;
  request.set_name(absl::StrCat(task, "/participants/", client));
  auto response = op().Call(&op().tasks(), &TaskService::Stub::GetParticipant, request);
  EXPECT_TRUE(response.ok()) << response.status();
  return response.ok() ? *std::move(response) : Participant();
}

absl::StatusOr<Task> TaskdTest::Pause(const std::string& task) {
  task::v1::PauseTaskRequest request;
  request.set_name(task);
  return op().Call(&op().tasks(), &TaskService::Stub::PauseTask, request);
}

absl::StatusOr<Task> TaskdTest::Resume(const std::string& task) {
  task::v1::ResumeTaskRequest request;
  request.set_name(task);
  return op().Call(&op().tasks(), &TaskService::Stub::ResumeTask, request);
}

absl::StatusOr<Task> TaskdTest::Abort(const std::string& task, const std::string& reason) {
  task::v1::AbortTaskRequest request;
  request.set_name(task);
  request.set_reason(reason);
  return op().Call(&op().tasks(), &TaskService::Stub::AbortTask, request);
}

absl::StatusOr<task::v1::RetryClientsResponse> TaskdTest::Retry(const std::string& task,
                                                                const std::vector<std::string>& clients) {
  task::v1::RetryClientsRequest request;
  request.set_name(task);
  for (const std::string& client : clients) request.add_clients(client);
  return op().Call(&op().tasks(), &TaskService::Stub::RetryClients, request);
}

absl::StatusOr<Participant> TaskdTest::RevokeParticipant(const std::string& task, const std::string& client) {
  task::v1::RevokeParticipantRequest request;
  request.set_name(absl::StrCat(task, "/participants/", client));
  request.set_reason("stolen");
  return op().Call(&op().tasks(), &TaskService::Stub::RevokeParticipant, request);
}

absl::StatusOr<Task> TaskdTest::Publish(const std::string& task, const std::string& content) {
  task::v1::PublishRevisionRequest request;
  request.set_request_id(crypto::RandomUuid());
  request.set_name(task);
  task::v1::InlineFile* const file = request.mutable_files()->add_files();
  file->set_path("site.conf");
  file->set_content(content);
  return op().Call(&op().tasks(), &TaskService::Stub::PublishRevision, request);
}

void TaskdTest::AdvanceUntil(const std::string& task, const std::string& client, Participant::State state,
                             absl::Duration step) {
  // The server hears of streams that end, and of the time, on threads of its own. On a busy machine a clock that went
  // on at once would be past what comes after `state`, too.
  constexpr absl::Duration kPatience = absl::Seconds(2);
  absl::Time advanced = absl::InfinitePast();
  while (GetParticipant(task, client).state() != state && !HasFailure()) {
    if (absl::Now() < advanced + kPatience) continue;
    clock_.Advance(step);
    advanced = absl::Now();
  }
}

void TaskdTest::WaitForTask(const std::string& task, Task::State state) {
  while (Get(task).state() != state && !HasFailure()) {
  }
}

}  // namespace parley::taskd
