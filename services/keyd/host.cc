#include "services/keyd/host.h"

#include <dirent.h>
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/service/addresses.h"
#include "lib/service/config_check.h"
#include "lib/store/companion_secret.h"
#include "lib/store/sqlite_store.h"
#include "services/keyd/store/key_store.h"
#include "services/keyd/store/sealer.h"

namespace parley::keyd {
namespace {

std::string KekPath(const Host::Options& options) {
  return options.kek_file.empty() ? options.data + "/kek" : options.kek_file;
}

std::string DatabasePath(const Host::Options& options) {
  return options.database.empty() ? options.data + "/keyd.db" : options.database;
}

// The one that keyd makes itself.
store::CompanionSecret OwnKek(const Host::Options& options) {
  return {KekPath(options), DatabasePath(options), "the key-encryption key", "KEK_MISSING", ReadKek, MakeKek};
}

absl::StatusOr<Secret> FindKek(const Host::Options& options, bool founded) {
  if (options.kek_file.empty() && options.shares_store) {
    return FailedPrecondition("KEK_MISSING",
                              "keyds that share a store share their key-encryption key; give each the "
                              "same one with --kek-file");
  }
  if (options.kek_file.empty()) return store::FindCompanionSecret(OwnKek(options), founded);
  absl::StatusOr<Secret> kek = ReadKek(options.kek_file);
  if (!absl::IsNotFound(kek.status())) return kek;
  return FailedPrecondition("KEK_MISSING", "the key-encryption key ", options.kek_file,
                            " is missing; put the file back, or name it with --kek-file");
}

// Credentials are those of an organisation that was founded before.
absl::Status CheckFounding(const Host::Options& options, bool founded) {
  const std::string admin = options.CredentialFolder() + "/admin.credential";
  if (founded || ::access(admin.c_str(), F_OK) != 0) return absl::OkStatus();
  const std::string place = options.shares_store ? "the store that it is to share" : DatabasePath(options);
  return FailedPrecondition("DATABASE_MISSING", "there is ", admin, ", but no organisation in ", place,
                            "; restore that from a backup, or move the whole folder away to found another one");
}

// FILE_EXPOSED when a file in the folder may be opened by others. A folder that is not there holds none.
absl::Status CheckCredentialFiles(const std::string& folder) {
  DIR* const directory = opendir(folder.c_str());
  if (directory == nullptr) return errno == ENOENT ? absl::OkStatus() : FileError("read", folder, errno);
  absl::Cleanup close_it = [directory] { closedir(directory); };
  while (const dirent* const entry = readdir(directory)) {
    const std::string path = absl::StrCat(folder, "/", entry->d_name);
    struct stat info;
    if (lstat(path.c_str(), &info) != 0) return FileError("read", path, errno);
    if (!S_ISREG(info.st_mode) || (info.st_mode & 0077) == 0) continue;
    return FailedPrecondition("FILE_EXPOSED", path,
                              " holds a secret but others may open it; revoke that credential if they may have, "
                              "then run: chmod 600 ",
                              path);
  }
  return absl::OkStatus();
}

absl::Status CheckAddress(const Host::Options& options) {
  return service::PublicAddress("--keyd-address", options.keyd_address, options.listen).status();
}

}  // namespace

absl::StatusOr<Host> Host::Open(const Options& options, Clock* clock, std::shared_ptr<store::Store> shared_store) {
  RETURN_IF_ERROR(CheckAddress(options));
  RETURN_IF_ERROR(MakeFolders(options.data, 0700));
  RETURN_IF_ERROR(CheckCredentialFiles(options.CredentialFolder()));
  Host host;
  const bool shared = shared_store != nullptr;
  host.store = std::move(shared_store);
  if (!shared) {
    ASSIGN_OR_RETURN(host.store, store::OpenSqliteStore(
                                     {.path = DatabasePath(options), .owner = {.service = "keyd"}, .clock = clock}));
  }
  ASSIGN_OR_RETURN(const auto organisation, KeyStore(host.store.get(), clock).FindOrganisation());
  RETURN_IF_ERROR(CheckFounding(options, organisation.exists()));
  ASSIGN_OR_RETURN(host.kek, FindKek(options, shared || organisation.exists()));
  return host;
}

void Host::Check(const Options& options, service::ConfigCheck* check) {
  check->Dialled("--keyd-address", options.keyd_address);
  check->Dialled("--taskd-address", options.taskd_address);
  check->Dialled("--enrolld-address", options.enrolld_address);
  check->Found("--listen", CheckAddress(options));
  check->Found("--data", CheckCredentialFiles(options.CredentialFolder()));
  if (options.shares_store) return check->Found("--kek-file", FindKek(options, /*founded=*/true).status());
  // Whether it is founded, as far as can be seen without opening it.
  const bool founded = ::access(DatabasePath(options).c_str(), F_OK) == 0;
  check->Found("--data", CheckFounding(options, founded));
  check->Found("--kek-file", options.kek_file.empty() ? store::CheckCompanionSecret(OwnKek(options), founded)
                                                      : FindKek(options, founded).status());
}

absl::Status Host::Opened(const Options& options, const absl::Status& outcome) {
  if (Reason(outcome) == "KEK_WRONG") return Annotate(outcome, KekPath(options));
  if (!outcome.ok() || !options.kek_file.empty()) return outcome;
  return store::KeepCompanionSecret(OwnKek(options));
}

}  // namespace parley::keyd
