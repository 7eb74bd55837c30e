// Publishes a folder as a task and watches the task to its end, without a terminal:
//
//   publish_folder CREDENTIAL-FILE FOLDER STATE-FOLDER
//
// STATE-FOLDER gets the task's signing key, without which nobody can publish a further revision, and the join key for
// its one client. What list_tasks.cc says about OpenSSL holds here too.
#include <iostream>
#include <memory>
#include <string>
#include <utility>

#include "absl/time/clock.h"
#include "clients/operator/connection.h"
#include "clients/operator/ids.h"
#include "clients/operator/publish.h"
#include "clients/operator/watch.h"
#include "lib/base/error.h"
#include "lib/crypto/kdf.h"
#include "lib/keys/credential.h"
#include "lib/keys/identity.h"
#include "lib/payload/fileset.h"

namespace {

using parley::task::v1::Task;

absl::StatusOr<Task::State> Publish(const std::string& credential_file, const std::string& folder,
                                    const std::string& state_folder) {
  ASSIGN_OR_RETURN(const parley::keys::Credential credential, parley::keys::ReadCredentialFile(credential_file));
  ASSIGN_OR_RETURN(const std::unique_ptr<parley::ops::Connection> server,
                   parley::ops::Connection::Open(credential, credential_file, parley::keys::kTaskd));

  parley::task::v1::CreateTaskRequest request;
  request.set_request_id(parley::crypto::RandomUuid());
  request.set_task_id(parley::ops::NewTaskId("folder"));
  request.mutable_ttl()->set_seconds(3600);
  request.set_expected_clients(1);
  ASSIGN_OR_RETURN(const parley::payload::Files files, parley::payload::ScanPayload(folder));
  parley::ops::Publisher publisher(
      {server.get(), parley::ops::TaskKeyFolder(state_folder), state_folder, nullptr, nullptr});
  ASSIGN_OR_RETURN(const parley::ops::CreatedTask created,
                   publisher.Create(std::move(request), folder, files, absl::Now()));
  std::cout << "created " << created.task.name() << " key " << created.join_key.file << std::endl;

  parley::ops::TaskWatch watch(server.get(), created.task.name());
  const auto show = [](const parley::task::v1::WatchTaskResponse& event) {
    for (const parley::task::v1::Participant& client : event.participants()) {
      std::cout << client.name() << " " << parley::task::v1::Participant::State_Name(client.state()) << std::endl;
    }
  };
  ASSIGN_OR_RETURN(const Task task, watch.Run({show, nullptr}, absl::Now() + absl::Hours(2)));
  std::cout << "ended " << Task::State_Name(task.state()) << std::endl;
  return task.state();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    std::cerr << "usage: publish_folder CREDENTIAL-FILE FOLDER STATE-FOLDER\n";
    return 2;
  }
  const absl::StatusOr<Task::State> state = Publish(argv[1], argv[2], argv[3]);
  if (state.ok()) return *state == Task::STATE_COMPLETED ? 0 : 1;
  std::cerr << "publish_folder: " << state.status().message() << "\n";
  return 1;
}
