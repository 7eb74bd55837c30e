// A taskd of one task and one client, behind a real door, which misbehaves as a test tells it to. The transitions are
// those of docs/protocol/negotiation.md as far as an agent sees them, by the tables of lib/task, or those of a server
// that takes every end for good.
//
// Threads: any thread may call any method; `faults` is set while no client is connected.
#ifndef PARLEY_CLIENTS_AGENT_FAKE_TASKD_H_
#define PARLEY_CLIENTS_AGENT_FAKE_TASKD_H_

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "clients/agent/fake_payload.h"
#include "grpcpp/server_context.h"
#include "lib/base/clock.h"
#include "lib/base/mutex.h"
#include "lib/crypto/signature.h"
#include "lib/keys/credential.h"
#include "lib/keys/join_key.h"
#include "lib/transport/grpc_door.h"
#include "lib/transport/testing/loopback.h"
#include "parley/task/v1/artifact_service.grpc.pb.h"
#include "parley/task/v1/participation_service.grpc.pb.h"

namespace parley::agent {

class FakeTaskd final : public transport::KeySource,
                        public task::v1::ParticipationService::Service,
                        public task::v1::ArtifactService::Service {
 public:
  using State = task::v1::Participant::State;

  explicit FakeTaskd(Clock* clock = Clock::System());
  ~FakeTaskd() override;

  // Begins to listen, on the same port as before when it was stopped.
  void Start();
  // Stops at once, as if it had been killed. What it knows stays.
  void Stop();

  keys::JoinKey JoinKey();
  keys::Credential Device();

  // Puts the tree on offer as the next revision.
  void Publish(const Tree& tree);
  // Returns the manifest that Publish would sign for the tree under this revision.
  task::v1::SignedManifest SignedManifest(int64_t revision, const Tree& tree);
  void PushState(State state);
  // Forgets the client, as a server does that was restored from an older backup.
  void Forget();
  // Refuses the member key that the client has.
  void RevokeMember();

  // Waits until the client stands there.
  void AwaitState(State state);

  // Return where the client stands, why, and on which way it came there.
  State state() { return Get(&FakeTaskd::state_); }
  std::string reason() { return Get(&FakeTaskd::reason_); }
  std::string detail() { return Get(&FakeTaskd::detail_); }
  std::vector<State> history() { return Get(&FakeTaskd::history_); }

  // How it misbehaves. Set while no client is connected: before the first, or between Stop and Start.
  struct Faults {
    // The number of joins that are carried out but whose answer is lost.
    int lost_joins = 0;
    // Each join or negotiation is answered so before anything is done, if that is an error.
    std::function<grpc::Status()> join;
    std::function<grpc::Status()> negotiate;
    // Each confirm is answered so before anything is done, if that is an error.
    std::function<grpc::Status()> confirm;
    // FetchChunks ends after this many bytes, once.
    int64_t cut_after_bytes = -1;
    // Makes what is sent in place of a frame.
    std::function<std::string(std::string frame)> frame;
    // Is called when the client reports a state.
    std::function<void(State)> on_report;
    // Whether the task is forced, and how often the client may still put it off.
    bool forced = false;
    int deferrals_left = 3;
    // Changes the manifest that is offered.
    std::function<void(task::v1::SignedManifest*)> manifest;
    // What operators say of the device.
    std::map<std::string, std::string> labels = {};
    // The device's stream stands, but no task comes over it.
    bool no_assignment = false;
    // Every key is refused from now on.
    bool revoked = false;
    // It is of the time before hindrances: it does not know the newer fields, and what has ended stays so.
    bool old = false;
    // The number of negotiations that end with STREAM_REPLACED.
    int replaced = 0;
    // The deadline of every offer, in place of 50 minutes from each answer.
    absl::Time deadline = absl::InfinitePast();
    // The task has ended in this way.
    task::v1::Task::State task_state = task::v1::Task::STATE_OPEN;
  };
  Faults faults;

  int64_t sent_bytes() { return Get(&FakeTaskd::sent_bytes_); }
  std::vector<task::v1::FetchChunksRequest> fetches() { return Get(&FakeTaskd::fetches_); }
  int joins() { return Get(&FakeTaskd::joins_); }
  std::vector<task::v1::Declaration> declarations() { return Get(&FakeTaskd::declarations_); }
  bool drifted() { return Get(&FakeTaskd::drifted_); }
  int negotiations() { return Get(&FakeTaskd::negotiations_); }

 private:
  absl::StatusOr<Key> Find(absl::string_view identity, Want want) override;
  grpc::Status Join(grpc::ServerContext* context, const task::v1::JoinRequest* request,
                    task::v1::JoinResponse* response) override;
  grpc::Status Negotiate(
      grpc::ServerContext* context,
      grpc::ServerReaderWriter<task::v1::NegotiateResponse, task::v1::NegotiateRequest>* stream) override;
  grpc::Status Confirm(grpc::ServerContext* context, const task::v1::ConfirmRequest* request,
                       task::v1::ConfirmResponse* response) override;
  grpc::Status WatchAssignments(grpc::ServerContext* context, const task::v1::WatchAssignmentsRequest* request,
                                grpc::ServerWriter<task::v1::WatchAssignmentsResponse>* writer) override;
  grpc::Status FetchChunks(grpc::ServerContext* context, const task::v1::FetchChunksRequest* request,
                           grpc::ServerWriter<task::v1::FetchChunksResponse>* writer) override;

  template <typename Field>
  Field Get(Field FakeTaskd::*field) {
    MutexLock lock(&mutex_);
    return this->*field;
  }
  task::v1::Task TaskLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  task::v1::Participant ParticipantLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void EnterLocked(State state) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void OfferLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  task::v1::NegotiateResponse ResponseLocked(int64_t sequence, bool with_offer) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  grpc::Status HandleLocked(const task::v1::NegotiateRequest& request, const std::string& connection, bool* unchanged)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void PushLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void DeclareLocked(const task::v1::Declaration& declaration) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void ApplyHindranceLocked(const task::v1::Hindrance& hindrance) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void EvaluateLocked(const task::v1::Declaration& declaration) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  grpc::Status ReportLocked(const task::v1::Progress& progress, const std::string& connection, bool* unchanged)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  Clock* const clock_;
  const crypto::SigningKey key_ = crypto::SigningKey::Generate();
  std::string address_ = transport::OwnLoopback();
  std::unique_ptr<transport::GrpcDoor> door_;
  std::map<std::string, FakePayload> payloads_;

  Mutex mutex_;
  CondVar changed_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  grpc::ServerReaderWriter<task::v1::NegotiateResponse, task::v1::NegotiateRequest>* stream_ ABSL_GUARDED_BY(mutex_) =
      nullptr;
  task::v1::SignedManifest manifest_ ABSL_GUARDED_BY(mutex_);
  std::string digest_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, std::string> frames_ ABSL_GUARDED_BY(mutex_);
  int64_t revision_ ABSL_GUARDED_BY(mutex_) = 0;
  std::string nonce_ ABSL_GUARDED_BY(mutex_);
  // The number of the member key that is good, and until when each key is.
  int member_ ABSL_GUARDED_BY(mutex_) = 0;
  bool member_revoked_ ABSL_GUARDED_BY(mutex_) = false;
  std::map<std::string, absl::Time> key_ends_ ABSL_GUARDED_BY(mutex_);
  State state_ ABSL_GUARDED_BY(mutex_) = task::v1::Participant::STATE_JOINED;
  int32_t attempt_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t version_ ABSL_GUARDED_BY(mutex_) = 1;
  std::string reason_ ABSL_GUARDED_BY(mutex_);
  std::string detail_ ABSL_GUARDED_BY(mutex_);
  std::string checking_connection_ ABSL_GUARDED_BY(mutex_);
  std::vector<State> history_ ABSL_GUARDED_BY(mutex_);
  std::vector<task::v1::FetchChunksRequest> fetches_ ABSL_GUARDED_BY(mutex_);
  int64_t sent_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  int joins_ ABSL_GUARDED_BY(mutex_) = 0;
  int negotiations_ ABSL_GUARDED_BY(mutex_) = 0;
  std::vector<task::v1::Declaration> declarations_ ABSL_GUARDED_BY(mutex_);
  // The declaration on which the client failed.
  task::v1::Declaration failed_declaration_ ABSL_GUARDED_BY(mutex_);
  bool hindered_ ABSL_GUARDED_BY(mutex_) = false;
  bool drifted_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace parley::agent

#endif  // PARLEY_CLIENTS_AGENT_FAKE_TASKD_H_
