// Quantities as people read and write them.
#ifndef PARLEY_CLIENTS_CLI_FORMAT_H_
#define PARLEY_CLIENTS_CLI_FORMAT_H_

#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "clients/operator/quantities.h"

namespace parley::cli {

using ops::BytesText;
using ops::Count;
using ops::DurationText;
using ops::TimeText;

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

}  // namespace parley::cli

#endif  // PARLEY_CLIENTS_CLI_FORMAT_H_
