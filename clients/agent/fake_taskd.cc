#include "clients/agent/fake_taskd.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "grpcpp/server_builder.h"
#include "grpcpp/support/sync_stream.h"
#include "lib/crypto/kdf.h"
#include "lib/keys/identity.h"
#include "lib/payload/chunk.h"
#include "lib/rpc/errors.h"

namespace parley::agent {
namespace {

using task::v1::NegotiateRequest;
using task::v1::NegotiateResponse;
using task::v1::Participant;
using task::v1::Task;

constexpr char kTask[] = "tasks/nginx";
// Small, so that a transfer can be cut within a chunk.
constexpr size_t kPieceBytes = 1000;

Secret SecretOf(absl::string_view identity) {
  return crypto::Hkdf(Secret::CopyOf("root of the tests, 32 bytes long"), absl::StrCat("secret ", identity), 32);
}

grpc::Status Refused(absl::StatusCode code, absl::string_view reason) {
  return rpc::ToGrpc(Error(code, reason, absl::StrCat("refused: ", reason)));
}

void SetTime(absl::Time time, google::protobuf::Timestamp* timestamp) {
  timestamp->set_seconds(absl::ToUnixSeconds(time));
}

bool IsWorking(Participant::State state) {
  return state == Participant::STATE_ACCEPTED || state == Participant::STATE_TRANSFERRING ||
         state == Participant::STATE_STAGED || state == Participant::STATE_APPLYING ||
         state == Participant::STATE_CHECKING || state == Participant::STATE_ROLLING_BACK;
}

bool MayReport(Participant::State from, Participant::State to) {
  switch (to) {
    case Participant::STATE_TRANSFERRING:
      return from == Participant::STATE_ACCEPTED;
    case Participant::STATE_STAGED:
      return from == Participant::STATE_ACCEPTED || from == Participant::STATE_TRANSFERRING;
    case Participant::STATE_APPLYING:
      return from == Participant::STATE_STAGED;
    case Participant::STATE_CHECKING:
      return from == Participant::STATE_APPLYING;
    case Participant::STATE_ROLLING_BACK:
    case Participant::STATE_ROLLED_BACK:
      return IsWorking(from);
    case Participant::STATE_ROLLBACK_FAILED:
      return from == Participant::STATE_APPLYING || from == Participant::STATE_CHECKING ||
             from == Participant::STATE_ROLLING_BACK;
    default:
      return false;
  }
}

}  // namespace

FakeTaskd::FakeTaskd(Clock* clock) : clock_(clock) { Start(); }

FakeTaskd::~FakeTaskd() { Stop(); }

void FakeTaskd::Start() {
  {
    MutexLock lock(&mutex_);
    stopping_ = false;
  }
  auto door = transport::GrpcDoor::Create(transport::Listener::Options{.address = address_, .threads = 1}, this);
  ASSERT_TRUE(door.ok()) << door.status();
  door_ = *std::move(door);
  address_ = door_->listener().address();
  grpc::ServerBuilder builder;
  builder.RegisterService(static_cast<task::v1::ParticipationService::Service*>(this));
  builder.RegisterService(static_cast<task::v1::ArtifactService::Service*>(this));
  const absl::Status served = door_->Serve(&builder);
  ASSERT_TRUE(served.ok()) << served;
}

void FakeTaskd::Stop() {
  {
    MutexLock lock(&mutex_);
    stopping_ = true;
    changed_.NotifyAll();
  }
  if (door_ == nullptr) return;
  door_->Shutdown(absl::InfinitePast());
  door_->Wait();
  door_.reset();
  // ThreadSanitizer does not see how gRPC waits for its threads; each of them has held this last.
  MutexLock lock(&mutex_);
}

keys::JoinKey FakeTaskd::JoinKey() {
  keys::JoinKey key;
  key.address = address_;
  key.task = "nginx";
  key.identity = "joiner";
  key.secret = SecretOf("joiner");
  key.verification_key = key_.verification_key();
  key.not_after = clock_->Now() + absl::Hours(2);
  return key;
}

keys::Credential FakeTaskd::Device() {
  keys::Credential credential;
  credential.role = access::v1::ROLE_DEVICE;
  credential.subject = "device-1";
  credential.not_after = clock_->Now() + absl::Hours(1);
  credential.keys.push_back({"taskd", address_, "device", SecretOf("device")});
  return credential;
}

task::v1::SignedManifest FakeTaskd::SignedManifest(int64_t revision, const Tree& tree) {
  const payload::ManifestFields fields = {
      .task = kTask, .revision = revision, .create_time = clock_->Now(), .expire_time = clock_->Now() + absl::Hours(1)};
  return *payload::SignManifest(fields, MakePayload(tree).files, key_);
}

void FakeTaskd::Publish(const Tree& tree) {
  const FakePayload payload = MakePayload(tree);
  MutexLock lock(&mutex_);
  manifest_ = SignedManifest(++revision_, tree);
  digest_ = payload::DigestFiles(payload.files);
  for (const auto& [digest, content] : payload.chunks) frames_.emplace(digest, payload::CompressChunk(content));
  attempt_ = 0;
  if (state_ == Participant::STATE_JOINED || IsWorking(state_)) return;
  OfferLocked();
  PushLocked();
}

void FakeTaskd::PushState(State state) {
  MutexLock lock(&mutex_);
  EnterLocked(state);
  PushLocked();
}

FakeTaskd::State FakeTaskd::state() {
  MutexLock lock(&mutex_);
  return state_;
}
std::string FakeTaskd::reason() {
  MutexLock lock(&mutex_);
  return reason_;
}
std::string FakeTaskd::detail() {
  MutexLock lock(&mutex_);
  return detail_;
}
std::vector<FakeTaskd::State> FakeTaskd::history() {
  MutexLock lock(&mutex_);
  return history_;
}
int64_t FakeTaskd::sent_bytes() {
  MutexLock lock(&mutex_);
  return sent_bytes_;
}
std::vector<task::v1::FetchChunksRequest> FakeTaskd::fetches() {
  MutexLock lock(&mutex_);
  return fetches_;
}
int FakeTaskd::joins() {
  MutexLock lock(&mutex_);
  return joins_;
}
int FakeTaskd::confirms() {
  MutexLock lock(&mutex_);
  return confirms_;
}
int64_t FakeTaskd::revision() {
  MutexLock lock(&mutex_);
  return revision_;
}

absl::StatusOr<transport::KeySource::Key> FakeTaskd::Find(absl::string_view identity, Want want) {
  if (faults.revoked) return absl::UnauthenticatedError("revoked");
  Key key;
  key.info.key_id = std::string(identity);
  key.info.subject = std::string(identity);
  key.psk = keys::DerivePsk(SecretOf(identity));
  return key;
}

Task FakeTaskd::TaskLocked() {
  Task task;
  task.set_name(kTask);
  task.set_state(Task::STATE_OPEN);
  task.set_revision(revision_);
  task.set_verification_key(key_.verification_key());
  return task;
}

void FakeTaskd::EnterLocked(State state) {
  state_ = state;
  ++version_;
  history_.push_back(state);
}

void FakeTaskd::OfferLocked() {
  ++attempt_;
  EnterLocked(Participant::STATE_OFFERED);
}

NegotiateResponse FakeTaskd::WhereLocked(int64_t sequence, bool with_offer) {
  NegotiateResponse response;
  response.set_task(kTask);
  response.set_attempt(attempt_);
  response.set_sequence(sequence);
  response.set_version(version_);
  response.set_state(state_);
  response.set_task_state(Task::STATE_OPEN);
  if (state_ == Participant::STATE_OFFERED || (with_offer && IsWorking(state_))) {
    task::v1::Offer* offer = response.mutable_offer();
    *offer->mutable_manifest() = manifest_;
    if (faults.manifest) faults.manifest(offer->mutable_manifest());
    SetTime(clock_->Now() + absl::Minutes(50), offer->mutable_deadline());
    offer->set_forced(faults.forced);
    offer->set_deferrals_left(faults.deferrals_left);
  }
  return response;
}

void FakeTaskd::PushLocked() {
  if (stream_ != nullptr) stream_->Write(WhereLocked(0, false));
}

grpc::Status FakeTaskd::Join(grpc::ServerContext* context, const task::v1::JoinRequest* request,
                             task::v1::JoinResponse* response) {
  MutexLock lock(&mutex_);
  ++joins_;
  if (request->nonce().size() != 32) return Refused(absl::StatusCode::kInvalidArgument, "NONCE");
  if (!nonce_.empty() && nonce_ != request->nonce()) return Refused(absl::StatusCode::kAlreadyExists, "CLIENT_TAKEN");
  nonce_ = request->nonce();
  if (faults.lost_joins-- > 0) return grpc::Status(grpc::StatusCode::UNAVAILABLE, "the answer is lost");
  response->set_participant(absl::StrCat(kTask, "/participants/", request->client()));
  response->set_identity("member");
  response->set_secret(std::string(SecretOf("member").Expose()));
  SetTime(clock_->Now() + absl::Hours(2), response->mutable_expire_time());
  *response->mutable_task() = TaskLocked();
  return grpc::Status::OK;
}

grpc::Status FakeTaskd::HandleLocked(const NegotiateRequest& request, const std::string& connection, bool* unchanged) {
  if (request.has_declare()) {
    if (state_ != Participant::STATE_JOINED || revision_ == 0) return grpc::Status::OK;
    if (request.declare().installed_digest() == digest_) {
      EnterLocked(Participant::STATE_UP_TO_DATE);
    } else {
      OfferLocked();
    }
    return grpc::Status::OK;
  }
  *unchanged = request.attempt() != attempt_ || request.expected_version() != version_;
  if (*unchanged) return grpc::Status::OK;
  const bool offered = state_ == Participant::STATE_OFFERED;
  if (request.has_progress()) {
    const task::v1::Progress& progress = request.progress();
    if (progress.state() == state_) {
      *unchanged = true;
      return grpc::Status::OK;
    }
    if (!MayReport(state_, progress.state())) return Refused(absl::StatusCode::kFailedPrecondition, "NO_TRANSITION");
    if (progress.state() == Participant::STATE_CHECKING) checking_connection_ = connection;
    if (!progress.reason().empty()) reason_ = progress.reason();
    if (!progress.detail().empty()) detail_ = progress.detail();
    EnterLocked(progress.state());
    return grpc::Status::OK;
  }
  if (!offered) return Refused(absl::StatusCode::kFailedPrecondition, "NO_TRANSITION");
  if (request.has_accept()) EnterLocked(Participant::STATE_ACCEPTED);
  if (request.has_defer()) {
    reason_ = request.defer().reason();
    EnterLocked(Participant::STATE_DEFERRED);
  }
  if (request.has_decline()) {
    if (faults.forced) return Refused(absl::StatusCode::kFailedPrecondition, "TASK_FORCED");
    reason_ = request.decline().code();
    detail_ = request.decline().detail();
    EnterLocked(Participant::STATE_DECLINED);
  }
  if (request.has_counter()) *unchanged = true;
  return grpc::Status::OK;
}

grpc::Status FakeTaskd::Negotiate(grpc::ServerContext* context,
                                  grpc::ServerReaderWriter<NegotiateResponse, NegotiateRequest>* stream) {
  const auto peer = door_->PeerOf(*context);
  if (peer == nullptr) return grpc::Status(grpc::StatusCode::UNAUTHENTICATED, "gone");
  NegotiateRequest request;
  grpc::Status status;
  while (status.ok() && stream->Read(&request)) {
    {
      MutexLock lock(&mutex_);
      stream_ = stream;
      bool unchanged = false;
      status = HandleLocked(request, peer->connection_id, &unchanged);
      NegotiateResponse response = WhereLocked(request.sequence(), request.has_declare());
      response.set_unchanged(unchanged);
      if (status.ok()) stream->Write(response);
    }
    if (faults.on_report && request.has_progress()) faults.on_report(request.progress().state());
  }
  MutexLock lock(&mutex_);
  if (stream_ == stream) stream_ = nullptr;
  return status;
}

grpc::Status FakeTaskd::Confirm(grpc::ServerContext* context, const task::v1::ConfirmRequest* request,
                                task::v1::ConfirmResponse* response) {
  const auto peer = door_->PeerOf(*context);
  if (faults.confirm) {
    if (grpc::Status status = faults.confirm(); !status.ok()) return status;
  }
  MutexLock lock(&mutex_);
  ++confirms_;
  const bool repeated = state_ == Participant::STATE_CONFIRMED && request->attempt() == attempt_;
  if (!repeated) {
    if (state_ != Participant::STATE_CHECKING || request->attempt() != attempt_) {
      return Refused(absl::StatusCode::kFailedPrecondition, "NOT_CHECKING");
    }
    if (peer == nullptr || peer->connection_id == checking_connection_) {
      return Refused(absl::StatusCode::kFailedPrecondition, "SAME_CONNECTION");
    }
    if (request->installed_digest() != digest_) return Refused(absl::StatusCode::kFailedPrecondition, "DIGEST_DIFFERS");
    EnterLocked(Participant::STATE_CONFIRMED);
  }
  response->set_version(version_);
  response->set_state(state_);
  return grpc::Status::OK;
}

grpc::Status FakeTaskd::WatchAssignments(grpc::ServerContext* context, const task::v1::WatchAssignmentsRequest* request,
                                         grpc::ServerWriter<task::v1::WatchAssignmentsResponse>* writer) {
  MutexLock lock(&mutex_);
  task::v1::WatchAssignmentsResponse response;
  *response.mutable_task() = TaskLocked();
  writer->SendInitialMetadata();
  if (!faults.no_assignment) writer->Write(response);
  while (!stopping_ && !context->IsCancelled()) changed_.WaitFor(&mutex_, absl::Milliseconds(50));
  return grpc::Status::OK;
}

grpc::Status FakeTaskd::FetchChunks(grpc::ServerContext* context, const task::v1::FetchChunksRequest* request,
                                    grpc::ServerWriter<task::v1::FetchChunksResponse>* writer) {
  MutexLock lock(&mutex_);
  fetches_.push_back(*request);
  const bool cut = faults.cut_after_bytes >= 0;
  int64_t left = cut ? std::exchange(faults.cut_after_bytes, -1) : int64_t{1} << 60;
  for (const auto& chunk : request->chunks()) {
    if (frames_.count(chunk.digest()) == 0) return Refused(absl::StatusCode::kNotFound, "CHUNK_UNKNOWN");
    const std::string frame = faults.frame ? faults.frame(frames_[chunk.digest()]) : frames_[chunk.digest()];
    for (size_t offset = static_cast<size_t>(chunk.offset()); offset < frame.size();) {
      if (left <= 0) return grpc::Status(grpc::StatusCode::UNAVAILABLE, "the line was cut");
      task::v1::FetchChunksResponse response;
      response.set_digest(chunk.digest());
      response.set_offset(static_cast<int64_t>(offset));
      response.set_data(frame.substr(offset, std::min(kPieceBytes, static_cast<size_t>(left))));
      response.set_frame_size(static_cast<int64_t>(frame.size()));
      offset += response.data().size();
      left -= static_cast<int64_t>(response.data().size());
      sent_bytes_ += static_cast<int64_t>(response.data().size());
      if (!writer->Write(response)) return grpc::Status::CANCELLED;
    }
  }
  return grpc::Status::OK;
}

}  // namespace parley::agent
