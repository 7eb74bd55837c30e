#include "lib/device/device_file.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/base/fd.h"
#include "lib/base/file.h"
#include "lib/base/file_lock.h"
#include "lib/device/keyring.h"

namespace parley::device {
namespace {

// Held while a file of this folder is replaced. Not a file of its own, so nothing is left behind.
absl::StatusOr<Fd> LockFolderOf(const std::string& path) {
  const std::string folder = FolderOf(path);
  Fd lock(open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!lock.ok()) return FileError("open", folder, errno);
  if (!LockFile(lock)) return FileError("lock", folder, errno);
  return lock;
}

absl::StatusOr<std::string> ReadSealed(const std::string& path) {
  absl::StatusOr<std::string> sealed = ReadFile(path, kMaxFileBytes);
  if (Reason(sealed.status()) == "FILE_NOT_FOUND") {
    return NotFound("NO_DEVICE_FILE", "there is no device file at ", path,
                    "; one is made by `parley claim` with an invitation, or by `parley org init`");
  }
  return sealed;
}

absl::StatusOr<KeyParameters> ReadParametersOf(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string sealed, ReadSealed(path));
  absl::StatusOr<KeyParameters> parameters = ReadKeyParameters(sealed);
  if (!parameters.ok()) return Annotate(parameters.status(), path);
  return parameters;
}

std::string KeyringName(const KeyParameters& parameters) {
  return absl::StrCat("parley:device:", HexEncode(parameters.salt));
}

}  // namespace

absl::Status CheckPassword(const Secret& password) {
  if (password.size() >= kMinPasswordBytes && password.size() <= kMaxPasswordBytes) return absl::OkStatus();
  return InvalidArgument("DEVICE_PASSWORD_LENGTH", "a device file's password has at least ", kMinPasswordBytes,
                         " characters and at most ", kMaxPasswordBytes, "; four random words are a good one");
}

DeviceFile::DeviceFile(std::string path, KeyParameters parameters, Secret key, Contents contents)
    : path_(std::move(path)),
      parameters_(std::move(parameters)),
      key_(std::move(key)),
      contents_(std::move(contents)) {}

absl::StatusOr<DeviceFile> DeviceFile::Create(const std::string& path, const Secret& password,
                                              const Contents& contents) {
  RETURN_IF_ERROR(CheckPassword(password));
  const KeyParameters parameters = NewKeyParameters();
  ASSIGN_OR_RETURN(Secret key, DeriveFileKey(password, parameters));
  ASSIGN_OR_RETURN(const Fd lock, LockFolderOf(path));
  if (::access(path.c_str(), F_OK) == 0) {
    return Error(absl::StatusCode::kAlreadyExists, "DEVICE_FILE_EXISTS", path,
                 " exists already; name another file with --device, or move that one away");
  }
  // Read back, so that what Update will find is what is here.
  ASSIGN_OR_RETURN(Contents copy, ParseContents(FormatContents(contents)));
  DeviceFile file(path, parameters, std::move(key), std::move(copy));
  RETURN_IF_ERROR(file.Write(file.parameters_, file.key_, file.contents_));
  return file;
}

absl::StatusOr<DeviceFile> DeviceFile::Open(const std::string& path, const Secret& password) {
  ASSIGN_OR_RETURN(const KeyParameters parameters, ReadParametersOf(path));
  ASSIGN_OR_RETURN(Secret key, DeriveFileKey(password, parameters));
  return OpenWithKey(path, std::move(key));
}

absl::StatusOr<DeviceFile> DeviceFile::OpenWithKey(const std::string& path, Secret key) {
  ASSIGN_OR_RETURN(KeyParameters parameters, ReadParametersOf(path));
  DeviceFile file(path, std::move(parameters), std::move(key), Contents());
  absl::StatusOr<Contents> contents = file.Read();
  if (!contents.ok()) return Annotate(contents.status(), path);
  file.contents_ = *std::move(contents);
  return file;
}

absl::StatusOr<Contents> DeviceFile::Read() const {
  ASSIGN_OR_RETURN(const std::string sealed, ReadSealed(path_));
  ASSIGN_OR_RETURN(const KeyParameters parameters, ReadKeyParameters(sealed));
  if (parameters.salt != parameters_.salt) {
    return FailedPrecondition(
        "DEVICE_FILE_CHANGED",
        "the device file got another password, or was replaced, while this command ran; run it again");
  }
  ASSIGN_OR_RETURN(const Secret plaintext, OpenFile(key_, sealed));
  return ParseContents(plaintext);
}

absl::Status DeviceFile::Write(const KeyParameters& parameters, const Secret& key, const Contents& contents) const {
  return WriteFileAtomically(path_, SealFile(key, parameters, FormatContents(contents)), 0600);
}

absl::Status DeviceFile::Update(const std::function<absl::Status(Contents*)>& change) {
  ASSIGN_OR_RETURN(const Fd lock, LockFolderOf(path_));
  absl::StatusOr<Contents> contents = Read();
  if (!contents.ok()) return Annotate(contents.status(), path_);
  RETURN_IF_ERROR(change(&*contents));
  RETURN_IF_ERROR(Write(parameters_, key_, *contents));
  contents_ = *std::move(contents);
  return absl::OkStatus();
}

absl::Status DeviceFile::ChangePassword(const Secret& password) {
  RETURN_IF_ERROR(CheckPassword(password));
  const KeyParameters parameters = NewKeyParameters();
  ASSIGN_OR_RETURN(Secret key, DeriveFileKey(password, parameters));
  ASSIGN_OR_RETURN(const Fd lock, LockFolderOf(path_));
  absl::StatusOr<Contents> contents = Read();
  if (!contents.ok()) return Annotate(contents.status(), path_);
  RETURN_IF_ERROR(Write(parameters, key, *contents));
  DropFromKeyring(KeyringName(parameters_));
  parameters_ = parameters;
  key_ = std::move(key);
  contents_ = *std::move(contents);
  return absl::OkStatus();
}

absl::Status DeviceFile::Remove() {
  ASSIGN_OR_RETURN(const Fd lock, LockFolderOf(path_));
  RETURN_IF_ERROR(Read().status());
  DropFromKeyring(KeyringName(parameters_));
  if (unlink(path_.c_str()) != 0) return FileError("remove", path_, errno);
  return SyncFolder(FolderOf(path_));
}

absl::Status DeviceFile::Remember(absl::Duration lifetime) const {
  return KeepInKeyring(KeyringName(parameters_), key_, lifetime);
}

absl::StatusOr<DeviceFile> DeviceFile::OpenRemembered(const std::string& path) {
  ASSIGN_OR_RETURN(const KeyParameters parameters, ReadParametersOf(path));
  ASSIGN_OR_RETURN(Secret key, FindInKeyring(KeyringName(parameters)));
  return OpenWithKey(path, std::move(key));
}

absl::StatusOr<bool> DeviceFile::Forget(const std::string& path) {
  ASSIGN_OR_RETURN(const KeyParameters parameters, ReadParametersOf(path));
  return DropFromKeyring(KeyringName(parameters));
}

}  // namespace parley::device
