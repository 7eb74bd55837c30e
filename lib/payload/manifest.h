// Making, signing and believing manifests.
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
  // "tasks/{task}" that the task takes the place of; empty for none.
  std::string supersedes;
};

// A manifest of these files, signed.
absl::StatusOr<task::v1::SignedManifest> SignManifest(const ManifestFields& fields, Files files,
                                                      const crypto::SigningKey& key);

// The manifest, when everything about it holds: the signature under `verification_key`, every length, the file
// set, the digest and size over it, the task. INVALID_ARGUMENT or DATA_LOSS with a reason: MANIFEST_TOO_LARGE,
// MANIFEST_SIGNATURE, MANIFEST_MALFORMED, MANIFEST_DIGEST, MANIFEST_TASK, MANIFEST_EXPIRED (at `now`), and those
// of ValidateFiles. Checks the signature before it parses anything.
absl::StatusOr<task::v1::Manifest> VerifyManifest(const task::v1::SignedManifest& signed_manifest,
                                                  absl::string_view verification_key, absl::string_view task,
                                                  absl::Time now);

}  // namespace parley::payload

#endif  // PARLEY_LIB_PAYLOAD_MANIFEST_H_
