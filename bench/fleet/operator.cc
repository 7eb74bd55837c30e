// The operator of a fleet, in a process of its own, so that its calls do not wait for the clients' work. Reads commands
// from standard input, a line each, and answers each with a line: operator CREDENTIAL. Moments are seconds of
// CLOCK_MONOTONIC, latencies are milliseconds.
//
//   create members|devices   → "TASK JOIN_KEY MOMENT LATENCY"; a task without a selector, or for the fleet's devices
//   publish TASK             → "MOMENT LATENCY"
//   abort TASK               → "ok"
//   get TASK                 → "ok"; calls GetTask on a schedule from now on
//   got MOMENT MOMENT        → "P50 P99 MAX CALLS" of the calls that were due between the two
//   rest                     → "ok"; calls GetTask no more
#include <grpcpp/grpcpp.h>
#include <stdlib.h>

#include <iostream>
#include <memory>
#include <sstream>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/synchronization/mutex.h"
#include "bench/fleet/get_task_caller.h"
#include "bench/fleet/labels.h"
#include "bench/fleet/tally.h"
#include "bench/measure.h"
#include "lib/base/error.h"
#include "lib/crypto/kdf.h"
#include "lib/keys/credential.h"
#include "lib/keys/identity.h"
#include "parley/task/v1/task_service.grpc.pb.h"

namespace parley::bench {
namespace {

constexpr size_t kPayloadBytes = 4096;
// GetTask has so many connections. A service lets each have 100 calls under way.
constexpr size_t kCallers = 4;

void AddPayload(task::v1::InlinePayload* payload) {
  auto* const file = payload->add_files();
  file->set_path("payload");
  file->set_content(crypto::RandomBytes(kPayloadBytes));
}

class Operator {
 public:
  static absl::StatusOr<std::unique_ptr<Operator>> Create(const std::string& credential) {
    std::unique_ptr<Operator> made(new Operator);
    ASSIGN_OR_RETURN(made->credential_, keys::ReadCredentialFile(credential));
    ASSIGN_OR_RETURN(made->channel_, made->NewChannel());
    made->stub_ = task::v1::TaskService::NewStub(made->channel_->grpc());
    return made;
  }

  // Runs one command. Returns its answer.
  absl::StatusOr<std::string> Run(const std::string& line);

 private:
  Operator() = default;

  absl::StatusOr<std::unique_ptr<transport::Channel>> NewChannel() const {
    ASSIGN_OR_RETURN(const keys::AudienceKey* const key, credential_.KeyFor(keys::kTaskd));
    return Connect(key->address, key->identity, key->secret);
  }
  absl::StatusOr<std::string> CreateTask(bool for_devices);
  absl::StatusOr<std::string> Publish(const std::string& task);
  absl::StatusOr<std::string> Abort(const std::string& task);
  absl::StatusOr<std::string> Got(double from, double to);

  keys::Credential credential_;
  std::unique_ptr<transport::Channel> channel_;
  std::unique_ptr<task::v1::TaskService::Stub> stub_;
  std::unique_ptr<GetTaskCaller> caller_;
};

absl::StatusOr<std::string> Operator::CreateTask(bool for_devices) {
  task::v1::CreateTaskRequest request;
  request.set_request_id(crypto::RandomUuid());
  request.set_title("fleet");
  AddPayload(request.mutable_files());
  if (for_devices) (*request.mutable_selector())[kLabel] = kLabelValue;
  task::v1::CreateTaskResponse response;
  grpc::ClientContext context;
  const double start = Moment();
  RETURN_IF_ERROR(channel_->Explain(stub_->CreateTask(&context, request, &response)));
  return absl::StrFormat("%s %s %.6f %.3f", response.task().name(), response.join_key().pasted(), start,
                         (Moment() - start) * 1e3);
}

absl::StatusOr<std::string> Operator::Publish(const std::string& task) {
  task::v1::PublishRevisionRequest request;
  request.set_request_id(crypto::RandomUuid());
  request.set_name(task);
  AddPayload(request.mutable_files());
  task::v1::Task response;
  grpc::ClientContext context;
  const double start = Moment();
  RETURN_IF_ERROR(channel_->Explain(stub_->PublishRevision(&context, request, &response)));
  return absl::StrFormat("%.6f %.3f", start, (Moment() - start) * 1e3);
}

absl::StatusOr<std::string> Operator::Abort(const std::string& task) {
  task::v1::AbortTaskRequest request;
  request.set_name(task);
  task::v1::Task response;
  grpc::ClientContext context;
  RETURN_IF_ERROR(channel_->Explain(stub_->AbortTask(&context, request, &response)));
  return "ok";
}

absl::StatusOr<std::string> Operator::Got(double from, double to) {
  if (caller_ == nullptr) return absl::FailedPreconditionError("nothing is called");
  ASSIGN_OR_RETURN(const auto milliseconds, caller_->Latencies(from, to));
  return absl::StrFormat("%.3f %.3f %.3f %d", Quantile(milliseconds, 0.5), Quantile(milliseconds, 0.99),
                         Quantile(milliseconds, 1), milliseconds.size());
}

absl::StatusOr<std::string> Operator::Run(const std::string& line) {
  std::istringstream words(line);
  std::string command, text;
  double from = 0, to = 0;
  words >> command;
  if (command == "create" && words >> text) return CreateTask(text == "devices");
  if (command == "publish" && words >> text) return Publish(text);
  if (command == "abort" && words >> text) return Abort(text);
  if (command == "got" && words >> from >> to) return Got(from, to);
  if (command == "get" && words >> text) {
    GetTaskCaller::Channels channels(kCallers);
    for (auto& channel : channels) {
      ASSIGN_OR_RETURN(channel, NewChannel());
    }
    caller_ = std::make_unique<GetTaskCaller>(std::move(channels), text);
  } else if (command == "rest") {
    caller_ = nullptr;
  } else {
    return absl::InvalidArgumentError(absl::StrCat("unknown command: ", command));
  }
  return "ok";
}

absl::Status Serve(const std::string& credential) {
  ASSIGN_OR_RETURN(const auto caller, Operator::Create(credential));
  for (std::string line; std::getline(std::cin, line);) {
    ASSIGN_OR_RETURN(const std::string answer, caller->Run(line));
    std::cout << answer << std::endl;
  }
  return absl::OkStatus();
}

}  // namespace
}  // namespace parley::bench

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: operator CREDENTIAL" << std::endl;
    return 2;
  }
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  const absl::Status status = parley::bench::Serve(argv[1]);
  if (!status.ok()) std::cerr << "operator: " << status.message() << std::endl;
  return status.ok() ? 0 : 1;
}
