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
#include "lib/backup/store_copy.h"
#include "lib/base/error.h"
#include "lib/base/fd.h"
#include "lib/base/file.h"
#include "lib/base/file_lock.h"
#include "lib/chunks/chunk_folder.h"
#include "lib/chunks/keys.h"
#include "lib/store/sqlite_copy.h"

namespace parley::backup {
namespace {

constexpr size_t kMaxKeyFileBytes = 1 << 20;

struct Source {
  const Part* part;
  // The service's folder; empty if there is none.
  std::string folder;
  std::string database;
  // Where its data are in place of a database, if it has a URL.
  store::StoreOptions etcd = {};
};

constexpr char kKek[] = "keyd/kek";
constexpr char kSealKey[] = "taskd/seal.key";

bool Exists(const std::string& path) { return ::access(path.c_str(), F_OK) == 0; }

// With what SQLite and we lay beside it.
void RemoveDatabase(const std::string& path) {
  for (const char* suffix : {"-wal", "-shm", "-journal", ".lock", ""}) unlink((path + suffix).c_str());
}

// A copy and its companions are written here: as root, in a folder where another user may have laid a trap.
absl::Status CheckOwner(const std::string& folder) {
  struct stat info;
  if (stat(folder.c_str(), &info) != 0) return FileError("open", folder, errno);
  if (info.st_uid == geteuid()) return absl::OkStatus();
  return PermissionDenied("BACKUP_OTHER_USER", folder,
                          " belongs to another user; run this as that one, with runuser or sudo -u");
}

// The folder of a service, if there is one.
std::string FindFolder(const std::string& data, const Part& part) {
  if (data.empty()) return "";
  const std::string own = absl::StrCat(data, "/", part.service);
  if (Exists(absl::StrCat(own, "/", part.database))) return own;
  if (Exists(absl::StrCat(data, "/", part.database))) return data;
  return Exists(own) ? own : "";
}

// Whether a store that was named has this service's data.
absl::StatusOr<bool> Has(store::StoreOptions options, const Part& part) {
  ASSIGN_OR_RETURN(const store::StoreUrl url, store::ParseStoreUrl(options.url));
  options.service = part.service;
  options.purpose = {.use = store::StorePurpose::Use::kRead};
  const absl::StatusOr<store::StoreOwner> owner = store::ReadStoreOwner(options);
  if (url.is_etcd() && Reason(owner.status()) == "STORE_ABSENT") return false;
  RETURN_IF_ERROR(owner.status());
  if (!owner->service.empty()) return owner->service == part.service;
  return FailedPrecondition("STORE_OWNER_UNKNOWN", options.url,
                            " does not say whose it is; start its service once with this version");
}

absl::StatusOr<std::vector<Source>> FindSources(const BackupPlaces& places) {
  std::vector<Source> sources;
  for (const Part& part : Parts()) {
    Source source = {&part, FindFolder(places.data, part), ""};
    if (!source.folder.empty()) source.database = absl::StrCat(source.folder, "/", part.database);
    for (const store::StoreOptions& options : places.stores) {
      ASSIGN_OR_RETURN(const bool has, Has(options, part));
      if (!has) continue;
      ASSIGN_OR_RETURN(const store::StoreUrl url, store::ParseStoreUrl(options.url));
      source.database = url.path;
      if (url.is_etcd()) source.etcd = options;
    }
    if (source.etcd.url.empty()) {
      if (source.database.empty() || !Exists(source.database)) continue;
      RETURN_IF_ERROR(CheckOwner(FolderOf(source.database)));
    }
    sources.push_back(std::move(source));
  }
  if (!sources.empty()) return sources;
  return NotFound("NOTHING_TO_BACK_UP", "there is no data of a service ",
                  places.stores.empty() ? absl::StrCat("in ", places.data) : "in the stores that were named",
                  " that this user can see; say with --data where the services keep theirs, or with --store");
}

absl::Status AddFile(const std::string& path, const std::string& name, ArchiveWriter* archive, Summary* summary) {
  absl::StatusOr<std::string> content = ReadFile(path, kMaxKeyFileBytes);
  RETURN_IF_ERROR(content.status());
  const Secret secret = Secret::Take(*std::move(content));
  summary->entries.push_back({name, secret.size()});
  RETURN_IF_ERROR(archive->Begin(summary->entries.back()));
  return archive->Write(secret.Expose());
}

// Notes what the copy of a database refers to and does not have.
absl::Status NoteElsewhere(const std::string& copy, Summary* summary) {
  const absl::StatusOr<std::string> record = store::ReadFromCopy(copy, chunks::kFolderKey);
  if (absl::IsNotFound(record.status())) return absl::OkStatus();
  RETURN_IF_ERROR(record.status());
  ASSIGN_OR_RETURN(std::string folder, chunks::ParseChunkFolder(*record));
  summary->elsewhere.push_back(std::move(folder));
  return absl::OkStatus();
}

// The files of a service beside its database.
absl::Status AddFiles(const Source& source, const BackupPlaces& places, ArchiveWriter* archive, Summary* summary) {
  for (const std::string& file : source.part->files) {
    const std::string name = absl::StrCat(source.part->service, "/", file);
    const std::string elsewhere = name == kKek ? places.kek_file : name == kSealKey ? places.seal_key_file : "";
    if (!elsewhere.empty()) {
      RETURN_IF_ERROR(AddFile(elsewhere, name, archive, summary));
      continue;
    }
    if (source.folder.empty()) continue;
    const absl::Status added = AddFile(absl::StrCat(source.folder, "/", file), name, archive, summary);
    if (!added.ok() && !absl::IsNotFound(added)) return added;
  }
  return absl::OkStatus();
}

// Adds a database that nobody writes to.
absl::Status AddCopy(const Source& source, const Fd& fd, const std::string& path, ArchiveWriter* archive,
                     Summary* summary) {
  struct stat info;
  if (fstat(fd.get(), &info) != 0) return FileError("read", path, errno);
  summary->entries.push_back(
      {absl::StrCat(source.part->service, "/", source.part->database), static_cast<uint64_t>(info.st_size)});
  RETURN_IF_ERROR(archive->Begin(summary->entries.back()));
  Secret buffer(kPieceBytes);
  while (true) {
    ASSIGN_OR_RETURN(const size_t count, ReadUpTo(fd.get(), path, buffer.mutable_bytes(), buffer.size()));
    if (count == 0) return NoteElsewhere(path, summary);
    RETURN_IF_ERROR(archive->Write(buffer.Expose().substr(0, count)));
  }
}

// Copies it beside the database, so that it is on a disk of the same size and under the same protection.
absl::Status AddDatabase(const Source& source, ArchiveWriter* archive, Summary* summary) {
  // What was left unfinished is nothing to keep.
  RETURN_IF_ERROR(store::ReadStoreOwner({.url = absl::StrCat("sqlite:", source.database)}).status());
  const std::string path = source.database + ".copy";
  const Fd fd(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd.ok()) return FileError("write", path, errno);
  if (!TryLockFile(fd)) {
    return Error(absl::StatusCode::kAborted, "BACKUP_RUNNING", "another backup of ", FolderOf(source.database),
                 " is under way; wait until it is done");
  }
  // Also what an interrupted backup has left.
  absl::Cleanup remove_it = [&path] { RemoveDatabase(path); };
  if (ftruncate(fd.get(), 0) != 0) return FileError("write", path, errno);
  RETURN_IF_ERROR(store::CopySqliteStore(source.database, path));
  return AddCopy(source, fd, path, archive, summary);
}

// Copies what an etcd has into a database in a folder of its own, which goes away.
absl::Status AddEtcd(const Source& source, const std::string& scratch, ArchiveWriter* archive, Summary* summary) {
  std::string folder = scratch + "/parley-backup-XXXXXX";
  if (mkdtemp(folder.data()) == nullptr) return FileError("write", folder, errno);
  const std::string path = absl::StrCat(folder, "/", source.part->database);
  absl::Cleanup remove_it = [&] {
    RemoveDatabase(path);
    rmdir(folder.c_str());
  };
  store::StoreOptions from = source.etcd;
  from.service = source.part->service;
  ASSIGN_OR_RETURN(const auto copy, StoreCopy::Make(std::move(from), {.url = absl::StrCat("sqlite:", path)},
                                                    StoreCopy::Source::kServing));
  RETURN_IF_ERROR(copy->Finish());
  const Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd.ok()) return FileError("read", path, errno);
  return AddCopy(source, fd, path, archive, summary);
}

absl::StatusOr<Summary> WriteArchive(int fd, const std::string& path, const BackupPlaces& places,
                                     const std::string& scratch, const Secret& password) {
  ASSIGN_OR_RETURN(const std::vector<Source> sources, FindSources(places));
  Summary summary;
  summary.label.time = absl::FromUnixSeconds(absl::ToUnixSeconds(absl::Now()));
  for (const Source& source : sources) summary.label.services.push_back(source.part->service);
  ASSIGN_OR_RETURN(const std::unique_ptr<ArchiveWriter> archive,
                   ArchiveWriter::Create(fd, path, password, summary.label));
  for (const Source& source : sources) {
    RETURN_IF_ERROR(AddFiles(source, places, archive.get(), &summary));
    RETURN_IF_ERROR(source.etcd.url.empty() ? AddDatabase(source, archive.get(), &summary)
                                            : AddEtcd(source, scratch, archive.get(), &summary));
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
                             " has data of a service that this version of "
                             "Parley does not know; upgrade it");
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

// The folder beside the place of a restore, which becomes that in one step, or goes away.
class Stage {
 public:
  // With `of_one`, the folder of the only service is left out of names.
  static absl::StatusOr<std::unique_ptr<Stage>> Make(const std::string& place, bool of_one) {
    std::string folder = place + ".restoring-XXXXXX";
    if (mkdtemp(folder.data()) == nullptr) return FileError("write", folder, errno);
    return std::unique_ptr<Stage>(new Stage(place, std::move(folder), of_one));
  }
  ~Stage() {
    for (const std::string& file : files_) RemoveDatabase(file);
    for (auto folder = folders_.rbegin(); folder != folders_.rend(); ++folder) rmdir(folder->c_str());
  }

  std::string PathOf(const std::string& entry) const {
    return absl::StrCat(folders_.front(), "/", of_one_ ? entry.substr(entry.find('/') + 1) : entry);
  }
  absl::Status Take(const ArchiveEntry& entry, ArchiveReader* from) {
    const std::string path = PathOf(entry.name);
    for (size_t slash = path.find('/', folders_.front().size() + 1); slash != std::string::npos;
         slash = path.find('/', slash + 1)) {
      const std::string folder = path.substr(0, slash);
      if (std::count(folders_.begin(), folders_.end(), folder) != 0) continue;
      if (mkdir(folder.c_str(), 0700) != 0) return FileError("make the folder", folder, errno);
      folders_.push_back(folder);
    }
    files_.push_back(path);
    return WriteEntry(path, from);
  }
  // Removes a database that was copied elsewhere.
  void Drop(const std::string& database) {
    RemoveDatabase(database);
    std::erase(files_, database);
  }
  // Puts what is there in its place.
  absl::Status Stand() {
    if (files_.empty()) return absl::OkStatus();
    // Those that a database alone was in.
    for (auto folder = folders_.begin() + 1; folder != folders_.end();) {
      folder = rmdir(folder->c_str()) == 0 ? folders_.erase(folder) : folder + 1;
    }
    for (const std::string& folder : folders_) RETURN_IF_ERROR(SyncFolder(folder));
    if (rename(folders_.front().c_str(), place_.c_str()) != 0) {
      return FileError("put the data in its place", place_, errno);
    }
    files_.clear();
    folders_.clear();
    return SyncFolder(FolderOf(place_));
  }

 private:
  Stage(std::string place, std::string folder, bool of_one)
      : place_(std::move(place)), of_one_(of_one), folders_({std::move(folder)}) {}

  const std::string place_;
  const bool of_one_;
  // The first is the stage itself, and each comes before those in it.
  std::vector<std::string> folders_;
  std::vector<std::string> files_;
};

absl::Status CheckTakes(const store::StoreOptions& store, const std::vector<std::string>& services) {
  if (store.url.empty()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const store::StoreUrl url, store::ParseStoreUrl(store.url));
  if (url.is_etcd() || services.size() == 1) return absl::OkStatus();
  return InvalidArgument("RESTORE_STORE", "one database cannot take the data of ", services.size(),
                         " services; restore into a folder with --data, and move that database");
}

}  // namespace

absl::StatusOr<Summary> BackupInto(int fd, const BackupPlaces& places, const Secret& password) {
  const char* const folder = getenv("TMPDIR");
  return WriteArchive(fd, "standard output", places, folder == nullptr || *folder == '\0' ? "/tmp" : folder, password);
}

absl::StatusOr<Summary> Backup(const BackupPlaces& places, const std::string& out, const Secret& password) {
  std::string temporary = out + ".XXXXXX";
  const Fd fd(mkostemp(temporary.data(), O_CLOEXEC));
  if (!fd.ok()) return FileError("write", out, errno);
  absl::Cleanup remove_it = [&temporary] { unlink(temporary.c_str()); };
  ASSIGN_OR_RETURN(Summary summary, WriteArchive(fd.get(), out, places, FolderOf(out), password));
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

absl::StatusOr<Summary> Restore(int fd, const std::string& path, const Secret& password, const std::string& data,
                                const store::StoreOptions& store) {
  ASSIGN_OR_RETURN(const std::unique_ptr<ArchiveReader> archive, ArchiveReader::Open(fd, path, password));
  const std::vector<std::string>& services = archive->label().services;
  RETURN_IF_ERROR(CheckTakes(store, services));
  // One place, so that one rename does it.
  const std::string place = services.size() == 1 ? absl::StrCat(data, "/", services.front()) : data;
  RETURN_IF_ERROR(MakeFolders(FolderOf(place), 0700));
  RETURN_IF_ERROR(CheckEmpty(place));
  ASSIGN_OR_RETURN(const std::unique_ptr<Stage> stage, Stage::Make(place, services.size() == 1));
  const auto take = [&stage](const ArchiveEntry& entry, ArchiveReader* from) { return stage->Take(entry, from); };
  ASSIGN_OR_RETURN(Summary summary, ReadArchive(path, archive.get(), take));
  std::vector<std::unique_ptr<StoreCopy>> copies;
  for (const std::string& service : services) {
    if (store.url.empty()) break;
    const std::string database = stage->PathOf(absl::StrCat(service, "/", FindPart(service)->database));
    ASSIGN_OR_RETURN(copies.emplace_back(),
                     StoreCopy::Make({.url = absl::StrCat("sqlite:", database), .service = service}, store,
                                     StoreCopy::Source::kStopped));
    stage->Drop(database);
  }
  RETURN_IF_ERROR(stage->Stand());
  for (const auto& copy : copies) RETURN_IF_ERROR(copy->Finish());
  return summary;
}

}  // namespace parley::backup
