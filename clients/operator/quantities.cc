#include "clients/operator/quantities.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "lib/base/proto_time.h"

namespace parley::ops {

std::string BytesText(int64_t bytes) {
  if (bytes < 1024) return absl::StrCat(bytes, " B");
  double amount = static_cast<double>(bytes);
  const char* unit = "B";
  for (const char* next : {"KiB", "MiB", "GiB", "TiB"}) {
    if (amount < 1023.95) break;
    amount /= 1024;
    unit = next;
  }
  return absl::StrFormat("%.1f %s", amount, unit);
}

std::string Count(int64_t count, absl::string_view noun) {
  return absl::StrCat(count, " ", noun, count == 1 ? "" : "s");
}

std::string DurationText(absl::Duration duration) {
  if (duration < absl::Seconds(1)) return absl::StrCat(absl::ToInt64Milliseconds(duration), " ms");
  if (duration < absl::Minutes(2)) return absl::StrFormat("%.1f s", absl::ToDoubleSeconds(duration));
  if (duration < absl::Hours(2)) return absl::StrCat(absl::ToInt64Minutes(duration), " min");
  return absl::StrCat(absl::ToInt64Hours(duration), " h");
}

std::string TimeText(absl::Time time) { return time == absl::InfiniteFuture() ? "never" : ShowTime(time); }

}  // namespace parley::ops
