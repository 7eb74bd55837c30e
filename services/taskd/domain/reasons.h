// The reason codes that taskd itself gives for where a client stands, and their sentences.
//
// Threads: pure functions.
#ifndef PARLEY_SERVICES_TASKD_DOMAIN_REASONS_H_
#define PARLEY_SERVICES_TASKD_DOMAIN_REASONS_H_

#include <string>

#include "absl/strings/string_view.h"

namespace parley::taskd {

inline constexpr absl::string_view kReasonTakenOver = "taken_over";
inline constexpr absl::string_view kReasonHalted = "task_halted";
inline constexpr absl::string_view kReasonDrifted = "drifted";
inline constexpr absl::string_view kReasonRetry = "retry";
inline constexpr absl::string_view kReasonNotSelected = "not_selected";
inline constexpr absl::string_view kReasonLabelsUnknown = "labels_unknown";
inline constexpr absl::string_view kReasonNextWave = "next_wave";

// Returns a sentence for a code of this server's, and the code itself for others.
std::string ExplainReason(absl::string_view code);

}  // namespace parley::taskd

#endif  // PARLEY_SERVICES_TASKD_DOMAIN_REASONS_H_
