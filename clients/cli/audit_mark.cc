#include "clients/cli/audit_mark.h"

#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "clients/cli/paths.h"
#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/crypto/hash.h"

namespace parley::cli {

std::string AuditMarkPath(const std::string& ca_pem) {
  return absl::StrCat(ConfigFolder(), "/audit-", HexEncode(crypto::Sha256(ca_pem)).substr(0, 16), ".mark");
}

absl::StatusOr<std::optional<audit::AuditMark>> LoadAuditMark(const std::string& path) {
  const absl::StatusOr<std::string> text = ReadFile(path, 200);
  if (absl::IsNotFound(text.status())) return std::nullopt;
  RETURN_IF_ERROR(text.status());
  const std::vector<std::string> parts = absl::StrSplit(*text, absl::ByAnyChar(" \n"), absl::SkipEmpty());
  audit::AuditMark mark;
  std::optional<std::string> hash = parts.size() == 2 ? HexDecode(parts[1]) : std::nullopt;
  if (!hash.has_value() || hash->size() != crypto::kSha256Bytes || !absl::SimpleAtoi(parts[0], &mark.sequence)) {
    return Error(absl::StatusCode::kDataLoss, "AUDIT_MARK_DAMAGED",
                 absl::StrCat(path,
                              " does not hold what `parley audit verify` wrote; restore it from a backup, or "
                              "delete it to trust the log as it is now"));
  }
  mark.hash = *std::move(hash);
  return mark;
}

absl::Status StoreAuditMark(const std::string& path, const audit::AuditMark& mark) {
  RETURN_IF_ERROR(MakeFolders(FolderOf(path), 0700));
  return WriteFileAtomically(path, absl::StrCat(mark.sequence, " ", HexEncode(mark.hash), "\n"), 0600);
}

}  // namespace parley::cli
