// Bytes as text. Decoders take exactly what the encoders make: no white space, no padding, no other case.
#ifndef PARLEY_LIB_BASE_ENCODING_H_
#define PARLEY_LIB_BASE_ENCODING_H_

#include <optional>
#include <string>

#include "absl/strings/string_view.h"

namespace parley {

// RFC 4648 section 5, without padding.
std::string Base64UrlEncode(absl::string_view bytes);
std::optional<std::string> Base64UrlDecode(absl::string_view text);

// Crockford's base 32, upper case: no I, L, O or U. Decoding folds case and reads I and L as 1, O as 0, because
// people type these.
std::string Base32Encode(absl::string_view bytes);
std::optional<std::string> Base32Decode(absl::string_view text);
// One letter of it: its value from 0 to 31, -1 for what is not a letter; and the letter of such a value.
int Base32Value(char letter);
char Base32Letter(int value);

// Most significant byte first: the last `size` bytes of the number, and the number of at most 8 bytes.
std::string BigEndian(uint64_t value, size_t size);
uint64_t FromBigEndian(absl::string_view bytes);

// Lower case.
std::string HexEncode(absl::string_view bytes);
std::optional<std::string> HexDecode(absl::string_view text);

}  // namespace parley

#endif  // PARLEY_LIB_BASE_ENCODING_H_
