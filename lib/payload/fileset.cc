#include "lib/payload/fileset.h"

#include <algorithm>
#include <optional>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/base/utf8.h"
#include "lib/crypto/hash.h"

namespace parley::payload {
namespace {

using task::v1::FileEntry;

// What a file system takes as one name.
constexpr size_t kMaxNameBytes = 255;
constexpr absl::string_view kDigestContext("parley fileset v1\0", 18);

// A path as it may stand in a sentence: printable and of bounded length.
std::string Shown(absl::string_view path) {
  constexpr size_t kLimit = 120;
  return absl::StrCat("\"", absl::Utf8SafeCEscape(path.substr(0, kLimit)), path.size() > kLimit ? "…" : "", "\"");
}

absl::Status Refuse(absl::string_view reason, absl::string_view path, absl::string_view why) {
  return InvalidArgument(reason, "payload entry ", Shown(path), " ", why);
}

// Control characters would let a name act on the terminal of who reads it.
absl::Status ValidateText(absl::string_view path, absl::string_view text) {
  while (!text.empty()) {
    const unsigned char first = static_cast<unsigned char>(text[0]);
    if (first < 0x20 || first == 0x7f) return Refuse("PATH_MALFORMED", path, "has a control character in its name");
    const std::optional<CodePoint> point = FirstCodePoint(text);
    if (!point.has_value()) return Refuse("PATH_MALFORMED", path, "is not UTF-8");
    text.remove_prefix(point->bytes);
  }
  return absl::OkStatus();
}

// Calls `visit` with each part between slashes, empty ones included.
template <typename Visit>
absl::Status ForEachPart(absl::string_view path, Visit visit) {
  while (true) {
    const size_t slash = path.find('/');
    RETURN_IF_ERROR(visit(path.substr(0, slash)));
    if (slash == absl::string_view::npos) return absl::OkStatus();
    path.remove_prefix(slash + 1);
  }
}

absl::Status ValidatePath(absl::string_view path) {
  if (path.empty()) return Refuse("PATH_MALFORMED", path, "has no name");
  if (path.size() > kMaxPathBytes) {
    return Refuse("PATH_TOO_LONG", path, absl::StrCat("has a path over ", kMaxPathBytes, " bytes; shorten it"));
  }
  if (path[0] == '/') return Refuse("PATH_ABSOLUTE", path, "has an absolute path");
  RETURN_IF_ERROR(ValidateText(path, path));
  return ForEachPart(path, [path](absl::string_view part) {
    if (part == "..") return Refuse("PATH_ESCAPES", path, "leaves the payload by \"..\"");
    if (part.empty() || part == ".") return Refuse("PATH_MALFORMED", path, "has an empty part or a \".\" in its path");
    if (part.size() > kMaxNameBytes) {
      return Refuse("PATH_TOO_LONG", path, absl::StrCat("has a name over ", kMaxNameBytes, " bytes; shorten it"));
    }
    return absl::OkStatus();
  });
}

// The target may climb with ".." at its beginning only: behind a name, which may be a link too, ".." would not go
// back to where the name stands.
absl::Status ValidateLink(const FileEntry& entry) {
  const absl::string_view path = entry.path();
  const absl::string_view target = entry.link_target();
  if (entry.mode() != 0 || entry.size() != 0 || !entry.sha256().empty() || entry.chunks_size() != 0) {
    return Refuse("FILE_TYPE", path, "is a link with the content or mode of a file");
  }
  if (target.empty()) return Refuse("LINK_MALFORMED", path, "is a link to nothing");
  if (target.size() > kMaxPathBytes) {
    return Refuse("PATH_TOO_LONG", path, absl::StrCat("is a link whose target is over ", kMaxPathBytes, " bytes"));
  }
  if (target[0] == '/') {
    return Refuse("LINK_ESCAPES", path, "is a link to an absolute path; make it relative and inside the payload");
  }
  RETURN_IF_ERROR(ValidateText(path, target));
  auto depth = std::count(path.begin(), path.end(), '/');
  bool named = false;
  return ForEachPart(target, [&](absl::string_view part) {
    if (part.empty()) return Refuse("LINK_MALFORMED", path, "is a link whose target has an empty part");
    if (part.size() > kMaxNameBytes) return Refuse("PATH_TOO_LONG", path, "is a link whose target has too long a name");
    if (part == ".") return absl::OkStatus();
    if (part != "..") {
      named = true;
      return absl::OkStatus();
    }
    if (named) return Refuse("LINK_ESCAPES", path, "is a link with \"..\" behind a name; write its target shorter");
    if (--depth < 0) return Refuse("LINK_ESCAPES", path, "is a link that leaves the payload");
    return absl::OkStatus();
  });
}

absl::Status ValidateRegular(const FileEntry& entry) {
  const absl::string_view path = entry.path();
  if (!entry.link_target().empty()) return Refuse("FILE_TYPE", path, "is a file with a link's target");
  if (entry.mode() > 0777) {
    return Refuse("FILE_MODE", path, "has mode bits beyond 0777 (set-user-id, set-group-id or sticky)");
  }
  if (entry.size() < 0) return Refuse("FILE_SIZE", path, "has a negative size");
  if (entry.size() > kMaxPayloadBytes) return Refuse("PAYLOAD_TOO_LARGE", path, "is larger than 1 GiB");
  if (entry.sha256().size() != crypto::kSha256Bytes) return Refuse("FILE_DIGEST", path, "has no SHA-256 of 32 bytes");
  if (entry.chunks_size() != (entry.size() + kChunkBytes - 1) / kChunkBytes) {
    return Refuse("CHUNK_COUNT", path, "has another number of chunks than its size needs");
  }
  for (const std::string& chunk : entry.chunks()) {
    if (chunk.size() != crypto::kSha256Bytes) return Refuse("CHUNK_COUNT", path, "has a chunk without a SHA-256");
  }
  return absl::OkStatus();
}

absl::Status ValidateEntry(const FileEntry& entry) {
  RETURN_IF_ERROR(ValidatePath(entry.path()));
  switch (entry.type()) {
    case FileEntry::TYPE_REGULAR:
      return ValidateRegular(entry);
    case FileEntry::TYPE_SYMLINK:
      return ValidateLink(entry);
    default:
      return Refuse("FILE_TYPE", entry.path(), "is neither a file nor a link");
  }
}

// With '/' before every other byte, what lies below "a" follows "a" at once, so neighbours show every conflict.
bool LessByParts(const FileEntry* a, const FileEntry* b) {
  const auto rank = [](char c) { return c == '/' ? 0 : static_cast<unsigned char>(c); };
  return std::lexicographical_compare(a->path().begin(), a->path().end(), b->path().begin(), b->path().end(),
                                      [rank](char x, char y) { return rank(x) < rank(y); });
}

absl::Status ValidateNesting(const Files& files) {
  std::vector<const FileEntry*> entries;
  entries.reserve(static_cast<size_t>(files.size()));
  for (const FileEntry& entry : files) entries.push_back(&entry);
  std::sort(entries.begin(), entries.end(), LessByParts);
  for (size_t i = 1; i < entries.size(); ++i) {
    const std::string& above = entries[i - 1]->path();
    const std::string& below = entries[i]->path();
    if (below.size() <= above.size() || below[above.size()] != '/' || below.compare(0, above.size(), above) != 0) {
      continue;
    }
    const bool link = entries[i - 1]->type() == FileEntry::TYPE_SYMLINK;
    return Refuse(link ? "PATH_BELOW_LINK" : "PATH_BELOW_FILE", below,
                  absl::StrCat("lies below ", Shown(above), ", which is a ", link ? "link" : "file"));
  }
  return absl::OkStatus();
}

void AppendText(absl::string_view text, std::string* out) { absl::StrAppend(out, BigEndian(text.size(), 4), text); }

}  // namespace

absl::Status ValidateFiles(const Files& files) {
  if (files.empty()) {
    return InvalidArgument("PAYLOAD_EMPTY", "the payload has no files");
  }
  if (files.size() > kMaxFiles) {
    return InvalidArgument("TOO_MANY_FILES", "the payload has ", files.size(), " files, over the limit of ", kMaxFiles);
  }
  int64_t total = 0;
  const FileEntry* previous = nullptr;
  for (const FileEntry& entry : files) {
    RETURN_IF_ERROR(ValidateEntry(entry));
    if (previous != nullptr && previous->path() == entry.path())
      return Refuse("PATH_TWICE", entry.path(), "is there twice");
    if (previous != nullptr && previous->path() > entry.path()) {
      return Refuse("PATH_ORDER", entry.path(), "is not sorted by path, bytewise");
    }
    previous = &entry;
    total += entry.size();  // Each is at most kMaxPayloadBytes, and so is the sum after every round.
    if (total > kMaxPayloadBytes) {
      return InvalidArgument("PAYLOAD_TOO_LARGE", "the payload is larger than 1 GiB");
    }
  }
  return ValidateNesting(files);
}

std::string DigestFiles(const Files& files) {
  crypto::Sha256Stream stream;
  std::string bytes = absl::StrCat(kDigestContext, BigEndian(static_cast<uint64_t>(files.size()), 4));
  for (const FileEntry& entry : files) {
    AppendText(entry.path(), &bytes);
    if (entry.type() == FileEntry::TYPE_SYMLINK) {
      bytes.push_back(2);
      AppendText(entry.link_target(), &bytes);
    } else {
      bytes.push_back(1);
      absl::StrAppend(&bytes, BigEndian(entry.mode(), 4), BigEndian(static_cast<uint64_t>(entry.size()), 8),
                      entry.sha256());
    }
    stream.Update(bytes);
    bytes.clear();
  }
  stream.Update(bytes);
  return stream.Finish();
}

int64_t TotalBytes(const Files& files) {
  int64_t total = 0;
  for (const FileEntry& entry : files) total += entry.size();
  return total;
}

}  // namespace parley::payload
