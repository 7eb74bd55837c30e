#include "clients/agent/record.h"

#include <errno.h>
#include <unistd.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "clients/agent/tree.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/secret.h"
#include "lib/crypto/hash.h"

namespace parley::agent {
namespace {

// A manifest's worth of paths, and then some.
constexpr size_t kMaxRecordBytes = 32 << 20;

}  // namespace

absl::StatusOr<bool> ReadRecord(const std::string& path, google::protobuf::MessageLite* message) {
  absl::StatusOr<std::string> bytes = ReadFile(path, kMaxRecordBytes);
  if (Reason(bytes.status()) == "FILE_NOT_FOUND") return false;
  RETURN_IF_ERROR(bytes.status());
  const Secret content = Secret::Take(*std::move(bytes));
  const absl::string_view digest = content.Expose().substr(0, crypto::kSha256Bytes);
  if (digest.size() == crypto::kSha256Bytes) {
    const absl::string_view body = content.Expose().substr(crypto::kSha256Bytes);
    if (crypto::Sha256(body) == digest && message->ParseFromArray(body.data(), static_cast<int>(body.size()))) {
      return true;
    }
  }
  return Error(absl::StatusCode::kDataLoss, "STATE_DAMAGED",
               absl::StrCat(path, " is damaged; restore it from a backup, or remove it to start anew"));
}

absl::Status WriteRecord(const std::string& path, const google::protobuf::MessageLite& message) {
  std::string body = message.SerializeAsString();
  std::string bytes = absl::StrCat(crypto::Sha256(body), body);
  WipeString(&body);
  const Secret content = Secret::Take(std::move(bytes));
  return WriteSecretFile(path, content);
}

absl::Status RemoveRecord(const std::string& path) {
  if (unlink(path.c_str()) != 0) return errno == ENOENT ? absl::OkStatus() : FileError("remove", path, errno);
  return SyncFolder(FolderOf(path));
}

// WriteFileAtomically writes to "{path}.{6 letters}" first.
void RemoveRecordLitter(const std::string& path) {
  const std::string folder = FolderOf(path), prefix = absl::StrCat(path.substr(path.rfind('/') + 1), ".");
  for (const std::string& name : FolderNames(folder)) {
    if (name.size() != prefix.size() + 6 || !absl::StartsWith(name, prefix)) continue;
    unlink(absl::StrCat(folder, "/", name).c_str());
  }
}

}  // namespace parley::agent
