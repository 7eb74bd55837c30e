// Quantities in sentences for people.
//
// Threads: pure functions.
#ifndef PARLEY_CLIENTS_OPERATOR_QUANTITIES_H_
#define PARLEY_CLIENTS_OPERATOR_QUANTITIES_H_

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace parley::ops {

// Returns "917 B", "4.2 KiB", "1.0 GiB".
std::string BytesText(int64_t bytes);
// Returns "1 file", "3 files".
std::string Count(int64_t count, absl::string_view noun);
// Returns "31 ms", "2.4 s", "3 min".
std::string DurationText(absl::Duration duration);
// Returns "2026-11-22 23:10 UTC"; "never" for the infinite future.
std::string TimeText(absl::Time time);

}  // namespace parley::ops

#endif  // PARLEY_CLIENTS_OPERATOR_QUANTITIES_H_
