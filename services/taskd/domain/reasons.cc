#include "services/taskd/domain/reasons.h"

namespace parley::taskd {

std::string ExplainReason(absl::string_view code) {
  if (code == "encoding") return "the client can not take zstd; update the client";
  if (code == "newer_revision") return "a newer revision than the task's is installed";
  if (code == "no_space") return "the payload is larger than the client's free space";
  if (code == "outside_window") return "no window of the client's opens before the task ends";
  if (code == "before_window") return "the next window of the client's is yet to open";
  if (code == "not_started") return "the task has not started yet";
  if (code == "paused") return "the task is paused";
  if (code == kReasonHalted) return "the task was halted after too many failures";
  if (code == kReasonRetry) return "another attempt was asked for; it comes when the client is connected";
  if (code == kReasonNotSelected)
    return "the task does not select a device with these labels and facts; an admin changes labels with `parley key "
           "label`";
  if (code == kReasonLabelsUnknown) return "the server has not heard yet what labels the device has";
  if (code == kReasonNextWave) return "the client is in a wave of the roll-out that is yet to open";
  if (code == kReasonTakenOver) return "another task has installed over files of this one";
  if (code == kReasonDrifted) return "what is installed is not what was confirmed";
  if (code == "revoked") return "the client's key was revoked";
  if (code == "answer_lease") return "the offer was not answered in time";
  if (code == "transfer_lease") return "the transfer made no progress for too long";
  if (code == "apply_lease") return "applying took too long";
  if (code == "task_expired") return "the task's time is over";
  if (code == "task_aborted") return "the task was aborted";
  if (code == "task_superseded") return "another task took its place";
  if (code == "task_completed") return "the task was completed without this client";
  return std::string(code);
}

}  // namespace parley::taskd
