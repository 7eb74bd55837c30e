// parley task diff.
#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "clients/cli/command.h"
#include "clients/cli/connection.h"
#include "clients/cli/format.h"
#include "clients/cli/output.h"
#include "clients/cli/paths.h"
#include "clients/cli/task_name.h"
#include "clients/cli/terminal.h"
#include "clients/cli/text_diff.h"
#include "clients/operator/revisions.h"
#include "lib/base/error.h"
#include "lib/keys/identity.h"

namespace parley::cli {
namespace {

using task::v1::FileEntry;

// So many files are compared as texts, and so many lines are shown of one.
constexpr size_t kMostTexts = 100;
constexpr size_t kMostLines = 400;

struct DiffFlags {
  std::string task;
  int64_t from = -1, to = -1;
};

// A file that is in one of the revisions, or different in both. The other one is null.
struct Change {
  const FileEntry* before = nullptr;
  const FileEntry* after = nullptr;
  // Hunks, if both are small texts.
  std::vector<std::string> hunks;

  const std::string& path() const { return (before != nullptr ? before : after)->path(); }
};

bool Same(const FileEntry& a, const FileEntry& b) {
  return a.type() == b.type() && a.mode() == b.mode() && a.sha256() == b.sha256() && a.link_target() == b.link_target();
}

// Returns what differs, by path.
std::vector<Change> FindChanges(const task::v1::Manifest& from, const task::v1::Manifest& to) {
  std::map<std::string, Change> files;
  for (const FileEntry& file : from.files()) files[file.path()].before = &file;
  for (const FileEntry& file : to.files()) files[file.path()].after = &file;
  std::vector<Change> changes;
  for (auto& [path, change] : files) {
    if (change.before != nullptr && change.after != nullptr && Same(*change.before, *change.after)) continue;
    changes.push_back(std::move(change));
  }
  return changes;
}

bool MayBeText(const Change& change) {
  const auto small = [](const FileEntry* file) {
    return file != nullptr && file->type() == FileEntry::TYPE_REGULAR &&
           file->size() <= static_cast<int64_t>(kMostDiffBytes);
  };
  return small(change.before) && small(change.after) && change.before->sha256() != change.after->sha256();
}

absl::StatusOr<std::map<std::string, std::string>> FetchTexts(const ops::RevisionReader& reader,
                                                              const task::v1::Manifest& manifest,
                                                              const payload::Files& files) {
  std::map<std::string, std::string> texts;
  RETURN_IF_ERROR(reader.Fetch(manifest, files, [&](const FileEntry& file, absl::string_view content, bool) {
    texts[file.path()].append(content.data(), content.size());
    return absl::OkStatus();
  }));
  return texts;
}

// Compares the small texts among the changes. An auditor may not see content, and gets the names alone.
absl::Status CompareTexts(const ops::RevisionReader& reader, const task::v1::Manifest& from,
                          const task::v1::Manifest& to, std::vector<Change>* changes) {
  std::vector<Change*> texts;
  payload::Files before, after;
  for (Change& change : *changes) {
    if (!MayBeText(change) || texts.size() == kMostTexts) continue;
    texts.push_back(&change);
    *before.Add() = *change.before;
    *after.Add() = *change.after;
  }
  if (texts.empty()) return absl::OkStatus();
  const auto old_texts = FetchTexts(reader, from, before);
  if (Reason(old_texts.status()) == "ROLE_NOT_ALLOWED") return absl::OkStatus();
  RETURN_IF_ERROR(old_texts.status());
  ASSIGN_OR_RETURN(const auto new_texts, FetchTexts(reader, to, after));
  for (Change* const change : texts) {
    const std::string& old_text = old_texts->at(change->path());
    const std::string& new_text = new_texts.at(change->path());
    if (!IsSmallText(old_text) || !IsSmallText(new_text)) continue;
    change->hunks = UnifiedDiff(old_text, new_text).value_or(std::vector<std::string>());
  }
  return absl::OkStatus();
}

std::string EntryText(const FileEntry& file) {
  if (file.type() == FileEntry::TYPE_SYMLINK) return absl::StrCat("link to ", file.link_target());
  return absl::StrFormat("%04o, %s", file.mode(), BytesText(file.size()));
}

ExitCode PrintChanges(const std::vector<Change>& changes, const std::string& title) {
  PrintLine("  ", title);
  for (const Change& change : changes) {
    const std::string path = Printable(change.path());
    if (change.before == nullptr) {
      PrintLine("  ", Green("+"), " ", path, "   ", Printable(EntryText(*change.after)));
    } else if (change.after == nullptr) {
      PrintLine("  ", Red("-"), " ", path, "   ", Printable(EntryText(*change.before)));
    } else {
      const std::string was = EntryText(*change.before), is = EntryText(*change.after);
      PrintLine("  ~ ", path, "   ", Printable(was == is ? is : absl::StrCat(was, " -> ", is)));
    }
    for (size_t i = 0; i < std::min(change.hunks.size(), kMostLines); ++i) {
      const std::string line = Printable(change.hunks[i]);
      PrintLine("    ", line[0] == '+' ? Green(line) : line[0] == '-' ? Red(line) : line);
    }
    if (change.hunks.size() > kMostLines) {
      PrintLine("    … and ", Count(static_cast<int64_t>(change.hunks.size() - kMostLines), "line"), " more");
    }
  }
  if (changes.empty()) PrintLine("  · nothing differs");
  return kSuccess;
}

ExitCode PrintChangesAsJson(const std::vector<Change>& changes, int64_t from, int64_t to) {
  std::vector<std::string> added, removed, changed;
  for (const Change& change : changes) {
    if (change.before == nullptr) {
      added.push_back(ToJson(*change.after));
    } else if (change.after == nullptr) {
      removed.push_back(ToJson(*change.before));
    } else {
      changed.push_back(JsonObject()
                            .Raw("before", ToJson(*change.before))
                            .Raw("after", ToJson(*change.after))
                            .Text("diff", absl::StrJoin(change.hunks, "\n"))
                            .Finish());
    }
  }
  const auto list = [](const std::vector<std::string>& items) {
    return absl::StrCat("[", absl::StrJoin(items, ","), "]");
  };
  return JsonObject()
      .Number("from", from)
      .Number("to", to)
      .Raw("added", list(added))
      .Raw("removed", list(removed))
      .Raw("changed", list(changed))
      .Print();
}

absl::StatusOr<ExitCode> Diff(const Globals& globals, const DiffFlags& flags) {
  ASSIGN_OR_RETURN(const std::string name, FullTaskName(flags.task));
  if (flags.from == 0 || flags.to == 0) return UsageError("--from and --to: revisions count from 1");
  ASSIGN_OR_RETURN(const std::unique_ptr<ops::Connection> server, Connect(globals, keys::kTaskd));
  const ops::RevisionReader reader(server.get(), OwnTaskKeys(), name);
  int64_t to = flags.to;
  if (to < 0) {
    ASSIGN_OR_RETURN(const task::v1::Task task, reader.GetTask());
    to = task.revision();
  }
  const int64_t from = flags.from < 0 ? to - 1 : flags.from;
  if (from < 1) {
    return FailedPrecondition("NO_EARLIER_REVISION", "there is no revision before r", to, " of ", TaskId(name),
                              "; see its files with: parley task show ", TaskId(name));
  }
  ASSIGN_OR_RETURN(const ops::ReadRevision old_one, reader.Get(from));
  ASSIGN_OR_RETURN(const ops::ReadRevision new_one, reader.Get(to));
  std::vector<Change> changes = FindChanges(old_one.manifest, new_one.manifest);
  RETURN_IF_ERROR(CompareTexts(reader, old_one.manifest, new_one.manifest, &changes));
  if (globals.json()) return PrintChangesAsJson(changes, from, to);
  PrintChanges(changes, absl::StrCat("r", from, " -> r", to));
  if (new_one.witness == ops::ManifestWitness::kServersWord) {
    PrintLine(Dim("  so the server says; the task's key is not on this machine"));
  }
  return kSuccess;
}

}  // namespace

void AddTaskDiff(Command task, Globals* globals) {
  auto flags = std::make_shared<DiffFlags>();
  Command command =
      AddCommand(task, globals, "diff", "Show what differs between two revisions", kCallerOptions, flags, &Diff);
  command.AddOption("task", flags->task, "The task's name").Required();
  command.AddOption("--from", flags->from, "The number of one revision (the one before the other)").WholeNumber();
  command.AddOption("--to", flags->to, "The number of the other one (the newest)").WholeNumber();
  command.Footer(
      "+ is a file that is new, - one that is gone, ~ one that differs. Of texts up to 64 KiB, the lines are shown "
      "too,\n"
      "up to 400 of each of 100 files; not to an auditor, who may not see content.\n"
      "Examples:\n"
      "  parley task diff nginx-tls-7k3q\n"
      "  parley task diff nginx-tls-7k3q --from 1 --to 3");
}

}  // namespace parley::cli
