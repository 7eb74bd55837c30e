// HTTP/2 frames (RFC 9113, section 6) as bytes, for tests.
#ifndef PARLEY_LIB_TRANSPORT_TESTING_FRAMES_H_
#define PARLEY_LIB_TRANSPORT_TESTING_FRAMES_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace parley::transport::frames {

enum Type : uint8_t {
  kData = 0,
  kHeaders = 1,
  kPriority = 2,
  kReset = 3,
  kSettings = 4,
  kPushPromise = 5,
  kPing = 6,
  kGoaway = 7,
  kWindowUpdate = 8,
  kContinuation = 9,
};
constexpr uint8_t kEndStream = 0x1;
constexpr uint8_t kAck = 0x1;
constexpr uint8_t kEndHeaders = 0x4;
constexpr uint8_t kPadded = 0x8;
constexpr char kPreface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

inline std::string Number(uint32_t value, int count) {
  std::string bytes;
  for (int i = count - 1; i >= 0; --i) bytes.push_back(static_cast<char>(value >> (8 * i)));
  return bytes;
}

inline std::string Header(uint32_t length, uint8_t type, uint8_t flags, uint32_t stream) {
  return Number(length, 3) + Number(type, 1) + Number(flags, 1) + Number(stream, 4);
}

inline std::string Frame(uint8_t type, uint8_t flags, uint32_t stream, absl::string_view payload = "") {
  return Header(static_cast<uint32_t>(payload.size()), type, flags, stream) + std::string(payload);
}

// Begins a call of a method that no server has: POST http /.
inline std::string Begin(uint32_t stream, uint8_t flags = kEndHeaders | kEndStream) {
  return Frame(kHeaders, flags, stream, "\x83\x86\x84");
}
inline std::string Reset(uint32_t stream) { return Frame(kReset, 0, stream, Number(8, 4)); }
inline std::string Ping(uint8_t flags = 0) { return Frame(kPing, flags, 0, "12345678"); }
inline std::string WindowUpdate(uint32_t stream = 0) { return Frame(kWindowUpdate, 0, stream, Number(1000, 4)); }
inline std::string MaxFrameSize(uint32_t bytes) { return Frame(kSettings, 0, 0, Number(5, 2) + Number(bytes, 4)); }
// What an answer without a body is on the wire.
inline std::string Trailers(uint32_t stream) { return Frame(kHeaders, kEndHeaders | kEndStream, stream, "y"); }

struct Parsed {
  uint32_t type = 0;
  uint32_t flags = 0;
  uint32_t stream = 0;
  std::string payload;
};

inline uint32_t ToNumber(absl::string_view bytes) {
  uint32_t value = 0;
  for (const char byte : bytes) value = value << 8 | static_cast<uint8_t>(byte);
  return value;
}

// The frames that `bytes` consists of; the last one has the type 0xff when something is left over.
inline std::vector<Parsed> Parse(absl::string_view bytes) {
  std::vector<Parsed> frames;
  while (!bytes.empty()) {
    const size_t length = bytes.size() < 9 ? bytes.size() : ToNumber(bytes.substr(0, 3));
    if (bytes.size() < 9 + length) {
      frames.push_back({.type = 0xff});
      break;
    }
    frames.push_back({.type = ToNumber(bytes.substr(3, 1)),
                      .flags = ToNumber(bytes.substr(4, 1)),
                      .stream = ToNumber(bytes.substr(5, 4)),
                      .payload = std::string(bytes.substr(9, length))});
    bytes.remove_prefix(9 + length);
  }
  return frames;
}

}  // namespace parley::transport::frames

#endif  // PARLEY_LIB_TRANSPORT_TESTING_FRAMES_H_
