// The revisions of a task: what each installs, verified, and its content.
//
//   const RevisionReader reader(server.get(), TaskKeyFolder(keys_folder), "tasks/nginx-tls-7k3q");
//   ASSIGN_OR_RETURN(const ReadRevision first, reader.Get(1));
//   RETURN_IF_ERROR(reader.Fetch(first.manifest, first.manifest.files(), on_content));
//
// Guarantees: a manifest is what the task's key has signed, for that task and that revision; by the key on this
// machine, if it is there, whatever the server says. Content has the digests of the manifest.
//
// Threads: one thread at a time. All methods block.
#ifndef PARLEY_CLIENTS_OPERATOR_REVISIONS_H_
#define PARLEY_CLIENTS_OPERATOR_REVISIONS_H_

#include <cstdint>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "clients/operator/connection.h"
#include "clients/operator/revision_content.h"
#include "clients/operator/task_keys.h"
#include "lib/payload/fileset.h"
#include "parley/task/v1/manifest.pb.h"
#include "parley/task/v1/revision.pb.h"
#include "parley/task/v1/task.pb.h"

namespace parley::ops {

// Who says that a manifest is the task's.
enum class ManifestWitness {
  // The task's key, which this machine has.
  kOwnKey,
  // The server, which signs for the task itself.
  kSigningServer,
  // The server, because the task's key is elsewhere.
  kServersWord,
};

struct ReadRevision {
  // Without its manifest. The author, time and message are the server's word.
  task::v1::Revision revision;
  task::v1::Manifest manifest;
  ManifestWitness witness = ManifestWitness::kServersWord;
};

// Returns "tasks/{task}" as it is, or the errors of the server.
absl::StatusOr<task::v1::Task> GetTask(const Connection& server, const std::string& task);

class RevisionReader {
 public:
  // `server` must outlive this. `task` is "tasks/{task}".
  RevisionReader(const Connection* server, TaskKeyFolder keys, std::string task)
      : server_(server), keys_(std::move(keys)), task_(std::move(task)) {}

  // Returns the errors of the server.
  absl::StatusOr<task::v1::Task> GetTask() const { return ops::GetTask(*server_, task_); }

  // Reads and verifies a revision. Returns the errors of TaskKeyFolder but NO_TASK_KEY, of payload::VerifyManifest and
  // of the server; DATA_LOSS (OTHER_REVISION) if the server answers with another one.
  absl::StatusOr<ReadRevision> Get(int64_t revision) const;

  // Fetches the content of some files of a manifest. Links have none, and are left out. Returns DATA_LOSS: CONTENT_GONE
  // if the server has it no more, CONTENT_DIFFERS if it is not what was signed; the errors of `on_content` and of the
  // server.
  absl::Status Fetch(const task::v1::Manifest& manifest, const payload::Files& files,
                     const OnContent& on_content) const;

 private:
  const Connection* const server_;
  const TaskKeyFolder keys_;
  const std::string task_;
};

// Returns DATA_LOSS (CONTENT_GONE), which says what to do.
absl::Status ContentGone(const std::string& task, int64_t revision);

}  // namespace parley::ops

#endif  // PARLEY_CLIENTS_OPERATOR_REVISIONS_H_
