#include "lib/payload/manifest.h"

#include <algorithm>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "lib/base/proto_time.h"

namespace parley::payload {
namespace {

using task::v1::Manifest;
using task::v1::SignedManifest;

// The server's limit for the id in a task's name.
constexpr size_t kMaxTaskIdBytes = 32;
constexpr absl::string_view kSignatureContext("parley manifest v1\0", 19);

std::string SignedBytes(absl::string_view manifest) { return absl::StrCat(kSignatureContext, manifest); }

absl::Status Refuse(absl::StatusCode code, absl::string_view reason, absl::string_view sentence) {
  return Error(code, reason, "the manifest ", sentence);
}

absl::Status CheckSize(size_t bytes) {
  if (bytes <= kMaxManifestBytes) return absl::OkStatus();
  return Refuse(absl::StatusCode::kInvalidArgument, "MANIFEST_TOO_LARGE",
                absl::StrCat("has ", bytes, " bytes, over the limit of ", kMaxManifestBytes,
                             "; put fewer files or shorter names into the payload"));
}

// "tasks/{task}" of another task than this one.
bool IsOtherTask(absl::string_view name, absl::string_view task) {
  const absl::string_view prefix = "tasks/";
  if (name == task || !absl::StartsWith(name, prefix)) return false;
  name.remove_prefix(prefix.size());
  return !name.empty() && name.size() <= kMaxTaskIdBytes &&
         absl::c_all_of(name, [](char c) { return absl::ascii_islower(c) || absl::ascii_isdigit(c) || c == '-'; });
}

absl::Status CheckFields(const Manifest& manifest, absl::Time now) {
  const auto malformed = [](absl::string_view why) {
    return Refuse(absl::StatusCode::kInvalidArgument, "MANIFEST_MALFORMED", why);
  };
  if (manifest.revision() < 1) return malformed("has no revision");
  if (manifest.chunk_size() != kChunkBytes)
    return malformed(absl::StrCat("has chunks of another size than ", kChunkBytes));
  const absl::Time expire_time = ToTime(manifest.expire_time());
  if (!manifest.has_expire_time() || expire_time == absl::InfinitePast()) return malformed("has no expiry");
  if (!manifest.has_create_time() || ToTime(manifest.create_time()) == absl::InfinitePast()) {
    return malformed("has no time of creation");
  }
  if (!manifest.supersedes().empty() && !IsOtherTask(manifest.supersedes(), manifest.task())) {
    return malformed("supersedes what is not another task");
  }
  if (now >= expire_time) {
    return Refuse(
        absl::StatusCode::kFailedPrecondition, "MANIFEST_EXPIRED",
        absl::StrCat("expired at ", absl::FormatTime("%Y-%m-%d %H:%M:%S UTC", expire_time, absl::UTCTimeZone()),
                     "; ask the operator to publish it again, and check this machine's clock"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<SignedManifest> SignManifest(const ManifestFields& fields, Files files, const crypto::SigningKey& key) {
  std::sort(files.pointer_begin(), files.pointer_end(),
            [](const task::v1::FileEntry* a, const task::v1::FileEntry* b) { return a->path() < b->path(); });
  RETURN_IF_ERROR(ValidateFiles(files));
  Manifest manifest;
  manifest.set_task(fields.task);
  manifest.set_revision(fields.revision);
  manifest.set_digest(DigestFiles(files));
  manifest.set_size(TotalBytes(files));
  *manifest.mutable_expire_time() = ToProto(fields.expire_time);
  *manifest.mutable_create_time() = ToProto(fields.create_time);
  manifest.set_chunk_size(kChunkBytes);
  manifest.set_supersedes(fields.supersedes);
  *manifest.mutable_files() = std::move(files);
  RETURN_IF_ERROR(CheckFields(manifest, fields.create_time));
  SignedManifest signed_manifest;
  if (!manifest.SerializeToString(signed_manifest.mutable_manifest())) {
    return Refuse(absl::StatusCode::kInvalidArgument, "MANIFEST_MALFORMED", "cannot be serialized");
  }
  RETURN_IF_ERROR(CheckSize(signed_manifest.manifest().size()));
  signed_manifest.set_signature(key.Sign(SignedBytes(signed_manifest.manifest())));
  return signed_manifest;
}

absl::StatusOr<Manifest> VerifyManifest(const SignedManifest& signed_manifest, absl::string_view verification_key,
                                        absl::string_view task, absl::Time now) {
  RETURN_IF_ERROR(CheckSize(signed_manifest.manifest().size()));
  if (!crypto::VerifySignature(verification_key, SignedBytes(signed_manifest.manifest()),
                               signed_manifest.signature())) {
    return Refuse(absl::StatusCode::kDataLoss, "MANIFEST_SIGNATURE",
                  "is not signed by the task's key; somebody tampered with it, or the join key is for another task");
  }
  Manifest manifest;
  if (!manifest.ParseFromString(signed_manifest.manifest())) {
    return Refuse(absl::StatusCode::kInvalidArgument, "MANIFEST_MALFORMED", "is not a serialized Manifest");
  }
  if (manifest.task() != task) {
    return Refuse(absl::StatusCode::kInvalidArgument, "MANIFEST_TASK", absl::StrCat("is for another task than ", task));
  }
  RETURN_IF_ERROR(CheckFields(manifest, now));
  RETURN_IF_ERROR(ValidateFiles(manifest.files()));
  if (manifest.size() != TotalBytes(manifest.files()) || manifest.digest() != DigestFiles(manifest.files())) {
    return Refuse(absl::StatusCode::kDataLoss, "MANIFEST_DIGEST", "has another digest or size than its files");
  }
  return manifest;
}

}  // namespace parley::payload
