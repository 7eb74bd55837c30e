#include "clients/agent/method_choice.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <system_error>

#include "absl/algorithm/container.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "clients/agent/file_state.h"
#include "clients/agent/kernel_users.h"
#include "clients/agent/mount_table.h"
#include "clients/agent/mounts.h"
#include "clients/agent/new_tree.h"
#include "clients/agent/open_files.h"
#include "clients/agent/place.h"
#include "clients/agent/target_error.h"
#include "clients/agent/tree.h"
#include "lib/base/error.h"
#include "lib/base/fd.h"
#include "lib/base/file.h"
#include "lib/payload/beneath.h"

namespace parley::agent {
namespace {

// Folders of the system: programs all over it stand in them and look for one another through them.
constexpr const char* kSystemFolders[] = {"/etc",  "/usr", "/var",   "/opt", "/home", "/root", "/boot", "/bin",
                                          "/sbin", "/lib", "/lib64", "/dev", "/proc", "/sys",  "/run",  "/tmp"};

struct Survey {
  FileIds files;
  FileIds folders;
};

// Everything that is in the target; an error for the first thing that an exchange could not bear.
absl::Status SurveyTree(const TargetFolder& folder, int root, const TreeLimits& limits, Survey* survey) {
  RETURN_IF_ERROR(Fingerprint(root, folder.target(), limits).status());
  struct stat top;
  if (fstat(root, &top) == 0) survey->folders.insert(FileId(top.st_dev, top.st_ino));
  return WalkTree(root, folder.target(), [&](int, const std::string& path, const struct statx& info, bool) {
    if (S_ISREG(info.stx_mode)) survey->files.insert(FileIdOf(info));
    if (!S_ISDIR(info.stx_mode)) return absl::OkStatus();
    survey->folders.insert(FileIdOf(info));
    if (!absl::StartsWith(payload::LastPart(path), ".parley")) return absl::OkStatus();
    return Refuse("TARGET_IN_USE", absl::StrCat(folder.target(), " holds another target, with its place ", path));
  });
}

// Whether the folder, or the place where it will be, lies in the target: by its path without links, and by what it is.
bool LiesIn(const std::string& fixed, const std::string& target, const FileIds& folders) {
  return IsInOrIs(WithoutLinks(fixed), target) || LeadsToOneOf(folders, fixed);
}

// A sentence when something has the file open for writing and no list has shown it.
std::string UnseenWriterOf(int folder, const std::string& path, const std::string& shown) {
  if (!IsOpenForWriting(OpenOldFile(folder, path).get())) return "";
  return absl::StrCat(shown, " is open for writing, by the kernel, by this process, by a program that cannot be seen, ",
                      "or by one that has it mapped into its memory");
}

// The same for the first such file below `root`.
absl::StatusOr<std::string> UnseenWriterIn(int root, const std::string& shown) {
  std::string found;
  RETURN_IF_ERROR(WalkTree(root, shown, [&](int folder, const std::string& path, const struct statx& info, bool) {
    if (!S_ISREG(info.stx_mode) || !found.empty()) return absl::OkStatus();
    found = UnseenWriterOf(folder, std::string(payload::LastPart(path)), absl::StrCat(shown, "/", path));
    return absl::OkStatus();
  }));
  return found;
}

// A sentence for whoever writes to one of the files, has a lock on it, or uses it in the kernel.
absl::StatusOr<std::string> WriterIn(int root, const std::string& shown, const Survey& survey, const std::string& proc,
                                     const std::string& sys) {
  if (std::string user = KernelUserOf(survey.files, KernelUse::kAny, proc, sys); !user.empty()) return user;
  if (std::string writer = WriterOf(survey.files, proc); !writer.empty()) return writer;
  for (const FileIds& ids : {survey.files, survey.folders}) {
    if (std::string holder = LockHolderOf(ids, proc); !holder.empty()) return absl::StrCat(holder, ": ", shown);
  }
  return UnseenWriterIn(root, shown);
}

// Renaming a folder over one that is not empty always fails, but for another reason when it could not be moved at all:
// a folder of a container image's layer, or one that is mounted.
absl::Status CheckMovable(const TargetFolder& folder) {
  const int place = folder.place();
  const std::string probe = place::kProbe, inner = probe + "/in", twin = probe + "-2";
  for (const std::string& name : {probe, inner, twin}) {
    if (mkdirat(place, name.c_str(), 0700) != 0 && errno != EEXIST) {
      return FileError("write", folder.place_path(), errno);
    }
  }
  const bool moved = renameat(folder.parent(), folder.name().c_str(), place, probe.c_str()) == 0;
  const int error = errno;
  if (moved) renameat(place, probe.c_str(), folder.parent(), folder.name().c_str());
  const bool exchanges = renameat2(place, probe.c_str(), place, twin.c_str(), RENAME_EXCHANGE) == 0;
  for (const std::string& name : {inner, twin + "/in", probe, twin}) unlinkat(place, name.c_str(), AT_REMOVEDIR);
  if (moved || (error != ENOTEMPTY && error != EEXIST)) {
    return Refuse("TARGET_MOUNT", absl::StrCat(folder.target(), " cannot be moved as a whole (", ErrnoText(error),
                                               "), as a layer of a container's image or a mount cannot"));
  }
  if (exchanges) return absl::OkStatus();
  return Refuse("TARGET_MOUNT", absl::StrCat("the file system of ", folder.target(), " cannot exchange two folders"));
}

// OK when nothing speaks against an exchange.
absl::Status CheckExchange(const TargetFolder& folder, const ChoiceInput& input) {
  const std::string& target = folder.target();
  if (folder.kind() == TargetFolder::Kind::kFile) {
    return Refuse("TARGET_NOT_FOLDER", absl::StrCat(target, " is a single file"));
  }
  if (folder.is_mount()) return Refuse("TARGET_MOUNT", absl::StrCat(target, " is a mount"));
  if (absl::c_linear_search(kSystemFolders, target)) {
    return Refuse("TARGET_ROOT", absl::StrCat(target, " is a folder of the system"));
  }
  if (input.restless) return Refuse("TARGET_CHANGED", absl::StrCat("programs go on writing to ", target));
  const Fd root = folder.OpenRoot();
  if (IsProtected(root.get()) || IsProtected(folder.parent())) {
    return Refuse("TARGET_IMMUTABLE",
                  absl::StrCat(target, ", or the folder above it, may not be changed (chattr +i or +a)"));
  }
  Survey survey;
  RETURN_IF_ERROR(SurveyTree(folder, root.get(), input.limits, &survey));
  for (const std::string& fixed : input.fixed) {
    if (LiesIn(fixed, target, survey.folders)) {
      return Refuse("TARGET_ROOT", absl::StrCat(target, " holds the state of the agent"));
    }
  }
  RETURN_IF_ERROR(CheckMovable(folder));
  if (input.proc.empty()) return absl::OkStatus();
  if (std::string user = MountUserOf(root.get(), target, input.proc); !user.empty()) {
    return Refuse("TARGET_MOUNT", user);
  }
  if (std::string exported = ExportOf(target, input.proc); !exported.empty()) return Refuse("TARGET_MOUNT", exported);
  ASSIGN_OR_RETURN(const std::string writer, WriterIn(root.get(), target, survey, input.proc, input.sys));
  if (!writer.empty()) return Refuse("TARGET_BUSY", writer);
  if (std::string holder = HolderOf(survey.folders, input.proc); !holder.empty()) {
    return Refuse("TARGET_BUSY", absl::StrCat(target, " is in use: ", holder));
  }
  return absl::OkStatus();
}

// Reasons for the other method, as opposed to troubles with the disk.
bool SpeaksForFiles(const absl::Status& status) {
  const std::string reason = Reason(status);
  return absl::StartsWith(reason, "TARGET_") && reason != "TARGET_PERMISSION";
}

}  // namespace

bool IsInOrIs(const std::string& path, const std::string& folder) {
  return path == folder || absl::StartsWith(path, absl::StrCat(folder, "/"));
}

std::string WithoutLinks(const std::string& path) {
  std::error_code error;
  std::string whole = std::filesystem::weakly_canonical(std::filesystem::absolute(path, error), error).string();
  if (error || whole.empty()) return path;
  while (whole.size() > 1 && whole.back() == '/') whole.pop_back();
  return whole;
}

absl::Status ButFilesWould(const absl::Status& against) {
  return Error(against.code(), Reason(against),
               absl::StrCat(against.message(), "; --method files leaves everything that does not change where it is"));
}

absl::StatusOr<MethodChoice> ChooseMethod(const TargetFolder& folder, const ChoiceInput& input) {
  if (input.wanted == Method::kFiles) return MethodChoice{Method::kFiles, "method files was asked for"};
  const absl::Status against = CheckExchange(folder, input);
  if (against.ok()) return MethodChoice{Method::kExchange, ""};
  // A folder that this user may not read does not keep single files in it from being replaced.
  const bool unreadable = Reason(against) == "FILE_PERMISSION";
  if (!SpeaksForFiles(against) && !unreadable) return against;
  if (input.wanted == Method::kExchange) return ButFilesWould(against);
  return MethodChoice{Method::kFiles, std::string(against.message())};
}

absl::Status CheckFiles(const TargetFolder& folder, const NewSet& set, const std::string& proc,
                        const std::string& sys) {
  ASSIGN_OR_RETURN(const std::vector<PlannedStep> steps, PlanSteps(folder, set));
  if (proc.empty()) return absl::OkStatus();
  FileIds files;
  for (const PlannedStep& step : steps) {
    if (step.replaces) files.insert(step.old_id);
  }
  if (std::string writer = WriterOf(files, proc); !writer.empty()) {
    return Refuse("TARGET_BUSY", absl::StrCat(writer, ", and the set replaces it; stop the program, or take the file ",
                                              "out of the set"));
  }
  if (std::string user = KernelUserOf(files, KernelUse::kWriting, proc, sys); !user.empty()) {
    return Refuse("TARGET_BUSY", absl::StrCat(user, ", and the set replaces it; end that use of it, or take the file ",
                                              "out of the set"));
  }
  const MountTables tables = MountTables::Read(proc);
  const Fd root = folder.OpenRoot();
  const uint64_t mount = MountIdOf(root.get());
  for (const PlannedStep& step : steps) {
    if (!step.replaces) continue;
    const std::string shown = absl::StrCat(folder.root_path(), "/", step.path);
    if (const std::string writer = UnseenWriterOf(root.get(), step.path, shown); !writer.empty()) {
      return Refuse("TARGET_BUSY", absl::StrCat(writer, ", and the set replaces it; stop what writes to it, or take ",
                                                "the file out of the set"));
    }
    const std::string user = tables.UserOf(mount, shown, /*below=*/false);
    if (!user.empty()) {
      return Refuse("TARGET_MOUNT", absl::StrCat(user, ", where it would stay the old one; mount its folder instead"));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckNobodyWrites(int root, const std::string& shown, const std::string& proc, const std::string& sys) {
  if (root < 0 || proc.empty()) return absl::OkStatus();
  Survey survey;
  RETURN_IF_ERROR(WalkTree(root, shown, [&](int, const std::string&, const struct statx& info, bool) {
    if (S_ISREG(info.stx_mode)) survey.files.insert(FileIdOf(info));
    return absl::OkStatus();
  }));
  ASSIGN_OR_RETURN(const std::string writer, WriterIn(root, shown, survey, proc, sys));
  return writer.empty() ? absl::OkStatus() : Error(absl::StatusCode::kAborted, "TARGET_CHANGED", writer);
}

}  // namespace parley::agent
