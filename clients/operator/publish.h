// Creates tasks and publishes revisions of them, signed here by the task's own key, and makes join keys.
//
//   Publisher publisher({server.get(), TaskKeyFolder(keys_folder), join_key_folder});
//   ASSIGN_OR_RETURN(const payload::Files files, payload::ScanPayload(path));
//   ASSIGN_OR_RETURN(const CreatedTask created, publisher.Create(std::move(request), path, files, absl::Now()));
//
// Guarantees: a task's key is on the disk before the server hears of the task, and stays there when there is one; a
// join key carries the verification key that this machine knows, whatever the server put there.
//
// Threads: one thread. All methods but the constructor block.
#ifndef PARLEY_CLIENTS_OPERATOR_PUBLISH_H_
#define PARLEY_CLIENTS_OPERATOR_PUBLISH_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>

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
  // A connection to taskd, which must outlive the publisher.
  const Connection* server = nullptr;
  TaskKeyFolder keys;
  // Where {task}.join is written, if anywhere.
  std::optional<std::string> join_key_folder;
  // Adds an operator's signature to a manifest that the task's key has signed, and returns who signed, for people. It
  // is null if nobody vouches for the manifest.
  std::function<absl::StatusOr<std::string>(task::v1::SignedManifest*)> vouch;
  // May be null.
  UploadProgress progress;
};

struct NewJoinKey {
  task::v1::JoinKey record;
  // The text that clients are given.
  Secret pasted;
  // The file that the key was written to; empty if it was not.
  std::string file;
};

struct CreatedTask {
  task::v1::Task task;
  NewJoinKey join_key;
  // Who vouched, for people; empty if nobody did.
  std::string signer;
};

struct PublishedRevision {
  task::v1::Task task;
  // The earlier revision that it has the content of; 0 for none.
  int64_t content_of = 0;
  std::string signer;
};

class Publisher {
 public:
  explicit Publisher(PublisherOptions options) : options_(std::move(options)) {}

  // Creates the task that `request` describes by all but its manifest and verification key. `files` is what
  // ScanPayload(path) gave, and `now` the time from which the task's life counts. If the task was created but its join
  // key is not kept, the sentence says so. Returns MANIFEST_EXPIRED if this machine's clock is far behind the server's,
  // or the errors of TaskKeyFolder, UploadPayload, ComposeJoinKey, WriteJoinKeyFile, `vouch` and the server.
  absl::StatusOr<CreatedTask> Create(task::v1::CreateTaskRequest request, const std::string& path,
                                     const payload::Files& files, absl::Time now);

  // Publishes the next revision of the task that `request` names, by the task's key or, if the server signs for the
  // task, by sending the files themselves; the request describes all else. For the latter it returns RESOURCE_EXHAUSTED
  // (PAYLOAD_TOO_LARGE) or INVALID_ARGUMENT (FILE_TYPE); for both the errors of TaskKeyFolder, UploadPayload, `vouch`
  // and the server.
  absl::StatusOr<PublishedRevision> Publish(task::v1::PublishRevisionRequest request, const std::string& path,
                                            const payload::Files& files);

  // Publishes the content of an earlier revision of "tasks/{task}" as its next one: signed anew by the task's key,
  // after its manifest was verified under that key, or else by the server if that signs for the task. Nothing is
  // uploaded. With revision 0 it is the one before the newest. `message` says of the number what people are to be told.
  // Returns FAILED_PRECONDITION: REVISION_CURRENT for the newest one, NO_EARLIER_REVISION; the errors of TaskKeyFolder,
  // RevisionReader::Get, ContentGone, `vouch` and the server.
  absl::StatusOr<PublishedRevision> PublishContentOf(const std::string& task, int64_t revision,
                                                     const std::function<std::string(int64_t revision)>& message);

  // Makes a further join key of `request.parent()`. Returns the errors of TaskKeyFolder, CanWriteTo, ComposeJoinKey,
  // WriteJoinKeyFile and the server.
  absl::StatusOr<NewJoinKey> CreateJoinKey(const task::v1::CreateJoinKeyRequest& request);

 private:
  // A taskd of an earlier version takes no notice of waves, and would offer the revision to every client at once.
  // Returns UNIMPLEMENTED (CALL_UNKNOWN) for one, with what to upgrade.
  absl::Status CheckKnowsWaves() const;
  absl::StatusOr<std::string> VerificationKey(const std::string& task) const;
  absl::StatusOr<NewJoinKey> KeepJoinKey(task::v1::CreateJoinKeyResponse* response, const std::string& task_id,
                                         const std::string& verification_key) const;
  // Makes a call that names chunks of the payload, and uploads again what has gone meanwhile.
  template <typename Request, typename Response>
  absl::StatusOr<Response> CallWithPayload(
      grpc::Status (task::v1::TaskService::Stub::*method)(grpc::ClientContext*, const Request&, Response*),
      const Request& request, const std::string& path, const payload::Files& files) const;
  absl::StatusOr<std::string> Vouch(task::v1::SignedManifest* manifest) const;
  // Signs these files as the task's next revision, and returns who vouches for it.
  absl::StatusOr<std::string> SignNext(const task::v1::Task& before, const payload::Files& files,
                                       const crypto::SigningKey& key, task::v1::SignedManifest* manifest) const;

  const PublisherOptions options_;
};

}  // namespace parley::ops

#endif  // PARLEY_CLIENTS_OPERATOR_PUBLISH_H_
