#include "lib/transport/frame_guard.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "lib/transport/testing/frames.h"

namespace parley::transport {
namespace {

using namespace frames;
using Breach = FrameGuard::Breach;

// Small budgets that are not refilled, as the clock stands.
FrameGuard::Limits SmallLimits() {
  FrameGuard::Limits limits;
  limits.max_open_streams = 3;
  limits.max_early_streams = 2;
  limits.max_early_header_bytes = 10;
  limits.max_header_block_bytes = 20;
  limits.max_header_block_frames = 3;
  limits.begun = {.per_second = 1, .burst = 8};
  limits.cancelled = {.per_second = 1, .burst = 2};
  limits.control = {.per_second = 1, .burst = 4};
  return limits;
}

class FrameGuardTest : public testing::Test {
 protected:
  // The beginning of every connection, which costs one control frame.
  void Open() {
    EXPECT_EQ(guard_.FromPeer(kPreface + Frame(kSettings, 0, 0)), Breach::kNone);
    EXPECT_EQ(guard_.FromGrpc(Frame(kSettings, 0, 0) + Frame(kSettings, kAck, 0)), Breach::kNone);
    EXPECT_EQ(guard_.FromPeer(Frame(kSettings, kAck, 0)), Breach::kNone);
  }
  Breach Peer(absl::string_view bytes) { return guard_.FromPeer(bytes); }
  Breach Grpc(absl::string_view bytes) { return guard_.FromGrpc(bytes); }
  // The breach that comes with this frame, and not with the `allowed` ones before it.
  void ExpectAllows(int allowed, const std::string& frame, Breach breach) {
    for (int i = 0; i < allowed; ++i) EXPECT_EQ(Peer(frame), Breach::kNone) << i;
    EXPECT_EQ(Peer(frame), breach);
  }

  FakeClock clock_;
  FrameGuard::Limits limits_ = SmallLimits();
  FrameGuard guard_{&limits_, &clock_};
};

TEST_F(FrameGuardTest, WantsThePreface) {
  EXPECT_EQ(Peer("PRI * HTTP/2.0\r\n"), Breach::kNone);
  EXPECT_EQ(Peer("Host: parley\r\n"), Breach::kPreface);
}

TEST_F(FrameGuardTest, WantsSettingsFirst) {
  EXPECT_EQ(Peer(kPreface + Ping()), Breach::kPreface);
  FrameGuard second(&limits_, &clock_);
  EXPECT_EQ(second.FromPeer(kPreface + Frame(kSettings, kAck, 0)), Breach::kPreface);
}

TEST_F(FrameGuardTest, StaysBroken) {
  EXPECT_EQ(Peer("GET / HTTP/1.1\r\n\r\n"), Breach::kPreface);
  EXPECT_EQ(Peer(kPreface), Breach::kPreface);
  EXPECT_EQ(Grpc(Frame(kSettings, 0, 0)), Breach::kPreface);
}

TEST_F(FrameGuardTest, RefusesWhatAClientMayNotSend) {
  Open();
  EXPECT_EQ(Peer(Frame(kPushPromise, kEndHeaders, 1, "1234")), Breach::kSequence);
}

TEST_F(FrameGuardTest, RefusesAContinuationOfNothing) {
  Open();
  EXPECT_EQ(Peer(Frame(kContinuation, kEndHeaders, 1, "x")), Breach::kSequence);
}

TEST_F(FrameGuardTest, RefusesAFrameWithinAHeaderBlock) {
  Open();
  EXPECT_EQ(Peer(Begin(1, /*flags=*/0) + Ping()), Breach::kSequence);
}

TEST_F(FrameGuardTest, KnowsTheLargestFrameThatWasAllowed) {
  Open();
  EXPECT_EQ(Peer(Begin(1, kEndHeaders)), Breach::kNone);
  EXPECT_EQ(Peer(Frame(kData, 0, 1, std::string(16 * 1024, 'x'))), Breach::kNone);
  EXPECT_EQ(Grpc(MaxFrameSize(20'000) + MaxFrameSize(16'384)), Breach::kNone);
  EXPECT_EQ(Peer(Frame(kData, 0, 1, std::string(20'000, 'x'))), Breach::kNone);
  EXPECT_EQ(Peer(Header(20'001, kData, 0, 1)), Breach::kFrameSize);
}

TEST_F(FrameGuardTest, BoundsTheBytesOfAHeaderBlock) {
  Open();
  EXPECT_EQ(Peer(Frame(kHeaders, 0, 1, std::string(10, 'x')) + Frame(kContinuation, 0, 1, std::string(10, 'x'))),
            Breach::kNone);
  EXPECT_EQ(Peer(Frame(kContinuation, kEndHeaders, 1, "x")), Breach::kHeaderBlock);
}

TEST_F(FrameGuardTest, BoundsThePiecesOfAHeaderBlock) {
  Open();
  EXPECT_EQ(Peer(Frame(kHeaders, 0, 1)), Breach::kNone);
  ExpectAllows(2, Frame(kContinuation, 0, 1), Breach::kHeaderBlock);
}

TEST_F(FrameGuardTest, EachHeaderBlockHasABudgetOfItsOwn) {
  Open();
  const std::string block = Frame(kContinuation, 0, 0, "x") + Frame(kContinuation, kEndHeaders, 0, "x");
  EXPECT_EQ(Peer(Begin(1, 0) + block + Begin(3, 0) + block), Breach::kNone);
}

TEST_F(FrameGuardTest, BoundsStreamsBeforeTheSettingsAreAcknowledged) {
  EXPECT_EQ(Peer(kPreface + Frame(kSettings, 0, 0) + Begin(1) + Begin(3)), Breach::kNone);
  // They count although they have ended.
  EXPECT_EQ(Grpc(Frame(kSettings, 0, 0) + Trailers(1) + Trailers(3)), Breach::kNone);
  EXPECT_EQ(Peer(Begin(5)), Breach::kSettings);
}

TEST_F(FrameGuardTest, BoundsHeadersBeforeTheSettingsAreAcknowledged) {
  EXPECT_EQ(Peer(kPreface + Frame(kSettings, 0, 0) + Frame(kHeaders, kEndHeaders, 1, std::string(10, 'x'))),
            Breach::kNone);
  EXPECT_EQ(Peer(Begin(3)), Breach::kSettings);
}

TEST_F(FrameGuardTest, AnAcknowledgementOfNothingIsNone) {
  EXPECT_EQ(Peer(kPreface + Frame(kSettings, 0, 0) + Frame(kSettings, kAck, 0) + Begin(1) + Begin(3)), Breach::kNone);
  EXPECT_EQ(Peer(Begin(5)), Breach::kSettings);
}

TEST_F(FrameGuardTest, BoundsOpenStreams) {
  Open();
  EXPECT_EQ(Peer(Begin(1) + Begin(3) + Begin(5)), Breach::kNone);
  EXPECT_EQ(Peer(Begin(7)), Breach::kOpenStreams);
}

TEST_F(FrameGuardTest, AStreamIsOpenUntilBothSidesHaveEndedIt) {
  Open();
  EXPECT_EQ(Peer(Begin(1, kEndHeaders) + Begin(3)), Breach::kNone);
  EXPECT_EQ(Grpc(Frame(kHeaders, kEndHeaders, 1, "y") + Frame(kData, 0, 1, "y") + Trailers(3)), Breach::kNone);
  EXPECT_EQ(guard_.open_streams(), 1);
  EXPECT_EQ(Grpc(Trailers(1)), Breach::kNone);
  EXPECT_EQ(guard_.open_streams(), 1);
  EXPECT_EQ(Peer(Frame(kData, kEndStream, 1, "x")), Breach::kNone);
  EXPECT_EQ(guard_.open_streams(), 0);
}

TEST_F(FrameGuardTest, TheServersTrailersMayComeInPieces) {
  Open();
  EXPECT_EQ(Peer(Begin(1)), Breach::kNone);
  EXPECT_EQ(Grpc(Frame(kHeaders, kEndStream, 1, "y") + Frame(kContinuation, kEndHeaders, 1, "y")), Breach::kNone);
  EXPECT_EQ(guard_.open_streams(), 0);
}

TEST_F(FrameGuardTest, BoundsHowManyStreamsBegin) {
  Open();
  uint32_t stream = 1;
  for (int i = 0; i < 8; ++i, stream += 2) {
    EXPECT_EQ(Peer(Begin(stream)), Breach::kNone) << i;
    EXPECT_EQ(Grpc(Trailers(stream)), Breach::kNone);
  }
  EXPECT_EQ(Peer(Begin(stream)), Breach::kBegun);
}

TEST_F(FrameGuardTest, BoundsCancelledStreams) {
  Open();
  for (uint32_t stream = 1; stream < 5; stream += 2) EXPECT_EQ(Peer(Begin(stream) + Reset(stream)), Breach::kNone);
  EXPECT_EQ(guard_.open_streams(), 0);
  EXPECT_EQ(Peer(Begin(5) + Reset(5)), Breach::kCancelled);
}

TEST_F(FrameGuardTest, CancelledStreamsAreAllowedAtASlowPace) {
  Open();
  for (uint32_t stream = 1; stream < 40; stream += 2) {
    EXPECT_EQ(Peer(Begin(stream) + Reset(stream)), Breach::kNone) << stream;
    clock_.Advance(absl::Seconds(1));
  }
}

TEST_F(FrameGuardTest, StreamsThatTheServerIsMadeToResetAreCancelledOnes) {
  Open();
  for (uint32_t stream = 1; stream < 5; stream += 2) {
    EXPECT_EQ(Peer(Begin(stream)), Breach::kNone);
    EXPECT_EQ(Grpc(Reset(stream)), Breach::kNone);
  }
  EXPECT_EQ(Peer(Begin(5)), Breach::kNone);
  EXPECT_EQ(Grpc(Reset(5)), Breach::kCancelled);
}

// gRPC ends the stream of a call that it has answered before the client has said all, and so do some clients.
TEST_F(FrameGuardTest, AResetAfterTheAnswerCostsNothing) {
  Open();
  for (uint32_t stream = 1; stream < 15; stream += 4) {
    EXPECT_EQ(Peer(Begin(stream, kEndHeaders) + Begin(stream + 2, kEndHeaders)), Breach::kNone);
    EXPECT_EQ(Grpc(Trailers(stream) + Reset(stream) + Trailers(stream + 2)), Breach::kNone);
    EXPECT_EQ(Peer(Reset(stream) + Reset(stream + 2)), Breach::kNone) << stream;
  }
  EXPECT_EQ(guard_.open_streams(), 0);
}

TEST_F(FrameGuardTest, BoundsControlFrames) {
  for (const std::string& frame :
       {Ping(), Ping(kAck), Frame(kSettings, 0, 0), Frame(kSettings, kAck, 0), WindowUpdate(),
        Frame(kPriority, 0, 1, "12345"), Frame(kGoaway, 0, 0, "12345678"), Frame(0x42, 0, 0), Frame(kData, 0, 1),
        Frame(kData, kPadded, 1, Number(0, 1)), Reset(9), Frame(kHeaders, kEndHeaders, 2)}) {
    SCOPED_TRACE(absl::StrCat("type ", ToNumber(frame.substr(3, 1))));
    FrameGuard guard(&limits_, &clock_);
    EXPECT_EQ(guard.FromPeer(kPreface + Frame(kSettings, 0, 0)), Breach::kNone);
    for (int i = 0; i < 3; ++i) EXPECT_EQ(guard.FromPeer(frame), Breach::kNone) << i;
    EXPECT_EQ(guard.FromPeer(frame), Breach::kControl);
  }
}

TEST_F(FrameGuardTest, ALargeControlFrameCountsForSeveral) {
  Open();
  EXPECT_EQ(Peer(Frame(kSettings, 0, 0, std::string(3 * 256, 'x'))), Breach::kControl);
}

TEST_F(FrameGuardTest, TrailersOfThePeerAreControlFrames) {
  Open();
  EXPECT_EQ(Peer(Begin(1, kEndHeaders)), Breach::kNone);
  ExpectAllows(3, Frame(kHeaders, kEndHeaders, 1, "x"), Breach::kControl);
}

TEST_F(FrameGuardTest, AnswersToTheServerCostNothing) {
  Open();
  EXPECT_EQ(Peer(Begin(1)), Breach::kNone);
  EXPECT_EQ(Grpc(Frame(kHeaders, kEndHeaders, 1, "y")), Breach::kNone);
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(Grpc(Frame(kData, 0, 1, "message") + Ping() + Frame(kSettings, 0, 0)), Breach::kNone);
    EXPECT_EQ(Peer(WindowUpdate() + WindowUpdate(1) + Ping() + Ping(kAck) + Frame(kSettings, kAck, 0)), Breach::kNone)
        << i;
  }
}

TEST_F(FrameGuardTest, PayloadThatLooksLikeFramesIsNotRead) {
  Open();
  const std::string inner = Frame(kPushPromise, 0, 1, "1234");
  EXPECT_EQ(Peer(Begin(1, kEndHeaders) + Frame(kData, 0, 1, inner + inner)), Breach::kNone);
}

TEST_F(FrameGuardTest, TheReservedBitIsIgnored) {
  Open();
  EXPECT_EQ(Peer(Begin(1)), Breach::kNone);
  EXPECT_EQ(Grpc(Trailers(0x80000001)), Breach::kNone);
  EXPECT_EQ(guard_.open_streams(), 0);
}

TEST_F(FrameGuardTest, KnowsWhereAFrameMayFollow) {
  EXPECT_EQ(guard_.MissingFromGrpc(), 0);
  const std::string data = Frame(kData, 0, 1, "12345");
  EXPECT_EQ(Grpc(data.substr(0, 4)), Breach::kNone);
  EXPECT_EQ(guard_.MissingFromGrpc(), 5);
  EXPECT_EQ(Grpc(data.substr(4, 7)), Breach::kNone);
  EXPECT_EQ(guard_.MissingFromGrpc(), 3);
  EXPECT_EQ(Grpc(data.substr(11)), Breach::kNone);
  EXPECT_EQ(guard_.MissingFromGrpc(), 0);
  // Nothing may come between the parts of a header block.
  EXPECT_EQ(Grpc(Frame(kHeaders, 0, 1, "y")), Breach::kNone);
  EXPECT_EQ(guard_.MissingFromGrpc(), 9);
  EXPECT_EQ(Grpc(Frame(kContinuation, kEndHeaders, 1, "y")), Breach::kNone);
  EXPECT_EQ(guard_.MissingFromGrpc(), 0);
}

TEST_F(FrameGuardTest, TheFarewellSaysWhy) {
  Open();
  EXPECT_EQ(Peer(Begin(1) + Begin(3) + Begin(5) + Begin(7)), Breach::kOpenStreams);
  const auto frames = Parse(guard_.Farewell());
  ASSERT_EQ(frames.size(), 1);
  EXPECT_EQ(frames[0].type, kGoaway);
  // Section 7: ENHANCE_YOUR_CALM is 11.
  EXPECT_EQ(frames[0].payload, Number(7, 4) + Number(11, 4) + "parley: open_streams");
}

TEST_F(FrameGuardTest, TheFarewellBeginsWithSettingsIfNothingHasComeBefore) {
  EXPECT_EQ(Peer("GET / HTTP/1.1\r\n\r\n"), Breach::kPreface);
  const auto frames = Parse(guard_.Farewell());
  ASSERT_EQ(frames.size(), 2);
  EXPECT_EQ(frames[0].type, kSettings);
  EXPECT_EQ(frames[1].payload, Number(0, 4) + Number(1, 4) + "parley: preface");
}

// Two guards that see the same bytes, one of them cut in two at one place, agree at every frame.
TEST_F(FrameGuardTest, ReadsBytesCutAtAnyPlace) {
  const std::vector<std::string> peer = {
      kPreface + Frame(kSettings, 0, 0), Frame(kSettings, kAck, 0) + Begin(1, 0) + Frame(kContinuation, kEndHeaders, 1),
      Frame(kData, 0, 1, "12345") + Begin(3) + Reset(3) + WindowUpdate(), Frame(kData, kEndStream, 1, "1") + Ping(),
      Begin(5) + Reset(5) + Begin(7) + Reset(7)};
  const std::vector<std::string> grpc = {MaxFrameSize(70'000), "", Frame(kHeaders, kEndHeaders, 1, "y"),
                                         Frame(kData, 0, 1, "12345") + Trailers(1), ""};
  for (size_t piece = 0; piece < peer.size(); ++piece) {
    for (size_t cut = 0; cut <= std::max(peer[piece].size(), grpc[piece].size()); ++cut) {
      FrameGuard whole(&limits_, &clock_), parts(&limits_, &clock_);
      for (size_t i = 0; i < peer.size(); ++i) {
        const size_t peer_cut = std::min(i == piece ? cut : 0, peer[i].size());
        const size_t grpc_cut = std::min(i == piece ? cut : 0, grpc[i].size());
        parts.FromGrpc(absl::string_view(grpc[i]).substr(0, grpc_cut));
        parts.FromGrpc(absl::string_view(grpc[i]).substr(grpc_cut));
        parts.FromPeer(absl::string_view(peer[i]).substr(0, peer_cut));
        whole.FromGrpc(grpc[i]);
        ASSERT_EQ(parts.FromPeer(absl::string_view(peer[i]).substr(peer_cut)), whole.FromPeer(peer[i]))
            << i << " " << cut;
        ASSERT_EQ(parts.open_streams(), whole.open_streams()) << i << " " << cut;
        ASSERT_EQ(parts.MissingFromGrpc(), 0);
      }
      ASSERT_EQ(whole.FromPeer(""), Breach::kCancelled);
    }
  }
}

TEST_F(FrameGuardTest, ReadsBytesOneByOne) {
  const std::string begin = kPreface + Frame(kSettings, 0, 0);
  for (const char byte : begin) EXPECT_EQ(Peer(absl::string_view(&byte, 1)), Breach::kNone);
  for (const char byte : MaxFrameSize(20'000)) EXPECT_EQ(Grpc(absl::string_view(&byte, 1)), Breach::kNone);
  const std::string calls = Frame(kSettings, kAck, 0) + Begin(1) + Begin(3) + Begin(5);
  for (const char byte : calls) EXPECT_EQ(Peer(absl::string_view(&byte, 1)), Breach::kNone);
  EXPECT_EQ(guard_.open_streams(), 3);
  for (const char byte : Trailers(1)) EXPECT_EQ(Grpc(absl::string_view(&byte, 1)), Breach::kNone);
  EXPECT_EQ(guard_.open_streams(), 2);
  EXPECT_EQ(Peer(Header(20'001, kData, 0, 3)), Breach::kFrameSize);
}

// What a busy client does on a fast machine within the twinkling of a clock: the default limits let it pass.
TEST(FrameGuardDefaults, CallsThatEndAreNoAttack) {
  FakeClock clock;
  const FrameGuard::Limits limits;
  FrameGuard guard(&limits, &clock);
  ASSERT_EQ(guard.FromPeer(kPreface + Frame(kSettings, 0, 0) + WindowUpdate()), Breach::kNone);
  ASSERT_EQ(guard.FromGrpc(Frame(kSettings, 0, 0)), Breach::kNone);
  ASSERT_EQ(guard.FromPeer(Frame(kSettings, kAck, 0)), Breach::kNone);
  constexpr uint32_t kInFlight = 64;
  for (uint32_t call = 0; call < 90'000; ++call) {
    const uint32_t stream = 2 * call + 1;
    ASSERT_EQ(guard.FromPeer(Begin(stream, kEndHeaders) + Frame(kData, kEndStream, stream, "request")), Breach::kNone)
        << call;
    if (call < kInFlight) continue;
    const uint32_t ended = stream - 2 * kInFlight;
    ASSERT_EQ(
        guard.FromGrpc(Frame(kHeaders, kEndHeaders, ended, "y") + Frame(kData, 0, ended, "answer") + Trailers(ended)),
        Breach::kNone);
    ASSERT_EQ(guard.FromPeer(WindowUpdate() + WindowUpdate(ended)), Breach::kNone) << call;
  }
  EXPECT_EQ(guard.open_streams(), kInFlight);
}

}  // namespace
}  // namespace parley::transport
