#include "services/taskd/artifacts/payloads.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "lib/crypto/hash.h"
#include "lib/payload/chunk.h"
#include "lib/trust/operator_signature.h"
#include "services/taskd/domain/names.h"
#include "services/taskd/domain/validation.h"

namespace parley::taskd {

absl::StatusOr<Payload> SignInline(const task::v1::InlinePayload& inline_payload, const payload::ManifestFields& fields,
                                   const crypto::SigningKey& key) {
  RETURN_IF_ERROR(ValidateInline(inline_payload));
  Payload payload;
  payload::Files files;
  for (const task::v1::InlineFile& file : inline_payload.files()) {
    task::v1::FileEntry& entry = *files.Add();
    entry.set_path(file.path());
    entry.set_type(task::v1::FileEntry::TYPE_REGULAR);
    entry.set_mode(file.mode() == 0 ? 0644 : file.mode());
    entry.set_size(static_cast<int64_t>(file.content().size()));
    entry.set_sha256(crypto::Sha256(file.content()));
    for (size_t begin = 0; begin < file.content().size(); begin += payload::kChunkBytes) {
      const absl::string_view content = absl::string_view(file.content()).substr(begin, payload::kChunkBytes);
      std::string digest = crypto::Sha256(content);
      entry.add_chunks(digest);
      payload.chunks.push_back({std::move(digest), payload::CompressChunk(content)});
    }
  }
  ASSIGN_OR_RETURN(payload.signed_manifest, payload::SignManifest(fields, std::move(files), key));
  ASSIGN_OR_RETURN(payload.manifest, payload::VerifyManifest(payload.signed_manifest, key.verification_key(),
                                                             fields.task, fields.create_time));
  return payload;
}

namespace {

absl::Status CheckSupersedes(absl::string_view signed_for, absl::string_view expected) {
  if (signed_for.empty() || signed_for == expected) return absl::OkStatus();
  return Error(absl::StatusCode::kInvalidArgument, "MANIFEST_SUPERSEDES",
               absl::StrCat("the manifest supersedes ", signed_for, ", but the task supersedes ",
                            expected.empty() ? "none" : expected, "; sign it anew for what the task supersedes"));
}

}  // namespace

absl::StatusOr<Payload> CheckSigned(const task::v1::SignedManifest& signed_manifest, const Expected& expected,
                                    absl::Time now, const chunks::ChunkStore& chunks) {
  Payload payload;
  const std::string task = TaskName(expected.task);
  ASSIGN_OR_RETURN(payload.manifest, payload::VerifyManifest(signed_manifest, expected.verification_key, task, now));
  // Whether it is good is for the clients to say, who believe no server.
  if (signed_manifest.has_operator_signature()) {
    RETURN_IF_ERROR(trust::CheckForm(signed_manifest.operator_signature()));
  }
  payload.signed_manifest = signed_manifest;
  if (payload.manifest.revision() != expected.revision) {
    return Error(absl::StatusCode::kFailedPrecondition, "REVISION_NOT_NEXT",
                 absl::StrCat("the manifest is of revision ", payload.manifest.revision(), ", but the next of ", task,
                              " is ", expected.revision));
  }
  RETURN_IF_ERROR(CheckSupersedes(payload.manifest.supersedes(), expected.supersedes));
  std::vector<absl::string_view> digests;
  for (const auto& file : payload.manifest.files()) {
    digests.insert(digests.end(), file.chunks().begin(), file.chunks().end());
  }
  ASSIGN_OR_RETURN(const std::vector<std::string> missing, chunks.Missing(digests));
  if (missing.empty()) return payload;
  return Error(absl::StatusCode::kFailedPrecondition, "CHUNKS_MISSING",
               absl::StrCat(missing.size(),
                            " of the payload's chunks are missing; upload them with UploadChunks, "
                            "then repeat the request"));
}

// Parts of a manifest that was not published after all may be there beyond the current revision.
absl::Status CheckPublished(const task::v1::Task& task, int64_t revision) {
  if (revision >= 1 && revision <= task.revision()) return absl::OkStatus();
  return NotFound("REVISION_NOT_FOUND",
                  absl::StrCat(task.name(), " has no revision ", revision, "; list them with: parley task history ",
                               absl::string_view(task.name()).substr(sizeof("tasks/") - 1)));
}

absl::StatusOr<Payload> SignContentOf(const TaskStore& store, const chunks::ChunkStore& chunks,
                                      const task::v1::Task& task, int64_t revision,
                                      const payload::ManifestFields& fields, const crypto::SigningKey& key) {
  RETURN_IF_ERROR(CheckPublished(task, revision));
  if (revision == task.revision()) {
    return Error(absl::StatusCode::kFailedPrecondition, "REVISION_CURRENT",
                 absl::StrCat("revision ", revision, " of ", task.name(),
                              " is the one on offer, so that there is nothing to do; name an earlier one"));
  }
  ASSIGN_OR_RETURN(const std::string id, ParseTaskName(task.name()));
  ASSIGN_OR_RETURN(const auto read, store.GetRevision(id, revision));
  // An earlier revision may have expired by the clock; its content goes on.
  absl::StatusOr<task::v1::Manifest> former = payload::VerifyManifest(read->signed_manifest, task.verification_key(),
                                                                      task.name(), /*now=*/absl::InfinitePast());
  if (!former.ok()) return Annotate(former.status(), RevisionName(id, revision));
  if (former->revision() != revision) {
    return Error(absl::StatusCode::kDataLoss, "RECORD_DAMAGED",
                 absl::StrCat("the manifest of ", RevisionName(id, revision), " is of revision ", former->revision(),
                              "; restore the data folder from a backup"));
  }
  const std::vector<absl::string_view> digests(read->chunks.begin(), read->chunks.end());
  ASSIGN_OR_RETURN(const std::vector<std::string> missing, chunks.Missing(digests));
  if (!missing.empty()) {
    return Error(absl::StatusCode::kDataLoss, "CONTENT_GONE",
                 absl::StrCat(missing.size(), " of the chunks of ", RevisionName(id, revision),
                              " are gone; publish its files anew"));
  }
  Payload payload;
  ASSIGN_OR_RETURN(payload.signed_manifest, payload::SignManifest(fields, former->files(), key));
  ASSIGN_OR_RETURN(payload.manifest, payload::VerifyManifest(payload.signed_manifest, key.verification_key(),
                                                             fields.task, fields.create_time));
  return payload;
}

absl::Status FindMissingChunks(chunks::ChunkStore* chunks, const task::v1::FindMissingChunksRequest& request,
                               task::v1::FindMissingChunksResponse* response) {
  RETURN_IF_ERROR(ValidateFindMissing(request));
  const std::vector<absl::string_view> digests(request.digests().begin(), request.digests().end());
  ASSIGN_OR_RETURN(const std::vector<std::string> missing, chunks->Claim(digests));
  response->mutable_missing()->Add(missing.begin(), missing.end());
  return absl::OkStatus();
}

void SetPayload(const Payload& payload, TaskRecord* record) {
  task::v1::Task& task = *record->mutable_task();
  task.set_revision(payload.manifest.revision());
  task.set_payload_files(payload.manifest.files_size());
  task.set_payload_bytes(payload.manifest.size());
  task.set_payload_digest(payload.manifest.digest());
  *record->mutable_manifest_expire_time() = payload.manifest.expire_time();
}

}  // namespace parley::taskd
