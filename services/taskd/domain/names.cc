#include "services/taskd/domain/names.h"

#include <algorithm>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/crypto/hash.h"

namespace parley::taskd {
namespace {

constexpr size_t kMaxTaskIdBytes = 32;
constexpr size_t kTagChars = 13;
constexpr size_t kRandomChars = 4;
constexpr size_t kSerialHexChars = 32;

bool IsLowerOrDigit(char c) { return absl::ascii_islower(c) || absl::ascii_isdigit(c); }

bool IsSerialHex(absl::string_view text) {
  return text.size() == kSerialHexChars &&
         std::all_of(text.begin(), text.end(), [](char c) { return absl::ascii_isdigit(c) || (c >= 'a' && c <= 'f'); });
}

absl::Status Malformed(absl::string_view name, absl::string_view form) {
  return Error(absl::StatusCode::kInvalidArgument, "NAME_MALFORMED",
               absl::StrCat("\"", absl::CHexEscape(name.substr(0, 120)), "\" is not a name of the form ", form));
}

}  // namespace

bool IsTaskId(absl::string_view id) {
  return id.size() >= 3 && id.size() <= kMaxTaskIdBytes && absl::ascii_islower(id.front()) && id.back() != '-' &&
         std::all_of(id.begin(), id.end(), [](char c) { return IsLowerOrDigit(c) || c == '-'; });
}

bool IsClientId(absl::string_view id) {
  return !id.empty() && id.size() <= 64 && IsLowerOrDigit(id.front()) && std::all_of(id.begin(), id.end(), [](char c) {
    return IsLowerOrDigit(c) || c == '.' || c == '_' || c == '-';
  });
}

absl::StatusOr<std::string> ParseTaskName(absl::string_view name) {
  const std::vector<absl::string_view> parts = absl::StrSplit(name, '/');
  if (parts.size() != 2 || parts[0] != "tasks" || !IsTaskId(parts[1])) return Malformed(name, "tasks/{task}");
  return std::string(parts[1]);
}

absl::StatusOr<ParticipantId> ParseParticipantName(absl::string_view name) {
  const std::vector<absl::string_view> parts = absl::StrSplit(name, '/');
  if (parts.size() != 4 || parts[0] != "tasks" || parts[2] != "participants" || !IsTaskId(parts[1]) ||
      !IsClientId(parts[3])) {
    return Malformed(name, "tasks/{task}/participants/{client}");
  }
  return ParticipantId{std::string(parts[1]), std::string(parts[3])};
}

absl::StatusOr<JoinKeyId> ParseJoinKeyName(absl::string_view name) {
  const std::vector<absl::string_view> parts = absl::StrSplit(name, '/');
  if (parts.size() != 4 || parts[0] != "tasks" || parts[2] != "joinKeys" || !IsTaskId(parts[1]) ||
      !IsSerialHex(parts[3])) {
    return Malformed(name, "tasks/{task}/joinKeys/{serial}");
  }
  return JoinKeyId{std::string(parts[1]), std::string(parts[3])};
}

absl::StatusOr<RevisionId> ParseRevisionName(absl::string_view name) {
  const std::vector<absl::string_view> parts = absl::StrSplit(name, '/');
  RevisionId id;
  // One form for each revision: "01" and "+1" are no numbers here.
  if (parts.size() != 4 || parts[0] != "tasks" || parts[2] != "revisions" || !IsTaskId(parts[1]) ||
      !absl::SimpleAtoi(parts[3], &id.revision) || id.revision < 1 || parts[3] != absl::StrCat(id.revision)) {
    return Malformed(name, "tasks/{task}/revisions/{revision}");
  }
  id.task = std::string(parts[1]);
  return id;
}

std::string TaskName(absl::string_view task) { return absl::StrCat("tasks/", task); }

std::string ParticipantName(absl::string_view task, absl::string_view client) {
  return absl::StrCat("tasks/", task, "/participants/", client);
}

std::string JoinKeyName(absl::string_view task, absl::string_view serial) {
  return absl::StrCat("tasks/", task, "/joinKeys/", serial);
}

std::string RevisionName(absl::string_view task, int64_t revision) {
  return absl::StrCat("tasks/", task, "/revisions/", revision);
}

std::string ClientTag(absl::string_view task, absl::string_view client) {
  // Neither can hold a '/', so no two pairs give the same bytes.
  return Base32Encode(crypto::Sha256(absl::StrCat("parley participant v1/", task, "/", client))).substr(0, kTagChars);
}

std::string MemberSubject(absl::string_view task, absl::string_view tag) { return absl::StrCat(task, "/", tag); }

MemberId ParseMemberSubject(absl::string_view subject) {
  const std::vector<absl::string_view> parts = absl::StrSplit(subject, '/');
  if (parts.size() != 2 || !IsTaskId(parts[0]) || parts[1].size() != kTagChars) return {};
  return {std::string(parts[0]), std::string(parts[1])};
}

std::string TaskIdFromTitle(absl::string_view title, absl::string_view random) {
  std::string id;
  for (const char c : title) {
    const char lower = absl::ascii_tolower(c);
    if (IsLowerOrDigit(lower)) {
      id += lower;
    } else if (!id.empty() && id.back() != '-') {
      id += '-';
    }
    if (id.size() == kMaxTaskIdBytes - kRandomChars - 1) break;
  }
  while (!id.empty() && id.back() == '-') id.pop_back();
  if (id.empty() || !absl::ascii_islower(id.front())) {
    id = absl::StrCat("task", id.empty() ? "" : "-", id);
    id.resize(std::min(id.size(), kMaxTaskIdBytes - kRandomChars - 1));
    while (id.back() == '-') id.pop_back();
  }
  return absl::StrCat(id, "-", absl::AsciiStrToLower(Base32Encode(random).substr(0, kRandomChars)));
}

}  // namespace parley::taskd
