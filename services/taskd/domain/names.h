// Parses and makes the names of tasks, clients and join keys.
//
// Threads: pure functions.
#ifndef PARLEY_SERVICES_TASKD_DOMAIN_NAMES_H_
#define PARLEY_SERVICES_TASKD_DOMAIN_NAMES_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace parley::taskd {

// A task's id has 3 to 32 characters of [a-z0-9-], with a letter first and no '-' last.
bool IsTaskId(absl::string_view id);
// A client's id has 1 to 64 characters of [a-z0-9._-], with a letter or digit first.
bool IsClientId(absl::string_view id);

struct ParticipantId {
  std::string task;
  std::string client;
};
struct JoinKeyId {
  std::string task;
  // 32 hex digits.
  std::string serial;
};
struct RevisionId {
  std::string task;
  int64_t revision = 0;
};

// Each returns INVALID_ARGUMENT (NAME_MALFORMED) with the form that was expected.
absl::StatusOr<std::string> ParseTaskName(absl::string_view name);
absl::StatusOr<ParticipantId> ParseParticipantName(absl::string_view name);
absl::StatusOr<JoinKeyId> ParseJoinKeyName(absl::string_view name);
absl::StatusOr<RevisionId> ParseRevisionName(absl::string_view name);

std::string TaskName(absl::string_view task);
std::string ParticipantName(absl::string_view task, absl::string_view client);
std::string JoinKeyName(absl::string_view task, absl::string_view serial);
std::string RevisionName(absl::string_view task, int64_t revision);

// Returns 13 characters that stand for the client within its task: 65 bits of a hash, because a key's subject has no
// place for 64 characters.
std::string ClientTag(absl::string_view task, absl::string_view client);
// Returns the subject of a member key: "{task}/{tag}".
std::string MemberSubject(absl::string_view task, absl::string_view tag);
// The two parts of such a subject, which are empty if it is none.
struct MemberId {
  std::string task;
  std::string tag;
};
MemberId ParseMemberSubject(absl::string_view subject);

// Makes an id that says what the title says, and ends with 4 letters of `random`, which has at least 3 bytes.
std::string TaskIdFromTitle(absl::string_view title, absl::string_view random);

}  // namespace parley::taskd

#endif  // PARLEY_SERVICES_TASKD_DOMAIN_NAMES_H_
