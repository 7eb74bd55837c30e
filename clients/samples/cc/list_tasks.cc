// Lists Parley's tasks over TLS-PSK, from a workspace of its own: list_tasks CREDENTIAL-FILE
//
// A program that uses lib/transport must not link a gRPC or any other library that brings OpenSSL: both export the
// names that BoringSSL has (ARCHITECTURE.md).
#include <grpcpp/grpcpp.h>

#include <iostream>
#include <memory>

#include "lib/base/error.h"
#include "lib/keys/credential.h"
#include "lib/keys/dial.h"
#include "lib/transport/channel.h"
#include "parley/task/v1/task_service.grpc.pb.h"

namespace {

using parley::keys::Credential;
using parley::transport::Channel;
using parley::transport::Dialer;

absl::StatusOr<std::unique_ptr<Channel>> Connect(const char* credential_file) {
  ASSIGN_OR_RETURN(const Credential credential, parley::keys::ReadCredentialFile(credential_file));
  ASSIGN_OR_RETURN(Dialer::Options options, parley::keys::DialOptions(credential, "taskd"));
  return Channel::Create(std::move(options));
}

absl::Status ListTasks(const char* credential_file) {
  ASSIGN_OR_RETURN(const std::unique_ptr<Channel> channel, Connect(credential_file));
  const auto tasks = parley::task::v1::TaskService::NewStub(channel->grpc());
  parley::task::v1::ListTasksRequest request;
  do {
    grpc::ClientContext context;
    parley::task::v1::ListTasksResponse response;
    const grpc::Status status = tasks->ListTasks(&context, request, &response);
    // The dialer knows why a connection failed; gRPC only knows that it did.
    if (!status.ok()) return channel->Explain(status);
    for (const parley::task::v1::Task& task : response.tasks()) {
      std::cout << task.name() << " " << parley::task::v1::Task::State_Name(task.state()) << "\n";
    }
    request.set_page_token(response.next_page_token());
  } while (!request.page_token().empty());
  return absl::OkStatus();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: list_tasks CREDENTIAL-FILE\n";
    return 2;
  }
  const absl::Status status = ListTasks(argv[1]);
  if (status.ok()) return 0;
  std::cerr << "list_tasks: " << status.message() << "\n";
  return 1;
}
