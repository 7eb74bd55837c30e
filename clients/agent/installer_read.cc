// What is installed, and what of it is on the disk.
#include <utility>

#include "absl/strings/str_cat.h"
#include "clients/agent/installer.h"
#include "clients/agent/on_disk.h"
#include "clients/agent/record.h"
#include "clients/agent/target_error.h"
#include "clients/agent/target_record.h"
#include "lib/base/error.h"
#include "lib/base/secret.h"
#include "lib/payload/fileset.h"

namespace parley::agent {
Installer::TaskView Installer::view(const std::string& task) const {
  TaskView view;
  const TargetRecord::Task* const known = FindTask(record_, task);
  if (known == nullptr) return view;
  view.revision = known->revision();
  view.digest = known->digest();
  view.applied = known->applied();
  for (const InstalledFile& file : known->files()) view.paths.push_back(file.path());
  if (known->has_rollback()) {
    const Installed::Rollback& note = known->rollback();
    view.rollback = {note.revision(), note.attempt(), note.reason(), note.detail(), note.failed(), note.passing()};
  }
  return view;
}

absl::StatusOr<Installer::OnDisk> Installer::Read(const std::string& task) const {
  OnDisk on_disk;
  const TargetRecord::Task* const known = FindTask(record_, task);
  if (known == nullptr) return on_disk;
  std::set<std::string> changed;
  payload::Files present;
  for (const InstalledFile& file : known->files()) {
    ASSIGN_OR_RETURN(payload::Files found, ScanOnDisk(*folder_, file.path()));
    if (found.empty() || (!file.digest().empty() && payload::DigestFiles(found) != file.digest())) {
      changed.insert(file.path());
    }
    present.MergeFrom(found);
  }
  if (!present.empty() && known->applied()) on_disk.digest = payload::DigestFiles(present);
  on_disk.taken_over = TakenOver(record_, task, changed);
  on_disk.changed_paths.assign(changed.begin(), changed.end());
  return on_disk;
}

std::vector<std::string> Installer::JournalPaths() const {
  std::vector<std::string> paths(journal_->paths().begin(), journal_->paths().end());
  for (const InstalledFile& file : journal_->files()) paths.push_back(file.path());
  return paths;
}

absl::StatusOr<std::string> Installer::PendingDigest() const {
  payload::Files present;
  for (const std::string& path : JournalPaths()) {
    ASSIGN_OR_RETURN(const payload::Files found, ScanOnDisk(*folder_, path));
    present.MergeFrom(found);
  }
  return present.empty() ? std::string() : payload::DigestFiles(present);
}

absl::Status Installer::CheckRevision(const std::string& task, const task::v1::Manifest& manifest) const {
  const TaskView installed = view(task);
  if (manifest.revision() < installed.revision) {
    return Refuse("REVISION_OLDER",
                  absl::StrCat("revision ", manifest.revision(), " of ", task, " is older than revision ",
                               installed.revision, ", which is installed; a task never goes back"));
  }
  if (manifest.revision() == installed.revision && manifest.digest() != installed.digest) {
    return Refuse("REVISION_CHANGED", absl::StrCat("revision ", manifest.revision(), " of ", task,
                                                   " has other files than when it was installed here"));
  }
  return absl::OkStatus();
}

absl::Status Installer::Adopt(const std::string& task, const std::string& state_folder) {
  if (FindTask(record_, task) != nullptr || state_folder.empty()) return absl::OkStatus();
  const std::string installed_path = absl::StrCat(state_folder, "/installed");
  Installed installed;
  RemoveRecordLitter(installed_path);
  ASSIGN_OR_RETURN(const bool found, ReadRecord(installed_path, &installed));
  if (!found) return absl::OkStatus();
  Membership membership;
  ASSIGN_OR_RETURN(const bool joined, ReadRecord(absl::StrCat(state_folder, "/membership"), &membership));
  RecordAdopted(task, installed, !joined || membership.target().empty() || membership.target() == folder_->target(),
                &record_);
  WipeString(membership.mutable_secret());
  return record_.tasks_size() == 0 ? absl::OkStatus() : WriteTargetRecord();
}

}  // namespace parley::agent
