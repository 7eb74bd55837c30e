// Values of options, as people write them, and times, as they read them.
//
// Threads: pure functions.
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
#include "parley/access/v1/access.pb.h"

namespace parley::cli {

using ops::BytesText;
using ops::Count;
using ops::DurationText;
using ops::TimeText;

// Parses "90s", "15m", "24h" or "7d", also joined: "1h30m". This function and those below return a usage error that
// names the option.
absl::StatusOr<absl::Duration> ParseDuration(absl::string_view option, absl::string_view text);
// Parses a duration from `least` to 366 days. `meaning` says what is bounded: "a task stays open". Returns a usage
// error.
absl::StatusOr<absl::Duration> ParseTtl(absl::string_view option, absl::string_view text, absl::Duration least,
                                        absl::string_view meaning);
// Parses "2026-11-22T23:10:00Z" (RFC 3339), or a duration from now. Returns a usage error.
absl::StatusOr<absl::Time> ParseTime(absl::string_view option, absl::string_view text, absl::Time now);
// Parses the name of one of the roles. Returns a usage error that names them all.
absl::StatusOr<access::v1::Role> ParseRole(absl::string_view option, const std::string& text,
                                           const std::vector<access::v1::Role>& among);
// Parses "key=value" each. Returns a usage error, also for a key that is given twice.
absl::StatusOr<std::map<std::string, std::string>> ParsePairs(absl::string_view option,
                                                              const std::vector<std::string>& pairs);

// Returns OK for host:port, with a port that can be connected to and an IPv6 address in brackets, and for several of
// these with commas between; or else a usage error.
absl::Status CheckAddress(absl::string_view option, absl::string_view text);

// Returns "23:10 UTC" if that is today, or else TimeText.
std::string ShortTime(absl::Time time, absl::Time now);

}  // namespace parley::cli

#endif  // PARLEY_CLIENTS_CLI_FORMAT_H_
