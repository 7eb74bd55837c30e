// Watches the HTTP/2 frames of one connection (RFC 9113), and says when the peer goes beyond what a server has to bear.
//
// gRPC bounds neither calls that are begun and cancelled at once, nor what a peer sends before it acknowledges the
// server's settings, nor a header block in pieces, nor frames that only keep the server busy. The guard reads the nine
// bytes before each frame, in both directions, and keeps budgets for them. A call that ends properly costs the peer
// nothing but a place among the open streams and one of the calls that may begin in a second;
// docs/adr/0011-frame-guard.md has the reasons for each number. The guard does not decode header blocks and does not
// check what gRPC checks itself.
//
// The bytes of each direction may come in pieces of any size, in the order in which they are relayed: what gRPC has
// sent is shown to the guard before the peer can know it. The guard allocates nothing but a list of the open streams.
//
// Threads: one at a time.
#ifndef PARLEY_LIB_TRANSPORT_FRAME_GUARD_H_
#define PARLEY_LIB_TRANSPORT_FRAME_GUARD_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "lib/base/clock.h"
#include "lib/base/token_bucket.h"

namespace parley::transport {

class FrameGuard {
 public:
  struct Limits {
    // Streams that the peer has begun and that have not ended in both directions. gRPC tells the peer the same number,
    // and clients that have not heard it yet begin with at most 100.
    size_t max_open_streams = 100;
    // Before the peer has acknowledged the server's first settings: the number of streams that it may begin, and the
    // bytes that their header blocks may have together. Until then gRPC does not hold the peer to these settings.
    size_t max_early_streams = 100;
    size_t max_early_header_bytes = 64 * 1024;
    // The bytes of one header block with its CONTINUATION frames, in the form on the wire.
    size_t max_header_block_bytes = 64 * 1024;
    int max_header_block_frames = 8;
    // Streams that begin. The limit is more than one connection to gRPC can carry.
    TokenBucket::Rate begun = {.per_second = 100'000, .burst = 100'000};
    // Streams that the peer resets before the server has ended them, or makes the server reset.
    TokenBucket::Rate cancelled = {.per_second = 100, .burst = 1000};
    // Every other frame that carries no call forward: SETTINGS, PRIORITY, GOAWAY, unknown types, empty DATA, HEADERS
    // that begin no stream; and WINDOW_UPDATE, PING and RST_STREAM of a closed stream beyond those that answer what the
    // server has sent.
    TokenBucket::Rate control = {.per_second = 100, .burst = 1000};
  };

  enum class Breach {
    kNone,
    // The connection does not begin with HTTP/2's preface and settings.
    kPreface,
    // A frame that a client may not send at all, or not at this place.
    kSequence,
    // A frame larger than the server has ever allowed.
    kFrameSize,
    kHeaderBlock,
    // Too many streams before the settings were acknowledged.
    kSettings,
    kOpenStreams,
    kBegun,
    kCancelled,
    kControl,
  };
  static constexpr int kBreaches = static_cast<int>(Breach::kControl) + 1;
  // Returns the breach's name for metrics and logs: "cancelled" for kCancelled.
  static const char* Name(Breach breach);

  // Returns all that a server says to a peer that it has no place for: its settings and a GOAWAY with
  // ENHANCE_YOUR_CALM.
  static std::string Refusal();
  // Returns whether `first`, the first bytes of a server, are those of Refusal.
  static bool IsRefusal(absl::string_view first);

  // `limits` and `clock` must outlive the guard.
  FrameGuard(const Limits* limits, const Clock* clock);

  // Takes the next bytes on their way from the peer to gRPC. At a breach none of them should be passed on, and the
  // connection should end; the guard returns the same breach from then on.
  Breach FromPeer(absl::string_view bytes);
  // Takes the next bytes on their way from gRPC to the peer, which may be passed on whatever is returned.
  Breach FromGrpc(absl::string_view bytes);

  // Returns how many bytes are missing, as far as is known, until a frame of ours may follow those of gRPC; 0 if it
  // may. Ask again after these bytes have been shown to FromGrpc.
  size_t MissingFromGrpc() const;
  // Returns the GOAWAY frame that tells the peer why, with the settings before it if gRPC has not sent any.
  std::string Farewell() const;

  size_t open_streams() const { return streams_.size(); }

 private:
  static constexpr size_t kFrameHeaderBytes = 9;

  struct Frame {
    uint32_t length = 0;
    uint8_t type = 0;
    uint8_t flags = 0;
    uint32_t stream = 0;
  };
  // How far one direction has been read.
  struct Direction {
    char header[kFrameHeaderBytes];
    uint8_t header_bytes = 0;
    // The bytes of the present frame's payload that have not come.
    uint32_t missing = 0;
    // The header block does not end with the present frame.
    bool in_block = false;
  };
  struct Stream {
    uint32_t id;
    bool peer_ended;
    bool server_ended;
  };

  // Takes bytes up to the end of the next frame header. Returns whether it is complete, and then in `frame`.
  static bool NextFrame(Direction* direction, absl::string_view* bytes, Frame* frame);

  Breach SkipPreface(absl::string_view* bytes);
  Breach OnPeerFrame(const Frame& frame);
  Breach OnPeerHeaders(const Frame& frame);
  Breach OnPeerData(const Frame& frame);
  Breach OnPeerReset(const Frame& frame);
  Breach OnPeerSettings(const Frame& frame);
  Breach AddToBlock(const Frame& frame);
  Breach TakeAnswer(const Frame& frame);
  Breach TakeControl(const Frame& frame);

  Breach OnGrpcFrame(const Frame& frame);
  void ReadGrpcSettings(absl::string_view payload);

  Stream* Find(uint32_t id);
  void Remove(Stream* stream);
  // Ends one side of the stream, and removes the stream if the other side has ended too.
  void End(Stream* stream, bool Stream::*side);

  const Limits* const limits_;
  TokenBucket begun_;
  TokenBucket cancelled_;
  TokenBucket control_;
  Direction peer_;
  Direction grpc_;
  Breach breach_ = Breach::kNone;
  // The bytes of the preface that have come.
  uint8_t preface_bytes_ = 0;
  bool first_frame_ = true;
  bool acknowledged_ = false;
  uint32_t last_stream_ = 0;
  size_t early_streams_ = 0;
  size_t early_header_bytes_ = 0;
  size_t block_bytes_ = 0;
  int block_frames_ = 0;
  // The largest frame that the server has ever allowed.
  uint32_t max_frame_bytes_ = 16 * 1024;
  // Settings and pings of gRPC's that the peer has yet to acknowledge.
  uint32_t settings_sent_ = 0;
  uint32_t pings_sent_ = 0;
  // Frames that would answer what the server has sent.
  uint32_t answers_ = 0;
  bool grpc_spoke_ = false;
  // The present frame of gRPC is SETTINGS, and this much of its present entry has come.
  bool in_settings_ = false;
  uint8_t entry_bytes_ = 0;
  char entry_[6];
  // The open streams, at most max_open_streams, in no order.
  std::vector<Stream> streams_;
};

}  // namespace parley::transport

#endif  // PARLEY_LIB_TRANSPORT_FRAME_GUARD_H_
