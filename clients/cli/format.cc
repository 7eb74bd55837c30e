#include "clients/cli/format.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_join.h"
#include "clients/cli/command.h"
#include "clients/cli/terminal.h"
#include "lib/base/error.h"
#include "lib/keys/roles.h"
#include "lib/transport/address.h"

namespace parley::cli {
namespace {

constexpr absl::Duration kMostTtl = absl::Hours(24 * 366);

}  // namespace

absl::StatusOr<absl::Duration> ParseDuration(absl::string_view option, absl::string_view text) {
  const std::map<char, absl::Duration> units = {
      {'s', absl::Seconds(1)}, {'m', absl::Minutes(1)}, {'h', absl::Hours(1)}, {'d', absl::Hours(24)}};
  absl::Duration sum;
  absl::string_view rest = text;
  while (!rest.empty()) {
    const size_t digits = std::min(rest.find_first_not_of("0123456789"), rest.size() - 1);
    const auto unit = units.find(rest[digits]);
    int64_t number = 0;
    if (unit == units.end() || digits > 9 || !absl::SimpleAtoi(rest.substr(0, digits), &number)) break;
    sum += number * unit->second;
    rest.remove_prefix(digits + 1);
  }
  if (text.empty() || !rest.empty()) {
    return UsageError(option, " \"", text.substr(0, 40),
                      "\" is not a length of time; write it like 90s, 15m, 24h or 7d");
  }
  return sum;
}

absl::StatusOr<absl::Duration> ParseTtl(absl::string_view option, absl::string_view text, absl::Duration least,
                                        absl::string_view meaning) {
  ASSIGN_OR_RETURN(const absl::Duration ttl, ParseDuration(option, text));
  if (ttl < least || ttl > kMostTtl) {
    return UsageError(option, " ", text, " is too ", ttl < least ? "short" : "long", "; ", meaning, " ",
                      least < absl::Minutes(1) ? "1 second" : "1 minute", " to 366 days, e.g. ", option, " 24h");
  }
  return ttl;
}

absl::StatusOr<absl::Time> ParseTime(absl::string_view option, absl::string_view text, absl::Time now) {
  absl::Time time;
  std::string why;
  if (absl::ParseTime(absl::RFC3339_full, text, &time, &why)) return time;
  if (absl::StatusOr<absl::Duration> from_now = ParseDuration(option, text); from_now.ok()) return now + *from_now;
  return UsageError(option, " \"", text.substr(0, 40),
                    "\" is not a time; write it like 2026-11-22T23:10:00Z, or like 2h for in two hours");
}

absl::StatusOr<access::v1::Role> ParseRole(absl::string_view option, const std::string& text,
                                           const std::vector<access::v1::Role>& among) {
  std::vector<std::string> names;
  for (const access::v1::Role role : among) {
    names.push_back(keys::RoleName(role));
    if (absl::EqualsIgnoreCase(text, names.back())) return role;
  }
  return UsageError(option, " is one of ", absl::StrJoin(names, ", "));
}

absl::StatusOr<std::map<std::string, std::string>> ParsePairs(absl::string_view option,
                                                              const std::vector<std::string>& pairs) {
  std::map<std::string, std::string> parsed;
  for (const std::string& pair : pairs) {
    const size_t equals = pair.find('=');
    if (equals == std::string::npos || equals == 0) {
      return UsageError(option, " \"", pair.substr(0, 40), "\" is not of the form key=value");
    }
    if (!parsed.emplace(pair.substr(0, equals), pair.substr(equals + 1)).second) {
      return UsageError(option, " ", pair.substr(0, std::min<size_t>(equals, 40)),
                        " is given twice; give each key once");
    }
  }
  return parsed;
}

absl::Status CheckAddress(absl::string_view option, absl::string_view text) {
  const auto is_good = [](char c) {
    return absl::ascii_isgraph(static_cast<unsigned char>(c)) && c != '/' && c != '@';
  };
  if (transport::ParseServers(text).ok() && std::all_of(text.begin(), text.end(), is_good)) return absl::OkStatus();
  return UsageError(
      option, " \"", Printable(text.substr(0, 60)),
      "\" is not host:port; write it like taskd.example:7443 or [2001:db8::1]:7443, or several of these with "
      "commas between");
}

std::string ShortTime(absl::Time time, absl::Time now) {
  const absl::TimeZone utc = absl::UTCTimeZone();
  const bool today = absl::ToCivilDay(time, utc) == absl::ToCivilDay(now, utc);
  return today ? absl::FormatTime("%H:%M UTC", time, utc) : TimeText(time);
}

}  // namespace parley::cli
