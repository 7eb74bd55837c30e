// Quantities as people read and write them.
#ifndef PARLEY_CLIENTS_CLI_FORMAT_H_
#define PARLEY_CLIENTS_CLI_FORMAT_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace parley::cli {

// "917 B", "4.2 KiB", "1.0 GiB".
std::string BytesText(int64_t bytes);
// "1 file", "3 files".
std::string Count(int64_t count, absl::string_view noun);
// "31 ms", "2.4 s", "3 min".
std::string DurationText(absl::Duration duration);
// "2026-11-22 23:10 UTC"; "never" for the infinite future.
std::string TimeText(absl::Time time);

// "90s", "15m", "24h", "7d", also joined: "1h30m". A usage error names the option.
absl::StatusOr<absl::Duration> ParseDuration(absl::string_view option, absl::string_view text);
// As ParseDuration, within bounds; `meaning` says what is bounded: "a task stays open".
absl::StatusOr<absl::Duration> ParseTtl(absl::string_view option, absl::string_view text, absl::Duration least,
                                        absl::string_view meaning);
// "2026-11-22T23:10:00Z" (RFC 3339), or a duration from now.
absl::StatusOr<absl::Time> ParseTime(absl::string_view option, absl::string_view text, absl::Time now);
// "key=value" each.
absl::StatusOr<std::map<std::string, std::string>> ParsePairs(absl::string_view option,
                                                              const std::vector<std::string>& pairs);

// OK for host:port, with a port that can be connected to and an IPv6 address in brackets; else a usage error that names
// the option.
absl::Status CheckAddress(absl::string_view option, absl::string_view text);

// "23:10 UTC" today, else as TimeText.
std::string ShortTime(absl::Time time, absl::Time now);

// A UUID of version 4, for request_id.
std::string NewRequestId();

}  // namespace parley::cli

#endif  // PARLEY_CLIENTS_CLI_FORMAT_H_
