#include "lib/backup/backup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "lib/backup/parts.h"
#include "lib/backup/sealed_stream.h"
#include "lib/base/error.h"
#include "lib/base/fd.h"
#include "lib/base/file.h"
#include "lib/base/file_lock.h"
#include "lib/store/sqlite_copy.h"

namespace parley::backup {
namespace {

constexpr size_t kMaxKeyFileBytes = 1 << 20;

struct Source {
  const Part* part;
  std::string folder;
};

bool Exists(const std::string& path) { return ::access(path.c_str(), F_OK) == 0; }

// A copy and its companions are written here: as root, in a folder where another user may have laid a trap.
absl::Status CheckOwner(const std::string& folder) {
  struct stat info;
  if (stat(folder.c_str(), &info) != 0) return FileError("open", folder, errno);
  if (info.st_uid == geteuid()) return absl::OkStatus();
  return PermissionDenied("BACKUP_OTHER_USER", folder,
                          " belongs to another user; run this as that one, with runuser or sudo -u");
}

absl::StatusOr<std::vector<Source>> FindSources(const std::string& data) {
  std::vector<Source> sources;
  for (const Part& part : Parts()) {
    for (const std::string& folder : {absl::StrCat(data, "/", part.service), data}) {
      if (!Exists(absl::StrCat(folder, "/", part.database))) continue;
      RETURN_IF_ERROR(CheckOwner(folder));
      sources.push_back({&part, folder});
      break;
    }
  }
  if (!sources.empty()) return sources;
  return NotFound("NOTHING_TO_BACK_UP", "there is no data of a service in ", data,
                  " that this user can see; say with --data where the services keep theirs");
}

absl::Status AddFile(const Source& source, const std::string& name, ArchiveWriter* archive, Summary* summary) {
  absl::StatusOr<std::string> content = ReadFile(absl::StrCat(source.folder, "/", name), kMaxKeyFileBytes);
  if (absl::IsNotFound(content.status())) return absl::OkStatus();
  RETURN_IF_ERROR(content.status());
  const Secret secret = Secret::Take(*std::move(content));
  summary->entries.push_back({absl::StrCat(source.part->service, "/", name), secret.size()});
  RETURN_IF_ERROR(archive->Begin(summary->entries.back()));
  return archive->Write(secret.Expose());
}

// Beside the database, so that it is on a disk of the same size and under the same protection.
absl::Status AddDatabase(const Source& source, ArchiveWriter* archive, Summary* summary) {
  const std::string from = absl::StrCat(source.folder, "/", source.part->database), path = from + ".copy";
  const Fd fd(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd.ok()) return FileError("write", path, errno);
  if (!TryLockFile(fd)) {
    return Error(absl::StatusCode::kAborted, "BACKUP_RUNNING", "another backup of ", source.folder,
                 " is under way; wait until it is done");
  }
  // Also what an interrupted backup has left.
  absl::Cleanup remove_it = [&path] {
    for (const char* suffix : {"-wal", "-shm", "-journal", ""}) unlink((path + suffix).c_str());
  };
  if (ftruncate(fd.get(), 0) != 0) return FileError("write", path, errno);
  RETURN_IF_ERROR(store::CopySqliteStore(from, path));

  struct stat info;
  if (fstat(fd.get(), &info) != 0) return FileError("read", path, errno);
  summary->entries.push_back(
      {absl::StrCat(source.part->service, "/", source.part->database), static_cast<uint64_t>(info.st_size)});
  RETURN_IF_ERROR(archive->Begin(summary->entries.back()));
  Secret buffer(kPieceBytes);
  while (true) {
    ASSIGN_OR_RETURN(const size_t count, ReadUpTo(fd.get(), path, buffer.mutable_bytes(), buffer.size()));
    if (count == 0) return absl::OkStatus();
    RETURN_IF_ERROR(archive->Write(buffer.Expose().substr(0, count)));
  }
}

absl::StatusOr<Summary> WriteArchive(int fd, const std::string& path, const std::string& data, const Secret& password) {
  ASSIGN_OR_RETURN(const std::vector<Source> sources, FindSources(data));
  Summary summary;
  summary.label.time = absl::FromUnixSeconds(absl::ToUnixSeconds(absl::Now()));
  for (const Source& source : sources) summary.label.services.push_back(source.part->service);
  ASSIGN_OR_RETURN(const std::unique_ptr<ArchiveWriter> archive,
                   ArchiveWriter::Create(fd, path, password, summary.label));
  for (const Source& source : sources) {
    for (const std::string& file : source.part->files) {
      RETURN_IF_ERROR(AddFile(source, file, archive.get(), &summary));
    }
    RETURN_IF_ERROR(AddDatabase(source, archive.get(), &summary));
  }
  ASSIGN_OR_RETURN(summary.digest, archive->Finish());
  return summary;
}

// Takes each entry, its bytes as they come.
using TakeEntry = std::function<absl::Status(const ArchiveEntry& entry, ArchiveReader* archive)>;

absl::StatusOr<Summary> ReadArchive(const std::string& path, ArchiveReader* archive, const TakeEntry& take) {
  Summary summary;
  summary.label = archive->label();
  std::vector<std::string> names, databases;
  for (const std::string& service : summary.label.services) {
    const Part* const part = FindPart(service);
    if (part == nullptr) {
      return InvalidArgument("BACKUP_VERSION", path,
                             " has data of a service that this version of Parley does not know; upgrade it");
    }
    databases.push_back(absl::StrCat(service, "/", part->database));
  }
  ArchiveEntry entry;
  while (true) {
    ASSIGN_OR_RETURN(const bool more, archive->Next(&entry));
    if (!more) break;
    const Part* const part = FindPart(entry.name.substr(0, entry.name.find('/')));
    // No writer of ours makes these.
    if (part == nullptr || !IsPartOf(*part, entry.name) ||
        std::count(summary.label.services.begin(), summary.label.services.end(), part->service) != 1 ||
        std::count(names.begin(), names.end(), entry.name) != 0) {
      return Damaged(path);
    }
    names.push_back(entry.name);
    summary.entries.push_back(entry);
    RETURN_IF_ERROR(take(entry, archive));
  }
  for (const std::string& database : databases) {
    if (std::count(names.begin(), names.end(), database) == 0) return Damaged(path);
  }
  summary.digest = archive->digest();
  return summary;
}

absl::Status WriteEntry(const std::string& path, ArchiveReader* archive) {
  const Fd fd(open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd.ok()) return FileError("write", path, errno);
  while (true) {
    ASSIGN_OR_RETURN(const absl::string_view bytes, archive->Read());
    if (bytes.empty()) break;
    RETURN_IF_ERROR(WriteAll(fd.get(), path, bytes));
  }
  return fsync(fd.get()) == 0 ? absl::OkStatus() : FileError("write", path, errno);
}

absl::Status CheckEmpty(const std::string& place) {
  // A folder with something in it cannot be removed, and an empty one is no loss.
  if (rmdir(place.c_str()) == 0 || errno == ENOENT) return absl::OkStatus();
  if (errno != ENOTEMPTY && errno != EEXIST && errno != ENOTDIR) return FileError("replace", place, errno);
  return FailedPrecondition("RESTORE_NOT_EMPTY", "there is something at ", place,
                            "; move it away, or restore elsewhere with --data");
}

}  // namespace

absl::StatusOr<Summary> BackupInto(int fd, const std::string& data, const Secret& password) {
  return WriteArchive(fd, "standard output", data, password);
}

absl::StatusOr<Summary> Backup(const std::string& data, const std::string& out, const Secret& password) {
  std::string temporary = out + ".XXXXXX";
  const Fd fd(mkostemp(temporary.data(), O_CLOEXEC));
  if (!fd.ok()) return FileError("write", out, errno);
  absl::Cleanup remove_it = [&temporary] { unlink(temporary.c_str()); };
  ASSIGN_OR_RETURN(Summary summary, WriteArchive(fd.get(), out, data, password));
  if (fsync(fd.get()) != 0 || lseek(fd.get(), 0, SEEK_SET) != 0) return FileError("write", out, errno);
  ASSIGN_OR_RETURN(const Summary read_back, CheckBackup(fd.get(), out, password));
  if (read_back.digest != summary.digest) return Damaged(out);
  if (renameat2(AT_FDCWD, temporary.c_str(), AT_FDCWD, out.c_str(), RENAME_NOREPLACE) != 0) {
    if (errno != EEXIST) return FileError("write", out, errno);
    return Error(absl::StatusCode::kAlreadyExists, "FILE_EXISTS", out,
                 " exists already; move it away or choose another place for the backup");
  }
  std::move(remove_it).Cancel();
  RETURN_IF_ERROR(SyncFolder(FolderOf(out)));
  return summary;
}

absl::StatusOr<Summary> CheckBackup(int fd, const std::string& path, const Secret& password) {
  ASSIGN_OR_RETURN(const std::unique_ptr<ArchiveReader> archive, ArchiveReader::Open(fd, path, password));
  return ReadArchive(path, archive.get(), [](const ArchiveEntry&, ArchiveReader*) { return absl::OkStatus(); });
}

absl::StatusOr<Summary> Restore(int fd, const std::string& path, const Secret& password, const std::string& data) {
  ASSIGN_OR_RETURN(const std::unique_ptr<ArchiveReader> archive, ArchiveReader::Open(fd, path, password));
  const std::vector<std::string>& services = archive->label().services;
  // One place, so that one rename does it.
  const std::string place = services.size() == 1 ? absl::StrCat(data, "/", services.front()) : data;
  RETURN_IF_ERROR(MakeFolders(FolderOf(place), 0700));
  RETURN_IF_ERROR(CheckEmpty(place));
  std::string stage = place + ".restoring-XXXXXX";
  if (mkdtemp(stage.data()) == nullptr) return FileError("write", stage, errno);
  std::vector<std::string> folders = {stage};
  std::vector<std::string> files;
  absl::Cleanup remove_it = [&] {
    for (const std::string& file : files) unlink(file.c_str());
    for (auto folder = folders.rbegin(); folder != folders.rend(); ++folder) rmdir(folder->c_str());
  };
  const auto take = [&](const ArchiveEntry& entry, ArchiveReader* from) -> absl::Status {
    const std::string name = services.size() == 1 ? entry.name.substr(entry.name.find('/') + 1) : entry.name;
    for (size_t slash = name.find('/'); slash != std::string::npos; slash = name.find('/', slash + 1)) {
      const std::string folder = absl::StrCat(stage, "/", name.substr(0, slash));
      if (std::count(folders.begin(), folders.end(), folder) != 0) continue;
      if (mkdir(folder.c_str(), 0700) != 0) return FileError("make the folder", folder, errno);
      folders.push_back(folder);
    }
    files.push_back(absl::StrCat(stage, "/", name));
    return WriteEntry(files.back(), from);
  };
  ASSIGN_OR_RETURN(Summary summary, ReadArchive(path, archive.get(), take));
  for (const std::string& folder : folders) RETURN_IF_ERROR(SyncFolder(folder));
  if (rename(stage.c_str(), place.c_str()) != 0) return FileError("put the data in its place", place, errno);
  std::move(remove_it).Cancel();
  RETURN_IF_ERROR(SyncFolder(FolderOf(place)));
  return summary;
}

}  // namespace parley::backup
