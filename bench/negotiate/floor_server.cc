// The least that taskd's place could cost: the same calls over the same door, answered at once with what was made at
// the start. No records, no store, no roles, no workers. What taskd takes beyond this is its own.
//
// Prints the task's join key on a line, and serves until SIGTERM.
#include <grpcpp/grpcpp.h>

#include <iostream>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "absl/time/clock.h"
#include "lib/base/error.h"
#include "lib/crypto/certificate.h"
#include "lib/crypto/hash.h"
#include "lib/crypto/kdf.h"
#include "lib/crypto/signature.h"
#include "lib/keys/identity.h"
#include "lib/keys/join_key.h"
#include "lib/keys/key_source.h"
#include "lib/payload/chunk.h"
#include "lib/payload/manifest.h"
#include "lib/service/process.h"
#include "lib/transport/grpc_door.h"
#include "parley/task/v1/artifact_service.grpc.pb.h"
#include "parley/task/v1/participation_service.grpc.pb.h"

namespace parley {
namespace {

using task::v1::NegotiateRequest;
using task::v1::NegotiateResponse;
using task::v1::Participant;

constexpr char kTask[] = "floor";
constexpr size_t kPayloadBytes = 64 * 1024;

// What every client gets.
struct Answers {
  keys::Keyring keyring;
  absl::Time not_after = absl::Now() + absl::Hours(1);
  std::string frame;
  std::string digest;
  task::v1::SignedManifest manifest;
};

class Negotiation final : public grpc::ServerBidiReactor<NegotiateRequest, NegotiateResponse> {
 public:
  explicit Negotiation(const Answers* answers) : answers_(answers) { StartRead(&request_); }

 private:
  void OnReadDone(bool ok) override {
    if (!ok) return Finish(grpc::Status::OK);
    response_.Clear();
    response_.set_task(request_.task());
    response_.set_attempt(1);
    response_.set_sequence(request_.sequence());
    response_.set_version(request_.sequence());
    response_.set_state(request_.has_declare()  ? Participant::STATE_OFFERED
                        : request_.has_accept() ? Participant::STATE_ACCEPTED
                                                : request_.progress().state());
    if (request_.has_declare()) *response_.mutable_offer()->mutable_manifest() = answers_->manifest;
    StartWrite(&response_);
  }
  void OnWriteDone(bool ok) override {
    if (ok) StartRead(&request_);
    if (!ok) Finish(grpc::Status::OK);
  }
  void OnDone() override { delete this; }

  const Answers* const answers_;
  NegotiateRequest request_;
  NegotiateResponse response_;
};

class Participation final : public task::v1::ParticipationService::CallbackService {
 public:
  explicit Participation(const Answers* answers) : answers_(answers) {}

  grpc::ServerUnaryReactor* Join(grpc::CallbackServerContext* context, const task::v1::JoinRequest* request,
                                 task::v1::JoinResponse* response) override {
    const keys::Claims claims{access::v1::ROLE_MEMBER, "floor/member", crypto::RandomBytes(keys::kSerialBytes),
                              answers_->not_after};
    keys::Keyring::Minted minted = *answers_->keyring.Mint(claims);
    response->set_participant("tasks/floor/participants/" + request->client());
    response->set_identity(minted.identity);
    response->set_secret(std::string(minted.secret.Expose()));
    return Finish(context);
  }
  grpc::ServerBidiReactor<NegotiateRequest, NegotiateResponse>* Negotiate(grpc::CallbackServerContext*) override {
    return new Negotiation(answers_);
  }
  grpc::ServerUnaryReactor* Confirm(grpc::CallbackServerContext* context, const task::v1::ConfirmRequest*,
                                    task::v1::ConfirmResponse* response) override {
    response->set_state(Participant::STATE_CONFIRMED);
    return Finish(context);
  }

 private:
  static grpc::ServerUnaryReactor* Finish(grpc::CallbackServerContext* context) {
    auto* const reactor = context->DefaultReactor();
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }
  const Answers* const answers_;
};

class Download final : public grpc::ServerWriteReactor<task::v1::FetchChunksResponse> {
 public:
  explicit Download(const Answers& answers) {
    piece_.set_digest(answers.digest);
    piece_.set_frame_size(static_cast<int64_t>(answers.frame.size()));
    piece_.set_data(answers.frame);
    StartWriteAndFinish(&piece_, grpc::WriteOptions(), grpc::Status::OK);
  }

 private:
  void OnDone() override { delete this; }
  task::v1::FetchChunksResponse piece_;
};

class Artifacts final : public task::v1::ArtifactService::CallbackService {
 public:
  explicit Artifacts(const Answers* answers) : answers_(answers) {}
  grpc::ServerWriteReactor<task::v1::FetchChunksResponse>* FetchChunks(grpc::CallbackServerContext*,
                                                                       const task::v1::FetchChunksRequest*) override {
    return new Download(*answers_);
  }

 private:
  const Answers* const answers_;
};

absl::Status Serve(service::Process& process) {
  Answers answers;
  std::map<uint32_t, Secret> epochs;
  epochs[1] = crypto::RandomSecret(32);
  RETURN_IF_ERROR(answers.keyring.Replace(std::move(epochs), 1));
  const std::string content = crypto::RandomBytes(kPayloadBytes);
  answers.digest = crypto::Sha256(content);
  answers.frame = payload::CompressChunk(content);
  payload::Files files;
  auto* const file = files.Add();
  file->set_path("payload");
  file->set_type(task::v1::FileEntry::TYPE_REGULAR);
  file->set_mode(0644);
  file->set_size(kPayloadBytes);
  file->set_sha256(answers.digest);
  file->add_chunks(answers.digest);
  const crypto::SigningKey signing_key = crypto::SigningKey::Generate();
  ASSIGN_OR_RETURN(answers.manifest, payload::SignManifest({.task = std::string("tasks/") + kTask,
                                                            .revision = 1,
                                                            .create_time = absl::Now(),
                                                            .expire_time = answers.not_after},
                                                           files, signing_key));

  keys::AudienceKeySource source(&answers.keyring, Clock::System());
  const crypto::EcKey ca = crypto::EcKey::Generate(), server = crypto::EcKey::Generate();
  const absl::Time now = absl::Now();
  transport::Listener::Options listener;
  listener.address = "127.0.0.1:0";
  ASSIGN_OR_RETURN(const std::string ca_pem, crypto::MakeCaCertificate(ca, "bench", now, answers.not_after));
  ASSIGN_OR_RETURN(listener.certificate_pem, crypto::MakeServerCertificate(ca, ca_pem, server.PublicKey(),
                                                                           {"localhost"}, now, answers.not_after));
  listener.private_key_pem = server.ToPem();
  ASSIGN_OR_RETURN(const auto door, transport::GrpcDoor::Create(std::move(listener), &source));
  Participation participation(&answers);
  Artifacts artifacts(&answers);
  grpc::ServerBuilder builder;
  builder.RegisterService(&participation);
  builder.RegisterService(&artifacts);
  RETURN_IF_ERROR(door->Serve(&builder));

  const keys::Claims claims{access::v1::ROLE_JOINER, kTask, crypto::RandomBytes(keys::kSerialBytes), answers.not_after};
  ASSIGN_OR_RETURN(keys::Keyring::Minted minted, answers.keyring.Mint(claims));
  ASSIGN_OR_RETURN(const Secret pasted, keys::FormatJoinKey({.address = door->listener().address(),
                                                             .task = kTask,
                                                             .identity = minted.identity,
                                                             .secret = std::move(minted.secret),
                                                             .verification_key = signing_key.verification_key(),
                                                             .not_after = answers.not_after}));
  std::cout << pasted.Expose() << std::endl;
  RETURN_IF_ERROR(process.Serving(door->listener().address()));
  process.WaitForStop();
  door->Shutdown(absl::Now());
  return absl::OkStatus();
}

}  // namespace
}  // namespace parley

int main() { return parley::service::RunService({.name = "floor_server"}, parley::Serve); }
