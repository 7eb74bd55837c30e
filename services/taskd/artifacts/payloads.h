// Makes or checks what a revision installs.
//
// Threads: all methods may be called from any thread; they block on the store.
#ifndef PARLEY_SERVICES_TASKD_ARTIFACTS_PAYLOADS_H_
#define PARLEY_SERVICES_TASKD_ARTIFACTS_PAYLOADS_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "lib/chunks/chunk_store.h"
#include "lib/crypto/signature.h"
#include "lib/payload/manifest.h"
#include "parley/task/v1/artifact_service.pb.h"
#include "parley/task/v1/task_service.pb.h"
#include "services/taskd/domain/record.pb.h"
#include "services/taskd/store/task_store.h"

namespace parley::taskd {

// A revision's manifest, which is believed, with the chunks that are yet to be stored.
struct Payload {
  task::v1::SignedManifest signed_manifest;
  task::v1::Manifest manifest;
  std::vector<chunks::ChunkStore::Chunk> chunks;
};

// Cuts files that were given inline into chunks, and signs their manifest. Returns the errors of
// payload::ValidateFiles.
absl::StatusOr<Payload> SignInline(const task::v1::InlinePayload& inline_payload, const payload::ManifestFields& fields,
                                   const crypto::SigningKey& key);

// What a manifest that somebody else signed must be.
struct Expected {
  absl::string_view task;
  int64_t revision = 0;
  absl::string_view verification_key;
  // "tasks/{task}" that the task takes the place of; empty for none.
  absl::string_view supersedes;
};

// Believes such a manifest. Returns the errors of payload::VerifyManifest; INVALID_ARGUMENT (MANIFEST_SUPERSEDES) if it
// takes the place of another task than expected; FAILED_PRECONDITION: REVISION_NOT_NEXT, CHUNKS_MISSING.
absl::StatusOr<Payload> CheckSigned(const task::v1::SignedManifest& signed_manifest, const Expected& expected,
                                    absl::Time now, const chunks::ChunkStore& chunks);

// Returns NOT_FOUND (REVISION_NOT_FOUND) unless the task has published the revision.
absl::Status CheckPublished(const task::v1::Task& task, int64_t revision);

// Signs the content of an earlier revision of the task for what `fields` say, by the task's key. Returns the errors of
// CheckPublished and of payload::VerifyManifest; FAILED_PRECONDITION (REVISION_CURRENT) for the current revision;
// DATA_LOSS: CONTENT_GONE if a chunk of it is not there, RECORD_DAMAGED if it is stored in another one's place; the
// errors of the store.
absl::StatusOr<Payload> SignContentOf(const TaskStore& store, const chunks::ChunkStore& chunks,
                                      const task::v1::Task& task, int64_t revision,
                                      const payload::ManifestFields& fields, const crypto::SigningKey& key);

// Does what ArtifactService.FindMissingChunks says, and returns its errors.
absl::Status FindMissingChunks(chunks::ChunkStore* chunks, const task::v1::FindMissingChunksRequest& request,
                               task::v1::FindMissingChunksResponse* response);

// Writes into the task what it says of its current revision.
void SetPayload(const Payload& payload, TaskRecord* record);

}  // namespace parley::taskd

#endif  // PARLEY_SERVICES_TASKD_ARTIFACTS_PAYLOADS_H_
