#include "clients/agent/target_record.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"

namespace parley::agent {
namespace {

std::set<std::string> PathsOf(const InstalledFiles& files) {
  std::set<std::string> paths;
  for (const InstalledFile& file : files) paths.insert(file.path());
  return paths;
}

// By path, the task that would own it if `task` and `former` did not: of those that have it the one that installed
// last.
std::map<std::string, std::string> Heirs(const TargetRecord& record, const std::string& task,
                                         const std::string& former) {
  std::map<std::string, std::string> heirs;
  for (const TargetRecord::Task& other : record.tasks()) {
    if (other.task() == task || other.task() == former) continue;
    for (const InstalledFile& file : other.files()) heirs[file.path()] = other.task();
  }
  return heirs;
}

}  // namespace

const TargetRecord::Task* FindTask(const TargetRecord& record, const std::string& task) {
  for (const TargetRecord::Task& known : record.tasks()) {
    if (known.task() == task) return &known;
  }
  return nullptr;
}

TargetRecord::Task* TaskIn(TargetRecord* record, const std::string& task) {
  for (TargetRecord::Task& known : *record->mutable_tasks()) {
    if (known.task() == task) return &known;
  }
  TargetRecord::Task* const made = record->add_tasks();
  made->set_task(task);
  return made;
}

std::set<std::string> DroppedPaths(const TargetRecord& record, const std::string& task, const std::string& supersedes,
                                   const InstalledFiles& files) {
  const std::set<std::string> named = PathsOf(files);
  const auto heirs = Heirs(record, task, supersedes);
  std::set<std::string> dropped;
  for (const auto& [path, owner] : record.owners()) {
    const bool own = owner == task || (!supersedes.empty() && owner == supersedes);
    if (own && named.count(path) == 0 && heirs.count(path) == 0) dropped.insert(path);
  }
  return dropped;
}

void RecordInstalled(const Journal& journal, TargetRecord* record) {
  const std::string& task = journal.task();
  const std::string former = journal.supersedes() == task ? "" : journal.supersedes();
  const auto heirs = Heirs(*record, task, former);
  auto& owners = *record->mutable_owners();
  for (auto owner = owners.begin(); owner != owners.end();) {
    const auto current = owner++;
    if (current->second != task && (former.empty() || current->second != former)) continue;
    const auto heir = heirs.find(current->first);
    if (heir == heirs.end()) {
      owners.erase(current);
    } else {
      current->second = heir->second;
    }
  }
  for (const InstalledFile& file : journal.files()) owners[file.path()] = task;
  if (!former.empty() && FindTask(*record, former) != nullptr) {
    TargetRecord::Task* const superseded = TaskIn(record, former);
    superseded->clear_files();
    superseded->set_applied(false);
    superseded->set_superseded_by(task);
  }
  TargetRecord::Task installed;
  installed.set_task(task);
  installed.set_revision(journal.revision());
  installed.set_digest(journal.digest());
  installed.set_applied(true);
  *installed.mutable_files() = journal.files();
  auto* const tasks = record->mutable_tasks();
  for (int i = 0; i < tasks->size(); ++i) {
    if (tasks->Get(i).task() == task) tasks->DeleteSubrange(i--, 1);
  }
  *tasks->Add() = std::move(installed);
}

void RecordAdopted(const std::string& task, const Installed& installed, bool with_paths, TargetRecord* record) {
  if (FindTask(*record, task) != nullptr || (installed.revision() == 0 && !installed.has_rollback())) return;
  TargetRecord::Task* const adopted = TaskIn(record, task);
  adopted->set_revision(installed.revision());
  adopted->set_digest(installed.digest());
  if (installed.has_rollback()) *adopted->mutable_rollback() = installed.rollback();
  if (!with_paths) return;
  adopted->set_applied(!installed.rollback().failed());
  for (const std::string& path : installed.paths()) {
    adopted->add_files()->set_path(path);
    record->mutable_owners()->insert({path, task});
  }
}

std::string TakenOver(const TargetRecord& record, const std::string& task, const std::set<std::string>& changed) {
  const TargetRecord::Task* const known = FindTask(record, task);
  if (known != nullptr && !known->superseded_by().empty()) {
    return absl::StrCat(known->superseded_by(), " supersedes ", task, " and has taken over its files");
  }
  for (const std::string& path : changed) {
    const auto owner = record.owners().find(path);
    if (owner != record.owners().end() && owner->second != task) {
      return absl::StrCat(path, " of ", task, " was installed over by ", owner->second);
    }
  }
  return "";
}

}  // namespace parley::agent
