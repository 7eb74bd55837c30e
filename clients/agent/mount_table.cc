#include "clients/agent/mount_table.h"

#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "clients/agent/open_files.h"
#include "clients/agent/tree.h"
#include "lib/base/file.h"

namespace parley::agent {
namespace {

constexpr size_t kMaxTableBytes = 16 << 20;

bool IsBelow(absl::string_view path, absl::string_view folder) {
  if (folder == "/") return path.size() > 1;
  return path.size() > folder.size() && absl::StartsWith(path, folder) && path[folder.size()] == '/';
}

// The folders of "lower:other" or "lower::data", in which a colon of a name stands behind a backslash.
void AddFolders(absl::string_view list, std::vector<std::string>* folders) {
  std::string folder;
  for (size_t i = 0; i <= list.size(); ++i) {
    if (i == list.size() || list[i] == ':') {
      if (!folder.empty()) folders->push_back(folder);
      folder.clear();
      continue;
    }
    if (list[i] == '\\' && i + 1 < list.size()) ++i;
    folder.push_back(list[i]);
  }
}

// What stands behind the "-" of a line: the kind of file system, its source, and its options.
std::vector<std::string> LayersOf(const std::vector<absl::string_view>& fields) {
  std::vector<std::string> layers;
  const auto dash = std::find(fields.begin(), fields.end(), "-");
  if (fields.end() - dash < 4) return layers;
  const absl::string_view kind = dash[1];
  const std::string source = UnescapeMountField(dash[2]);
  const bool shows_folders = kind == "ecryptfs" || kind == "aufs" || absl::StartsWith(kind, "fuse");
  if (shows_folders && absl::StartsWith(source, "/")) AddFolders(source, &layers);
  if (kind != "overlay") return layers;
  for (const absl::string_view option : absl::StrSplit(dash[3], ',')) {
    const std::pair<absl::string_view, absl::string_view> pair = absl::StrSplit(option, absl::MaxSplits('=', 1));
    for (const absl::string_view name : {"lowerdir", "lowerdir+", "datadir+", "upperdir", "workdir"}) {
      if (pair.first == name) AddFolders(UnescapeMountField(pair.second), &layers);
    }
  }
  return layers;
}

// Where what stands at `path`, in or at the mount, lies in the mounted file system.
std::string InFileSystem(const MountLine& mount, absl::string_view path) {
  absl::string_view rest = path;
  rest.remove_prefix(mount.point == "/" ? 0 : mount.point.size());
  if (rest == "/") rest = "";
  return mount.root == "/" ? (rest.empty() ? "/" : std::string(rest)) : absl::StrCat(mount.root, rest);
}

const MountLine* Find(const std::vector<MountLine>& lines, uint64_t id) {
  for (const MountLine& line : lines) {
    if (line.id == id) return &line;
  }
  return nullptr;
}

std::string Who(const MountTables::Table& table) {
  return table.process == 0 ? "" : absl::StrCat(" for ", table.command, " (process ", table.process, ")");
}

std::string NameOf(const std::string& proc, int process) {
  const absl::StatusOr<std::string> name = ReadFile(absl::StrCat(proc, "/", process, "/comm"), 100);
  return name.ok() ? std::string(absl::StripAsciiWhitespace(*name)) : "a process";
}

void Add(const std::string& proc, absl::string_view process, int number, MountTables* tables) {
  const absl::StatusOr<std::string> text = ReadFile(absl::StrCat(proc, "/", process, "/mountinfo"), kMaxTableBytes);
  if (!text.ok()) return;
  tables->tables.push_back({number, number == 0 ? "" : NameOf(proc, number), ParseMounts(*text)});
}

std::string NamespaceOf(const std::string& proc, absl::string_view process) {
  char link[100];
  const ssize_t size = readlink(absl::StrCat(proc, "/", process, "/ns/mnt").c_str(), link, sizeof(link));
  return size > 0 ? std::string(link, static_cast<size_t>(size)) : std::string();
}

}  // namespace

std::string UnescapeMountField(absl::string_view text) {
  std::string plain;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\' || i + 3 >= text.size()) {
      plain.push_back(text[i]);
      continue;
    }
    plain.push_back(static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0')));
    i += 3;
  }
  return plain;
}

std::vector<MountLine> ParseMounts(absl::string_view mountinfo) {
  std::vector<MountLine> lines;
  for (const absl::string_view text : absl::StrSplit(mountinfo, '\n', absl::SkipEmpty())) {
    const std::vector<absl::string_view> fields = absl::StrSplit(text, ' ');
    MountLine line;
    if (fields.size() < 5 || !absl::SimpleAtoi(fields[0], &line.id) || !absl::SimpleAtoi(fields[1], &line.parent)) {
      continue;
    }
    line.device = std::string(fields[2]);
    line.root = UnescapeMountField(fields[3]);
    line.point = UnescapeMountField(fields[4]);
    line.layers = LayersOf(fields);
    lines.push_back(std::move(line));
  }
  return lines;
}

namespace {

// The mount of the table on which the path lies, as far as the table tells.
const MountLine* MountOf(const std::vector<MountLine>& lines, const std::string& path) {
  const MountLine* found = nullptr;
  for (const MountLine& line : lines) {
    if (line.point != path && !IsBelow(path, line.point)) continue;
    // A later one lies over an earlier one.
    if (found == nullptr || line.point.size() >= found->point.size()) found = &line;
  }
  return found;
}

std::string RealPath(const std::string& path) {
  char resolved[PATH_MAX];
  return realpath(path.c_str(), resolved) == nullptr ? path : std::string(resolved);
}

// Whether the layer is the folder at `path` or lies in it. `place`: the same folder in the file system of `own`.
bool HasLayer(const std::string& layer, const MountTables::Table& table, const MountLine& own, const std::string& path,
              const std::string& place) {
  const auto is_within = [](const std::string& inner, const std::string& outer) {
    return inner == outer || IsBelow(inner, outer);
  };
  if (!absl::StartsWith(layer, "/")) {
    // It began at the working folder of whoever mounted it, which is not known any more.
    for (std::string above = path;; above.resize(above.rfind('/'))) {
      const std::string guess = absl::StrCat(above, "/", layer);
      if (is_within(guess, path) && access(guess.c_str(), F_OK) == 0) return true;
      if (above.empty()) return false;
    }
  }
  if (is_within(layer, path) || is_within(RealPath(layer), path)) return true;
  const MountLine* const mount = MountOf(table.lines, layer);
  return mount != nullptr && mount->device == own.device && is_within(InFileSystem(*mount, layer), place);
}

}  // namespace

MountTables MountTables::Read(const std::string& proc) {
  MountTables tables;
  if (proc.empty()) return tables;
  Add(proc, "self", 0, &tables);
  std::set<std::string> seen = {NamespaceOf(proc, "self"), ""};
  for (const std::string& name : FolderNames(proc)) {
    int process = 0;
    if (!absl::SimpleAtoi(name, &process)) continue;
    if (seen.insert(NamespaceOf(proc, name)).second) Add(proc, name, process, &tables);
  }
  return tables;
}

std::string MountTables::UserOf(uint64_t mount_id, const std::string& path, bool below) const {
  if (tables.empty() || tables[0].process != 0) return "";
  const MountLine* const own = Find(tables[0].lines, mount_id);
  if (own == nullptr) return "";
  const std::string place = InFileSystem(*own, path);
  const auto concerns = [&](const std::string& other) { return other == place || (below && IsBelow(other, place)); };
  for (const Table& table : tables) {
    for (const MountLine& line : table.lines) {
      for (const std::string& layer : line.layers) {
        if (!below || line.id == own->id || !HasLayer(layer, table, *own, path, place)) continue;
        return absl::StrCat(layer, " is a layer of the file system that is mounted at ", line.point, Who(table));
      }
      if (table.process == 0 && line.id == own->id) continue;
      if (line.device == own->device && concerns(line.root)) {
        // A copy of this namespace has the mount of the target too, at the same place.
        if (line.root == own->root && line.point == own->point) continue;
        return absl::StrCat(line.root == place ? path : absl::StrCat("a part of ", path), " is mounted at ", line.point,
                            Who(table));
      }
      const MountLine* const parent = Find(table.lines, line.parent);
      if (table.process == 0 || parent == nullptr || parent->device != own->device) continue;
      if (line.point != parent->point && IsBelow(line.point, parent->point) &&
          concerns(InFileSystem(*parent, line.point))) {
        return absl::StrCat("something is mounted at ", line.point, " in ", path, Who(table));
      }
    }
  }
  return "";
}

std::vector<std::string> MountTables::OtherPathsOf(uint64_t mount_id, const std::string& path) const {
  std::vector<std::string> paths;
  if (tables.empty() || tables[0].process != 0) return paths;
  const MountLine* const own = Find(tables[0].lines, mount_id);
  if (own == nullptr) return paths;
  const std::string place = InFileSystem(*own, path);
  for (const MountLine& line : tables[0].lines) {
    if (line.device != own->device || (place != line.root && !IsBelow(place, line.root))) continue;
    const std::string rest = line.root == "/" ? place : place.substr(line.root.size());
    std::string other = absl::StrCat(line.point == "/" ? "" : line.point, rest == "/" ? "" : rest);
    if (other != path && FileIdOf(other) == FileIdOf(path)) paths.push_back(std::move(other));
  }
  return paths;
}

uint64_t MountIdOf(int fd) {
  struct statx info;
  if (statx(fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &info) != 0 || (info.stx_mask & STATX_MNT_ID) == 0) return 0;
  return info.stx_mnt_id;
}

std::string MountUserOf(int fd, const std::string& path, const std::string& proc) {
  return MountTables::Read(proc).UserOf(MountIdOf(fd), path, /*below=*/true);
}

}  // namespace parley::agent
