// Makes, signs and verifies manifests.
#ifndef PARLEY_LIB_PAYLOAD_MANIFEST_H_
#define PARLEY_LIB_PAYLOAD_MANIFEST_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "lib/crypto/signature.h"
#include "lib/payload/fileset.h"
#include "parley/task/v1/manifest.pb.h"

namespace parley::payload {

struct ManifestFields {
  std::string task;  // "tasks/{task}"
  int64_t revision = 0;
  absl::Time create_time;
  absl::Time expire_time;
  // The "tasks/{task}" that the task takes the place of; empty for none.
  std::string supersedes;
};

// Makes and signs a manifest of these files. Returns the errors of ValidateFiles, MANIFEST_MALFORMED for fields that do
// not fit, or MANIFEST_TOO_LARGE.
absl::StatusOr<task::v1::SignedManifest> SignManifest(const ManifestFields& fields, Files files,
                                                      const crypto::SigningKey& key);

// Returns the manifest, if everything about it holds: the signature under `verification_key`, every length, the file
// set, its digest and size, the task. The signature is checked before anything is parsed. Returns INVALID_ARGUMENT or
// DATA_LOSS: MANIFEST_TOO_LARGE, MANIFEST_SIGNATURE, MANIFEST_MALFORMED, MANIFEST_DIGEST, MANIFEST_TASK,
// MANIFEST_EXPIRED (at `now`), or the reasons of ValidateFiles.
absl::StatusOr<task::v1::Manifest> VerifyManifest(const task::v1::SignedManifest& signed_manifest,
                                                  absl::string_view verification_key, absl::string_view task,
                                                  absl::Time now);

}  // namespace parley::payload

#endif  // PARLEY_LIB_PAYLOAD_MANIFEST_H_
