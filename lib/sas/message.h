// The messages of an enrolment as bytes: which side speaks at which step, for which attempt, and how long each message
// may be.
//
// docs/protocol/sas.md has the layout. A relay needs this header alone: it learns step and sender, refuses what the two
// sides would refuse without a key, and passes the rest on as it came.
//
// Threads: free functions without state.
#ifndef PARLEY_LIB_SAS_MESSAGE_H_
#define PARLEY_LIB_SAS_MESSAGE_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace parley::sas {

inline constexpr uint8_t kVersion = 1;
inline constexpr int kLastStep = 8;
inline constexpr size_t kHeaderBytes = 40;
inline constexpr size_t kKeyBytes = 32;
inline constexpr size_t kNonceBytes = 32;
inline constexpr size_t kMacBytes = 32;
inline constexpr size_t kSealTagBytes = 16;
// The limit for what steps 6 to 8 carry, before sealing.
inline constexpr size_t kMaxPayloadBytes = 64 * 1024;
inline constexpr size_t kMaxMessageBytes = kHeaderBytes + kMaxPayloadBytes + kSealTagBytes;

enum class Role : uint8_t { kGreeter = 1, kClaimer = 2 };
enum class Kind : uint8_t { kUser = 1, kDevice = 2 };

// What both sides must agree on. Every key, code and MAC depends on it.
struct Context {
  // 1 to 255 bytes each.
  std::string organisation;
  std::string invitation;
  // 1 or more, and higher at each attempt of an invitation.
  uint32_t attempt = 0;
  Kind kind = Kind::kUser;
};

// Returns INVALID_ARGUMENT (SAS_CONTEXT) for an empty or overlong name, attempt 0, or an unknown kind.
absl::Status CheckContext(const Context& context);

// Returns the bytes that stand for a context in transcripts. Two contexts never share them.
std::string EncodeContext(const Context& context);

constexpr Role Other(Role role) { return role == Role::kGreeter ? Role::kClaimer : Role::kGreeter; }

// Returns whether this role has a message at this step: both have one at 0, and then one side at a time. A message of a
// step is sent only after all messages of the steps before it.
constexpr bool SpeaksAt(Role role, int step) {
  if (step < 0 || step > kLastStep) return false;
  if (step == 0) return true;
  return (role == Role::kGreeter) == (step == 2 || step == 5 || step == 7);
}

struct Message {
  Role sender;
  int step;
  // The body lies within the bytes that were read, which must outlive this.
  absl::string_view body;
};

// Returns the header of `sender`'s message at `step`: 40 bytes.
std::string EncodeHeader(const Context& context, Role sender, int step);

// Reads a message. Returns INVALID_ARGUMENT, by the first of these that is wrong: SAS_VERSION, SAS_LENGTH (of the
// header), SAS_OTHER_ORGANISATION, SAS_OTHER_INVITATION, SAS_OTHER_KIND, SAS_OTHER_ATTEMPT, SAS_STEP (none such),
// SAS_ROLE (this sender has no message at this step), SAS_LENGTH (of the body).
absl::StatusOr<Message> ReadMessage(const Context& context, absl::string_view bytes);

}  // namespace parley::sas

#endif  // PARLEY_LIB_SAS_MESSAGE_H_
