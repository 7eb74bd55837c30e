#include "lib/transport/frame_guard.h"

#include <algorithm>
#include <cstring>

#include "absl/base/optimization.h"
#include "absl/strings/str_cat.h"

namespace parley::transport {
namespace {

constexpr absl::string_view kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

// RFC 9113, section 6.
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
constexpr uint16_t kMaxFrameSizeSetting = 5;
// Section 7.
constexpr uint32_t kProtocolError = 0x1;
constexpr uint32_t kFrameSizeError = 0x6;
constexpr uint32_t kEnhanceYourCalm = 0xb;

// A control frame costs one token, and one more for each of these bytes.
constexpr uint32_t kBytesPerToken = 256;
// A peer that receives a DATA frame may enlarge the windows of its stream and of the connection for every so many
// bytes, and measure the time of a round trip.
constexpr uint32_t kAnswersPerData = 3;
constexpr uint32_t kBytesPerAnswer = 2048;
// What small messages that wait in a full window are answered with at most, when they are read all at once.
constexpr uint32_t kMaxAnswers = 1 << 16;

uint32_t Read(const char* bytes, int count) {
  uint32_t value = 0;
  for (int i = 0; i < count; ++i) value = value << 8 | static_cast<uint8_t>(bytes[i]);
  return value;
}

void Append(uint32_t value, int count, std::string* to) {
  for (int i = count - 1; i >= 0; --i) to->push_back(static_cast<char>(value >> (8 * i)));
}

void AppendFrameHeader(size_t length, Type type, std::string* to) {
  Append(static_cast<uint32_t>(length), 3, to);
  to->push_back(static_cast<char>(type));
  // No flags, and of the connection itself.
  to->append(5, '\0');
}

void AppendGoaway(uint32_t last_stream, uint32_t error, absl::string_view debug, std::string* to) {
  AppendFrameHeader(8 + debug.size(), kGoaway, to);
  Append(last_stream, 4, to);
  Append(error, 4, to);
  to->append(debug.data(), debug.size());
}

uint32_t ErrorCode(FrameGuard::Breach breach) {
  switch (breach) {
    case FrameGuard::Breach::kPreface:
    case FrameGuard::Breach::kSequence:
      return kProtocolError;
    case FrameGuard::Breach::kFrameSize:
      return kFrameSizeError;
    default:
      return kEnhanceYourCalm;
  }
}

}  // namespace

const char* FrameGuard::Name(Breach breach) {
  static constexpr const char* kNames[kBreaches] = {"none",         "preface",  "sequence",     "frame_size",
                                                    "header_block", "settings", "open_streams", "begun",
                                                    "cancelled",    "control"};
  return kNames[static_cast<int>(breach)];
}

std::string FrameGuard::Refusal() {
  std::string frames;
  AppendFrameHeader(0, kSettings, &frames);
  AppendGoaway(0, kEnhanceYourCalm, "parley: no place for another connection", &frames);
  return frames;
}

bool FrameGuard::IsRefusal(absl::string_view first) { return first == Refusal(); }

FrameGuard::FrameGuard(const Limits* limits, const Clock* clock)
    : limits_(limits),
      begun_(limits->begun, clock),
      cancelled_(limits->cancelled, clock),
      control_(limits->control, clock) {}

bool FrameGuard::NextFrame(Direction* direction, absl::string_view* bytes, Frame* frame) {
  const char* header = bytes->data();
  if (ABSL_PREDICT_FALSE(direction->header_bytes > 0 || bytes->size() < kFrameHeaderBytes)) {
    const size_t taken = std::min(bytes->size(), kFrameHeaderBytes - direction->header_bytes);
    memcpy(direction->header + direction->header_bytes, bytes->data(), taken);
    direction->header_bytes = static_cast<uint8_t>(direction->header_bytes + taken);
    bytes->remove_prefix(taken);
    if (direction->header_bytes < kFrameHeaderBytes) return false;
    direction->header_bytes = 0;
    header = direction->header;
  } else {
    bytes->remove_prefix(kFrameHeaderBytes);
  }
  frame->length = Read(header, 3);
  frame->type = static_cast<uint8_t>(header[3]);
  frame->flags = static_cast<uint8_t>(header[4]);
  // The first bit is reserved, and ignored.
  frame->stream = Read(header + 5, 4) & 0x7fffffff;
  direction->missing = frame->length;
  return true;
}

FrameGuard::Breach FrameGuard::FromPeer(absl::string_view bytes) {
  if (breach_ == Breach::kNone && preface_bytes_ < kPreface.size()) breach_ = SkipPreface(&bytes);
  while (breach_ == Breach::kNone && !bytes.empty()) {
    if (peer_.missing > 0) {
      const size_t skipped = std::min<size_t>(peer_.missing, bytes.size());
      peer_.missing -= static_cast<uint32_t>(skipped);
      bytes.remove_prefix(skipped);
      continue;
    }
    Frame frame;
    if (NextFrame(&peer_, &bytes, &frame)) breach_ = OnPeerFrame(frame);
  }
  return breach_;
}

FrameGuard::Breach FrameGuard::SkipPreface(absl::string_view* bytes) {
  const size_t taken = std::min(bytes->size(), kPreface.size() - preface_bytes_);
  if (bytes->substr(0, taken) != kPreface.substr(preface_bytes_, taken)) return Breach::kPreface;
  preface_bytes_ = static_cast<uint8_t>(preface_bytes_ + taken);
  bytes->remove_prefix(taken);
  return Breach::kNone;
}

FrameGuard::Breach FrameGuard::OnPeerFrame(const Frame& frame) {
  if (frame.length > max_frame_bytes_) return Breach::kFrameSize;
  // Section 3.4.
  if (first_frame_ && (frame.type != kSettings || (frame.flags & kAck) != 0)) return Breach::kPreface;
  first_frame_ = false;
  // Section 6.10.
  if (peer_.in_block != (frame.type == kContinuation)) return Breach::kSequence;
  switch (frame.type) {
    case kData:
      return OnPeerData(frame);
    case kHeaders:
      return OnPeerHeaders(frame);
    case kContinuation:
      return AddToBlock(frame);
    case kReset:
      return OnPeerReset(frame);
    case kSettings:
      return OnPeerSettings(frame);
    case kPing:
      if ((frame.flags & kAck) == 0 || pings_sent_ == 0) return TakeAnswer(frame);
      --pings_sent_;
      return Breach::kNone;
    case kWindowUpdate:
      return TakeAnswer(frame);
    case kPushPromise:
      return Breach::kSequence;
    default:
      return TakeControl(frame);
  }
}

FrameGuard::Breach FrameGuard::OnPeerHeaders(const Frame& frame) {
  block_bytes_ = 0;
  block_frames_ = 0;
  const bool ends = (frame.flags & kEndStream) != 0;
  if (frame.stream <= last_stream_ || frame.stream % 2 == 0) {
    // No gRPC client sends trailers.
    if (const Breach breach = TakeControl(frame); breach != Breach::kNone) return breach;
    if (Stream* const stream = Find(frame.stream); stream != nullptr && ends) End(stream, &Stream::peer_ended);
    return AddToBlock(frame);
  }
  last_stream_ = frame.stream;
  if (!acknowledged_ && ++early_streams_ > limits_->max_early_streams) return Breach::kSettings;
  if (streams_.size() >= limits_->max_open_streams) return Breach::kOpenStreams;
  if (!begun_.Take()) return Breach::kBegun;
  streams_.push_back({.id = frame.stream, .peer_ended = ends, .server_ended = false});
  // It may enlarge the stream's window at once.
  answers_ = std::min(answers_ + 1, kMaxAnswers);
  return AddToBlock(frame);
}

FrameGuard::Breach FrameGuard::AddToBlock(const Frame& frame) {
  peer_.in_block = (frame.flags & kEndHeaders) == 0;
  block_bytes_ += frame.length;
  if (block_bytes_ > limits_->max_header_block_bytes || ++block_frames_ > limits_->max_header_block_frames) {
    return Breach::kHeaderBlock;
  }
  if (acknowledged_) return Breach::kNone;
  early_header_bytes_ += frame.length;
  return early_header_bytes_ > limits_->max_early_header_bytes ? Breach::kSettings : Breach::kNone;
}

FrameGuard::Breach FrameGuard::OnPeerData(const Frame& frame) {
  if ((frame.flags & kEndStream) != 0) {
    if (Stream* const stream = Find(frame.stream); stream != nullptr) End(stream, &Stream::peer_ended);
    return Breach::kNone;
  }
  // Padding can make a frame that is empty all the same.
  return frame.length == 0 || (frame.flags & kPadded) != 0 ? TakeControl(frame) : Breach::kNone;
}

FrameGuard::Breach FrameGuard::OnPeerReset(const Frame& frame) {
  Stream* const stream = Find(frame.stream);
  // It has met the stream's end on the way.
  if (stream == nullptr) return TakeAnswer(frame);
  const bool answered = stream->server_ended;
  Remove(stream);
  return answered || cancelled_.Take() ? Breach::kNone : Breach::kCancelled;
}

FrameGuard::Breach FrameGuard::OnPeerSettings(const Frame& frame) {
  if ((frame.flags & kAck) == 0 || settings_sent_ == 0) return TakeControl(frame);
  --settings_sent_;
  acknowledged_ = true;
  return Breach::kNone;
}

FrameGuard::Breach FrameGuard::TakeAnswer(const Frame& frame) {
  if (answers_ == 0) return TakeControl(frame);
  --answers_;
  return Breach::kNone;
}

FrameGuard::Breach FrameGuard::TakeControl(const Frame& frame) {
  return control_.Take(1 + frame.length / kBytesPerToken) ? Breach::kNone : Breach::kControl;
}

FrameGuard::Breach FrameGuard::FromGrpc(absl::string_view bytes) {
  while (!bytes.empty()) {
    if (grpc_.missing > 0) {
      const size_t skipped = std::min<size_t>(grpc_.missing, bytes.size());
      if (in_settings_) ReadGrpcSettings(bytes.substr(0, skipped));
      grpc_.missing -= static_cast<uint32_t>(skipped);
      bytes.remove_prefix(skipped);
      continue;
    }
    Frame frame;
    if (!NextFrame(&grpc_, &bytes, &frame)) continue;
    if (const Breach breach = OnGrpcFrame(frame); breach_ == Breach::kNone) breach_ = breach;
  }
  return breach_;
}

FrameGuard::Breach FrameGuard::OnGrpcFrame(const Frame& frame) {
  grpc_spoke_ = true;
  in_settings_ = false;
  switch (frame.type) {
    case kData:
      answers_ = std::min(answers_ + kAnswersPerData + frame.length / kBytesPerAnswer, kMaxAnswers);
      break;
    case kHeaders:
      answers_ = std::min(answers_ + 1, kMaxAnswers);
      [[fallthrough]];
    case kContinuation:
      grpc_.in_block = (frame.flags & kEndHeaders) == 0;
      break;
    case kReset: {
      Stream* const stream = Find(frame.stream);
      if (stream == nullptr) return Breach::kNone;
      const bool answered = stream->server_ended;
      Remove(stream);
      // Without an answer: the peer has sent what gRPC had to refuse.
      return answered || cancelled_.Take() ? Breach::kNone : Breach::kCancelled;
    }
    case kSettings:
      if ((frame.flags & kAck) != 0) return Breach::kNone;
      ++settings_sent_;
      in_settings_ = true;
      entry_bytes_ = 0;
      return Breach::kNone;
    case kPing:
      if ((frame.flags & kAck) == 0) ++pings_sent_;
      return Breach::kNone;
    default:
      return Breach::kNone;
  }
  if (frame.type != kContinuation && (frame.flags & kEndStream) != 0) {
    if (Stream* const stream = Find(frame.stream); stream != nullptr) End(stream, &Stream::server_ended);
  }
  return Breach::kNone;
}

void FrameGuard::ReadGrpcSettings(absl::string_view payload) {
  while (!payload.empty()) {
    const size_t taken = std::min(payload.size(), sizeof(entry_) - entry_bytes_);
    memcpy(entry_ + entry_bytes_, payload.data(), taken);
    payload.remove_prefix(taken);
    entry_bytes_ = static_cast<uint8_t>(entry_bytes_ + taken);
    if (entry_bytes_ < sizeof(entry_)) return;
    entry_bytes_ = 0;
    // The peer may still go by a larger one that was allowed earlier.
    if (Read(entry_, 2) == kMaxFrameSizeSetting) max_frame_bytes_ = std::max(max_frame_bytes_, Read(entry_ + 2, 4));
  }
}

size_t FrameGuard::MissingFromGrpc() const {
  if (grpc_.missing > 0) return grpc_.missing;
  return grpc_.header_bytes > 0 || grpc_.in_block ? kFrameHeaderBytes - grpc_.header_bytes : 0;
}

std::string FrameGuard::Farewell() const {
  std::string frames;
  if (!grpc_spoke_) AppendFrameHeader(0, kSettings, &frames);
  AppendGoaway(last_stream_, ErrorCode(breach_), absl::StrCat("parley: ", Name(breach_)), &frames);
  return frames;
}

FrameGuard::Stream* FrameGuard::Find(uint32_t id) {
  for (Stream& stream : streams_) {
    if (stream.id == id) return &stream;
  }
  return nullptr;
}

void FrameGuard::Remove(Stream* stream) {
  *stream = streams_.back();
  streams_.pop_back();
}

void FrameGuard::End(Stream* stream, bool Stream::*side) {
  stream->*side = true;
  if (stream->peer_ended && stream->server_ended) Remove(stream);
}

}  // namespace parley::transport
