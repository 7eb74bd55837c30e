#include "lib/sas/attempts.h"

#include "lib/base/error.h"
#include "lib/sas/reason.h"

namespace parley::sas {

absl::Status Attempts::Begin(uint32_t attempt) {
  const auto refusal = [](absl::string_view reason, absl::string_view sentence) {
    return FailedPrecondition(reason, sentence);
  };
  if (locked()) {
    return refusal(kLocked, "the invitation is locked after three suspected attacks; cancel it and invite again");
  }
  if (unseen) return refusal(kUnseen, "the last attempt ended in suspicion, and nobody has said to go on");
  if (attempt <= last) return refusal(kAttemptReused, "this attempt was begun before; start a new one");
  last = attempt;
  return absl::OkStatus();
}

void Attempts::Suspect() {
  if (!locked()) ++suspected;
  unseen = true;
}

}  // namespace parley::sas
