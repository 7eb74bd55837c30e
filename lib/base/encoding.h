// Encodes bytes as text. The decoders take exactly what the encoders make: no white space, no padding, no other case.
//
// Decoders return no value for malformed text.
#ifndef PARLEY_LIB_BASE_ENCODING_H_
#define PARLEY_LIB_BASE_ENCODING_H_

#include <optional>
#include <string>

#include "absl/strings/string_view.h"

namespace parley {

// Base 64 of RFC 4648 section 5, without padding.
std::string Base64UrlEncode(absl::string_view bytes);
std::optional<std::string> Base64UrlDecode(absl::string_view text);

// Crockford's base 32, in upper case and without I, L, O and U. Decoding folds case and reads I and L as 1 and O as 0,
// because people type these.
std::string Base32Encode(absl::string_view bytes);
std::optional<std::string> Base32Decode(absl::string_view text);
// Base32Value returns the value of one letter, 0 to 31, or -1 for what is no letter; Base32Letter does the reverse.
int Base32Value(char letter);
char Base32Letter(int value);

// Big-endian numbers: BigEndian returns the last `size` bytes of the number; FromBigEndian takes at most 8 bytes.
std::string BigEndian(uint64_t value, size_t size);
uint64_t FromBigEndian(absl::string_view bytes);

// Hex digits in lower case.
std::string HexEncode(absl::string_view bytes);
std::optional<std::string> HexDecode(absl::string_view text);

}  // namespace parley

#endif  // PARLEY_LIB_BASE_ENCODING_H_
