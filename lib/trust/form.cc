#include "lib/trust/form.h"

#include <cstdint>
#include <optional>

#include "lib/base/utf8.h"

namespace parley::trust {
namespace {

bool IsShown(uint32_t code) {
  if (code < 0x20 || (code >= 0x7f && code < 0xa0)) return false;
  // Zero width, direction marks, separators of lines and paragraphs, embeddings, isolates, the byte order mark.
  return !((code >= 0x200b && code <= 0x200f) || (code >= 0x2028 && code <= 0x202e) ||
           (code >= 0x2060 && code <= 0x206f) || code == 0x061c || code == 0xfeff);
}

}  // namespace

bool IsPrintableUtf8(absl::string_view text) {
  while (!text.empty()) {
    const std::optional<CodePoint> point = FirstCodePoint(text);
    if (!point.has_value() || !IsShown(point->value)) return false;
    text.remove_prefix(point->bytes);
  }
  return true;
}

}  // namespace parley::trust
