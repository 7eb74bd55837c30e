#include "lib/trust/form.h"

#include <cstdint>

namespace parley::trust {
namespace {

// Reads one code point and moves on. False when there is none.
bool ReadCodePoint(absl::string_view* text, uint32_t* code) {
  const auto first = static_cast<uint8_t>((*text)[0]);
  const size_t size = first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
  static constexpr uint32_t kSmallest[] = {0, 0, 0x80, 0x800, 0x10000};
  if ((first >= 0x80 && first < 0xc2) || first > 0xf4 || text->size() < size) return false;
  *code = size == 1 ? first : first & (0x7f >> size);
  for (size_t i = 1; i < size; ++i) {
    const auto next = static_cast<uint8_t>((*text)[i]);
    if ((next & 0xc0) != 0x80) return false;
    *code = *code << 6 | (next & 0x3f);
  }
  text->remove_prefix(size);
  return *code >= kSmallest[size] && *code <= 0x10ffff && (*code < 0xd800 || *code > 0xdfff);
}

bool IsShown(uint32_t code) {
  if (code < 0x20 || (code >= 0x7f && code < 0xa0)) return false;
  // Zero width, direction marks, separators of lines and paragraphs, embeddings, isolates, the byte order mark.
  return !((code >= 0x200b && code <= 0x200f) || (code >= 0x2028 && code <= 0x202e) ||
           (code >= 0x2060 && code <= 0x206f) || code == 0x061c || code == 0xfeff);
}

}  // namespace

bool IsPrintableUtf8(absl::string_view text) {
  while (!text.empty()) {
    uint32_t code = 0;
    if (!ReadCodePoint(&text, &code) || !IsShown(code)) return false;
  }
  return true;
}

}  // namespace parley::trust
