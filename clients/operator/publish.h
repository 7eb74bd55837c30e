// Creates tasks and publishes revisions of them, signed here by the task's own key, and makes join keys.
//
//   Publisher publisher({server.get(), TaskKeys(keys_folder), join_key_folder});
//   ASSIGN_OR_RETURN(const payload::Files files, payload::ScanPayload(path));
//   ASSIGN_OR_RETURN(const CreatedTask created, publisher.Create(std::move(request), path, files, absl::Now()));
//
// Guarantees: a task's key is on the disk before the server hears of the task, and stays there when there is one; a
// join key carries the verification key that this machine knows, whatever the server put there.
//
// Threads: one thread. All methods but the constructor block.
#ifndef PARLEY_CLIENTS_OPERATOR_PUBLISH_H_
#define PARLEY_CLIENTS_OPERATOR_PUBLISH_H_

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "clients/operator/connection.h"
#include "clients/operator/task_keys.h"
#include "clients/operator/upload.h"
#include "lib/base/secret.h"
#include "lib/payload/fileset.h"
#include "parley/task/v1/task_service.grpc.pb.h"

namespace parley::ops {

struct PublisherOptions {
  // To taskd. Must outlive the publisher.
  const Connection* server = nullptr;
  TaskKeys keys;
  // Where {task}.join is written, if anywhere.
  std::optional<std::string> join_key_folder;
  // Adds an operator's signature to a manifest that the task's key has signed, and returns who signed, for people. Null
  // when nobody vouches for it.
  std::function<absl::StatusOr<std::string>(task::v1::SignedManifest*)> vouch;
  // May be null.
  UploadProgress progress;
};

struct NewJoinKey {
  task::v1::JoinKey record;
  // The text that clients are given.
  Secret pasted;
  // Where it was written; empty when it was not.
  std::string file;
};

struct CreatedTask {
  task::v1::Task task;
  NewJoinKey join_key;
  // Who vouched, for people; empty when nobody did.
  std::string signer;
};

struct PublishedRevision {
  task::v1::Task task;
  std::string signer;
};

class Publisher {
 public:
  explicit Publisher(PublisherOptions options);

  // Creates the task that `request` describes by all but its manifest and verification key. `files` is what
  // ScanPayload(path) gave, and `now` the time from which the task's life counts. When the task was created but its
  // join key is not kept, the sentence says so. The errors are MANIFEST_EXPIRED when this machine's clock is far behind
  // the server's, and those of TaskKeys, UploadPayload, ComposeJoinKey, WriteJoinKeyFile, `vouch` and the server.
  absl::StatusOr<CreatedTask> Create(task::v1::CreateTaskRequest request, const std::string& path,
                                     const payload::Files& files, absl::Time now);

  // Publishes the next revision of "tasks/{task}", by the task's key or, where the server signs for the task, by
  // sending the files themselves. The errors are RESOURCE_EXHAUSTED (PAYLOAD_TOO_LARGE) and INVALID_ARGUMENT
  // (FILE_TYPE) of the latter, and those of TaskKeys, UploadPayload, `vouch` and the server.
  absl::StatusOr<PublishedRevision> Publish(const std::string& task, const std::string& path,
                                            const payload::Files& files);

  // Makes a further join key of `request.parent()`. The errors are those of TaskKeys, CanWriteTo, ComposeJoinKey,
  // WriteJoinKeyFile and the server.
  absl::StatusOr<NewJoinKey> CreateJoinKey(const task::v1::CreateJoinKeyRequest& request);

 private:
  absl::StatusOr<task::v1::Task> GetTask(const std::string& name) const;
  absl::StatusOr<std::string> VerificationKey(const std::string& task) const;
  absl::StatusOr<NewJoinKey> KeepJoinKey(task::v1::CreateJoinKeyResponse* response, const std::string& task_id,
                                         const std::string& verification_key) const;
  absl::StatusOr<std::string> Vouch(task::v1::SignedManifest* manifest) const;

  const PublisherOptions options_;
  const std::unique_ptr<task::v1::TaskService::Stub> tasks_;
};

}  // namespace parley::ops

#endif  // PARLEY_CLIENTS_OPERATOR_PUBLISH_H_
