// Encodes bytes as text. The decoders take exactly what the encoders make: no white space, no padding, no other case.
//
// Decoders return no value for malformed text.
//
// Threads: free functions without state; a ByteReader belongs to one thread at a time.
#ifndef PARLEY_LIB_BASE_ENCODING_H_
#define PARLEY_LIB_BASE_ENCODING_H_

#include <cstddef>
#include <cstdint>
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

// Takes pieces off the front of bytes. Once something is missing, every piece is empty and good() is false.
class ByteReader {
 public:
  explicit ByteReader(absl::string_view bytes) : rest_(bytes) {}
  absl::string_view Take(size_t size);
  // Takes a big-endian number of at most 8 bytes.
  uint64_t TakeNumber(size_t size) { return FromBigEndian(Take(size)); }
  // Takes as many bytes as the number before them says.
  absl::string_view TakeSized(size_t number_bytes) { return Take(TakeNumber(number_bytes)); }
  bool good() const { return good_; }
  bool finished() const { return good_ && rest_.empty(); }

 private:
  absl::string_view rest_;
  bool good_ = true;
};

// Hex digits in lower case.
std::string HexEncode(absl::string_view bytes);
std::optional<std::string> HexDecode(absl::string_view text);

}  // namespace parley

#endif  // PARLEY_LIB_BASE_ENCODING_H_
