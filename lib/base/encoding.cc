#include "lib/base/encoding.h"

#include <array>
#include <cstdint>

namespace parley {
namespace {

constexpr absl::string_view kBase64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
constexpr absl::string_view kBase32 = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
constexpr absl::string_view kHex = "0123456789abcdef";

using Table = std::array<int8_t, 256>;

constexpr Table MakeTable(absl::string_view alphabet) {
  Table table{};
  for (int8_t& value : table) value = -1;
  for (size_t i = 0; i < alphabet.size(); ++i) table[static_cast<uint8_t>(alphabet[i])] = static_cast<int8_t>(i);
  return table;
}

constexpr Table MakeBase32Table() {
  Table table = MakeTable(kBase32);
  for (size_t i = 0; i < kBase32.size(); ++i) {
    const char letter = kBase32[i];
    if (letter >= 'A') table[static_cast<uint8_t>(letter - 'A' + 'a')] = static_cast<int8_t>(i);
  }
  for (const char look_alike : {'I', 'i', 'L', 'l'}) table[static_cast<uint8_t>(look_alike)] = 1;
  for (const char look_alike : {'O', 'o'}) table[static_cast<uint8_t>(look_alike)] = 0;
  return table;
}

constexpr Table kBase32Table = MakeBase32Table();

std::string Encode(absl::string_view bytes, absl::string_view alphabet, int bits) {
  std::string text;
  text.reserve((bytes.size() * 8 + bits - 1) / bits);
  uint32_t pending = 0;
  int pending_bits = 0;
  for (const char byte : bytes) {
    pending = (pending << 8) | static_cast<uint8_t>(byte);
    pending_bits += 8;
    while (pending_bits >= bits) {
      pending_bits -= bits;
      text.push_back(alphabet[(pending >> pending_bits) & ((1u << bits) - 1)]);
    }
  }
  if (pending_bits > 0) text.push_back(alphabet[(pending << (bits - pending_bits)) & ((1u << bits) - 1)]);
  return text;
}

// Refuses a length that no encoder makes and spare bits that are not zero: each value has one text.
std::optional<std::string> Decode(absl::string_view text, const Table& table, int bits) {
  std::string bytes;
  bytes.reserve(text.size() * bits / 8);
  uint32_t pending = 0;
  int pending_bits = 0;
  for (const char letter : text) {
    const int value = table[static_cast<uint8_t>(letter)];
    if (value < 0) return std::nullopt;
    pending = (pending << bits) | static_cast<uint32_t>(value);
    pending_bits += bits;
    if (pending_bits >= 8) {
      pending_bits -= 8;
      bytes.push_back(static_cast<char>(pending >> pending_bits));
    }
  }
  if (pending_bits >= bits || (pending & ((1u << pending_bits) - 1)) != 0) return std::nullopt;
  return bytes;
}

}  // namespace

std::string Base64UrlEncode(absl::string_view bytes) { return Encode(bytes, kBase64, 6); }

std::optional<std::string> Base64UrlDecode(absl::string_view text) {
  static constexpr Table kTable = MakeTable(kBase64);
  return Decode(text, kTable, 6);
}

std::string Base32Encode(absl::string_view bytes) { return Encode(bytes, kBase32, 5); }

std::optional<std::string> Base32Decode(absl::string_view text) { return Decode(text, kBase32Table, 5); }

int Base32Value(char letter) { return kBase32Table[static_cast<uint8_t>(letter)]; }
char Base32Letter(int value) { return kBase32[static_cast<size_t>(value) % kBase32.size()]; }

std::string BigEndian(uint64_t value, size_t size) {
  std::string bytes(size, '\0');
  for (size_t i = size; i-- > 0; value >>= 8) bytes[i] = static_cast<char>(value & 0xFF);
  return bytes;
}

uint64_t FromBigEndian(absl::string_view bytes) {
  uint64_t value = 0;
  for (const char byte : bytes) value = value << 8 | static_cast<uint8_t>(byte);
  return value;
}

absl::string_view ByteReader::Take(size_t size) {
  good_ = good_ && size <= rest_.size();
  if (!good_) return {};
  const absl::string_view piece = rest_.substr(0, size);
  rest_.remove_prefix(size);
  return piece;
}

std::string HexEncode(absl::string_view bytes) { return Encode(bytes, kHex, 4); }

std::optional<std::string> HexDecode(absl::string_view text) {
  static constexpr Table kTable = MakeTable(kHex);
  return Decode(text, kTable, 4);
}

}  // namespace parley
