#include "lib/rpc/page.h"

#include <optional>

#include "lib/base/encoding.h"
#include "lib/base/error.h"

namespace parley::rpc {

std::string PageToken(absl::string_view last_key) { return Base64UrlEncode(last_key); }

absl::Status ApplyPageToken(absl::string_view token, absl::string_view end, std::string* begin) {
  if (token.empty()) return absl::OkStatus();
  const std::optional<std::string> last = Base64UrlDecode(token);
  if (!last.has_value() || *last < *begin || *last >= end) {
    return InvalidArgument("PAGE_TOKEN", "page_token is not one that this list gave; begin again without it");
  }
  *begin = *last + '\0';
  return absl::OkStatus();
}

}  // namespace parley::rpc
