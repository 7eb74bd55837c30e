#include "clients/operator/publish.h"

#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "clients/operator/ids.h"
#include "clients/operator/join_key.h"
#include "clients/operator/new_file.h"
#include "clients/operator/quantities.h"
#include "clients/operator/revisions.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/proto_time.h"
#include "lib/crypto/kdf.h"
#include "lib/payload/manifest.h"

namespace parley::ops {
namespace {

using task::v1::TaskService;

// A manifest that has expired before it arrived was dated by a clock that is behind.
absl::Status ExplainClock(const absl::Status& status, absl::Time now) {
  if (Reason(status) != "MANIFEST_EXPIRED") return status;
  return Error(status.code(), Reason(status),
               absl::StrCat("this machine's clock (", TimeText(now),
                            ") is so far behind the server's that the task would end before it begins; set the clock, "
                            "and try again"));
}

// For a task that was made without a client of ours: the server signs, and takes the files themselves.
absl::Status AddInlineFiles(const std::string& path, const payload::Files& files,
                            task::v1::PublishRevisionRequest* request) {
  constexpr int64_t kMostInlineBytes = 3 << 20;
  if (payload::TotalBytes(files) > kMostInlineBytes) {
    return Error(
        absl::StatusCode::kResourceExhausted, "PAYLOAD_TOO_LARGE",
        absl::StrCat(path, " holds ", BytesText(payload::TotalBytes(files)),
                     ", and a task that the server signs takes 3 MiB; create a task with `parley task create`"));
  }
  const bool one_file = files.size() == 1 && ReadFile(path, kMostInlineBytes).ok();
  for (const task::v1::FileEntry& entry : files) {
    if (entry.type() != task::v1::FileEntry::TYPE_REGULAR) {
      return Error(absl::StatusCode::kInvalidArgument, "FILE_TYPE",
                   absl::StrCat(entry.path(),
                                " is a link, which a task that the server signs can not hold; create a "
                                "task with `parley task create`"));
    }
    task::v1::InlineFile* file = request->mutable_files()->add_files();
    file->set_path(entry.path());
    file->set_mode(entry.mode());
    ASSIGN_OR_RETURN(*file->mutable_content(),
                     ReadFile(one_file ? path : absl::StrCat(path, "/", entry.path()), kMostInlineBytes));
  }
  return absl::OkStatus();
}

absl::Status CheckEarlier(const task::v1::Task& task, int64_t revision) {
  const std::string id = TaskId(task.name());
  if (revision < 1) {
    return FailedPrecondition("NO_EARLIER_REVISION", id,
                              " has one revision, so that there is none to go back to; publish another one with: "
                              "parley task publish ",
                              id, " --payload FOLDER");
  }
  if (revision != task.revision()) return absl::OkStatus();
  return FailedPrecondition("REVISION_CURRENT", "r", revision, " of ", id,
                            " is the one on offer, so that there is nothing to do; see the others with: "
                            "parley task history ",
                            id);
}

}  // namespace

absl::Status Publisher::CheckKnowsWaves() const {
  // Came with waves, and changes nothing.
  task::v1::ExplainParticipantRequest request;
  request.set_name("tasks/none/participants/none");
  const absl::Status status =
      options_.server->Call<TaskService>(&TaskService::Stub::ExplainParticipant, request).status();
  return absl::IsNotFound(status) ? absl::OkStatus() : Annotate(status, "waves");
}

absl::StatusOr<std::string> Publisher::Vouch(task::v1::SignedManifest* manifest) const {
  return options_.vouch ? options_.vouch(manifest) : "";
}

template <typename Request, typename Response>
absl::StatusOr<Response> Publisher::CallWithPayload(
    grpc::Status (TaskService::Stub::*method)(grpc::ClientContext*, const Request&, Response*), const Request& request,
    const std::string& path, const payload::Files& files) const {
  constexpr int kMostCalls = 3;
  for (int calls = 1;; ++calls) {
    absl::StatusOr<Response> response = options_.server->Call<TaskService>(method, request);
    if (Reason(response.status()) != "CHUNKS_MISSING" || calls == kMostCalls) return response;
    // What was there when it was asked for has gone since, with a task that was deleted.
    RETURN_IF_ERROR(UploadPayload(*options_.server, path, files, options_.progress));
  }
}

absl::StatusOr<CreatedTask> Publisher::Create(task::v1::CreateTaskRequest request, const std::string& path,
                                              const payload::Files& files, absl::Time now) {
  if (request.has_rollout()) RETURN_IF_ERROR(CheckKnowsWaves());
  RETURN_IF_ERROR(UploadPayload(*options_.server, path, files, options_.progress));
  // Kept before the server hears of the task, because a task whose key is lost cannot get a new revision.
  const crypto::SigningKey task_key = crypto::SigningKey::Generate();
  RETURN_IF_ERROR(options_.keys.Store(request.task_id(), task_key));
  absl::Cleanup no_task = [&] { options_.keys.Remove(request.task_id()); };
  payload::ManifestFields fields;
  fields.task = absl::StrCat("tasks/", request.task_id());
  fields.revision = 1;
  fields.create_time = now;
  fields.expire_time = now + absl::Seconds(request.ttl().seconds());
  fields.supersedes = request.supersedes();
  if (!fields.supersedes.empty()) {
    RETURN_IF_ERROR(options_.keys.StoreSuperseded(request.task_id(), fields.supersedes));
  }
  ASSIGN_OR_RETURN(*request.mutable_signed_manifest(), payload::SignManifest(fields, files, task_key));
  CreatedTask created;
  ASSIGN_OR_RETURN(created.signer, Vouch(request.mutable_signed_manifest()));
  request.set_verification_key(task_key.verification_key());

  absl::StatusOr<task::v1::CreateTaskResponse> response =
      CallWithPayload(&TaskService::Stub::CreateTask, request, path, files);
  RETURN_IF_ERROR(ExplainClock(response.status(), now));
  std::move(no_task).Cancel();
  absl::StatusOr<NewJoinKey> join_key =
      KeepJoinKey(response->mutable_join_key(), request.task_id(), request.verification_key());
  if (!join_key.ok()) {
    return Annotate(join_key.status(), absl::StrCat("the task was created, but its key is not kept (get another with: "
                                                    "parley task key ",
                                                    request.task_id(), ")"));
  }
  created.task = std::move(*response->mutable_task());
  created.join_key = *std::move(join_key);
  return created;
}

absl::StatusOr<PublishedRevision> Publisher::Publish(task::v1::PublishRevisionRequest request, const std::string& path,
                                                     const payload::Files& files) {
  const std::string& task = request.name();
  if (request.has_rollout()) RETURN_IF_ERROR(CheckKnowsWaves());
  ASSIGN_OR_RETURN(const task::v1::Task before, GetTask(*options_.server, task));
  PublishedRevision published;
  request.set_request_id(crypto::RandomUuid());
  if (before.server_signed()) {
    RETURN_IF_ERROR(AddInlineFiles(path, files, &request));
  } else {
    ASSIGN_OR_RETURN(const crypto::SigningKey key, options_.keys.Load(TaskId(task)));
    RETURN_IF_ERROR(UploadPayload(*options_.server, path, files, options_.progress));
    ASSIGN_OR_RETURN(published.signer, SignNext(before, files, key, request.mutable_signed_manifest()));
  }
  ASSIGN_OR_RETURN(published.task, CallWithPayload(&TaskService::Stub::PublishRevision, request, path, files));
  return published;
}

absl::StatusOr<std::string> Publisher::SignNext(const task::v1::Task& before, const payload::Files& files,
                                                const crypto::SigningKey& key,
                                                task::v1::SignedManifest* manifest) const {
  payload::ManifestFields fields;
  fields.task = before.name();
  fields.revision = before.revision() + 1;
  fields.create_time = absl::Now();
  fields.expire_time = ToTime(before.expire_time());
  ASSIGN_OR_RETURN(fields.supersedes, options_.keys.LoadSuperseded(TaskId(before.name())));
  ASSIGN_OR_RETURN(*manifest, payload::SignManifest(fields, files, key));
  return Vouch(manifest);
}

absl::StatusOr<PublishedRevision> Publisher::PublishContentOf(
    const std::string& task, int64_t revision, const std::function<std::string(int64_t revision)>& message) {
  ASSIGN_OR_RETURN(const task::v1::Task before, GetTask(*options_.server, task));
  PublishedRevision published;
  published.content_of = revision == 0 ? before.revision() - 1 : revision;
  RETURN_IF_ERROR(CheckEarlier(before, published.content_of));
  task::v1::PublishRevisionRequest request;
  request.set_request_id(crypto::RandomUuid());
  request.set_name(task);
  request.set_message(message(published.content_of));
  const absl::StatusOr<crypto::SigningKey> key = options_.keys.Load(TaskId(task));
  if (key.ok()) {
    // Whatever the server says of who signs: it is asked for nothing that it could not be refused for.
    const RevisionReader reader(options_.server, options_.keys, task);
    ASSIGN_OR_RETURN(const ReadRevision former, reader.Get(published.content_of));
    ASSIGN_OR_RETURN(published.signer,
                     SignNext(before, former.manifest.files(), *key, request.mutable_signed_manifest()));
  } else if (absl::IsNotFound(key.status()) && before.server_signed()) {
    request.set_content_of_revision(published.content_of);
    // Lest it takes back what somebody has published meanwhile.
    request.set_etag(before.etag());
  } else {
    return key.status();
  }
  absl::StatusOr<task::v1::Task> after =
      options_.server->Call<TaskService>(&TaskService::Stub::PublishRevision, request);
  if (Reason(after.status()) == "CHUNKS_MISSING") return ContentGone(task, published.content_of);
  ASSIGN_OR_RETURN(published.task, std::move(after));
  return published;
}

// The key under which this machine knows the task's manifests to be signed; where it does not, the server's word.
absl::StatusOr<std::string> Publisher::VerificationKey(const std::string& task) const {
  absl::StatusOr<crypto::SigningKey> own = options_.keys.Load(TaskId(task));
  if (own.ok()) return own->verification_key();
  if (!absl::IsNotFound(own.status())) return own.status();
  ASSIGN_OR_RETURN(const task::v1::Task told, GetTask(*options_.server, task));
  return told.verification_key();
}

absl::StatusOr<NewJoinKey> Publisher::KeepJoinKey(task::v1::CreateJoinKeyResponse* response, const std::string& task_id,
                                                  const std::string& verification_key) const {
  NewJoinKey key;
  key.record = std::move(*response->mutable_join_key());
  ASSIGN_OR_RETURN(key.pasted, ComposeJoinKey(response->mutable_pasted(), task_id, verification_key));
  if (options_.join_key_folder.has_value()) {
    ASSIGN_OR_RETURN(key.file, WriteJoinKeyFile(*options_.join_key_folder, task_id, key.pasted));
  }
  return key;
}

absl::StatusOr<NewJoinKey> Publisher::CreateJoinKey(const task::v1::CreateJoinKeyRequest& request) {
  ASSIGN_OR_RETURN(const std::string verification_key, VerificationKey(request.parent()));
  // Before there is a key that nobody has.
  if (options_.join_key_folder.has_value()) RETURN_IF_ERROR(CanWriteTo(*options_.join_key_folder, "the join key"));
  ASSIGN_OR_RETURN(task::v1::CreateJoinKeyResponse response,
                   options_.server->Call<TaskService>(&TaskService::Stub::CreateJoinKey, request));
  return KeepJoinKey(&response, TaskId(request.parent()), verification_key);
}

}  // namespace parley::ops
