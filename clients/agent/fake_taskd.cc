#include "clients/agent/fake_taskd.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "grpcpp/server_builder.h"
#include "grpcpp/support/sync_stream.h"
#include "lib/base/error.h"
#include "lib/base/proto_time.h"
#include "lib/crypto/kdf.h"
#include "lib/keys/identity.h"
#include "lib/payload/chunk.h"
#include "lib/task/states.h"
#include "lib/transport/grpc_status.h"

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
  return transport::ToGrpc(Error(code, reason, absl::StrCat("refused: ", reason)));
}

// Whether something that mattered is another than on the declaration on which the client failed.
bool Differs(const task::v1::Declaration& now, const task::v1::Declaration& then) {
  return now.installed_digest() != then.installed_digest() || now.installed_revision() != then.installed_revision() ||
         now.setup_digest() != then.setup_digest();
}

}  // namespace

FakeTaskd::FakeTaskd(Clock* clock) : clock_(clock) { Start(); }

FakeTaskd::~FakeTaskd() { Stop(); }

void FakeTaskd::Start() {
  {
    MutexLock lock(&mutex_);
    stopping_ = false;
  }
  const auto listen = [this] {
    return transport::GrpcDoor::Create(transport::Listener::Options{.address = address_, .threads = 1, .clock = clock_},
                                       this);
  };
  auto door = listen();
  // A client that dials a port that nobody listens on may get it for its own end, and keeps it for a moment.
  for (int tries = 0; tries < 500 && Reason(door.status()) == "ADDRESS_IN_USE"; ++tries) {
    absl::SleepFor(absl::Milliseconds(20));
    door = listen();
  }
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
  MutexLock lock(&mutex_);
  key_ends_[key.identity] = key.not_after;
  return key;
}

keys::Credential FakeTaskd::Device() {
  keys::Credential credential;
  credential.role = access::v1::ROLE_DEVICE;
  credential.subject = "device-1";
  credential.not_after = clock_->Now() + absl::Hours(1);
  credential.keys.push_back({"taskd", address_, "device", SecretOf("device")});
  MutexLock lock(&mutex_);
  key_ends_["device"] = credential.not_after;
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
  if (state_ == Participant::STATE_JOINED || task::IsWorking(state_)) return;
  OfferLocked();
  PushLocked();
}

void FakeTaskd::PushState(State state) {
  MutexLock lock(&mutex_);
  EnterLocked(state);
  PushLocked();
}

void FakeTaskd::Forget() {
  MutexLock lock(&mutex_);
  nonce_.clear();
  state_ = Participant::STATE_JOINED;
  attempt_ = 0;
}

void FakeTaskd::RevokeMember() {
  MutexLock lock(&mutex_);
  member_revoked_ = true;
}

void FakeTaskd::AwaitState(State state) {
  MutexLock lock(&mutex_);
  while (state_ != state) changed_.WaitFor(&mutex_, absl::Milliseconds(50));
}

absl::StatusOr<transport::KeySource::Key> FakeTaskd::Find(absl::string_view identity, Want want) {
  if (faults.revoked) return absl::UnauthenticatedError("revoked");
  MutexLock lock(&mutex_);
  const bool member = identity.substr(0, 6) == "member";
  if (member && (member_revoked_ || identity != absl::StrCat("member", member_))) {
    return absl::UnauthenticatedError("revoked");
  }
  Key key;
  if (const auto end = key_ends_.find(std::string(identity)); end != key_ends_.end()) key.info.not_after = end->second;
  key.info.key_id = std::string(identity);
  key.info.subject = std::string(identity);
  key.psk = keys::DerivePsk(SecretOf(identity));
  return key;
}

Task FakeTaskd::TaskLocked() {
  Task task;
  task.set_name(kTask);
  task.set_state(faults.task_state);
  task.set_revision(revision_);
  task.set_verification_key(key_.verification_key());
  return task;
}

Participant FakeTaskd::ParticipantLocked() {
  Participant participant;
  participant.set_state(state_);
  participant.set_hindered(hindered_);
  return participant;
}

void FakeTaskd::EnterLocked(State state) {
  state_ = state;
  ++version_;
  history_.push_back(state);
  changed_.NotifyAll();
}

void FakeTaskd::OfferLocked() {
  ++attempt_;
  reason_.clear();
  detail_.clear();
  hindered_ = false;
  EnterLocked(Participant::STATE_OFFERED);
}

NegotiateResponse FakeTaskd::ResponseLocked(int64_t sequence, bool with_offer) {
  NegotiateResponse response;
  response.set_task(kTask);
  response.set_attempt(attempt_);
  response.set_sequence(sequence);
  response.set_version(version_);
  response.set_state(state_);
  response.set_task_state(faults.task_state);
  response.set_reason(detail_.empty() ? reason_ : detail_);
  response.mutable_labels()->insert(faults.labels.begin(), faults.labels.end());
  if (state_ == Participant::STATE_OFFERED || (with_offer && task::IsWorking(state_))) {
    task::v1::Offer* offer = response.mutable_offer();
    *offer->mutable_manifest() = manifest_;
    if (faults.manifest) faults.manifest(offer->mutable_manifest());
    const bool fixed = faults.deadline != absl::InfinitePast();
    *offer->mutable_deadline() = ToProto(fixed ? faults.deadline : clock_->Now() + absl::Minutes(50));
    offer->set_forced(faults.forced);
    offer->set_deferrals_left(faults.deferrals_left);
  }
  return response;
}

void FakeTaskd::PushLocked() {
  if (stream_ != nullptr) stream_->Write(ResponseLocked(0, false));
}

grpc::Status FakeTaskd::Join(grpc::ServerContext* context, const task::v1::JoinRequest* request,
                             task::v1::JoinResponse* response) {
  if (faults.join) {
    if (grpc::Status status = faults.join(); !status.ok()) return status;
  }
  MutexLock lock(&mutex_);
  ++joins_;
  if (request->nonce().size() != 32) return Refused(absl::StatusCode::kInvalidArgument, "NONCE");
  if (nonce_ != request->nonce()) {
    const auto peer = door_->PeerOf(*context);
    const bool device = peer != nullptr && peer->key.key_id == "device";
    if (!nonce_.empty() && (faults.old || (!device && !member_revoked_))) {
      return Refused(absl::StatusCode::kAlreadyExists, "CLIENT_ALREADY_JOINED");
    }
    nonce_ = request->nonce();
    member_revoked_ = false;
    ++member_;
    EnterLocked(Participant::STATE_JOINED);
    history_.pop_back();
  }
  if (faults.lost_joins-- > 0) return grpc::Status(grpc::StatusCode::UNAVAILABLE, "the answer is lost");
  response->set_participant(absl::StrCat(kTask, "/participants/", request->client()));
  response->set_identity(absl::StrCat("member", member_));
  response->set_secret(std::string(SecretOf(response->identity()).Expose()));
  *response->mutable_expire_time() = ToProto(clock_->Now() + absl::Hours(2));
  key_ends_[response->identity()] = clock_->Now() + absl::Hours(2);
  *response->mutable_task() = TaskLocked();
  return grpc::Status::OK;
}

void FakeTaskd::EvaluateLocked(const task::v1::Declaration& declaration) {
  if (declaration.installed_digest() == digest_) return EnterLocked(Participant::STATE_UP_TO_DATE);
  OfferLocked();
}

void FakeTaskd::ApplyHindranceLocked(const task::v1::Hindrance& hindrance) {
  if (task::StaysWhenHindered(ParticipantLocked())) return;
  reason_ = hindrance.code();
  detail_ = hindrance.detail();
  hindered_ = true;
  EnterLocked(Participant::STATE_INELIGIBLE);
}

void FakeTaskd::DeclareLocked(const task::v1::Declaration& declaration) {
  declarations_.push_back(declaration);
  if (revision_ == 0 || faults.task_state != Task::STATE_OPEN) return;
  const bool installed = declaration.installed_digest() == digest_;
  if (faults.old) {
    if (state_ == Participant::STATE_JOINED || state_ == Participant::STATE_INELIGIBLE) EvaluateLocked(declaration);
    return;
  }
  drifted_ = drifted_ || (task::IsInstalled(state_) && !installed);
  if (declaration.has_hindrance() && !installed) return ApplyHindranceLocked(declaration.hindrance());
  if (!declaration.taken_over().empty() && task::IsInstalled(state_) && !installed) {
    EnterLocked(Participant::STATE_INELIGIBLE);
    reason_ = "taken_over";
    return;
  }
  const bool again = task::HasFailed(state_) && (declaration.retry() || Differs(declaration, failed_declaration_));
  if (task::AwaitsDeclaration(ParticipantLocked()) || again || (task::IsInstalled(state_) && !installed))
    EvaluateLocked(declaration);
}

grpc::Status FakeTaskd::ReportLocked(const task::v1::Progress& progress, const std::string& connection,
                                     bool* unchanged) {
  *unchanged = progress.state() == state_;
  if (*unchanged) return grpc::Status::OK;
  if (!task::MayReport(state_, progress.state()))
    return Refused(absl::StatusCode::kFailedPrecondition, "NO_TRANSITION");
  if (progress.state() == Participant::STATE_CHECKING) checking_connection_ = connection;
  if (!progress.reason().empty()) reason_ = progress.reason();
  if (!progress.detail().empty()) detail_ = progress.detail();
  EnterLocked(progress.state());
  if (task::HasFailed(state_) && !declarations_.empty()) failed_declaration_ = declarations_.back();
  hindered_ = state_ == Participant::STATE_ROLLED_BACK && progress.passing();
  return grpc::Status::OK;
}

grpc::Status FakeTaskd::HandleLocked(const NegotiateRequest& request, const std::string& connection, bool* unchanged) {
  if (request.has_declare()) {
    DeclareLocked(request.declare());
    return grpc::Status::OK;
  }
  *unchanged = request.attempt() != attempt_ || request.expected_version() != version_;
  if (*unchanged) return grpc::Status::OK;
  const bool offered = state_ == Participant::STATE_OFFERED;
  if (request.has_progress()) return ReportLocked(request.progress(), connection, unchanged);
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
    failed_declaration_ = declarations_.back();
  }
  if (request.has_counter()) *unchanged = true;
  return grpc::Status::OK;
}

grpc::Status FakeTaskd::Negotiate(grpc::ServerContext* context,
                                  grpc::ServerReaderWriter<NegotiateResponse, NegotiateRequest>* stream) {
  const auto peer = door_->PeerOf(*context);
  if (peer == nullptr) return grpc::Status(grpc::StatusCode::UNAUTHENTICATED, "gone");
  if (faults.negotiate) {
    if (grpc::Status status = faults.negotiate(); !status.ok()) return status;
  }
  {
    MutexLock lock(&mutex_);
    ++negotiations_;
    if (nonce_.empty()) return Refused(absl::StatusCode::kNotFound, "PARTICIPANT_NOT_FOUND");
    if (faults.replaced-- > 0) return Refused(absl::StatusCode::kAborted, "STREAM_REPLACED");
  }
  NegotiateRequest request;
  grpc::Status status;
  while (status.ok() && stream->Read(&request)) {
    {
      MutexLock lock(&mutex_);
      stream_ = stream;
      bool unchanged = false;
      status = HandleLocked(request, peer->connection_id.ToString(), &unchanged);
      NegotiateResponse response = ResponseLocked(request.sequence(), request.has_declare());
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
  const bool repeated = state_ == Participant::STATE_CONFIRMED && request->attempt() == attempt_ &&
                        request->installed_digest() == digest_;
  if (!repeated) {
    if (state_ != Participant::STATE_CHECKING || request->attempt() != attempt_) {
      return Refused(absl::StatusCode::kFailedPrecondition, "NOT_CHECKING");
    }
    if (peer == nullptr || peer->connection_id.ToString() == checking_connection_) {
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
