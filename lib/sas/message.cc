#include "lib/sas/message.h"

#include "absl/strings/str_cat.h"
#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/crypto/hash.h"
#include "lib/sas/reason.h"

namespace parley::sas {
namespace {

constexpr size_t kMaxNameBytes = 255;
constexpr size_t kTagBytes = 16;
constexpr size_t kKindAt = 1;
constexpr size_t kSenderAt = 2;
constexpr size_t kStepAt = 3;
constexpr size_t kAttemptAt = 4;
constexpr size_t kOrganisationAt = 8;
constexpr size_t kInvitationAt = kOrganisationAt + kTagBytes;
static_assert(kInvitationAt + kTagBytes == kHeaderBytes);

// Names what a message belongs to, so that a mix-up is told as one. It proves nothing: the transcript does.
std::string Tag(absl::string_view name) { return crypto::Sha256(name).substr(0, kTagBytes); }

std::string WithLength(absl::string_view name) { return absl::StrCat(BigEndian(name.size(), 1), name); }

bool IsBodySize(int step, size_t size) {
  if (step <= 5) return size == 32;
  return size >= kSealTagBytes && size <= kMaxPayloadBytes + kSealTagBytes;
}

}  // namespace

static_assert(kKeyBytes == 32 && kNonceBytes == 32 && kMacBytes == 32);

absl::Status CheckContext(const Context& context) {
  for (const std::string* name : {&context.organisation, &context.invitation}) {
    if (name->empty() || name->size() > kMaxNameBytes) {
      return InvalidArgument(kBadContext, "the organisation's and the invitation's name have 1 to 255 bytes each");
    }
  }
  if (context.attempt == 0) return InvalidArgument(kBadContext, "attempts of an invitation are counted from 1");
  if (context.kind != Kind::kUser && context.kind != Kind::kDevice) {
    return InvalidArgument(kBadContext, "an invitation is for a user or for a device");
  }
  return absl::OkStatus();
}

std::string EncodeContext(const Context& context) {
  return absl::StrCat("parley sas", BigEndian(kVersion, 1), BigEndian(static_cast<uint8_t>(context.kind), 1),
                      BigEndian(context.attempt, 4), WithLength(context.organisation), WithLength(context.invitation));
}

std::string EncodeHeader(const Context& context, Role sender, int step) {
  return absl::StrCat(
      std::string{kVersion, static_cast<char>(context.kind), static_cast<char>(sender), static_cast<char>(step)},
      BigEndian(context.attempt, 4), Tag(context.organisation), Tag(context.invitation));
}

absl::StatusOr<Message> ReadMessage(const Context& context, absl::string_view bytes) {
  if (!bytes.empty() && bytes[0] != kVersion) {
    return InvalidArgument(kWrongVersion,
                           "the other side speaks another version of enrolment; update the older parley");
  }
  if (bytes.size() < kHeaderBytes) {
    return InvalidArgument(kWrongLength, "an enrolment message is cut short; start a new attempt");
  }
  if (bytes.substr(kOrganisationAt, kTagBytes) != Tag(context.organisation)) {
    return InvalidArgument(kOtherOrganisation,
                           "the other side is enrolling into another organisation; compare your links");
  }
  if (bytes.substr(kInvitationAt, kTagBytes) != Tag(context.invitation)) {
    return InvalidArgument(kOtherInvitation, "the other side is using another invitation; compare your links");
  }
  if (bytes[kKindAt] != static_cast<char>(context.kind)) {
    return InvalidArgument(kOtherKind, "one side enrols a user and the other a device; compare your links");
  }
  if (bytes.substr(kAttemptAt, 4) != BigEndian(context.attempt, 4)) {
    return InvalidArgument(kOtherAttempt, "a message of another attempt came into this one; start a new attempt");
  }
  const int step = static_cast<uint8_t>(bytes[kStepAt]);
  if (step > kLastStep) return InvalidArgument(kWrongStep, "a message names a step that enrolment does not have");
  const Role sender = static_cast<Role>(bytes[kSenderAt]);
  if ((sender != Role::kGreeter && sender != Role::kClaimer) || !SpeaksAt(sender, step)) {
    return InvalidArgument(kWrongRole, "a message claims to be from a side that does not speak at its step");
  }
  const absl::string_view body = bytes.substr(kHeaderBytes);
  if (!IsBodySize(step, body.size())) {
    return InvalidArgument(kWrongLength, "the message of step ", step, " has ", body.size(),
                           " bytes, which no honest side sends; start a new attempt");
  }
  return Message{sender, step, body};
}

}  // namespace parley::sas
