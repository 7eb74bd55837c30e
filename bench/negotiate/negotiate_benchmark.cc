// The whole job as many clients do it: join with the task's key, negotiate under a key of their own, fetch 64 KiB,
// and confirm over a fresh connection. Every step is durable at the server before it is answered.
//
// With "-" for a credential it does the same with floor_server.cc, whose join key it reads from its standard input.
// Talks to a running taskd and reads the server's processor time and memory from /proc, so that the figures are the
// server's alone. tools/bench negotiate starts the services and runs this.
#include <stdio.h>
#include <stdlib.h>

#include <atomic>
#include <iostream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "bench/measure.h"
#include "grpcpp/grpcpp.h"
#include "lib/base/error.h"
#include "lib/crypto/kdf.h"
#include "lib/keys/credential.h"
#include "lib/keys/identity.h"
#include "lib/keys/join_key.h"
#include "lib/payload/manifest.h"
#include "lib/transport/channel.h"
#include "parley/task/v1/artifact_service.grpc.pb.h"
#include "parley/task/v1/participation_service.grpc.pb.h"
#include "parley/task/v1/task_service.grpc.pb.h"

namespace parley {
namespace {

using bench::Connect;
using bench::OnThreads;
using bench::ProcessorSeconds;
using bench::ResidentKib;
using bench::VoluntarySwitches;
using task::v1::Participant;

constexpr size_t kPayloadBytes = 64 * 1024;

struct Flags {
  std::string credential;
  int server_pid = 0;
  int clients = 2000;
  int at_once = 32;
  int connected = 1000;
};

absl::Status Check(const transport::Channel& channel, const grpc::Status& status, absl::string_view doing) {
  return Annotate(channel.Explain(status), doing);
}

// One client's key and where it stands.
struct Member {
  std::string identity;
  Secret secret;
  int32_t attempt = 0;
  int64_t version = 0;
  task::v1::Manifest manifest;
};

class Client {
 public:
  Client(const keys::JoinKey& key, std::string name) : key_(key), task_("tasks/" + key.task), name_(std::move(name)) {}

  absl::Status Join() {
    ASSIGN_OR_RETURN(const auto channel, Connect(key_.address, key_.identity, key_.secret));
    task::v1::JoinRequest request;
    request.set_client(name_);
    request.set_nonce(crypto::RandomBytes(32));
    task::v1::JoinResponse response;
    grpc::ClientContext context;
    const auto stub = task::v1::ParticipationService::NewStub(channel->grpc());
    RETURN_IF_ERROR(Check(*channel, stub->Join(&context, request, &response), "join"));
    member_.identity = response.identity();
    member_.secret = Secret::Take(std::move(*response.mutable_secret()));
    return absl::OkStatus();
  }

  // Declares and waits for the offer; the stream stays open.
  absl::Status Declare() {
    ASSIGN_OR_RETURN(channel_, Connect(key_.address, member_.identity, member_.secret));
    stub_ = task::v1::ParticipationService::NewStub(channel_->grpc());
    stream_ = stub_->Negotiate(&context_);
    task::v1::NegotiateRequest declaration = Request();
    declaration.mutable_declare()->add_encodings("zstd");
    RETURN_IF_ERROR(Exchange(declaration, Participant::STATE_OFFERED));
    ASSIGN_OR_RETURN(member_.manifest,
                     payload::VerifyManifest(offer_.manifest(), key_.verification_key, task_, absl::Now()));
    return absl::OkStatus();
  }

  absl::Status FetchAndConfirm() {
    task::v1::NegotiateRequest accept = Request();
    accept.mutable_accept();
    RETURN_IF_ERROR(Exchange(accept, Participant::STATE_ACCEPTED));
    RETURN_IF_ERROR(Fetch());
    for (const auto state : {Participant::STATE_STAGED, Participant::STATE_APPLYING, Participant::STATE_CHECKING}) {
      task::v1::NegotiateRequest progress = Request();
      progress.mutable_progress()->set_state(state);
      progress.mutable_progress()->set_transferred_bytes(kPayloadBytes);
      RETURN_IF_ERROR(Exchange(progress, state));
    }
    return Confirm();
  }

  void Leave() {
    if (stream_ == nullptr) return;
    context_.TryCancel();
    stream_->Finish();
  }

 private:
  task::v1::NegotiateRequest Request() {
    task::v1::NegotiateRequest request;
    request.set_task(task_);
    request.set_attempt(member_.attempt);
    request.set_sequence(++sequence_);
    request.set_expected_version(member_.version);
    return request;
  }

  // Sends and reads until the state is reached; the server may speak by itself in between.
  absl::Status Exchange(const task::v1::NegotiateRequest& request, Participant::State wanted) {
    if (!stream_->Write(request)) return Check(*channel_, stream_->Finish(), "negotiate");
    task::v1::NegotiateResponse response;
    while (stream_->Read(&response)) {
      member_.attempt = response.attempt();
      member_.version = response.version();
      if (response.state() != wanted) continue;
      if (response.has_offer()) offer_ = std::move(*response.mutable_offer());
      return absl::OkStatus();
    }
    return Check(*channel_, stream_->Finish(), "negotiate");
  }

  absl::Status Fetch() {
    const auto artifacts = task::v1::ArtifactService::NewStub(channel_->grpc());
    task::v1::FetchChunksRequest request;
    request.set_task(task_);
    request.set_revision(member_.manifest.revision());
    for (const auto& file : member_.manifest.files()) {
      for (const std::string& digest : file.chunks()) request.add_chunks()->set_digest(digest);
    }
    grpc::ClientContext context;
    const auto reader = artifacts->FetchChunks(&context, request);
    task::v1::FetchChunksResponse response;
    int64_t missing = 1;
    while (reader->Read(&response)) {
      missing = response.frame_size() - response.offset() - static_cast<int64_t>(response.data().size());
    }
    RETURN_IF_ERROR(Check(*channel_, reader->Finish(), "fetch"));
    return missing == 0 ? absl::OkStatus() : absl::DataLossError("fetch: the payload came incomplete");
  }

  absl::Status Confirm() {
    ASSIGN_OR_RETURN(const auto fresh, Connect(key_.address, member_.identity, member_.secret));
    task::v1::ConfirmRequest request;
    request.set_task(task_);
    request.set_attempt(member_.attempt);
    request.set_expected_version(member_.version);
    request.set_installed_digest(member_.manifest.digest());
    task::v1::ConfirmResponse response;
    grpc::ClientContext context;
    const auto stub = task::v1::ParticipationService::NewStub(fresh->grpc());
    RETURN_IF_ERROR(Check(*fresh, stub->Confirm(&context, request, &response), "confirm"));
    return response.state() == Participant::STATE_CONFIRMED ? absl::OkStatus()
                                                            : absl::InternalError("the server did not confirm");
  }

  const keys::JoinKey& key_;
  const std::string task_;
  const std::string name_;
  Member member_;
  int64_t sequence_ = 0;
  task::v1::Offer offer_;
  std::unique_ptr<transport::Channel> channel_;
  std::unique_ptr<task::v1::ParticipationService::Stub> stub_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReaderWriter<task::v1::NegotiateRequest, task::v1::NegotiateResponse>> stream_;
};

absl::StatusOr<keys::JoinKey> CreateTask(const std::string& credential_path) {
  ASSIGN_OR_RETURN(const keys::Credential credential, keys::ReadCredentialFile(credential_path));
  ASSIGN_OR_RETURN(const keys::AudienceKey* const key, credential.KeyFor(keys::kTaskd));
  ASSIGN_OR_RETURN(const auto channel, Connect(key->address, key->identity, key->secret));
  task::v1::CreateTaskRequest request;
  request.set_request_id(crypto::RandomUuid());
  request.set_title("bench");
  auto* const file = request.mutable_files()->add_files();
  file->set_path("payload");
  file->set_content(crypto::RandomBytes(kPayloadBytes));
  task::v1::CreateTaskResponse response;
  grpc::ClientContext context;
  const auto stub = task::v1::TaskService::NewStub(channel->grpc());
  RETURN_IF_ERROR(Check(*channel, stub->CreateTask(&context, request, &response), "create the task"));
  return keys::ParseJoinKey(Secret::Take(std::move(*response.mutable_join_key()->mutable_pasted())), absl::Now());
}

// Runs `work` for 0 … count - 1 on `at_once` threads; the first error.
template <typename Work>
absl::Status ForEach(int count, int at_once, Work work) {
  std::atomic<int> next = 0;
  return OnThreads(at_once, [&]() -> absl::Status {
    for (int index = next++; index < count; index = next++) RETURN_IF_ERROR(work(index));
    return absl::OkStatus();
  });
}

absl::Status MeasureWholeJob(const Flags& flags, const keys::JoinKey& key, absl::string_view name) {
  const auto run = [&](int count, absl::string_view prefix) {
    return ForEach(count, flags.at_once, [&](int index) -> absl::Status {
      Client client(key, absl::StrCat(prefix, index));
      RETURN_IF_ERROR(client.Join());
      RETURN_IF_ERROR(client.Declare());
      const absl::Status status = client.FetchAndConfirm();
      client.Leave();
      return status;
    });
  };
  RETURN_IF_ERROR(run(flags.clients / 10, "warm-"));
  const double before = ProcessorSeconds(flags.server_pid);
  const double switches = VoluntarySwitches(flags.server_pid);
  const absl::Time start = absl::Now();
  RETURN_IF_ERROR(run(flags.clients, "client-"));
  const double seconds = absl::ToDoubleSeconds(absl::Now() - start);
  const double processor = ProcessorSeconds(flags.server_pid) - before;
  absl::PrintF("figure %sclients_per_server_core %.0f a second\n", name, flags.clients / processor);
  absl::PrintF("figure %sclients_per_second %.0f a second\n", name, flags.clients / seconds);
  absl::PrintF("figure %sswitches_per_client %.1f switches\n", name,
               (VoluntarySwitches(flags.server_pid) - switches) / flags.clients);
  return absl::OkStatus();
}

absl::Status MeasureMemory(const Flags& flags, const keys::JoinKey& key) {
  std::vector<std::unique_ptr<Client>> clients;
  for (int i = 0; i < flags.connected; ++i) {
    clients.push_back(std::make_unique<Client>(key, absl::StrCat("idle-", i)));
  }
  RETURN_IF_ERROR(ForEach(flags.connected, flags.at_once, [&](int i) { return clients[i]->Join(); }));
  const double before = ResidentKib(flags.server_pid);
  RETURN_IF_ERROR(ForEach(flags.connected, flags.at_once, [&](int i) { return clients[i]->Declare(); }));
  const double after = ResidentKib(flags.server_pid);
  absl::PrintF("figure kib_per_connected_client %.1f KiB\n", (after - before) / flags.connected);
  for (const auto& client : clients) client->Leave();
  return absl::OkStatus();
}

absl::Status Run(const Flags& flags) {
  if (flags.credential == "-") {
    std::string pasted;
    std::getline(std::cin, pasted);
    ASSIGN_OR_RETURN(const keys::JoinKey key, keys::ParseJoinKey(Secret::Take(std::move(pasted)), absl::Now()));
    return MeasureWholeJob(flags, key, "floor_");
  }
  ASSIGN_OR_RETURN(const keys::JoinKey memory_key, CreateTask(flags.credential));
  RETURN_IF_ERROR(MeasureMemory(flags, memory_key));
  ASSIGN_OR_RETURN(const keys::JoinKey job_key, CreateTask(flags.credential));
  return MeasureWholeJob(flags, job_key, "");
}

}  // namespace
}  // namespace parley

int main(int argc, char** argv) {
  parley::Flags flags;
  if (argc < 3) {
    absl::FPrintF(stderr, "usage: negotiate CREDENTIAL|- SERVER_PID [CLIENTS [AT_ONCE [CONNECTED]]]\n");
    return 2;
  }
  flags.credential = argv[1];
  flags.server_pid = atoi(argv[2]);
  if (argc > 3) flags.clients = atoi(argv[3]);
  if (argc > 4) flags.at_once = atoi(argv[4]);
  if (argc > 5) flags.connected = atoi(argv[5]);
  const absl::Status status = parley::Run(flags);
  if (!status.ok()) {
    absl::FPrintF(stderr, "bench negotiate: %s\n", status.message());
    return 1;
  }
  return 0;
}
