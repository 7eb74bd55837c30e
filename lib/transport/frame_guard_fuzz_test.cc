// The guard under any bytes from both sides: how they are cut makes no difference, and the budgets hold.
#include <stdlib.h>

#include "lib/transport/frame_guard.h"
#include "lib/transport/testing/frames.h"

namespace parley::transport {
namespace {

FrameGuard::Limits SmallLimits() {
  FrameGuard::Limits limits;
  limits.max_open_streams = 4;
  limits.begun.burst = 30;
  limits.cancelled.burst = 5;
  limits.control.burst = 20;
  return limits;
}

// Each piece of input begins with a byte: its highest bit says from which side the piece comes, the rest how long it
// is.
void Feed(absl::string_view input) {
  static const FrameGuard::Limits limits = SmallLimits();
  static const FakeClock clock;
  FrameGuard whole(&limits, &clock), parts(&limits, &clock);
  // So that a search finds frames at once.
  if (whole.FromPeer(frames::kPreface) != parts.FromPeer(frames::kPreface)) abort();
  while (!input.empty()) {
    const bool peer = (input.front() & 0x80) != 0;
    const absl::string_view piece = input.substr(1, input.front() & 0x7f);
    input.remove_prefix(1 + piece.size());
    const auto expected = peer ? whole.FromPeer(piece) : whole.FromGrpc(piece);
    auto found = FrameGuard::Breach::kNone;
    for (size_t i = 0; i < piece.size(); ++i) {
      found = peer ? parts.FromPeer(piece.substr(i, 1)) : parts.FromGrpc(piece.substr(i, 1));
    }
    if (!piece.empty() && found != expected) abort();
    if (whole.open_streams() != parts.open_streams() || whole.open_streams() > limits.max_open_streams) abort();
    if (whole.MissingFromGrpc() != parts.MissingFromGrpc() || whole.Farewell() != parts.Farewell()) abort();
  }
}

}  // namespace
}  // namespace parley::transport

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  parley::transport::Feed(absl::string_view(reinterpret_cast<const char*>(data), size));
  return 0;
}
